"""The SQL database: an engine from a URL, set up for our use, and its schema brought up to date.

SQLite (WAL) serves one node; PostgreSQL serves several. Both are opened the same way.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from sqlalchemy import Connection, MetaData, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from camera_registry.sql import Base
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.migrations import HEAD

EMBEDDED = "embedded"
"""The URL of what the node brings itself: an SQLite database, a Valkey."""

TABLE_MODULES = (
    "auth.tables",
    "auth.assertion_tables",
    "auth.credential_tables",
    "auth.reservation_tables",
    "camera_registry.keeping_tables",
    "camera_registry.tables",
    "ops.life_tables",
    "ops.request_tables",
)
"""Every module that declares tables; a migration covers them all."""

SQLITE_BUSY_TIMEOUT_S = 5.0
"""How long a writer waits for another one; each transaction lasts milliseconds."""

_WAL_RETRY_S = 0.05
_WAL_ATTEMPTS = int(SQLITE_BUSY_TIMEOUT_S / _WAL_RETRY_S)

POOL_SIZE = 5
POOL_OVERFLOW = 10
"""Connections past the pool, for a burst of logins; further callers wait."""

POOL_WAIT_S = 5.0
"""A caller that got no connection for this long is told that the records are unavailable."""

POOL_RECYCLE_S = 1800
"""Connections are renewed before firewalls between node and PostgreSQL forget them (often an hour)."""

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class DatabaseError(HalfGatewayError):
    """The database's URL is wrong, it cannot be reached, or its schema is not one that this version knows."""


class Database:
    """An engine and its sessions; :meth:`migrate` before first use, :meth:`close` at the end."""

    def __init__(self, url: str) -> None:
        """Prepare for ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/NAME``; nothing is opened yet.

        Raises:
            DatabaseError: the URL cannot be read, names another kind of database, or its driver is missing.
        """
        self._url = _with_async_driver(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        try:
            self.engine = create_async_engine(
                self._url,
                pool_size=POOL_SIZE,
                max_overflow=POOL_OVERFLOW,
                pool_timeout=POOL_WAIT_S,
                pool_recycle=POOL_RECYCLE_S,
                pool_pre_ping=not self._is_sqlite,
                connect_args=_SQLITE_CONNECT_ARGS if self._is_sqlite else {},
            )
        except ImportError as error:
            raise DatabaseError(f"the driver {error.name} is not installed") from error
        if self._is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, expire_on_commit=False)

    async def migrate(self) -> None:
        """Bring the schema up to date; of several processes that start at once, one works and the others wait.

        Raises:
            DatabaseError: the database cannot be reached, or a newer version has changed its schema.
        """
        try:
            if self._is_sqlite:
                await self._enter_wal()
            async with self.engine.connect() as connection:
                is_current = await connection.run_sync(_is_current)
            if not is_current:
                async with self.engine.connect() as connection:
                    await connection.run_sync(_upgrade)
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"{self._url.render_as_string(hide_password=True)}: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def _enter_wal(self) -> None:
        """Switch the file to WAL, for good; SQLite does not wait for a lock here, so we do."""
        for attempts_left in reversed(range(_WAL_ATTEMPTS)):
            try:
                async with self.engine.connect() as connection:
                    await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                    return
            except OperationalError:
                if not attempts_left:
                    raise
                await asyncio.sleep(_WAL_RETRY_S)


def database_at(url: str, folder: DataFolder) -> Database:
    """The database that the configuration names, which may be the node's own. Raises DatabaseError."""
    return Database(f"sqlite:///{folder.records}" if url == EMBEDDED else url)


def all_tables() -> MetaData:
    """Return the metadata with the tables of every package in it."""
    for module in TABLE_MODULES:
        importlib.import_module(module)
    return Base.metadata


_SQLITE_CONNECT_ARGS = {
    "timeout": SQLITE_BUSY_TIMEOUT_S,
    # A writer takes the lock when it begins: a deferred one can fail half-way with SQLITE_BUSY, unwaited for.
    "isolation_level": "IMMEDIATE",
}


def _with_async_driver(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError("the database URL cannot be read") from error
    if parsed.get_backend_name() not in _DRIVERS:
        raise DatabaseError(f"{parsed.get_backend_name()} is neither sqlite nor postgresql")
    return parsed.set(drivername=_DRIVERS[parsed.get_backend_name()])


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _is_current(connection: Connection) -> bool:
    """Whether nothing is to be done: then Alembic, which takes a tenth of a node's memory, need not be loaded."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    return list(connection.scalars(text("SELECT version_num FROM alembic_version"))) == [HEAD]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 (see _is_current)
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "halfgateway:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseError(f"the schema is not one that this version knows: {error}") from error
