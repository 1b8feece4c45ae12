"""What every part's tests may use: a clock that stands still, and databases of both kinds."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop
from coverage import Coverage

from halfgateway.database import Database
from tests.databases import KINDS, Kind, databases
from tests.held_clock import HeldClock
from tests.house import House, open_house

LONGEST_FIRST = ("tests/fuzz/", "tests/soak/", "tests/e2e/")
"""What takes minutes begins first where several processes share the tests, so that none of it is left for the end."""

COVERAGE_PREFIX = "COVERAGE_"
"""Of the variables by which a process learns that it is to count what it covers."""


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


def uncounted_environment() -> dict[str, str]:
    """The environment for a process whose coverage does not count: it is killed and could not tell, or others' counts.

    A process that is counted takes half as long again.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(COVERAGE_PREFIX)}


@contextmanager
def uncounted_processes() -> Iterator[None]:
    """What is started while it lasts has the :func:`uncounted_environment`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(COVERAGE_PREFIX)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="module", autouse=True)
def _databases_of_the_module() -> Iterator[None]:
    """PostgreSQL's are dropped once nobody uses them."""
    yield
    databases.drop()


@pytest.fixture(params=KINDS)
def database_kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Each kind of database in turn: what the test keeps in SQL is kept there."""
    with databases.using(request.param):
        yield request.param


@pytest.fixture
def database_url(database_kind: Kind, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    return databases.empty(tmp_path / "records.sqlite")


@pytest.fixture
async def database(database_kind: Kind, tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database, of each kind in turn."""
    opened = Database(databases.url(tmp_path / "records.sqlite"))
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
async def house(database: Database, clock: HeldClock, tmp_path: Path) -> AsyncIterator[House]:
    """A migrated database, of each kind in turn, with one account of each role in it."""
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
