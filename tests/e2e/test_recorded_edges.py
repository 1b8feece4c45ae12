"""Recordings where they end, change or fail: the live edge, another codec, a recorder that goes, a reader that does not
read; and that nothing of them is kept (C02, C03, C05, L02, S14; T1, T5, T13; rows 54 to 60)."""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from auth.trace import Kind
from halfgateway.config_recordings import OnvifRecorderSection
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.film import GROUP, PICTURE
from halfgateway.simulator.recordings import CHANGED_CODEC
from halfgateway.simulator.recordings import Kind as RecordingKind
from tests.e2e.conftest import STEADY, until
from tests.e2e.recorders import KINDS, Recorded, open_recorded
from tests.e2e.replaying import (
    REPLAY,
    clock,
    marks,
    of_each,
    pictures_until,
    play,
    terminal_picture,
    told,
    until_over,
    video,
)
from tests.players import needs_gstreamer, pictures_of
from tests.raw_player import Credentials, RawPlayer
from tests.replay.filmed import instant_filmed, instants_in_packets

pytestmark = pytest.mark.asyncio(loop_scope="module")


GROWTH_MB = 8.0
"""What the gateway may grow by for a reader that takes nothing: the queues of each step, and what allocators keep."""


ONVIF_MODE = ["onvif-mode=true", "buffer-mode=none"]
"""GStreamer as a client of ONVIF's. In its other modes of buffering version 1.22 loses what comes first, in its own
jitter buffer; with ``is-live=false`` it never begins."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_recorded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    async with open_recorded(folder, STEADY, bulk=True, kind=RecordingKind.CODEC_CHANGE) as recorded:
        yield recorded


@pytest_asyncio.fixture(loop_scope="module")
async def recorded(module_recorded: Recorded) -> AsyncIterator[Recorded]:
    yield module_recorded
    await until_over(module_recorded)


def changed(recorded: Recorded) -> datetime:
    """When H.264 was followed by H.265."""
    return recorded.before(seconds=CHANGED_CODEC.total_seconds())


async def test_footage_of_another_codec_is_another_presentation(recorded: Recorded) -> None:
    # T13: what a session's description tells is what it shows; it ends where that ends, and begins nowhere else
    change = changed(recorded)
    recorded.film(change, change + 3 * GROUP)

    async def watch(kind: str) -> None:
        path = recorded.path(kind)
        async with recorded.player() as player:
            before = f"{path}?start={change - GROUP:%Y%m%dT%H%M%SZ}"
            described = await player.ask("DESCRIBE", player.url(before))
            assert b" H264/90000" in described.body
            await player.set_up(before)
            status, _ = await play(player, recorded, kind, clock(change - GROUP))
            assert status == 200
            await player.packets_until_goodbye()
            assert instants_in_packets(video(player))[-1] == change - PICTURE
            status, headers = await play(player, recorded, kind, clock(change + GROUP))
            assert (status, headers["x-refusal"]) == (457, ["no-recording"])
            assert (await play(player, recorded, kind, clock(change - GROUP)))[0] == 200
            await player.tear_down(path)
        if kind == "onvif":
            return
        async with recorded.player() as player:
            after = f"{path}?start={change + GROUP:%Y%m%dT%H%M%SZ}"
            described = await player.ask("DESCRIBE", player.url(after))
            assert b" H265/90000" in described.body
            await player.set_up(after)
            assert (await play(player, recorded, kind, {}))[0] == 200
            await player.packets_until(20)
            assert instants_in_packets(video(player), Codec.H265)[0] == change + GROUP
            await player.tear_down(path)

    await of_each(KINDS, watch)


async def test_what_was_not_described_is_not_shown(recorded: Recorded) -> None:
    # T13: the first PLAY, too, shows what was described, and no other codec
    change = changed(recorded)
    recorded.film(change, change + 3 * GROUP)

    async def watch(kind: str) -> None:
        path = recorded.path(kind)
        async with recorded.player() as player:
            before = f"{path}?start={change - GROUP:%Y%m%dT%H%M%SZ}"
            assert b" H264/90000" in (await player.ask("DESCRIBE", player.url(before))).body
            await player.set_up(before)
            status, headers = await play(player, recorded, kind, clock(change + GROUP))
            assert (status, headers["x-refusal"]) == (457, ["no-recording"])
            await player.tear_down(path)

    await of_each(KINDS, watch)


async def test_the_end_of_what_was_asked_for_is_told(recorded: Recorded) -> None:
    # row 59; ONVIF Streaming 6.9: the last picture is marked for who asked for marks; others hear a goodbye
    start = recorded.before(days=2)
    recorded.film(start)

    async def watch(kind: str) -> None:
        path = recorded.path(kind)
        async with recorded.player() as player:
            await player.set_up(path)
            await play(player, recorded, kind, clock(start, start + GROUP / 2) | REPLAY)
            await terminal_picture(player)
            assert [mark.terminal for mark in marks(player)].count(True) == 1
            await play(player, recorded, kind, clock(start, start + GROUP / 2))
            assert player.goodbyes() == set()
            await player.packets_until_goodbye()
            await player.tear_down(path)

    await of_each(KINDS, watch)


async def test_all_of_it_as_fast_as_it_is_taken(recorded: Recorded) -> None:
    # S14, row 58: with the right, every picture once, faster than they were filmed
    start = recorded.before(days=2)
    recorded.film(start)
    loop = asyncio.get_running_loop()

    async def watch(kind: str) -> None:
        async with recorded.player() as player:
            await player.set_up(recorded.path(kind))
            end, began_s = start + 10 * GROUP, loop.time()
            status, headers = await play(player, recorded, kind, clock(start, end) | REPLAY | {"Rate-Control": "no"})
            assert (status, headers["rate-control"]) == (200, ["no"])
            await terminal_picture(player)
            assert loop.time() - began_s < (end - start).total_seconds() / 2
            assert told(player) == [start + index * PICTURE for index in range(10 * GROUP // PICTURE)]
            await player.tear_down(recorded.path(kind))

    await of_each(["onvif", "segments"], watch)


async def test_who_does_not_read_holds_the_recorder_back(recorded: Recorded) -> None:
    # S14, row 58: from the reader's socket back to the recorder's; what waits in between is bounded, and nothing lost
    start = recorded.before(days=3)
    recorded.film(start, start + timedelta(minutes=2))
    sent = recorded.recorder.media_counters

    async def watch(kind: str) -> None:
        async with recorded.player(receive_buffer_bytes=4096) as player:
            await player.set_up(recorded.path(kind))
            await play(player, recorded, kind, clock(start) | REPLAY | {"Rate-Control": "no"})
            await player.packets_until(5)
            player.pause_reading()
            (stream,) = [each for each in recorded.gateway.node.control.table if each.request.camera == player_camera]
            before_mb, halted_at = rss_mb(), await at_rest(lambda: (stream.seats[0].position, sent.video_packets))
            if kind == "segments":  # the simulated recorder, in this process, keeps film of its own
                assert rss_mb() - before_mb < GROWTH_MB
            player.resume_reading()
            at = halted_at[0]
            assert at is not None
            await pictures_until(player, lambda filmed: filmed[-1] > at + 4 * GROUP)
            assert {later - earlier for earlier, later in itertools.pairwise(told(player))} == {PICTURE}
            await player.tear_down(recorded.path(kind))

    for kind in ("onvif", "segments"):
        player_camera = recorded.cameras[kind]
        await watch(kind)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_of_one_kilobyte_a_second_holds_the_recorder_back(recorded: Recorded, kind: str) -> None:
    # S14, row 58: a minute of a long replay; nothing is read ahead of it but a bounded amount
    start = recorded.before(days=3)
    recorded.film(start, start + timedelta(minutes=10))
    async with recorded.player(receive_buffer_bytes=4096) as player:
        await player.set_up(recorded.path(kind))
        await play(player, recorded, kind, clock(start) | REPLAY | {"Rate-Control": "no"})
        await player.packets_until(5)
        (stream,) = [each for each in recorded.gateway.node.control.table if each.seats]
        before_mb, began_s, given = rss_mb(), time.monotonic(), 0
        while time.monotonic() - began_s < 60:
            player.resume_reading()
            await player.packets_until(len(video(player)) + 1)
            player.pause_reading()
            given = sum(map(len, video(player)))
            await asyncio.sleep(max(0.0, given / 1000 - (time.monotonic() - began_s)))
        ahead = (stream.seats[0].position or start) - told(player)[-1]
        print(f"{kind}: {given} bytes read in a minute, {ahead} ahead, {rss_mb() - before_mb:.1f} MB more")
        assert ahead < timedelta(seconds=30)
        assert rss_mb() - before_mb < GROWTH_MB
        player.resume_reading()
        await player.tear_down(recorded.path(kind))


def rss_mb() -> float:
    """What this process, the gateway's, has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def at_rest(look: Callable[[], tuple[datetime | None, int]]) -> tuple[datetime | None, int]:
    """Wait until what is looked at has stood still for half a second."""
    found, looks = look(), 0
    async with asyncio.timeout(20):
        while looks < 10:
            await asyncio.sleep(0.05)
            found, looks = (found, looks + 1) if look() == found else (look(), 0)
    return found


