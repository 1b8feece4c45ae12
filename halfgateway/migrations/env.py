"""Runs migrations: on the connection that :mod:`halfgateway.database` gives, or on ``-x url=`` for a developer.

    alembic -c halfgateway/migrations/alembic.ini -x url=sqlite:////tmp/scratch.db revision --autogenerate -m "…"

All of an upgrade is one transaction, on SQLite too, and only one process runs it at a time.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from alembic import context
from sqlalchemy import Connection

from camera_registry.sql import UtcDateTime
from halfgateway.database import Database, all_tables

_ADVISORY_LOCK = 0x48414C46  # "HALF": any number, so long as every node takes the same


def _migrate(connection: Connection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # A batch operation drops and renames tables; with this on, rows that refer to them would go too.
        _set_foreign_keys(connection, "OFF")
    with connection.begin():
        # Python's sqlite3 begins no transaction before DDL by itself.
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if is_sqlite else f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"
        )
        context.configure(
            connection=connection,
            target_metadata=all_tables(),
            transactional_ddl=True,
            render_as_batch=is_sqlite,
            render_item=_render_item,
        )
        context.run_migrations()
    if is_sqlite:
        _set_foreign_keys(connection, "ON")


def _render_item(kind: str, item: object, _autogen: object) -> str | Literal[False]:
    """Keep a revision free of our own types: it must mean the same when they have changed."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def _set_foreign_keys(connection: Connection, state: str) -> None:
    """SQLite ignores this pragma inside a transaction, so the one that SQLAlchemy opens is ended first."""
    connection.exec_driver_sql(f"PRAGMA foreign_keys={state}")
    connection.commit()


async def _migrate_by_url(url: str) -> None:
    database = Database(url)
    try:
        async with database.engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await database.close()


given_connection = context.config.attributes.get("connection")
if given_connection is None:
    asyncio.run(_migrate_by_url(context.get_x_argument(as_dictionary=True)["url"]))
else:
    _migrate(given_connection)
