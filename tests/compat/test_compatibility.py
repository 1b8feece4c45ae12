"""The compatibility matrix, cell by cell, held to the page that tells of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable

import av
import pytest
import pytest_asyncio

from tests.compat.cameras import cameras_in
from tests.compat.cells import Cell, Player, all_cells, gate_cells, known_failure
from tests.compat.document import PATH, Outcome, read, render
from tests.compat.peers import are_installed, versions
from tests.compat.playing import is_its_video, play
from tests.e2e.conftest import STEADY, Gateway, open_gateway

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not are_installed(), reason="players and cameras; make test installs them"),
]

LIMIT_S = 30.0
"""For one cell: twenty times what it usually takes."""

LAST_WORDS = 300
"""Characters of what a player said when it failed for a cause that nobody knows yet."""


class Matrix:
    """Plays cells: those of one player one after another, those of several players at the same time."""

    def __init__(self, gateway: Gateway, cells: Iterable[Cell]) -> None:
        self._gateway = gateway
        self._turns = {player: asyncio.Lock() for player in Player}
        self.failures = {cell: asyncio.create_task(self._failure(cell)) for cell in cells}
        """Why each cell failed, None where it plays."""

    async def end(self) -> None:
        """Wait until every cell has been played."""
        await asyncio.wait(self.failures.values())

    async def write(self) -> None:
        """Write the page, which wants all cells."""
        assert list(self.failures) == list(all_cells()), "make compatibility plays them all"
        causes = {cell: _cause(cell, await failure) for cell, failure in self.failures.items()}
        PATH.write_text(render(causes, await asyncio.to_thread(versions)))

    async def _failure(self, cell: Cell) -> str | None:
        async with self._turns[cell.player]:
            try:
                async with asyncio.timeout(LIMIT_S):
                    counters = await play(self._gateway, cell)
            except (AssertionError, OSError, TimeoutError, EOFError, av.error.FFmpegError) as error:
                said = re.sub("//[^@/]*@", "//", f"{type(error).__name__}: {error}")
                return " ".join(said.split())[-LAST_WORDS:]
            return None if is_its_video(counters) else f"pictures missing or damaged: {counters}"


def _cause(cell: Cell, failure: str | None) -> str | None:
    known = known_failure(cell)
    return known.cause if failure is not None and known is not None and known.says in failure else failure


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """All cells that this run was asked for, being played."""
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = [each.callspec.params["cell"] for each in functions if each.originalname == test_cell.__name__]
    async with open_gateway(tmp_path_factory.mktemp("compat") / "demo", STEADY) as gateway, cameras_in(gateway):
        matrix = Matrix(gateway, asked)
        yield matrix
        await matrix.end()
        if request.config.getoption("write_compatibility"):
            await matrix.write()


IN_GATE = gate_cells()


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=cell.camera, marks=() if cell in IN_GATE else pytest.mark.soak) for cell in all_cells()],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_cell(matrix: Matrix, cell: Cell, pytestconfig: pytest.Config) -> None:
    # T8; C01, C08: what is written is what is seen
    failure = await matrix.failures[cell]
    known = known_failure(cell)
    if known is None:
        assert failure is None
    else:
        assert failure is not None, f"it plays now; no longer true: {known.cause}"
        assert known.says in failure
    if not pytestconfig.getoption("write_compatibility"):
        assert read(PATH.read_text())[cell] is (Outcome.PLAYS if failure is None else Outcome.FAILED)