async def test_who_reads_nothing_for_as_long_as_a_pause_is_ended(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # failure table, slow reader: players such as ffplay pause by not reading; that is kept as long as a pause is
    start = recorded.before(days=3)
    recorded.film(start, start + timedelta(minutes=2))
    terms = recorded.gateway.node.control.terms
    monkeypatch.setattr(terms, "timings", replace(terms.timings, paused_s=1.0))
    async with recorded.player(receive_buffer_bytes=4096) as player:
        await player.set_up(recorded.path("segments"))
        await play(player, recorded, "segments", clock(start) | {"Rate-Control": "no"})
        await player.packets_until(5)
        player.pause_reading()
        stopped = await recorded.gateway.traced(
            lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.detail["cause"] == "reader-too-slow"
        )
        assert stopped[-1].mode == "recorded"


async def test_nothing_of_what_is_shown_is_written(recorded: Recorded) -> None:
    # L02: the relay keeps no footage, live or recorded; the recorder's own folder shows that the search finds it
    start = recorded.before(days=2)
    recorded.film(start)
    shown: dict[str, list[bytes]] = {}

    async def watch(kind: str) -> None:
        path = recorded.path(kind) if kind in KINDS else f"/live/{recorded.gateway.cameras[0]}"
        async with recorded.player() as player:
            await player.set_up(path)
            await (play(player, recorded, kind, clock(start)) if kind in KINDS else player.play(path))
            await player.packets_until(40)
            shown[kind] = video(player)
            assert not any(has_been_shown(written.read_bytes(), shown[kind]) for written in files_written(recorded))
            await player.tear_down(path)

    await of_each([*KINDS, "live"], watch)
    await until_over(recorded)
    everything = [packet for packets in shown.values() for packet in packets]
    kept = [path for path in files_written(recorded) if has_been_shown(path.read_bytes(), everything)]
    assert kept == []
    assert any(has_been_shown(path.read_bytes(), shown["segments"]) for path in recorded.footage.rglob("*.mp4"))


def has_been_shown(data: bytes, packets: list[bytes]) -> bool:
    """Whether something of these packets stands there: of each that is long enough, bytes that occur once."""
    return any(packet[60:92] in data for packet in [each for each in packets if len(each) > 150][::3])


def files_written(recorded: Recorded) -> list[Path]:
    """Every file of the gateway's folder, and whatever else its process has open."""
    opened = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    below = [path for path in recorded.gateway.data.rglob("*") if path.is_file()]
    return below + [path for path in opened if path.is_file() and recorded.footage not in path.resolve().parents]


@needs_gstreamer
@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        pytest.param(["url", "segments"], [], id="plain"),
        pytest.param(["onvif"], ONVIF_MODE, id="onvif-mode"),
        pytest.param(["onvif", "segments"], [*ONVIF_MODE, "onvif-rate-control=false"], id="onvif-mode at full speed"),
    ],
)
async def test_gstreamer_shows_what_it_asks_for(recorded: Recorded, kinds: list[str], options: list[str]) -> None:
    # T13, row 54; it makes npt since 1900 of the description's instants, unless it is told that this is ONVIF's
    start = recorded.before(days=2)
    recorded.film(start)
    machine, address = recorded.gateway.machine, recorded.gateway.ready["rtsp"]

    async def watch(kind: str) -> None:
        span = f"?start={start:%Y%m%dT%H%M%SZ}&end={start + GROUP / 2:%Y%m%dT%H%M%SZ}"
        url = address + recorded.path(kind) + span
        command = replay_command(url, machine, options)
        shown = [instant_filmed(picture) for picture in await pictures_of(command)]
        assert shown[0] == start
        assert shown[-1] <= start + GROUP / 2
        assert {later - earlier for earlier, later in itertools.pairwise(shown)} == {PICTURE}

    for kind in kinds:
        await watch(kind)


