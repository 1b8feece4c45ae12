"""The window of recordings at the door, as clocks in Paris count its days, and as it slides (C03; T13, row 56)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from auth.policy import Mode
from auth.principals import Role
from auth.trace import Kind
from halfgateway.control.relief import Newcomer
from halfgateway.control.streams import Stream
from halfgateway.downstream.door import PlayWish
from halfgateway.errors import OutsideRetention
from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.replay import PlayOptions
from halfgateway.relay.reader import Reader
from tests.control.doors import AGENT, CAMERA, SOURCE, Place, Player, open_place, principal, wish
from tests.control.film import SECOND, Film
from tests.control.seats import Sink, play, refused, sit
from tests.control.valkeys import Nodes, until
from tests.held_clock import HeldClock
from tests.rights import designation, order, rights

RELIEF, RELIEFS_SERVICE = "agent-7", "DRPJ"
THEIRS = order([CAMERA])
RELIEFS = order(
    [CAMERA],
    reference="78-2025-03",
    recipients=frozenset({RELIEFS_SERVICE}),
    retention_min_days=0,
    retention_max_days=3,
)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path, clock: HeldClock) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path, recorders=Film(), clock=clock) as place:
        yield place


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("now", "edge"),
    [
        pytest.param("2026-10-25T00:30:00", "2026-10-15T00:30:00", id="first 2:30 of 25 October"),
        pytest.param("2026-10-25T01:30:00", "2026-10-15T00:30:00", id="second 2:30 of 25 October"),
        pytest.param("2026-11-01T10:00:00", "2026-10-22T09:00:00", id="25 October is within"),
        pytest.param("2026-11-04T00:30:00", "2026-10-24T23:30:00", id="before the hour that comes twice"),
        pytest.param("2026-11-04T01:30:00", "2026-10-25T00:30:00", id="the first of the two"),
        pytest.param("2026-11-04T02:30:00", "2026-10-25T02:30:00", id="after the second"),
        pytest.param("2026-03-29T01:30:00", "2026-03-19T02:30:00", id="3:30 of 29 March"),
        pytest.param("2026-04-04T10:00:00", "2026-03-25T11:00:00", id="29 March is within"),
        pytest.param("2026-04-08T01:30:00", "2026-03-29T01:30:00", id="after the hour that is left out"),
    ],
)
async def test_ten_days_are_days_in_paris(place: Place, clock: HeldClock, now: str, edge: str) -> None:
    # C03, T13: ten days less a second are shown, ten days and a second are not, whatever the nights between were
    clock.advance(utc(now) - clock.now())
    seat = await sit(place)
    too_old = await refused(seat, ClockRange(utc(edge) - SECOND, utc(edge) + 4 * SECOND))
    assert too_old.code == "outside-retention"
    playing = await play(seat, ClockRange(utc(edge) + SECOND, utc(edge) + 4 * SECOND))
    assert isinstance(playing.span, ClockRange)
    assert playing.span.start == utc(edge) + SECOND


async def test_what_plays_is_overtaken_by_the_window(place: Place, clock: HeldClock) -> None:
    # C03, T13, row 56: it began inside; the edge passes it as it plays, and its reader is told goodbye
    player = Player()
    seat = await sit(place, player=player)
    await play(seat, ClockRange(clock.now() - 10 * DAY + HOUR))
    await until(lambda: seat.position is not None)
    clock.advance(2 * DAY)
    await until(lambda: player.ended_by is not None)
    assert isinstance(player.ended_by, OutsideRetention)
    await place.holds_only("the window went on")
    end = (await place.told())[-1]
    assert (end.kind, end.detail["cause"]) == (Kind.STREAM_STOPPED, "outside-retention")


async def test_where_it_was_paused_may_have_slid_out(place: Place, clock: HeldClock) -> None:
    # C03, T13, row 56: PLAY without a range goes on from there only as long as that may be seen
    seat = await sit(place)
    await play(seat, ClockRange(clock.now() - 10 * DAY + 60 * SECOND))
    await until(lambda: seat.position is not None)
    await seat.pause()
    clock.advance(HOUR)
    refusal = await refused(seat, None)
    assert (refusal.code, refusal.rtsp_status) == ("outside-retention", 457)
    again = await play(seat, ClockRange(clock.now() - DAY, clock.now() - DAY + SECOND))
    assert isinstance(again.span, ClockRange)


def reliefs(place: Place) -> Newcomer:
    """The relief, of a service that another order lets see three days; the camera's own order goes to the former's."""
    known = rights({AGENT: Role.OPERATOR, RELIEF: Role.OPERATOR}, [CAMERA], orders=(THEIRS, RELIEFS))
    designations = {**known.designations, RELIEF: designation(RELIEF, service=RELIEFS_SERVICE)}
    place.who_may.rights = replace(known, designations=designations)
    theirs = {"account": "operator-7", "agent": RELIEF, "service": RELIEFS_SERVICE}
    return Newcomer(replace(principal(Role.OPERATOR), **theirs), None, None, SOURCE)


async def watched(place: Place, start: datetime, player: Player) -> tuple[Stream, Sink, Reader]:
    """A recording that plays from an instant on, to a reader who has taken its first picture and no more."""
    stream, holder = await place.open(replace(wish(profile=None), mode=Mode.RECORDED, start=start))
    seat, sink = await sit(place, holder, player), Sink(writable=False)
    reader = Reader(sink, seat.gate, now=time.monotonic)
    (await seat.play(PlayWish(ClockRange(start), PlayOptions(), None), lambda: reader)).begin()
    await until(lambda: reader.queued_bytes > 0)
    return stream, sink, reader


async def test_the_relief_takes_over_nothing_from_outside_its_own_window(place: Place, clock: HeldClock) -> None:
    # C03, L06, S15: what the relief would be refused is not had by a hand-over either
    player, relief = Player(), reliefs(place)
    stream, _, _ = await watched(place, clock.now() - 8 * DAY, player)
    with pytest.raises(OutsideRetention):
        await place.relief.take_over(stream, relief)
    assert (stream.request.principal.agent, player.ended_by) == (AGENT, None)
    await place.settle()
    refusal = (await place.told(stream.id))[-1]
    assert (refusal.kind, refusal.agent, refusal.refusal) == (Kind.STREAM_REFUSED, RELIEF, "outside-retention")


async def test_the_relief_s_window_holds_from_then_on(place: Place, clock: HeldClock) -> None:
    # C03, L06, S15
    player, relief = Player(), reliefs(place)
    stream, sink, reader = await watched(place, clock.now() - 3 * DAY + HOUR, player)
    assert await place.relief.take_over(stream, relief)
    clock.advance(2 * HOUR)
    sink.writable = True
    reader.drain()
    await until(lambda: player.ended_by is not None)
    assert isinstance(player.ended_by, OutsideRetention)


async def test_who_watches_at_the_edge_may_be_relieved(place: Place, clock: HeldClock) -> None:
    # C03, S15: a line hiccups
    player, relief = Player(), reliefs(place)
    stream, _, _ = await watched(place, clock.now() - 3 * DAY + SECOND, player)
    clock.advance(2 * SECOND)
    assert await place.relief.take_over(stream, relief)
    assert player.ended_by is None


async def test_the_former_s_window_counts_no_more(
    place: Place, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # L06, S12, S15: the order that let the former watch is withdrawn
    monkeypatch.setattr("halfgateway.control.replays.EDGE_KEPT_S", 0.0)
    player, relief = Player(), reliefs(place)
    stream, sink, reader = await watched(place, clock.now() - DAY, player)
    assert await place.relief.take_over(stream, relief)
    known = place.who_may.rights
    assert known is not None
    place.who_may.rights = replace(known, orders=(replace(THEIRS, withdrawn_at=clock.now()), RELIEFS))
    sink.writable = True
    reader.drain()
    await until(lambda: reader.sent_packets > 10 or player.ended_by is not None)
    assert player.ended_by is None
