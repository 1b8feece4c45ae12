"""Which database the tests keep their records in, and each one's own.

``HALFGATEWAY_TEST_DATABASE=postgresql`` (``make test-postgresql``) has every test that opens records or a node run on
PostgreSQL. Without it they run on SQLite, as a node does by itself, and those of what is kept in SQL on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import inspect, text

from halfgateway.database import Database
from tests.postgresql import BINARIES, PostgresqlServer, postgresql


class Kind(StrEnum):
    """A kind of database that a node may keep its records in."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


_chosen = os.environ.get("HALFGATEWAY_TEST_DATABASE")

KINDS = tuple(Kind) if _chosen is None else (Kind(_chosen),)
"""Those of this run: the first is what a test gets that says nothing."""

_MIGRATED = "migrated"
"""The PostgreSQL database of which all others are copies."""


class Databases:
    """The databases of the tests that run now, by the path at which SQLite would keep them."""

    def __init__(self) -> None:
        self.kind = KINDS[0]
        self._names: dict[Path, str] = {}

    @contextlib.contextmanager
    def using(self, kind: Kind) -> Iterator[None]:
        """While it lasts, new databases are of this kind. Skips the test where it is not installed."""
        if kind is Kind.POSTGRESQL and not BINARIES:
            pytest.skip("PostgreSQL is not installed (apt: postgresql); make test installs it")
        before, self.kind = self.kind, kind
        try:
            yield
        finally:
            self.kind = before

    def url(self, path: Path) -> str:
        """The URL of the database of this path: this test's own, and migrated."""
        if path not in self._names and self.kind is Kind.SQLITE:
            if not path.exists():
                path.write_bytes(_migrated_file())
            return f"sqlite:///{path}"
        return postgresql().url(self._name(path))

    def empty(self, path: Path) -> str:
        """The URL of a new, empty database, to be known by this path."""
        if self.kind is Kind.SQLITE:
            return f"sqlite:///{path}"
        self._names[path] = _new_name()
        postgresql().create(self._names[path])
        return postgresql().url(self._names[path])

    def lost(self, path: Path) -> contextlib.AbstractContextManager[None]:
        """While it lasts, the database of this path answers nobody."""
        return postgresql().out_of_reach(self._names[path]) if path in self._names else _overwritten(path)

    def drop(self) -> None:
        """Forget all of them; SQLite's are files of the tests."""
        if self._names:
            postgresql().drop(*self._names.values())
            self._names.clear()

    def _name(self, path: Path) -> str:
        if path not in self._names:
            name = _new_name()
            _migrated_server().create(name, template=_MIGRATED)
            self._names[path] = name
        return self._names[path]


databases = Databases()


@functools.cache
def _migrated_server() -> PostgresqlServer:
    server = postgresql()
    server.create(_MIGRATED)
    _migrate(server.url(_MIGRATED))
    return server


@functools.cache
def _migrated_file() -> bytes:
    """The SQLite database of which all others are copies: to migrate each anew takes a fifth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.sqlite"
        _migrate(f"sqlite:///{path}")
        return path.read_bytes()


def _migrate(url: str) -> None:
    with ThreadPoolExecutor(1) as thread:  # a test's loop may be running in this one
        thread.submit(asyncio.run, _migrated(url)).result()


async def _migrated(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()


async def everything_in(database: Database) -> str:
    """Each row of each table, as Python shows it."""
    async with database.engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        return repr([(await connection.execute(text(f"SELECT * FROM {table}"))).all() for table in tables])


def _new_name() -> str:
    return f"test_{uuid4().hex}"


@contextlib.contextmanager
def _overwritten(database: Path) -> Iterator[None]:
    """The database's bytes are no database any more."""
    parts = [path for path in database.parent.glob(database.name + "*") if path.is_file()]
    kept = {path: path.read_bytes() for path in parts}
    for path in parts:
        path.write_bytes(b"\xff" * len(kept[path]))
    try:
        yield
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