def replay_command(url: str, credentials: Credentials, options: list[str]) -> list[str]:
    """GStreamer, and the marks of ONVIF Streaming 6.3 taken out where it plays as ONVIF's clients do."""
    source = ["rtspsrc", f"location={url}", "protocols=tcp", f"user-id={credentials.username}"]
    source += [f"user-pw={credentials.password}", *options, "!", "application/x-rtp,media=video", "!"]
    source += ["rtponvifparse", "!"] if options else []
    picture = [
        "rtph264depay",
        "!",
        "h264parse",
        "!",
        "avdec_h264",
        "!",
        "videoconvert",
        "!",
        "video/x-raw,format=GRAY8",
    ]
    return ["gst-launch-1.0", "-q", *source, *picture, "!", "fdsink", "fd=1", "sync=false"]


async def test_a_recorder_that_goes_is_told_with_its_cause(recorded: Recorded) -> None:
    # C05; failure table, recorder down: live streams lose nothing
    start = recorded.before(days=2)
    before = len(await recorded.gateway.trace())
    live = f"/live/{recorded.gateway.cameras[0]}"
    async with recorded.player() as watching, recorded.player() as first, recorded.player() as second:
        await watching.set_up(live)
        await watching.play(live)
        await watching.packets_until(5)
        for kind, player in (("onvif", first), ("url", second)):
            await player.set_up(recorded.path(kind))
            assert (await play(player, recorded, kind, clock(start)))[0] == 200
            await player.packets_until(5)
        ends = [asyncio.create_task(player.read_to_end()) for player in (first, second)]
        recorded.recorder.drop_connections()
        assert await asyncio.gather(*ends) == ["reset"] * 2
        for player in (first, second):
            assert player.goodbyes() == player.sources() != set()
        await watching.packets_until(len(video(watching)) + 40)
        numbers = [RtpView(data).sequence for data in video(watching)]
        assert all((later - earlier) % 65536 == 1 for earlier, later in itertools.pairwise(numbers))
        await watching.tear_down(live)
    await until_over(recorded)
    ended = [entry for entry in (await recorded.gateway.trace())[before:] if entry.kind is Kind.STREAM_STOPPED]
    assert [entry.detail["cause"] for entry in ended if entry.mode == "recorded"] == ["recorder-unreachable"] * 2


