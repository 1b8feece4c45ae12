"""Alembic's scripts for the tables of all four packages; they ship inside the installed package."""
