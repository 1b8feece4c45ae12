"""The compatibility matrix, cell by cell, and the page that tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import av
import pytest
import pytest_asyncio

from tests.compat.cameras import cameras_in
from tests.compat.cells import LACKING, ROWS, VIEWS, Cell, all_cells, by_player, cause_of, gate_cells
from tests.compat.document import PATH, Outcome, read, render
from tests.compat.peers import are_installed, versions
from tests.compat.playing import is_its_video, play
from tests.e2e.conftest import STEADY, Gateway, open_gateway

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.peer,
    pytest.mark.skipif(not are_installed(), reason="players and cameras; make test installs them"),
]

LIMIT_S = 30.0
"""For one cell: twenty times what it usually takes."""

LAST_WORDS = 300
"""Characters of what a player said when it failed for a cause that nobody knows yet."""


@dataclass
class Matrix:
    """Plays cells: those of one player one after another, those of several players at the same time."""

    gateway: Gateway
    outcomes: dict[Cell, asyncio.Future[str | None]] = field(default_factory=dict)

    async def run(self, cells: Iterable[Cell]) -> None:
        loop = asyncio.get_running_loop()
        self.outcomes = {cell: loop.create_future() for cell in cells}
        async with asyncio.TaskGroup() as players:
            for of_one in by_player(self.outcomes).values():
                players.create_task(self._play_all(of_one))

    async def _play_all(self, cells: list[Cell]) -> None:
        for cell in cells:
            self.outcomes[cell].set_result(await self._failure(cell))

    async def _failure(self, cell: Cell) -> str | None:
        """Why a cell failed, None if it plays."""
        try:
            async with asyncio.timeout(LIMIT_S):
                counters = await play(self.gateway, cell)
        except (AssertionError, OSError, TimeoutError, asyncio.IncompleteReadError, av.error.FFmpegError) as error:
            return f"{type(error).__name__}: {error}"[-LAST_WORDS:]
        return None if is_its_video(counters) else f"pictures missing or damaged: {counters}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """All cells that this run was asked for, being played."""
    asked = [item.callspec.params["cell"] for item in request.session.items if _is_of_a_cell(item)]
    async with open_gateway(tmp_path_factory.mktemp("compat") / "demo", STEADY) as gateway, cameras_in(gateway):
        matrix = Matrix(gateway)
        running = asyncio.create_task(matrix.run(asked))
        await asyncio.sleep(0)
        yield matrix
        await running


def _is_of_a_cell(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.originalname == test_cell.__name__


IN_GATE = gate_cells()


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=cell.camera, marks=() if cell in IN_GATE else pytest.mark.soak) for cell in all_cells()],
)
async def test_cell(matrix: Matrix, cell: Cell, pytestconfig: pytest.Config) -> None:
    # rtsp.md T8; C01, C08: what is written is what is seen
    failure = await matrix.outcomes[cell]
    known = cause_of(cell)
    if known is None:
        assert failure is None
    else:
        assert failure is not None, f"it plays now; no longer true: {known}"
    if not pytestconfig.getoption("write_compatibility"):
        assert read(PATH.read_text())[cell] is (Outcome.PLAYS if failure is None else Outcome.FAILED)


def test_the_page_names_every_cell_and_no_other() -> None:
    written = read(PATH.read_text())
    assert list(written) == [Cell(*row, view) for row in ROWS for view in VIEWS]
    lacking = {cell for cell, outcome in written.items() if outcome is Outcome.LACKING}
    assert lacking == {cell for cell in written if (cell.player, cell.transport) in LACKING}


def test_the_gate_plays_each_player_transport_and_camera_with_each_other() -> None:
    played, every = gate_cells(), list(all_cells())
    for of in (lambda c: (c.player, c.transport), lambda c: (c.player, c.view), lambda c: (c.transport, c.view)):
        assert {of(cell) for cell in played} == {of(cell) for cell in every}


async def test_write_the_page(matrix: Matrix, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("write_compatibility"):
        pytest.skip("make compatibility writes it")
    seen = {cell: await outcome for cell, outcome in matrix.outcomes.items()}
    assert list(seen) == list(all_cells()), "the page wants all cells: make compatibility"
    failures = {cell: failure and (cause_of(cell) or failure) for cell, failure in seen.items()}
    PATH.write_text(render(failures, await asyncio.to_thread(versions)))
