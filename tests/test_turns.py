"""Everything has its turn once a round, a few at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.turns import Turns
from tests.held_clock import HeldClock


@pytest.mark.parametrize("count", [1, 3, 10, 57])
def test_each_has_one_turn_a_round_and_never_all_at_once(clock: HeldClock, count: int) -> None:
    turns = Turns(lambda: range(count), round_s=1.0, now=clock.monotonic)
    assert turns.due() == []
    seen = []
    for _ in range(10):
        clock.advance(timedelta(seconds=0.1))
        due = turns.due()
        assert len(due) <= count / 10 + 1
        seen += due
    assert sorted(seen) == list(range(count))


def test_who_comes_has_a_turn_within_two_rounds_and_who_goes_has_none(clock: HeldClock) -> None:
    present = {"anne"}
    turns = Turns(lambda: present, round_s=1.0, now=clock.monotonic)
    turns.due()
    present.add("bruno")
    clock.advance(timedelta(seconds=1))
    assert turns.due() == ["anne"]
    present.discard("anne")
    clock.advance(timedelta(seconds=1))
    assert set(turns.due()) == {"anne", "bruno"}
    clock.advance(timedelta(seconds=1))
    assert turns.due() == ["bruno"]


@given(st.lists(st.floats(0, 3), max_size=40), st.integers(0, 30))
def test_however_it_is_called_nobody_is_forgotten(pauses: list[float], count: int) -> None:
    clock = HeldClock()
    turns = Turns(lambda: range(count), round_s=1.0, now=clock.monotonic)
    turns.due()
    for pause in pauses:
        clock.advance(timedelta(seconds=pause))
        turns.due()
    for _ in range(2):
        clock.advance(timedelta(seconds=1))
        rest = turns.due()
    assert sorted(rest) == list(range(count))
