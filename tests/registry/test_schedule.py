"""Who is asked when: those in order all together each hour, the others ever more seldom, within a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry.schedule import FIRST_RETRY_S, LONGEST_RETRY_S, SURVEY_S, Schedule

BEGAN_S = 1000.0


def schedule(chance: float = 0.0) -> Schedule:
    return Schedule(BEGAN_S, chance=lambda: chance)


def due_after_s(asked: Schedule, device: str, now_s: float) -> float:
    """How long until a device is due, to a tenth of a second."""
    return next(tenth / 10 for tenth in range(40_000) if asked.is_due(device, now_s + tenth / 10))


def test_an_unknown_device_is_due_at_once() -> None:
    assert schedule().is_due("camera", BEGAN_S)


@pytest.mark.parametrize("answered_s", [0.0, 57.0, 3599.0, 3600.0, 9000.0])
def test_those_in_order_are_asked_in_one_round(answered_s: float) -> None:
    asked = schedule()
    asked.answered("late", BEGAN_S + answered_s)
    rounds = answered_s // SURVEY_S + 1
    assert due_after_s(asked, "late", BEGAN_S + answered_s) == pytest.approx(rounds * SURVEY_S - answered_s)


def test_one_that_stays_away_is_asked_ever_more_seldom_within_a_bound() -> None:
    asked, now_s, waits = schedule(), BEGAN_S, []
    for _ in range(8):
        asked.failed("gone", now_s)
        waits.append(due_after_s(asked, "gone", now_s))
        now_s += waits[-1]
    assert waits == pytest.approx([30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0, 300.0])
    asked.answered("gone", now_s)
    asked.failed("gone", now_s)
    assert due_after_s(asked, "gone", now_s) == pytest.approx(30.0)


@given(chance=st.floats(0, 1, exclude_max=True), failures=st.integers(1, 10_000))
def test_no_absence_makes_it_wait_for_longer_than_ten_minutes(chance: float, failures: int) -> None:
    asked = schedule(chance)
    for _ in range(min(failures, 40)):
        asked.failed("gone", BEGAN_S)
    assert not asked.is_due("gone", BEGAN_S + FIRST_RETRY_S / 2 - 0.001)
    assert asked.is_due("gone", BEGAN_S + LONGEST_RETRY_S)


def test_a_sites_devices_are_spread() -> None:
    chances = iter([0.0, 0.25, 0.5, 0.75])
    asked = Schedule(BEGAN_S, chance=lambda: next(chances))
    for name in "abcd":
        asked.failed(name, BEGAN_S)
    assert [sum(asked.is_due(name, BEGAN_S + at_s) for name in "abcd") for at_s in (30, 40, 50, 60)] == [1, 2, 3, 4]
