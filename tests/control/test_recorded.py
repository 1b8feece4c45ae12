"""Recordings at the door: what is kept, ended and given back, whoever is gone and whatever fails
(C01-C03, C05, S12, S15; T01, T02)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.policy import Mode
from auth.rights import Action
from auth.trace import Kind
from camera_registry.clock import rfc3339
from camera_registry.paris import days_before
from halfgateway.control.access import AccessRequest
from halfgateway.control.endings import ClosedOnRequest, NotResumed, PausedTooLong
from halfgateway.control.replay_seat import RecordedSeat
from halfgateway.control.streams import Stream, StreamState
from halfgateway.downstream.door import PlayWish
from halfgateway.errors import (
    InterconnectionCut,
    NotHabilitated,
    OutsideRetention,
    RecorderUnreachable,
    TraceUnavailable,
)
from halfgateway.protocol.ranges import NOW, ClockRange, NptRange, Range
from halfgateway.protocol.replay import FrameKind, Frames, PlayOptions
from halfgateway.protocol.rtp import RtpView
from halfgateway.relay.reader import Reader
from halfgateway.replay.transmission import Transmission
from tests.control.doors import BY_MACHINE, Place, Player, open_place, wish
from tests.control.film import SECOND, Film
from tests.control.seats import PATH, Sink, play, refused, sit
from tests.control.stepping import every_await
from tests.control.valkeys import Nodes, until

REVERSE = PlayOptions(scale=-1.0)


@pytest.fixture
def film() -> Film:
    return Film()


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path, film: Film) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path, recorders=film) as place:
        yield place


def since(**ago: float) -> datetime:
    return datetime.now(UTC) - timedelta(**ago)


def recorded(start: datetime | None = None, end: datetime | None = None) -> AccessRequest:
    return replace(wish(profile=None), mode=Mode.RECORDED, start=start or since(hours=1), end=end)


def at(start: datetime, end: datetime | None = None) -> ClockRange:
    return ClockRange(start, end)


def stream_of(place: Place) -> Stream:
    (stream,) = place.table
    return stream


async def test_who_is_gone_while_sitting_down_leaves_nothing(place: Place) -> None:
    # C01, T02
    async def start() -> Coroutine[Any, Any, object]:
        await place.from_the_beginning()
        return sit(place)

    async for where in every_await(start):
        await place.holds_only(where)


async def test_who_is_gone_while_it_is_sought_leaves_nothing(place: Place, film: Film) -> None:
    # C01, T02, row 60: the recorder has its session back, whenever the connection went
    seats: list[RecordedSeat] = []

    async def start() -> Coroutine[Any, Any, object]:
        await place.from_the_beginning()
        seats.append(await sit(place))
        return play(seats[-1], at(since(minutes=5)))

    async for where in every_await(start):
        seats[-1].lose()
        place.closer.end(stream_of(place), ClosedOnRequest())
        await place.holds_only(where)
        assert film.open_sessions == 0, where


@pytest.mark.parametrize("end", ["its stream ends", "another session has it", "its connection is lost"])
async def test_whenever_a_seek_ends_the_recorder_has_its_session_back(place: Place, film: Film, end: str) -> None:
    # C01, row 60: also while the first picture is waited for
    film.turns = 4
    for turns in range(20):
        seat = await sit(place)
        seeking = asyncio.create_task(play(seat, at(since(minutes=5))))
        for _ in range(turns):
            await asyncio.sleep(0)
        if end == "another session has it":
            seat.give_way(Player())
        elif end == "its connection is lost":
            seeking.cancel()
            await asyncio.gather(seeking, return_exceptions=True)
            seat.lose()
        place.closer.end(stream_of(place), ClosedOnRequest())
        await asyncio.gather(seeking, return_exceptions=True)
        assert end == "its connection is lost" or not seeking.cancelled(), "it answers other sessions too"
        await place.holds_only(f"{turns} turns")
        assert film.open_sessions == 0, turns
    assert film.sessions[-1].passages, "it never came so far"


async def test_a_stream_that_ends_waits_for_no_recorder(place: Place, film: Film) -> None:
    # C01, C05, row 60: one that hangs has its session back at once, and who asked is told
    film.hangs = True
    seat = await sit(place)
    seeking = asyncio.create_task(refused(seat, at(since(minutes=5))))
    await until(lambda: film.open_sessions == 1 and film.sessions[0].playing == 1)
    place.closer.end(stream_of(place), ClosedOnRequest())
    async with asyncio.timeout(1):
        assert (await seeking).code == "recorder-unreachable"
    await place.holds_only("it hangs")
    assert film.open_sessions == 0


async def test_a_passage_that_fails_as_it_is_left_keeps_no_session(
    place: Place, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C01, row 60
    async def fail(_: Transmission) -> None:
        raise RecorderUnreachable

    monkeypatch.setattr(Transmission, "close", fail)
    seat = await sit(place)
    await play(seat, at(since(minutes=5)))
    await seat.leave()
    await place.replays.settle()
    assert film.open_sessions == 0


async def test_one_session_serves_every_seek(place: Place, film: Film) -> None:
    # C02, T13, row 60: numbers go on, the slot is one, and each passage that was shown is told
    sink, seat = Sink(), await sit(place)
    for ago in (50, 40, 30):
        playing = await play(seat, at(since(minutes=ago), since(minutes=ago) + 3 * SECOND), sink=sink)
        await until(lambda: seat.playing is False)
    assert isinstance(playing.span, ClockRange)
    (session,) = film.sessions
    assert len(session.passages) == 3
    video = [packet for channel, packet in _frames(bytes(sink.data)) if channel == 0]
    numbers = [RtpView(packet).sequence for packet in video]
    assert all((later - earlier) % 65536 == 1 for earlier, later in itertools.pairwise(numbers))
    assert (await place.slots.usage())[0] == 1
    assert stream_of(place).expiry is PausedTooLong
    await seat.leave()
    await place.settle()
    told = [
        kind for kind in await place.kinds((await place.told())[-1].stream or "") if kind is not Kind.STREAM_STOPPED
    ]
    assert told == [Kind.STREAM_REQUESTED, Kind.STREAM_STARTED, Kind.STREAM_MOVED, Kind.STREAM_MOVED]
    assert film.open_sessions == 0


async def test_what_plays_into_the_edge_of_the_window_is_ended(place: Place) -> None:
    # C03, row 56: the window holds also while it plays; its reason is in the trace
    player = Player()
    seat = await sit(place, player=player)
    await play(seat, at(days_before(datetime.now(UTC), 10) + 5 * SECOND, since(days=12)), REVERSE)
    await until(lambda: player.ended_by is not None)
    assert isinstance(player.ended_by, OutsideRetention)
    await place.holds_only("the edge")
    assert (await place.told())[-1].detail["cause"] == "outside-retention"


async def test_a_recorder_s_picture_from_outside_is_not_shown(place: Place, film: Film) -> None:
    # C03: it begins at or before what is asked, perhaps outside; then a little later is asked for
    edge = days_before(datetime.now(UTC), 10)
    film.lead = 2 * SECOND
    seat, sink = await sit(place), Sink()
    playing = await play(seat, at(edge + SECOND, edge + 8 * SECOND), sink=sink)
    assert isinstance(playing.span, ClockRange)
    assert playing.span.start >= edge
    assert len(film.sessions[0].passages) > 1
    detail = (await place.told())[-1].detail
    assert (detail["from"], detail["begins"]) == (rfc3339(edge + SECOND), rfc3339(playing.span.start))


@pytest.mark.parametrize(
    ("span", "refusal"),
    [
        (at(since(days=11)), "outside-retention"),
        (at(since(hours=-1)), "outside-retention"),
        (at(since(hours=1), since(hours=2)), "outside-retention"),
        (NptRange(NOW), "outside-retention"),
    ],
)
async def test_what_may_not_be_seen_is_not_asked_of_the_recorder(
    place: Place, film: Film, span: Range, refusal: str
) -> None:
    # C03, C05, rows 55, 56
    seat = await sit(place)
    assert (await refused(seat, span)).code == refusal
    assert film.sessions == []
    await place.settle()
    assert (await place.told())[-1].refusal == refusal


async def test_nothing_is_shown_that_cannot_be_told(place: Place, film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    # T01
    seat, sink = await sit(place), Sink()

    async def unwritable(draft: object) -> None:
        raise TraceUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(place.tracer, "durable", unwritable)
        with pytest.raises(TraceUnavailable):
            await play(seat, at(since(minutes=5)), sink=sink)
    await place.replays.settle()
    assert (bytes(sink.data), film.open_sessions) == (b"", 0)


async def test_a_cut_ends_it_and_nothing_more_is_given(place: Place, film: Film) -> None:
    # C10: what the recorder still sends goes nowhere
    sink, player = Sink(writable=False), Player()
    seat = await sit(place, player=player)
    await play(seat, at(since(minutes=5)), sink=sink)
    await until(lambda: film.sessions[0].playing == 1)
    place.closer.end(stream_of(place), InterconnectionCut())
    sink.writable = True
    await place.settle()
    assert (bytes(sink.data), film.open_sessions) == (b"", 0)
    assert isinstance(player.ended_by, InterconnectionCut)


async def test_a_slow_reader_holds_the_recorder_back(place: Place, film: Film) -> None:
    # S14, row 58: nothing is lost, and no more than a picture waits
    sink = Sink(writable=False)
    seat = await sit(place)
    readers: list[Reader] = []

    def make() -> Reader:
        readers.append(Reader(sink, seat.gate, now=time.monotonic))
        return readers[-1]

    start = since(minutes=9).replace(microsecond=0)
    playing = await seat.play(PlayWish(at(start, start + 60 * SECOND), PlayOptions(), None), make)
    playing.begin()
    await until(lambda: readers[0].queued_bytes > 0)
    waiting = readers[0].queued_bytes
    for _ in range(50):
        await asyncio.sleep(0)
    assert readers[0].queued_bytes == waiting < 200
    sink.writable = True
    readers[0].drain()
    await until(lambda: not seat.playing)
    assert (readers[0].sent_packets, readers[0].lost_packets) == (60, 0)


async def test_the_right_to_more_than_a_picture_s_pace_is_asked_of_each_play(place: Place, film: Film) -> None:
    # S12, S14: given and taken back while a session stands
    bulk, seat, start = PlayOptions(rate_control=False), await sit(place), since(minutes=5)
    terms, account = seat._house.terms, stream_of(place).request.principal.account
    assert isinstance(await refused(seat, at(start), bulk), NotHabilitated)
    terms.bulk_accounts = frozenset({account})
    assert isinstance(await refused(seat, at(start), bulk), NotHabilitated), "no agreement says so"
    terms.bulk_agreed = True
    await play(seat, at(start), bulk)
    assert not film.sessions[-1].passages[-1].options.rate_control
    terms.bulk_accounts = frozenset()
    assert isinstance(await refused(seat, at(start), bulk), NotHabilitated)


async def test_whom_a_habilitation_names_has_that_right_where_it_is_agreed(place: Place) -> None:
    # S14: a right of its own, in a person's habilitation too
    bulk, start = PlayOptions(rate_control=False), since(minutes=5)
    _, holder = await place.open(recorded())
    seat = await sit(place, holder)
    known = place.who_may.rights
    assert known is not None
    named = [replace(each, actions=each.actions | {Action.BULK}) for each in known.habilitations]
    place.who_may.rights = replace(known, habilitations=tuple(named))
    assert isinstance(await refused(seat, at(start), bulk), NotHabilitated)
    seat._house.terms.bulk_agreed = True
    await play(seat, at(start), bulk)
    place.who_may.rights = known
    assert isinstance(await refused(seat, at(start), bulk), NotHabilitated)


@pytest.mark.parametrize(
    ("scale", "asked", "granted"),
    [
        (100.0, Frames(), Frames(FrameKind.INTRA, 20_000)),
        (100.0, Frames(FrameKind.INTRA), Frames(FrameKind.INTRA, 20_000)),
        (-8.0, Frames(FrameKind.PREDICTED), Frames(FrameKind.INTRA, 1_600)),
        (2.0, Frames(FrameKind.INTRA, 4_000), Frames(FrameKind.INTRA, 4_000)),
        (1.5, Frames(), Frames(FrameKind.INTRA, 300)),
        (1.0, Frames(FrameKind.INTRA), Frames(FrameKind.INTRA)),
        (-0.5, Frames(), Frames()),
    ],
)
async def test_faster_than_it_is_watched_is_five_pictures_a_second(
    place: Place, film: Film, scale: float, asked: Frames, granted: Frames
) -> None:
    # S14: also of a camera whose every picture is a keyframe; not with the right to more
    seat = await sit(place)
    terms, account = seat._house.terms, stream_of(place).request.principal.account
    options = PlayOptions(scale=scale, frames=asked)
    playing = await play(seat, at(since(minutes=5)), options)
    assert (playing.options.frames, film.sessions[-1].passages[-1].options.frames) == (granted, granted)
    terms.bulk_accounts, terms.bulk_agreed = frozenset({account}), True
    playing = await play(seat, at(since(minutes=5)), options)
    assert playing.options == options


@pytest.mark.parametrize("while_playing", [False, True])
async def test_a_recorder_that_fails_is_told_with_its_cause(place: Place, film: Film, while_playing: bool) -> None:
    # C05; failure table: recorder down
    film.fails, film.breaks_after = RecorderUnreachable("L'enregistreur ne répond pas."), 2
    player = Player()
    seat = await sit(place, player=player)
    if not while_playing:
        assert (await refused(seat, at(since(minutes=5)))).code == "recorder-unreachable"
        assert stream_of(place).state is StreamState.RESERVED
    else:
        failure, film.fails = film.fails, None
        film.sessions.append(await film.open(since()))
        seat._replay = film.sessions[-1]
        film.fails = failure
        await play(seat, at(since(minutes=5)))
        await until(lambda: player.ended_by is not None)
        await place.holds_only("it failed")
        assert (await place.told())[-1].detail["cause"] == "recorder-unreachable"


async def test_what_breaks_ends_with_a_cause_and_its_slot_is_free(
    place: Place, film: Film, caplog: pytest.LogCaptureFixture
) -> None:
    # C01, C05: whatever it breaks of
    film.breaks_after, player = 3, Player()
    seat = await sit(place, player=player)
    await play(seat, at(since(minutes=5)))
    film.fails = LookupError("a bug")
    await until(lambda: player.ended_by is not None)
    await place.holds_only("it broke")
    end = (await place.told())[-1].detail
    assert (end["cause"], end["reason"], film.open_sessions) == ("recorder-unreachable", "internal", 0)
    assert [record.levelname for record in caplog.records if "replay.broken" in record.message] == ["CRITICAL"]


async def test_a_recorder_that_does_not_answer_is_given_up(
    place: Place, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C05
    monkeypatch.setattr("halfgateway.control.replay_seat.FIRST_PICTURE_S", 0.05)
    film.hangs = True
    assert (await refused(await sit(place), at(since(minutes=5)))).code == "recorder-unreachable"
    await place.replays.settle()
    assert film.open_sessions == 0


async def test_a_ticket_shows_its_period_and_no_other(place: Place) -> None:
    # C03
    start = since(hours=1).replace(microsecond=0)
    _, holder = await place.open(recorded(start, start + 10 * SECOND))
    seat = await sit(place, holder)
    for span in (at(start - SECOND), at(start + 11 * SECOND)):
        assert isinstance(await refused(seat, span), NotHabilitated)
    playing = await play(seat, NptRange(2.0))
    assert playing.span == NptRange(2.0, 10.0)


async def test_a_player_may_count_from_1900(place: Place, film: Film) -> None:
    # rows 42, 55: what GStreamer 1.22 makes of the instants of a description
    start = since(hours=1).replace(microsecond=0)
    since_1900_s = (start - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds()
    seat = await sit(place)
    span = NptRange(since_1900_s, since_1900_s + 10)
    playing = await play(seat, span)
    assert (film.sessions[0].passages[0].start, playing.span) == (start, span)
    too_old = NptRange(since_1900_s - timedelta(days=11).total_seconds())
    assert (await refused(seat, too_old)).code == "outside-retention"


async def test_who_describes_it_for_each_screen_asks_the_recorder_once(place: Place, film: Film) -> None:
    # S13
    described = await asyncio.gather(*(place.door.describe(BY_MACHINE, PATH) for _ in range(5)))
    assert (len(set(described)), film.described) == (1, 1)


async def test_a_url_names_no_more_than_its_ticket(place: Place) -> None:
    # C03
    start = since(hours=1).replace(microsecond=0)
    _, holder = await place.open(recorded(start, start + 10 * SECOND))
    wider = replace(PATH, span=at(start, start + 60 * SECOND))
    seat = await place.door.take_replay_seat(holder, wider, Player())
    assert isinstance(seat, RecordedSeat)
    assert (await play(seat, NptRange(2.0))).span == NptRange(2.0, 10.0)
    assert isinstance(await refused(seat, at(start + 11 * SECOND)), NotHabilitated)


async def test_reverse_does_not_lead_out_of_a_ticket_s_period(place: Place, film: Film) -> None:
    # C03: what was asked for, decided of and told is what is shown
    start = since(hours=1).replace(microsecond=0)
    _, holder = await place.open(recorded(start, start + 10 * SECOND))
    seat = await sit(place, holder)
    await play(seat, at(start + 5 * SECOND, since(hours=2)), REVERSE)
    assert film.sessions[-1].passages[-1].end == start


async def test_who_comes_back_in_time_goes_on(place: Place) -> None:
    # S15: by the same machine, for the same camera, from the same source; a live stream of it is another
    seat = await sit(place)
    await play(seat, at(since(minutes=5)))
    stream = stream_of(place)
    seat.lose()
    assert stream.expiry is NotResumed
    again = await sit(place)
    assert stream_of(place) is stream
    await again.leave()


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    found, start = [], 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start + 2 : start + 4], "big")
        found.append((data[start + 1], data[start + 4 : end]))
        start = end
    return found
