"""The window of recordings at the door, as clocks in Paris count its days, and as it slides (C03; T13, row 56)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.errors import OutsideRetention
from halfgateway.protocol.ranges import ClockRange
from tests.control.doors import Place, Player, open_place
from tests.control.film import SECOND, Film
from tests.control.seats import play, refused, sit
from tests.control.valkeys import Nodes, until
from tests.held_clock import HeldClock

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