async def test_a_recorder_without_a_session_left(recorded: Recorded) -> None:
    # C05: one more is refused with its cause, nothing is lost of who plays, and who only asks what there is waits
    start = recorded.before(days=2)
    path, (nvr, *_) = recorded.path("onvif"), recorded.gateway.node.configuration.recorders
    assert isinstance(nvr, OnvifRecorderSection)
    async with AsyncExitStack() as players:
        *playing, one_more = [await players.enter_async_context(recorded.player()) for _ in range(nvr.sessions + 1)]
        for player in playing:
            await player.set_up(path)
            assert (await play(player, recorded, "onvif", clock(start)))[0] == 200
        await one_more.set_up(path)
        status, headers = await play(one_more, recorded, "onvif", clock(start))
        assert (status, headers["x-refusal"]) == (503, ["recorder-unreachable"])
        assert int(headers["retry-after"][0]) > 0
        await playing[0].tear_down(path)
        await until(lambda: recorded.recorder.session_count == nvr.sessions - 1)
        await describe_at_once(
            recorded, [path, *(f"{path}?start={start + n * GROUP:%Y%m%dT%H%M%SZ}" for n in range(20))]
        )
        assert (await play(one_more, recorded, "onvif", clock(start)))[0] == 200
        for player in (*playing[1:], one_more):
            await player.packets_until(len(video(player)) + 5)
            await player.tear_down(path)


