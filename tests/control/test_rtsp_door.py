"""The door as players meet it: one stream a ticket, one slot a session, and nothing kept for who does not play."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.control.endings import CertificateFallen, ClosedOnRequest, NotPlayed, NotResumed, PausedTooLong
from halfgateway.control.streams import StreamState
from halfgateway.downstream.door import Caller
from halfgateway.errors import (
    CameraUnreachable,
    InterconnectionCut,
    NotHabilitated,
    Refusal,
    StateStoreUnavailable,
    TransportNotOffered,
    Unauthenticated,
    UnknownCamera,
)
from tests.control.doors import BY_MACHINE, CAMERA, MACHINE, SOURCE, Place, Player, open_place, path
from tests.control.valkeys import Nodes, until
from tests.relay.packets import IDR, chunk, rtp


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


async def refusals(place: Place) -> list[str | None]:
    await place.settle()
    return [entry.refusal for entry in await place.told() if entry.kind is Kind.STREAM_REFUSED]


async def test_a_ticket_is_one_stream_whoever_comes_with_it(place: Place) -> None:
    # C02: a session-less SETUP replaces the session before, and keeps slot and ticket
    stream, holder = await place.open()
    first, second = Player(), Player()
    seat = await place.sit(holder, first)
    await place.play(seat)
    await place.sit(holder, second)
    assert (first.gave_way_to, second.gave_way_to) == (second, None)
    assert not seat.playing
    assert list(place.table) == [stream]
    assert place.users() == 1
    assert stream.expiry is NotPlayed
    assert stream.expires_at_s is not None
    assert (await place.slots.usage())[0] == 1


async def test_a_ticket_taken_up_by_many_at_once_takes_one_slot(place: Place) -> None:
    # C01: after a goodbye, all of a player's connections come back together
    _, holder = await place.open()
    await (await place.sit(holder)).leave()
    assert len(place.table) == 0
    players = [Player() for _ in range(5)]
    seats = await asyncio.gather(*(place.sit(holder, player) for player in players))
    (stream,) = place.table
    assert len(stream.seats) == 1
    assert stream.seats[0] in seats
    assert sorted(player.gave_way_to is not None for player in players) == [False] + [True] * 4
    await place.holds_only("all came", stream, users=1)


async def test_a_ticket_that_comes_back_while_it_says_goodbye_has_its_slot(place: Place) -> None:
    # C01: the slot that goes back is not the one that is taken
    _, holder = await place.open()
    for _ in range(20):
        seat = await place.sit(holder)
        leaving = asyncio.create_task(seat.leave())
        await asyncio.sleep(0)
        again = asyncio.create_task(place.sit(holder))
        await asyncio.wait([leaving, again])
        (stream,) = place.table
        await place.holds_only("came back", stream, users=1)
        renewal = await place.slots.renew([stream.id])
        assert renewal.deadlines.keys() == {stream.id}


async def test_a_ticket_whose_stream_was_ended_is_over(place: Place) -> None:
    # C01: also for who comes at that moment
    stream, holder = await place.open()
    place.closer.end(stream, ClosedOnRequest())
    with pytest.raises(Unauthenticated):
        await place.sit(holder)
    await place.holds_only("ended")


async def test_a_ticket_whose_holder_lost_the_right_to_watch_is_refused_and_not_asked_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S12, section 1.7: 403 and never 401 once the mandate has ended; as many are remembered as may be
    monkeypatch.setattr("halfgateway.control.closing.MAX_WITHDRAWN_TICKETS", 2)
    holders = []
    for _ in range(3):
        stream, holder = await place.open()
        place.closer.end(stream, CertificateFallen())
        await place.closer.settle()
        holders.append(holder)
        with pytest.raises(NotHabilitated):
            await place.sit(holder)
        with pytest.raises(NotHabilitated):
            await place.door.describe(holder, path())
    assert set(await refusals(place)) == {"not-habilitated"}
    with pytest.raises(Unauthenticated):
        await place.sit(holders[0])
    place.state.closed_by = InterconnectionCut()
    with pytest.raises(InterconnectionCut):
        await place.sit(holders[-1])
    await place.holds_only("mandates ended")


async def test_a_ticket_is_good_for_its_camera_and_profile_alone(place: Place) -> None:
    # C08
    _, holder = await place.open()
    for wrong in (path(camera="cam-2"), path("sub"), replace(path(), mode="recorded")):
        with pytest.raises(NotHabilitated):
            await place.door.take_seat(holder, wrong, Player())
    assert set(await refusals(place)) == {"not-habilitated"}
    assert (await place.sit(holder, profile="main")).profile == "main"


async def test_an_unknown_ticket_is_refused(place: Place) -> None:
    # C08
    unknown = Caller("t-" + "A" * 22, SOURCE, secure=False)
    with pytest.raises(Unauthenticated):
        await place.sit(unknown)
    assert place.door.secrets(unknown.username) is not None
    assert place.door.secrets("nobody") is None
    assert place.door.secrets(MACHINE) is not None


async def test_a_machine_shares_one_slot_among_profiles_and_takes_one_for_each_further_session(place: Place) -> None:
    # C02
    main, sub, again = [await place.sit(BY_MACHINE, profile=profile) for profile in ("main", "sub", "main")]
    first, second = place.table
    assert (first.seats, second.seats) == ([main, sub], [again])
    assert (await place.slots.usage())[0] == 2
    assert place.users() == 3


async def test_what_remains_when_the_playing_one_goes_is_kept_like_a_paused_one(place: Place) -> None:
    # C02: not for ever
    for goodbye in (True, False):
        await place.from_the_beginning()
        main, sub = await place.sit(BY_MACHINE, profile="main"), await place.sit(BY_MACHINE, profile="sub")
        await place.play(main)
        (stream,) = place.table
        assert [stream.expires_at_s] == [None]
        if goodbye:
            await main.leave()
        else:
            main.lose()
        assert stream.seats == [sub]
        assert stream.expires_at_s is not None
        assert stream.expiry is PausedTooLong


async def test_a_pause_holds_the_slot_for_a_while_and_play_goes_on(place: Place) -> None:
    # C02: PAUSE still counts one
    stream, holder = await place.open()
    seat = await place.sit(holder)
    first = await place.play(seat)
    first.sent_bytes, first.sent_packets = 100, 2
    await seat.pause()
    assert stream.state is StreamState.PAUSED
    assert stream.expiry is PausedTooLong
    kept_until_s = stream.expires_at_s
    await seat.pause()
    assert stream.expires_at_s == kept_until_s
    second = await place.play(seat)
    second.sent_bytes, second.sent_packets, second.lost_packets = 10, 1, 5
    traffic = stream.traffic()
    assert (traffic.bytes, traffic.packets, traffic.lost) == (110, 3, 5)
    assert stream.expires_at_s is None


async def test_a_pause_without_play_keeps_nothing_longer(place: Place) -> None:
    # C01: PLAY must follow
    seat = await place.sit(BY_MACHINE)
    (stream,) = place.table
    due_s = stream.expires_at_s
    await seat.pause()
    assert (stream.expires_at_s, stream.expiry) == (due_s, NotPlayed)


async def test_a_lost_connection_keeps_its_slot_for_the_same_holder(place: Place) -> None:
    # C01 S15: one slot, one entry
    seat = await place.sit(BY_MACHINE)
    await place.play(seat)
    seat.lose()
    (stream,) = place.table
    assert (stream.parked, stream.expiry) == (True, NotResumed)
    stranger = replace(BY_MACHINE, source="198.51.100.99")
    await place.door.take_seat(stranger, path(), Player())
    assert len(place.table) == 2
    await place.play(await place.sit(BY_MACHINE))
    state = (stream.parked, stream.expires_at_s)
    assert state == (False, None)
    assert (await place.kinds(stream.id)).count(Kind.STREAM_RESUMED) == 1


@pytest.mark.parametrize("by_ticket", [True, False])
async def test_who_comes_back_in_the_last_moment_does_not_lapse_while_the_camera_is_dialled(
    place: Place, *, by_ticket: bool
) -> None:
    # C01 S15
    holder = (await place.open())[1] if by_ticket else BY_MACHINE
    seat = await place.sit(holder)
    await place.play(seat)
    seat.lose()
    await place.hub.close()
    place.cameras.plays.clear()
    (stream,) = place.table
    stream.end_unless(NotResumed, 0.0, time.monotonic())
    coming = asyncio.create_task(place.sit(holder))
    await until(lambda: place.users() == 1)
    assert place.table.over() == []
    place.cameras.plays.set()
    await place.play(await coming)
    assert (tuple(place.table), stream.expires_at_s) == ((stream,), None)


async def test_a_ticket_that_was_never_played_waits_no_longer_for_a_lost_connection(place: Place) -> None:
    # C01: the 30 s to first PLAY are from the POST
    stream, holder = await place.open()
    due_s = stream.expires_at_s
    (await place.sit(holder)).lose()
    assert (stream.parked, stream.expires_at_s, stream.expiry) == (True, due_s, NotPlayed)
    seat = await place.sit(holder)
    assert (stream.parked, stream.expires_at_s) == (False, due_s)
    assert Kind.STREAM_RESUMED in await place.kinds(stream.id)
    await seat.leave()
    seat.lose()
    await place.holds_only("gone")


async def test_losing_a_connection_of_a_stream_that_has_ended_changes_nothing(place: Place) -> None:
    # C10
    stream, holder = await place.open()
    player = Player()
    seat = await place.sit(holder, player)
    cause = InterconnectionCut()
    place.closer.end(stream, cause)
    seat.lose()
    await seat.leave()
    await place.play(seat)
    assert player.ended_by is cause
    assert not seat.playing
    await place.holds_only("cut")


async def test_a_camera_that_does_not_come_costs_a_machine_nothing(place: Place) -> None:
    # C05: refused with its cause; the slot is free
    place.cameras.failure = CameraUnreachable("Pas d'image.")
    with pytest.raises(CameraUnreachable):
        await place.sit(BY_MACHINE)
    await place.holds_only("no camera")
    assert await refusals(place) == ["camera-unreachable"]


async def test_a_camera_that_does_not_come_leaves_a_ticket_its_reservation(place: Place) -> None:
    # C05
    stream, holder = await place.open()
    place.cameras.failure = CameraUnreachable("Pas d'image.")
    with pytest.raises(CameraUnreachable):
        await place.sit(holder)
    assert list(place.table) == [stream]
    assert place.users() == 0
    assert await refusals(place) == ["camera-unreachable"]


async def test_a_second_profile_that_does_not_come_is_not_the_first_ones_end(place: Place) -> None:
    # T02: its refusal is told of another stream than the one that plays
    await place.play(await place.sit(BY_MACHINE, profile="main"))
    (stream,) = place.table
    place.cameras.failure = CameraUnreachable("Pas d'image.")
    with pytest.raises(CameraUnreachable):
        await place.sit(BY_MACHINE, profile="sub")
    await place.holds_only("no second profile", stream, users=1)
    assert Kind.STREAM_REFUSED not in await place.kinds(stream.id)


async def test_a_transport_that_is_refused_loses_no_slot_and_takes_no_second(place: Place) -> None:
    # row 33, T8: 461, and the player asks again by TCP
    stream, holder = await place.open()
    for caller in (holder, BY_MACHINE):
        with pytest.raises(TransportNotOffered):
            await place.sit(caller, Player(refuses=TransportNotOffered()))
        await place.settle()
        (kept,) = [each for each in place.table if (each is stream) == (caller is holder)]
        assert not kept.seats
        assert kept.expires_at_s is not None
        seat = await place.sit(caller)
        await place.play(seat)
        assert kept.seats == [seat]
        assert kept.state is StreamState.PLAYING
    await place.holds_only("both by TCP", *place.table, users=2)
    assert len(place.table) == 2
    refused = [entry for entry in await place.told() if entry.kind is Kind.ACTION_REFUSED]
    assert [entry.refusal for entry in refused] == ["transport-not-offered"] * 2
    assert await refusals(place) == []


async def test_a_transport_that_is_refused_ends_no_session_that_plays(place: Place) -> None:
    stream, holder = await place.open()
    playing = Player()
    seat = await place.sit(holder, playing)
    await place.play(seat)
    with pytest.raises(TransportNotOffered):
        await place.sit(holder, Player(refuses=TransportNotOffered()))
    assert stream.seats == [seat]
    assert playing.gave_way_to is None
    assert stream.state is StreamState.PLAYING
    await place.holds_only("still plays", stream, users=1)


async def test_a_machine_that_asks_for_no_other_transport_gives_its_slot_back(place: Place) -> None:
    with pytest.raises(TransportNotOffered):
        await place.sit(BY_MACHINE, Player(refuses=TransportNotOffered()))
    (stream,) = place.table
    assert stream.expiry is NotPlayed
    for ended, cause in place.table.over() or [(stream, stream.expiry())]:
        place.closer.end(ended, cause)
    await place.holds_only("not played")


async def test_who_leaves_while_his_transport_is_chosen_holds_nothing(place: Place) -> None:
    player = Player(hesitates=True)
    coming = asyncio.create_task(place.sit(BY_MACHINE, player))
    await until(lambda: player.is_choosing)
    coming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await coming
    await place.holds_only("left")


async def test_a_session_that_is_dismissed_keeps_the_slot_for_the_next(place: Place) -> None:
    # a camera whose packets no longer pass by UDP: the player comes again by TCP
    stream, holder = await place.open()
    player = Player()
    seat = await place.sit(holder, player)
    await place.play(seat)
    seat.dismiss(TransportNotOffered("Trop grands."))
    assert isinstance(player.ended_by, TransportNotOffered)
    assert (stream.seats, stream.parked, stream.expiry) == ([], True, NotResumed)
    await place.holds_only("dismissed", stream)
    moved = [entry for entry in await place.told(stream.id) if entry.kind is Kind.STREAM_MOVED]
    assert [(entry.refusal, entry.detail["why"]) for entry in moved] == [("transport-not-offered", "Trop grands.")]
    await place.play(await place.sit(holder))
    assert stream.state is StreamState.PLAYING


async def test_a_stream_that_ends_while_its_camera_is_dialled_is_not_played(place: Place) -> None:
    # C10
    stream, holder = await place.open()
    place.cameras.plays.clear()
    coming = asyncio.create_task(place.sit(holder))
    await until(lambda: place.users() == 1)
    place.closer.end(stream, ClosedOnRequest())
    place.cameras.plays.set()
    with pytest.raises(StateStoreUnavailable):
        await coming
    await place.holds_only("ended meanwhile")


async def test_an_unknown_camera_or_profile_takes_no_slot(place: Place) -> None:
    # C05 T10
    for wrong in (path(camera="cam-9"), path("no-such")):
        with pytest.raises(UnknownCamera):
            await place.door.take_seat(BY_MACHINE, wrong, Player())
        with pytest.raises(UnknownCamera):
            await place.door.describe(BY_MACHINE, wrong)
    told = [(entry.kind, entry.detail.get("repeated")) for entry in await place.told() if entry.stream]
    assert Kind.STREAM_REQUESTED not in [kind for kind, _ in told]
    await place.holds_only("unknown")


async def test_a_machine_must_show_its_certificate(place: Place) -> None:
    # C08
    for certificate in (None, b"another"):
        with pytest.raises(NotHabilitated):
            await place.sit(replace(BY_MACHINE, certificate=certificate))
    assert set(await refusals(place)) == {"not-habilitated"}
    await place.sit(replace(BY_MACHINE, secure=False, certificate=None))


async def test_a_description_is_told_once_a_minute_and_refused_like_a_stream(place: Place) -> None:
    # S13 T10
    now_s = time.monotonic()
    place.door._house = replace(place.house, now=lambda: now_s)
    for _ in range(3):
        assert b"m=video" in await place.door.describe(BY_MACHINE, path())
    now_s += 61
    await place.door.describe(BY_MACHINE, path())
    described = [entry for entry in await place.told() if entry.kind is Kind.STREAM_DESCRIBED]
    assert len(described) == 2
    assert {entry.camera for entry in described} == {CAMERA}


async def test_a_description_that_fails_is_traced(place: Place) -> None:
    # C05
    place.cameras.failure = CameraUnreachable("Pas d'image.")
    with pytest.raises(CameraUnreachable):
        await place.door.describe(BY_MACHINE, path())
    assert await refusals(place) == ["camera-unreachable"]


async def test_what_is_described_is_remembered_for_so_many_and_no_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S13
    monkeypatch.setattr("halfgateway.control.rtsp_door.MAX_REMEMBERED_DESCRIPTIONS", 1)
    await place.door.describe(BY_MACHINE, path())
    _, holder = await place.open()
    await place.door.describe(holder, path())
    assert len(place.door._described) == 1


async def test_what_no_one_may_do_is_traced(place: Place) -> None:
    # L08 S09 T10
    place.door.refused_action(BY_MACHINE, "SETUP", "trackID=1")
    place.door.wrong_credentials(MACHINE, SOURCE)
    place.door.wrong_credentials("who-is-this", SOURCE)
    await place.settle()
    action, known, unknown = (await place.told())[-3:]
    assert (action.kind, action.account, action.detail["path"]) == (Kind.ACTION_REFUSED, MACHINE, "trackID=1")
    assert (known.kind, known.account, unknown.account) == (Kind.AUTH_FAILED, MACHINE, None)


async def test_a_camera_that_is_given_up_ends_its_streams(place: Place) -> None:
    # C05
    player = Player()
    seat = await place.sit(BY_MACHINE, player)
    await place.play(seat)
    (source,) = place.hub
    source.interrupt(CameraUnreachable("Perdue."))
    source.give_up()
    await place.holds_only("given up")
    assert isinstance(player.ended_by, Refusal)
    assert player.ended_by.code == "camera-unreachable"


async def test_an_account_may_wait_for_the_keyframe_and_who_resumes_has_had_its_opening(place: Place) -> None:
    # ADR 4: join = "keyframe" for who wants every timestamp true
    seat = await place.sit(BY_MACHINE)
    seat._source.feed(chunk((0, rtp(1, 0, IDR))))
    assert seat.opening() is not None
    place.house.terms.join_at_keyframe = frozenset({MACHINE})
    assert seat.opening() is None
    place.house.terms.join_at_keyframe = frozenset()
    await place.play(seat)
    await seat.pause()
    assert seat.opening() is None
