"""Recordings through the one door, from a folder of segments: what is granted, played, sought, refused, and told
(C01-C03, C05; T1, T5, T13; rtsp.md section 1.6)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from auth.trace import Kind
from camera_registry.clock import SystemClock, rfc3339
from camera_registry.paris import days_before
from halfgateway.app import node, recorders, reload
from halfgateway.config import Configuration
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.ranges import ClockRange, clock_text, parse_range
from halfgateway.protocol.replay_header import read_replay_header
from halfgateway.protocol.rtp import RtpView
from halfgateway.replay.segment_folder import SegmentFolder
from halfgateway.segments.layout import Layout
from tests.depacketise import decoded_counters
from tests.e2e.conftest import STEADY, Gateway, credentials_of, open_gateway, until
from tests.raw_player import Credentials, RawPlayer
from tests.segments.footage import DEFAULT, PICTURE, number_at, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS = 10
REPLAY = {"Require": "onvif-replay"}


def _all_of_them(configuration: Configuration) -> frozenset[str]:
    return frozenset(camera.id for camera in configuration.cameras)


@dataclass(frozen=True)
class Recorded:
    """A gateway, and where its recorder has footage of the first camera: minute by minute, with gaps."""

    gateway: Gateway
    camera: str
    recent: datetime
    oldest: datetime
    machine: Credentials

    @property
    def path(self) -> str:
        return f"/recorded/{self.camera}"

    def player(self, credentials: Credentials | None = None) -> RawPlayer:
        return self.gateway.player(credentials or self.machine)

    async def ask(self, start: datetime, end: datetime | None = None) -> tuple[int, dict[str, Any]]:
        wish = {"camera": self.camera, "mode": "recorded", "reason": "L251-2-5", "start": rfc3339(start)}
        return await self.gateway.call("operator", "POST", "/streams", wish | ({"end": rfc3339(end)} if end else {}))


@asynccontextmanager
async def open_recorded(folder: Path) -> AsyncIterator[Recorded]:
    now = datetime.now(UTC).replace(microsecond=0)
    recent, oldest = now - timedelta(minutes=10), days_before(now, DAYS) - timedelta(seconds=4)
    channel = folder / "footage" / "channel"
    for start in (recent, recent + timedelta(seconds=4), recent + timedelta(seconds=10)):
        await asyncio.to_thread(write, channel, start)
    await asyncio.to_thread(write, channel, oldest, 60)
    async with AsyncExitStack() as life:
        threads = ThreadPoolExecutor(4)
        life.callback(threads.shutdown)
        footage = SegmentFolder(folder / "footage", "channel", Layout(DEFAULT), clock=SystemClock(), threads=threads)
        known: dict[str, SegmentFolder] = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(node, "open_recorders", lambda *_: recorders.ConfiguredRecorders(known))
            for module in (node, reload):
                patch.setattr(module, "recorded_cameras", _all_of_them)
            gateway = await life.enter_async_context(open_gateway(folder / "demo", STEADY))
        camera = gateway.cameras[0]
        known[camera] = footage
        yield Recorded(gateway, camera, recent, oldest, gateway.machine)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_recorded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recorded]:
    async with open_recorded(tmp_path_factory.mktemp("recorded")) as recorded:
        yield recorded


@pytest_asyncio.fixture(loop_scope="module")
async def recorded(module_recorded: Recorded) -> AsyncIterator[Recorded]:
    yield module_recorded

    async def is_free() -> bool:
        return await module_recorded.gateway.slots_used() == 0

    await until(is_free)


async def until_over(recorded: Recorded) -> None:
    """Wait until every stream has ended, and its end is told."""

    async def over() -> bool:
        return await recorded.gateway.slots_used() == 0

    await until(over)
    await recorded.gateway.node.control.tracer.settle(5.0)


def clock(start: datetime, end: datetime | None = None) -> dict[str, str]:
    return {"Range": str(ClockRange(start, end))}


def instants(player: RawPlayer) -> list[datetime]:
    """When each picture was filmed, as its first packet tells."""
    packets = [data for channel, data, _ in player.packets if channel == 0]
    return [told.at for told in map(read_replay_header, packets) if told is not None]


def numbers(player: RawPlayer) -> list[int | None]:
    return decoded_counters([data for channel, data, _ in player.packets if channel == 0], Codec.H264)


async def pictures_until(player: RawPlayer, enough: Callable[[list[datetime]], bool]) -> None:
    """Read until the pictures' instants are as wanted."""
    while not enough(instants(player)):
        await player.packets_until(sum(channel == 0 for channel, _, _ in player.packets) + 1)


