"""The database opens, migrates once, and its schema is the models'."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from halfgateway.database import Database, DatabaseError, all_tables
from halfgateway.migrations import HEAD
from tests.conftest import uncounted_environment

_ROOT = Path(__file__).parents[2]


async def test_models_and_migrations_agree(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), all_tables()))

    async with database.engine.connect() as connection:
        found = await connection.run_sync(differences)
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await database.close()
    assert found == []
    assert set(all_tables().tables) <= set(tables)


async def test_an_up_to_date_schema_is_known_without_alembic(database_url: str) -> None:
    scripts = ScriptDirectory(str(_ROOT / "halfgateway" / "migrations"))
    assert scripts.get_heads() == [HEAD]
    database = Database(database_url)
    await database.migrate()
    await database.close()
    program = f"{_MIGRATE}\nprint('alembic' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, database_url),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        env=uncounted_environment(),
    )
    assert (await process.communicate())[0] == b"False\n"


_MIGRATE = """
import asyncio, sys
from halfgateway.database import Database

async def migrate():
    database = Database(sys.argv[1])
    await database.migrate()
    await database.close()

asyncio.run(migrate())
"""


async def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    node, notifier, watchdog = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MIGRATE, database_url),
            cwd=_ROOT,
            stderr=asyncio.subprocess.PIPE,
            env=uncounted_environment(),
        )
        for _ in range(3)
    ]
    failures = [(await process.communicate())[1].decode() for process in (node, notifier, watchdog)]
    assert [process.returncode for process in (node, notifier, watchdog)] == [0, 0, 0], failures
    database = Database(database_url)
    async with database.engine.connect() as connection:
        versions = list(await connection.scalars(text("SELECT version_num FROM alembic_version")))
    await database.close()
    assert len(versions) == 1


@pytest.fixture
async def on_sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/records.sqlite")
    await opened.migrate()
    yield opened
    await opened.close()


async def test_sqlite_is_set_up_for_use(on_sqlite: Database) -> None:
    async with on_sqlite.engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert await connection.scalar(text("PRAGMA busy_timeout")) == 5000


async def test_foreign_keys_hold_again_after_a_migration(on_sqlite: Database) -> None:
    await on_sqlite.migrate()
    async with on_sqlite.engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1


async def test_a_schema_of_a_newer_version_is_refused(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    with pytest.raises(DatabaseError, match="not one that this version knows"):
        await database.migrate()


async def test_a_failed_migration_leaves_nothing_behind(database_url: str) -> None:
    database = Database(database_url)
    async with database.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE login_sessions (in_the_way INTEGER)"))
    with pytest.raises(DatabaseError):
        await database.migrate()
    async with database.engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await database.close()
    assert tables == ["login_sessions"]


@pytest.mark.parametrize("url", ["mysql://host/name", "no url", ""])
def test_an_unknown_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError):
        Database(url)


async def test_an_unreachable_database_is_a_declared_error_without_the_password() -> None:
    database = Database("postgresql://gateway:hunter2@127.0.0.1:1/records")
    with pytest.raises(DatabaseError) as refused:
        await database.migrate()
    await database.close()
    assert "hunter2" not in str(refused.value)


def test_the_migrations_ship_inside_the_package() -> None:
    scripts = resources.files("halfgateway") / "migrations"
    revisions = scripts / "versions"
    assert (scripts / "env.py").is_file()
    assert any(script.name.startswith("0001") for script in revisions.iterdir())
    # setuptools' find only takes folders with this file along
    assert (scripts / "__init__.py").is_file()
    assert (revisions / "__init__.py").is_file()
