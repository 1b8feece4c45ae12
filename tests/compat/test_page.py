"""The page tells of the whole matrix, and the gate's part of it leaves no two things unmet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.compat.cells import Cell, all_cells, gate_cells, known_failure
from tests.compat.document import PATH, VERSIONS_TITLE, Outcome, read, render

Pair = tuple[object, object]


def test_the_page_is_as_it_was_written_but_for_versions() -> None:
    page, _, _ = PATH.read_text().partition(VERSIONS_TITLE)
    known = {cell: known_failure(cell) for cell in all_cells()}
    causes = {cell: failure.cause if failure else None for cell, failure in known.items()}
    written, _, _ = render(causes, {}).partition(VERSIONS_TITLE)
    assert page == written


def test_what_is_written_is_read_back() -> None:
    failures = {cell: f"cause {index % 3}" if index % 5 == 0 else None for index, cell in enumerate(all_cells())}
    page = render(failures, {})
    assert page.count("cause 1") == 1
    read_back = {cell: outcome for cell, outcome in read(page).items() if outcome is not Outcome.LACKING}
    assert read_back == {cell: Outcome.FAILED if cause else Outcome.PLAYS for cell, cause in failures.items()}


@pytest.mark.parametrize(
    "pair",
    [lambda cell: (cell.player, cell.transport), lambda cell: (cell.player, cell.view)],
    ids=["player-transport", "player-camera"],
)
def test_the_gate_plays_each_with_each(pair: Callable[[Cell], Pair]) -> None:
    assert {pair(cell) for cell in gate_cells()} == {pair(cell) for cell in all_cells()}
    assert len(gate_cells()) < len(list(all_cells())) / 3