async def play(player: RawPlayer, recorded: Recorded, headers: dict[str, str]) -> tuple[int, dict[str, list[str]]]:
    """PLAY in the session that was set up; the session's numbers, if it has any."""
    url = player.url(recorded.path)
    answer = await player.ask("PLAY", url, {"Session": player.session or "", **headers})
    return answer.status, answer.headers


async def test_what_was_filmed_then_is_shown(recorded: Recorded) -> None:
    # C03, T13, rows 54-57: from the clean picture at or before, each picture told with the instant that it shows
    start = recorded.recent + timedelta(seconds=1, milliseconds=480)
    async with recorded.player() as player:
        assert (await player.set_up(recorded.path)).status == 200
        status, headers = await play(player, recorded, clock(start) | REPLAY)
        assert status == 200
        told = parse_range(headers["range"][0])
        await player.packets_until(40)
        shown, filmed = numbers(player), instants(player)
        assert filmed[0] == recorded.recent + timedelta(seconds=1) == told.start  # type: ignore[union-attr]
        assert shown[:30] == [number_at(at) for at in filmed[:30]]
        first = RtpView(next(data for channel, data, _ in player.packets if channel == 0))
        assert f"seq={first.sequence};rtptime={first.timestamp}" in headers["rtp-info"][0]
        await player.tear_down(recorded.path)


async def test_a_segment_s_edge_is_no_gap_and_a_gap_is_waited_out(recorded: Recorded) -> None:
    # T13, row 57: no time is compressed
    start = recorded.recent + timedelta(seconds=3)
    async with recorded.player() as player:
        await player.set_up(recorded.path)
        await play(player, recorded, clock(start, start + timedelta(seconds=9)) | REPLAY)
        await pictures_until(
            player, lambda filmed: bool(filmed) and filmed[-1] >= recorded.recent + timedelta(seconds=10)
        )
        filmed = instants(player)
        steps = [later - earlier for earlier, later in itertools.pairwise(filmed)]
        assert set(steps[:-1]) == {PICTURE}
        assert steps[-1] == timedelta(seconds=2) + PICTURE
        video = [RtpView(data) for channel, data, _ in player.packets if channel == 0]
        stamps = sorted({(packet.timestamp - video[0].timestamp) % 2**32 for packet in video})
        assert stamps[-1] - stamps[-2] == 90 * 2040
        await player.tear_down(recorded.path)


async def test_ten_days_and_no_more(recorded: Recorded) -> None:
    # C03, T13, row 56: 10 d - 1 s is served, 10 d + 1 s is refused, apart from no recording, apart from to come
    now = datetime.now(UTC)
    inside = days_before(now, DAYS) + timedelta(seconds=1)
    outside, to_come = inside - timedelta(seconds=2), now + timedelta(hours=1)
    assert (await recorded.ask(outside))[1]["type"].endswith("outside-retention")
    assert (await recorded.ask(outside))[0] == 410
    async with recorded.player() as player:
        await player.set_up(recorded.path)
        for start, refusal in ((outside, "outside-retention"), (to_come, "outside-retention")):
            status, headers = await play(player, recorded, clock(start) | REPLAY)
            assert (status, headers["x-refusal"]) == (457, [refusal])
        status, headers = await play(player, recorded, clock(now - timedelta(seconds=5), now) | REPLAY)
        assert (status, headers["x-refusal"]) == (457, ["no-recording"])
        assert not player.packets
        status, headers = await play(player, recorded, clock(inside) | REPLAY)
        assert status == 200, headers
        await player.packets_until(5)
        assert instants(player)[0] >= days_before(datetime.now(UTC), DAYS) - timedelta(seconds=20)
        await player.tear_down(recorded.path)
    refused = await recorded.gateway.traced(lambda entry: entry.kind is Kind.STREAM_REFUSED)
    assert {"outside-retention", "no-recording"} <= {entry.refusal for entry in refused}


