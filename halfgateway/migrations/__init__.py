"""Alembic's scripts for the tables of all four packages; they ship inside the installed package."""

HEAD = "0008"
"""The revision of this version's schema: the newest of the scripts."""
