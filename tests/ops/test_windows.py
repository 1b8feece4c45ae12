"""Maintenance windows: what is to be done about one, from the clock and the interconnection's own state (P07)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.errors import WindowRefused
from ops.interconnection import Author, Ground, InterconnectionState, cut, first_open, restore
from ops.windows import MaintenanceWindow, Step, WindowState, drains_until, held, next_step, plan, withdraw

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OPEN = first_open(NOON - HOUR)


def window(number: int = 1, **changes: object) -> MaintenanceWindow:
    usual = MaintenanceWindow(
        number=number,
        starts_at=NOON,
        ends_at=NOON + 2 * HOUR,
        drain=timedelta(minutes=10),
        reason="mise à jour",
        change=None,
        planned_by="syn-ops-01",
        author=Author.OPS,
        announced_at=NOON - 48 * HOUR,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def cut_by(incident: str, ground: Ground = Ground.MAINTENANCE, of: InterconnectionState = OPEN) -> InterconnectionState:
    return cut(of, ground=ground, reason="r", by=Author.CALENDAR, since=NOON, incident=incident)


def test_a_window_drains_cuts_and_reopens_in_its_time() -> None:
    planned = window()
    steps = [next_step(planned, OPEN, NOON + minutes * timedelta(minutes=1)) for minutes in (-1, 0, 9, 10, 119)]
    assert steps == [Step.WAIT, Step.DRAIN, Step.DRAIN, Step.CUT, Step.CUT]
    ours = cut_by(planned.incident)
    assert next_step(planned, ours, NOON + HOUR) is Step.WAIT
    assert next_step(planned, ours, NOON + 2 * HOUR) is Step.REOPEN
    assert next_step(planned, OPEN, NOON + 2 * HOUR) is Step.WAIT  # a node that was down all the while
    failed = replace(planned, held_at=NOON + 2 * HOUR)
    assert next_step(failed, ours, NOON + 3 * HOUR) is Step.WAIT
    assert failed.state(NOON + 3 * HOUR) is WindowState.HELD
    assert [held([failed], state, NOON + 3 * HOUR) for state in (ours, OPEN)] == [1, 0]


def test_what_somebody_else_has_cut_is_neither_cut_again_nor_reopened() -> None:
    planned, theirs = window(), cut_by("critical", Ground.CRITICAL_INCIDENT)
    assert next_step(planned, theirs, NOON + HOUR) is Step.WAIT
    meanwhile = cut_by("security", Ground.SECURITY, of=cut_by(planned.incident))
    assert next_step(planned, meanwhile, NOON + 2 * HOUR) is Step.WAIT


def test_a_person_who_restores_early_ends_the_window() -> None:
    planned = window()
    early = restore(cut_by(planned.incident), incident=planned.incident, reason="fini", by=Author.OPS, since=NOON)
    assert next_step(planned, early, NOON + HOUR) is Step.WAIT
    assert drains_until([planned], early, NOON + HOUR) is None


def test_no_new_stream_begins_while_a_window_drains() -> None:
    planned = window()
    assert drains_until([planned], OPEN, NOON - HOUR) is None
    assert drains_until([planned, window(2, starts_at=NOON + 5 * HOUR, ends_at=NOON + 6 * HOUR)], OPEN, NOON) == (
        NOON + 2 * HOUR
    )
    assert drains_until([replace(planned, withdrawn_at=NOON)], OPEN, NOON) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_at": NOON},
        {"ends_at": NOON + timedelta(days=8)},
        {"drain": 2 * HOUR},
        {"drain": timedelta(minutes=40), "ends_at": NOON + HOUR},
        {"drain": -HOUR},
    ],
)
def test_what_cannot_be_a_window_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(WindowRefused):
        window(**changes)


def test_a_window_is_announced_before_it_begins_and_meets_no_other() -> None:
    with pytest.raises(WindowRefused, match="avant son début"):
        plan(window(announced_at=NOON), ())
    other = window(7, starts_at=NOON + HOUR, ends_at=NOON + 3 * HOUR)
    with pytest.raises(WindowRefused, match="n° 7"):
        plan(window(), (other,))
    assert plan(
        window(), (replace(other, withdrawn_at=NOON), window(8, ends_at=NOON + 9 * HOUR, starts_at=NOON + 2 * HOUR))
    )


def test_only_a_window_that_has_not_begun_is_given_up() -> None:
    assert withdraw(window(), NOON - HOUR, "reportée").state(NOON) is WindowState.WITHDRAWN
    with pytest.raises(WindowRefused):
        withdraw(window(), NOON, "trop tard")
