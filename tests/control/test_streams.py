"""The table of streams: what is over, what may be shared or taken up again, and an end that happens once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from auth.policy import Mode
from auth.principals import Role
from halfgateway.control.access import AccessRequest
from halfgateway.control.endings import NotPlayed, NotResumed, PausedTooLong
from halfgateway.control.streams import Stream, StreamState, StreamTable, Traffic
from halfgateway.downstream.door import Viewer
from halfgateway.errors import InterconnectionCut, InvalidRequest, NotHabilitated, Refusal
from tests.control.doors import CAMERA, MACHINE, SOURCE, wish

SINCE = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(eq=False)
class Sitting:
    """A seat that keeps what is done to it."""

    profile: str = "main"
    playing: bool = False
    sent: Traffic = field(default_factory=Traffic)
    evicted_by: Refusal | None = None

    def traffic(self) -> Traffic:
        return self.sent

    def evict(self, cause: Refusal) -> None:
        self.evicted_by = cause

    def give_way(self, viewer: Viewer) -> None:
        raise AssertionError("nobody asked for this seat")


class Now:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def table(now: Now) -> StreamTable:
    return StreamTable(now=now)


def stream(request: AccessRequest | None = None, *, until_s: float = 1000.0) -> Stream:
    return Stream(request or wish(), "1/10", until_s, SINCE)


def machine_stream(table: StreamTable, *seats: Sitting) -> Stream:
    opened = stream(wish(Role.MACHINE))
    opened.seats.extend(seats)
    table.add(opened)
    return opened


def test_a_stream_is_reserved_then_plays_then_pauses() -> None:
    # C02
    seat, opened = Sitting(), stream()
    states = [opened.state]
    opened.seats.append(seat)
    for seat.playing in (True, False):
        opened.ever_played = True
        states.append(opened.state)
    assert states == [StreamState.RESERVED, StreamState.PLAYING, StreamState.PAUSED]


def test_traffic_is_that_of_all_seats_past_and_present() -> None:
    # L10
    first, second, opened = Sitting(sent=Traffic(10, 1, 3)), Sitting(sent=Traffic(5, 2, 0)), stream()
    opened.seats.extend([first, second])
    opened.unseat(first)
    opened.unseat(first)
    assert opened.traffic() == Traffic(15, 3, 3)
    opened.unseat(second)
    assert opened.traffic() == Traffic(15, 3, 3)


def test_what_is_over_is_what_kept_its_slot_waiting_or_lost_it(table: StreamTable, now: Now) -> None:
    # C01
    lapsed, waited, playing = stream(until_s=101.0), stream(), stream()
    for opened in (lapsed, waited, playing):
        table.add(opened)
    waited.end_unless(NotPlayed, 1.0, now())
    playing.end_unless(PausedTooLong, 0.5, now())
    playing.keep()
    assert table.over() == []
    now.s = 100.99
    assert table.over() == []
    now.s = 101.0
    assert {(ended.id, cause.code) for ended, cause in table.over()} == {
        (lapsed.id, "state-store-unavailable"),
        (waited.id, "not-played"),
    }


def test_only_another_profile_of_a_machine_shares_its_slot(table: StreamTable) -> None:
    # C02
    opened = machine_stream(table, Sitting("main"))
    assert table.shareable(MACHINE, CAMERA, "sub") is opened
    assert table.shareable(MACHINE, CAMERA, "main") is None
    assert table.shareable(MACHINE, "cam-2", "sub") is None
    assert table.shareable("another", CAMERA, "sub") is None
    opened.seats.append(Sitting("sub"))
    assert table.shareable(MACHINE, CAMERA, "sub") is None
    assert table.shareable(MACHINE, CAMERA, "main") is None


def test_a_ticket_and_a_stream_that_nobody_watches_are_not_shared(table: StreamTable) -> None:
    # C02
    machine_stream(table)
    ticket = stream(replace(wish(Role.MACHINE), ticket="t-1"))
    ticket.seats.append(Sitting("main"))
    table.add(ticket)
    assert table.shareable(MACHINE, CAMERA, "sub") is None
    assert table.of_ticket("t-1") is ticket
    assert table.of_ticket("t-2") is None


def test_only_its_holder_takes_a_lost_stream_up_again(table: StreamTable) -> None:
    # S15
    opened = machine_stream(table)
    assert table.parked(MACHINE, CAMERA, Mode.LIVE, SOURCE) is None
    opened.parked = True
    opened.end_unless(NotResumed, 20.0, 0.0)
    assert table.parked(MACHINE, CAMERA, Mode.LIVE, SOURCE) is opened
    for account, camera, source in (("x", CAMERA, SOURCE), (MACHINE, "x", SOURCE), (MACHINE, CAMERA, "x")):
        assert table.parked(account, camera, Mode.LIVE, source) is None


def test_a_stream_ends_once_and_nothing_is_delivered_after_it(table: StreamTable, now: Now) -> None:
    # C10
    seat, cause = Sitting(playing=True, sent=Traffic(7, 1, 0)), InterconnectionCut()
    opened = machine_stream(table, seat)
    assert opened in table
    assert opened.gate.allows(now())
    assert table.remove(opened, cause)
    assert not opened.gate.allows(now())
    assert seat.evicted_by is cause
    assert (opened.seats, opened.traffic().bytes) == ([], 7)
    assert opened not in table
    assert len(table) == 0
    assert not table.remove(opened, cause)


def test_a_stream_is_served_once(table: StreamTable) -> None:
    opened = machine_stream(table)
    with pytest.raises(InvalidRequest):
        table.add(stream(opened.request))
    assert list(table) == [opened] == [table.get(opened.id)]


def test_a_condemned_stream_delivers_nothing_and_ends_by_its_first_cause(table: StreamTable) -> None:
    # S12
    opened = stream()
    table.add(opened)
    table.condemn(opened, NotHabilitated())
    table.condemn(opened, PausedTooLong())
    assert not opened.gate.allows(0.0)
    assert opened in table
    assert [(ended.id, cause.code) for ended, cause in table.over()] == [(opened.id, "not-habilitated")]