async def test_seeking_takes_no_second_place(recorded: Recorded) -> None:
    # C02, T5, T13, row 60: one place, whatever is sought; each passage that was shown is in the trace
    async with recorded.player() as player:
        await player.set_up(recorded.path)
        for index in range(6):
            start = recorded.recent + timedelta(seconds=index % 4)
            assert (await play(player, recorded, clock(start) | REPLAY))[0] == 200
            seen = len(player.packets)
            await player.packets_until(seen + 1)
            assert await recorded.gateway.slots_used() == 1
        assert (await player.ask("PAUSE", player.url(recorded.path), {"Session": player.session or ""})).status == 200
        assert await recorded.gateway.slots_used() == 1
        assert (await play(player, recorded, {}))[0] == 200
        streams = await recorded.gateway.call("supervisor", "GET", "/streams")
        assert streams[1]["items"][0]["mode"] == "recorded"
        sequences = [RtpView(data).sequence for channel, data, _ in player.packets if channel == 0]
        assert all((later - earlier) % 65536 == 1 for earlier, later in itertools.pairwise(sequences))
        await player.tear_down(recorded.path)
    await until_over(recorded)
    stopped = [e for e in await recorded.gateway.trace() if e.kind is Kind.STREAM_STOPPED][-1]
    moved = [e for e in await recorded.gateway.trace() if e.stream == stopped.stream and e.kind is Kind.STREAM_MOVED]
    assert len(moved) == 7


async def test_a_ticket_is_good_for_its_period(recorded: Recorded) -> None:
    # C03: bound to camera, mode and range; the URL says no more than the player must be told
    start, end = recorded.recent + timedelta(seconds=1), recorded.recent + timedelta(seconds=3)
    status, ticket = await recorded.ask(start, end)
    assert status == 201, ticket
    async with recorded.player(credentials_of(ticket)) as player:
        described = await player.ask("DESCRIBE", player.url(recorded.path))
        assert f"a=range:clock={clock_text(start)}-{clock_text(end)}" in described.body.decode()
        assert "a=x-onvif-track:VIDEO001" in described.body.decode()
        await player.set_up(recorded.path)
        assert (await play(player, recorded, clock(start - timedelta(seconds=1)) | REPLAY))[0] == 403
        assert (await play(player, recorded, {"Range": "npt=0.000-"} | REPLAY))[0] == 200
        await player.packets_until(40)
        assert numbers(player)[0] == number_at(start)
        assert instants(player)[-1] <= end
        await player.tear_down(recorded.path)


async def test_more_than_a_picture_s_pace_is_a_right_of_its_own(recorded: Recorded) -> None:
    # S14: without it, faster means keyframes alone
    async with recorded.player() as player:
        await player.set_up(recorded.path)
        status, headers = await play(player, recorded, clock(recorded.recent) | REPLAY | {"Rate-Control": "no"})
        assert (status, headers["x-refusal"]) == (403, ["not-habilitated"])
        status, headers = await play(player, recorded, clock(recorded.recent) | REPLAY | {"Scale": "4.0"})
        assert (status, headers["frames"]) == (200, ["intra"])
        await pictures_until(player, lambda filmed: len(filmed) == 4)
        filmed = instants(player)
        assert [at - recorded.recent for at in filmed] == [timedelta(seconds=second) for second in range(4)]
        await player.tear_down(recorded.path)


async def test_what_there_is_is_listed(recorded: Recorded) -> None:
    # C03, C05: clipped to the window
    status, found = await recorded.gateway.call("operator", "GET", f"/cameras/{recorded.camera}/recordings")
    assert status == 200, found
    intervals = [(each["start"], each["end"]) for each in found["intervals"]]
    assert intervals[0][0] == found["window"]["start"]
    assert intervals[-2] == (rfc3339(recorded.recent), rfc3339(recorded.recent + timedelta(seconds=8)))
    assert all(each["verified"] for each in found["intervals"])


async def test_the_retention_probe_tells_what_the_recorder_has(recorded: Recorded) -> None:
    # C04: the oldest instant, the gaps of the window; a camera that was just added is not early
    status, found = await recorded.gateway.call("ops", "POST", "/retention/probe")
    assert status == 200
    (told,) = [each for each in found["items"] if each["camera"] == recorded.camera]
    assert (told["reached"], told["verified"], told["oldest"]) == (True, True, rfc3339(recorded.oldest))
    assert told["breaches"] == ["gap"]
    assert {"start": rfc3339(recorded.recent + timedelta(seconds=14)), "end": told["probed_at"]} not in told["gaps"]
    assert told["gap_count"] == len(told["gaps"]) == 1
