"""Datagrams put back in order: any order within the bounds, each packet once, and never a wait without an end."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol.reordering import (
    MAX_HELD_BYTES,
    MAX_HELD_PACKETS,
    MAX_STEPS_AHEAD,
    MAX_STEPS_BEHIND,
    PATIENCE_S,
    ReorderBuffer,
)
from halfgateway.protocol.rtp import sequence, sequence_distance

FIRST = st.integers(0, 0xFFFF)


def packet(number: int, *, ssrc: int = 7, size: int = 12) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, number & 0xFFFF, 0, ssrc) + bytes(size - 12)


def numbers(packets: list[bytes]) -> list[int]:
    return [sequence(each, 0) for each in packets]


@given(FIRST, st.data())
def test_any_order_within_the_window_comes_out_in_order(first: int, data: st.DataObject) -> None:
    steps = data.draw(st.permutations(range(1, 40)))
    order = ReorderBuffer()
    out = order.push(packet(first), 0.0)
    for step in steps:
        out += order.push(packet(first + step), 0.0)
    assert numbers(out) == [(first + step) & 0xFFFF for step in range(40)]
    assert (order.lost, order.discarded, order.deadline_s) == (0, 0, None)


@given(FIRST, st.lists(st.tuples(st.integers(0, 60), st.floats(0, 0.05)), max_size=120))
def test_whatever_comes_goes_out_in_order_once_and_in_time(first: int, arrivals: list[tuple[int, float]]) -> None:
    order = ReorderBuffer()
    out = order.push(packet(first), 0.0)
    now_s, came = 0.0, {first}
    for step, after_s in arrivals:
        now_s += after_s
        out += order.overdue(now_s)
        out += order.push(packet(first + step), now_s)
        came.add((first + step) & 0xFFFF)
        assert order.deadline_s is None or now_s < order.deadline_s <= now_s + PATIENCE_S
    out += order.overdue(now_s + PATIENCE_S)
    told = numbers(out)
    assert all(sequence_distance(a, b) > 0 for a, b in itertools.pairwise(told))
    assert set(told) <= came
    assert len(told) + order.lost == sequence_distance(first, told[-1]) + 1
    assert len(told) + order.discarded == len(arrivals) + 1
    assert order.deadline_s is None


@given(st.lists(st.tuples(FIRST, st.integers(0, 2), st.integers(12, 65_535)), max_size=80))
def test_hostile_numbers_neither_grow_it_nor_come_out_twice_in_a_row(
    arrivals: list[tuple[int, int, int]],
) -> None:
    order = ReorderBuffer()
    came: list[bytes] = []
    out: list[bytes] = []
    for number, ssrc, size in arrivals:
        came.append(packet(number, ssrc=ssrc, size=size))
        out += order.push(came[-1], 0.0)
        kept = len(came) - len(out) - order.discarded
        assert 0 <= kept <= MAX_HELD_PACKETS
    out += order.overdue(PATIENCE_S)
    assert len(came) == len(out) + order.discarded


def test_a_missing_packet_is_waited_for_and_then_given_up() -> None:
    order = ReorderBuffer()
    order.push(packet(10), 0.0)
    assert order.push(packet(12), 1.0) == []
    assert order.push(packet(13), 1.05) == []
    assert order.deadline_s == pytest.approx(1.0 + PATIENCE_S)
    assert order.overdue(1.0 + PATIENCE_S / 2) == []
    assert numbers(order.overdue(1.0 + PATIENCE_S)) == [12, 13]
    assert (order.lost, order.deadline_s) == (1, None)
    assert order.push(packet(11), 1.2) == [], "too late"
    assert order.push(packet(13), 1.2) == [], "a second time"
    assert order.discarded == 2
    assert numbers(order.push(packet(14), 1.2)) == [14]


def test_each_gap_has_its_own_patience() -> None:
    order = ReorderBuffer()
    order.push(packet(0), 0.0)
    order.push(packet(4), 1.0)
    order.push(packet(2), 1.05)
    assert numbers(order.overdue(1.0 + PATIENCE_S)) == [2, 4], "what waits longest goes, and what comes before it"
    order.push(packet(6), 2.0)
    order.push(packet(8), 2.05)
    assert numbers(order.overdue(2.0 + PATIENCE_S)) == [6]
    assert order.deadline_s == pytest.approx(2.05 + PATIENCE_S)


def test_what_waits_is_bounded_in_packets_and_in_bytes() -> None:
    few, large = ReorderBuffer(), ReorderBuffer()
    few.push(packet(0), 0.0)
    out = [few.push(packet(number), 0.0) for number in range(2, MAX_HELD_PACKETS + 3)]
    assert [len(each) for each in out] == [0] * MAX_HELD_PACKETS + [MAX_HELD_PACKETS + 1]
    assert few.lost == 1
    large.push(packet(0), 0.0)
    fit = MAX_HELD_BYTES // 60_000
    out = [large.push(packet(number, size=60_000), 0.0) for number in range(2, fit + 3)]
    assert [len(each) for each in out] == [0] * fit + [fit + 1]


@pytest.mark.parametrize("jump", [MAX_STEPS_AHEAD + 1, -MAX_STEPS_BEHIND - 1, 0x8000])
def test_a_stray_is_dropped_and_a_source_that_begins_anew_is_followed(jump: int) -> None:
    # RFC 3550 appendix A.1
    order = ReorderBuffer()
    order.push(packet(1000), 0.0)
    assert order.push(packet(1001 + jump), 0.0) == []
    assert numbers(order.push(packet(1001), 0.0)) == [1001]
    assert order.push(packet(1003), 0.0) == []
    anew = 1002 + jump + (9 if jump > 0 else -9)
    assert order.push(packet(anew), 0.0) == []
    assert numbers(order.push(packet(anew + 1), 0.0)) == [1003, (anew + 1) & 0xFFFF]
    assert numbers(order.push(packet(anew + 2), 0.0)) == [(anew + 2) & 0xFFFF]


def test_another_source_begins_at_once_and_what_waited_goes_before_it() -> None:
    order = ReorderBuffer()
    order.push(packet(1), 0.0)
    order.push(packet(3), 0.0)
    assert numbers(order.push(packet(60_000, ssrc=8), 0.0)) == [3, 60_000]
    assert numbers(order.push(packet(60_001, ssrc=8), 0.0)) == [60_001]
    assert order.deadline_s is None