async def describe_at_once(recorded: Recorded, paths: list[str]) -> None:
    """Describe all of them, each on a connection of its own."""

    async def described(path: str) -> int:
        async with recorded.player() as player:
            return (await player.ask("DESCRIBE", player.url(path))).status

    assert set(await asyncio.gather(*map(described, paths))) == {200}


async def test_a_cut_ends_what_is_live_and_what_is_recorded(recorded: Recorded) -> None:
    # C10, T1, T3: ten of both, one of them over TLS by a ticket; goodbye, a reset, and not a byte after it
    start = recorded.before(days=2)
    recorded.film(start)
    gateway = recorded.gateway
    async with AsyncExitStack() as players:
        playing = [await players.enter_async_context(recorded.player()) for _ in range(9)]
        for index, player in enumerate(playing):
            kind = [*KINDS, "live"][index % 4]
            path = recorded.path(kind) if kind in KINDS else f"/live/{gateway.cameras[index % 3]}"
            assert (await player.set_up(path)).status == 200
            await (play(player, recorded, kind, clock(start)) if kind in KINDS else player.play(path))
        playing.append(await players.enter_async_context(over_tls(recorded, await recorded.ticket("onvif", start))))
        await playing[-1].set_up(recorded.path("onvif"))
        assert (await play(playing[-1], recorded, "onvif", {}))[0] == 200
        await asyncio.gather(*(player.packets_until(5) for player in playing))
        ends = [asyncio.create_task(player.read_to_end()) for player in playing]
        order = {"ground": "critical-incident", "reason": "essai"}
        status, cut = await gateway.call("ops", "POST", "/interconnection/cut", order)
        assert (status, cut["nodes"]) == (200, [{"id": "demo", "streams_closed": 10}])
        assert await asyncio.gather(*ends) == ["reset"] * 10
        assert all(player.goodbyes() == player.sources() != set() for player in playing)
    await until_over(recorded)
    ended = await gateway.traced(lambda entry: entry.detail.get("cause") == "interconnection-cut")
    assert len([entry for entry in ended if entry.kind is Kind.STREAM_STOPPED]) == 10
    restoration = {"incident": cut["incident"], "reason": "fin de l'essai"}
    assert (await gateway.call("ops", "POST", "/interconnection/restore", restoration))[0] == 200


def over_tls(recorded: Recorded, credentials: Credentials) -> RawPlayer:
    """A player by RTSPS."""
    address = urlsplit(recorded.gateway.ready["rtsps"])
    tls = ssl.create_default_context(cafile=recorded.gateway.ready["ca"])
    return RawPlayer(address.hostname or "", address.port or 0, credentials, tls=tls)
