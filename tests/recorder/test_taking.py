"""A camera that is recorded: bit for bit, across its losses, and past a disk that is too slow (C04, L08, L15)."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol import sdp
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtcp import SenderReport, ntp_timestamp
from halfgateway.protocol.sps import described_sets
from halfgateway.recorder.film import Film, GapCause, MissingFootage
from halfgateway.recorder.taking import Taking
from halfgateway.recorder.timeline import PLAUSIBLE_NS, Timeline
from halfgateway.relay.source import SourceKey, VideoFormat
from halfgateway.segments.catalogue import Catalogue
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from halfgateway.upstream.presentation import Presentation
from halfgateway.upstream.pull import Puller
from tests.recorder.filmed import LAYOUT, filmed, go_round, segments, sent
from tests.upstream.line import eventually, target_of

KEY = SourceKey("cam", "")
SECOND_NS = 1_000_000_000


class Recording:
    """One camera being recorded, with a wall clock that a test may put forward."""

    def __init__(self, folder: Path, camera: SimulatedCamera, film: type[Film], limit_bytes: int) -> None:
        self.folder = folder
        self.ahead_s = 0.0
        self.missing: list[MissingFootage] = []
        self.film = film(
            "cam",
            folder / "cam",
            layout=LAYOUT,
            segment_s=1,
            end=None,
            on_missing=self.missing.append,
        )
        self.taking = Taking(KEY, self.film, wall_ns=self._wall_ns, limit_bytes=limit_bytes)
        self.puller = Puller(
            lambda key: target_of(camera),
            chance=random.random,
            now=time.monotonic,
            on_described=self._described,
            coalescing=Coalescing(),
            sleep=lambda wait_s: asyncio.sleep(0),
        )

    def pictures(self) -> list[bytes]:
        return [data for _, data in filmed(self.folder, "cam")]

    def _wall_ns(self) -> int:
        return time.time_ns() + round(self.ahead_s * SECOND_NS)

    def _described(self, key: SourceKey, presentation: Presentation) -> None:
        media = sdp.first_video(presentation.description)
        sets = described_sets(presentation.video.codec, " ".join(media.fmtp.values()))
        self.taking.described(presentation.video, tuple(sets))


@asynccontextmanager
async def recording(
    folder: Path, camera: SimulatedCamera, *, film: type[Film] = Film, limit_bytes: int = 1 << 20
) -> AsyncIterator[Recording]:
    running = Recording(folder, camera, film, limit_bytes)
    pulling = asyncio.create_task(running.puller.pull(running.taking.source))
    try:
        yield running
    finally:
        pulling.cancel()
        await asyncio.wait({pulling})
        await running.taking.close()


async def later(condition: Callable[[], object]) -> None:
    """Wait for what takes a look at the disk to see."""
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def test_what_is_on_the_disk_is_what_the_camera_sent(
    tmp_path: Path, short_camera: SimulatedCamera, short_clip: Clip
) -> None:
    before = datetime.now(UTC)
    async with recording(tmp_path, short_camera) as running:
        await later(lambda: len(segments(tmp_path, "cam")) >= 3)
    film = filmed(tmp_path, "cam")
    assert len(film) > 40
    assert go_round([data for _, data in film], sent(short_clip))
    instants = [at for at, _ in film]
    assert before - timedelta(seconds=1) < instants[0] <= instants[-1] < datetime.now(UTC) + timedelta(seconds=1)
    steps = [(later_one - earlier).total_seconds() for earlier, later_one in itertools.pairwise(instants)]
    assert min(steps) > 0
    assert max(steps) < 1
    assert running.missing == []
    found = Catalogue(tmp_path, "cam", LAYOUT, now=lambda: datetime.now(UTC))
    ((start, end),) = found.intervals(before - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1))
    assert start == instants[0]
    assert timedelta() < end - instants[-1] < timedelta(seconds=1)


async def test_a_camera_that_was_away_leaves_a_gap_and_goes_on(
    tmp_path: Path, short_camera: SimulatedCamera, short_clip: Clip
) -> None:
    async with recording(tmp_path, short_camera) as running:
        await later(lambda: len(filmed(tmp_path, "cam")) > 10)
        running.ahead_s = 60  # as if it had been away for a minute
        short_camera.drop_connections()
        await later(lambda: running.missing and len(segments(tmp_path, "cam")) >= 3)
    (missing,) = running.missing
    assert missing.cause is GapCause.CAMERA
    assert 58 < (missing.gap.end - missing.gap.start).total_seconds() < 62
    starts = [start for start, _ in segments(tmp_path, "cam")]
    assert missing.gap.end in starts
    assert set(running.pictures()) == set(sent(short_clip))


class StuckFilm(Film):
    """Its disk takes nothing while it is stuck."""

    free = threading.Event()

    def take(self, data: bytes, arrival_ns: int) -> None:
        assert self.free.wait(30)
        super().take(data, arrival_ns)


async def test_a_disk_that_is_stuck_holds_nobody_up_and_costs_whole_pictures_only(
    tmp_path: Path, short_camera: SimulatedCamera, short_clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    StuckFilm.free.set()
    async with recording(tmp_path, short_camera, film=StuckFilm, limit_bytes=4096) as running:
        await later(lambda: len(running.pictures()) > 10)
        StuckFilm.free.clear()
        began = short_camera.media_counters.video_packets
        await eventually(lambda: short_camera.media_counters.video_packets > began + 100)
        running.ahead_s = 60
        StuckFilm.free.set()
        written = len(running.pictures())
        await later(lambda: running.missing and len(running.pictures()) > written + 20)
    assert running.taking.lost_packets > 0
    assert running.missing[0].cause is GapCause.SLOW_DISK
    assert "recording.too_slow" in caplog.text
    assert set(running.pictures()) <= set(sent(short_clip))


async def test_while_it_is_paused_nothing_is_written(tmp_path: Path, short_camera: SimulatedCamera) -> None:
    async with recording(tmp_path, short_camera) as running:
        running.taking.pause(paused=True)
        await eventually(lambda: running.taking.source.received_packets > 50)
        assert segments(tmp_path, "cam") == []
        running.taking.pause(paused=False)
        await later(lambda: segments(tmp_path, "cam"))


def test_a_format_that_is_not_recorded_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = Film("cam", tmp_path, layout=LAYOUT, segment_s=1, end=None, on_missing=lambda told: None)
    film.begin(VideoFormat(Codec.JPEG, 90_000), (), recordable=False)
    film.take(b"$\0\0\x0c" + bytes(12), 0)
    assert "recording.not_recordable camera=cam codec=JPEG" in caplog.text


@pytest.mark.parametrize(("offset_ns", "told"), [(0, True), (PLAUSIBLE_NS, True), (-PLAUSIBLE_NS - 1, False)])
def test_a_report_counts_where_its_clock_is_right(offset_ns: int, told: bool) -> None:
    now_ns = 1_792_887_300 * SECOND_NS
    timeline = Timeline(90_000)
    timeline.note(SenderReport(1, ntp_timestamp(now_ns + offset_ns), 0xFFFF_FF00, 0, 0), now_ns)
    at_ns = timeline.at(0x0000_0100, now_ns)
    expected_ns = now_ns + offset_ns + 512 * SECOND_NS // 90_000 if told and abs(offset_ns) < PLAUSIBLE_NS else now_ns
    assert abs(at_ns - expected_ns) <= 1000
    assert timeline.at(0x7000_0000, now_ns) == now_ns
