"""What every part's tests may use: a clock that stands still, and databases of both kinds."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import uvloop
from coverage import Coverage

from halfgateway.database import Database
from tests.held_clock import HeldClock
from tests.house import House, open_house

LONGEST_FIRST = ("tests/fuzz/", "tests/e2e/")
"""What takes minutes begins first where several processes share the tests, so that none of it is left for the end."""

_POSTGRESQL_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-compatibility",
        action="store_true",
        help="write docs/compatibility.md from what is seen, instead of holding it to what is written",
    )


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def uncounted() -> Iterator[None]:
    """Without coverage, which halves the speed: for a test that does ten thousand times what others do in it too."""
    counting = Coverage.current()
    if counting is not None:
        counting.stop()
    yield
    if counting is not None:
        counting.start()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL's ``postgres`` database, on a free loopback port."""
    if not _POSTGRESQL_BINARIES:
        pytest.skip("PostgreSQL is not installed (apt: postgresql); make test installs it")
    binaries = _POSTGRESQL_BINARIES[-1]
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = None
    if os.geteuid() == 0:  # initdb refuses root
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = account.pw_uid

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)

    run(f"{binaries}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    run(f"{binaries}/pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run(f"{binaries}/pg_ctl", "-D", f"{folder}/data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
async def postgresql_url(postgresql_server: str) -> str:
    """The URL of a new, empty PostgreSQL database."""
    name = f"test_{uuid4().hex}"
    server = Database(postgresql_server)
    async with server.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
    await server.close()
    return postgresql_server.rpartition("/")[0] + f"/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.sqlite"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated SQLite database."""
    opened = Database(f"sqlite:///{tmp_path}/records.sqlite")
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
async def house(database: Database, clock: HeldClock, tmp_path: Path) -> AsyncIterator[House]:
    """A migrated SQLite database with one account of each role in it."""
    async with open_house(database, clock, tmp_path) as furnished:
        yield furnished


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], AbstractEventLoop]]:
    """Every test runs on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores: many tests wait for what they have started."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """See :data:`LONGEST_FIRST`."""
    if hasattr(config, "workerinput"):
        ranks = {prefix: rank for rank, prefix in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: next((ranks[each] for each in ranks if item.nodeid.startswith(each)), len(ranks)))
