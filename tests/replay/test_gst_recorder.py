"""A recorder that nobody here wrote: GStreamer's ONVIF replay server, played and decoded."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from camera_registry.clock import SystemClock
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.replay import FrameKind, Frames, PlayOptions
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.footage import Passage, Picture
from halfgateway.replay.rtsp_replay import RtspReplay
from halfgateway.simulator.clips import ClipSpec, default_cache, ensure_clip
from halfgateway.upstream.client import Target
from tests.depacketise import decoded_counters
from tests.replay.scripted_recorder import NOON
from tests.replay.test_rtsp_replay import some

SYSTEM_PYTHON = "/usr/bin/python3"
RECORDER = Path(__file__).parent / "gst_recorder.py"
START_LIMIT_S = 60.0
FRAME = timedelta(seconds=1) / 25
GROUP = 10
CLIP = ClipSpec("Enregistreur", "h264", 320, 180, 300_000, gop_frames=GROUP, frames=100)
SECOND = timedelta(seconds=1)
FAST = PlayOptions(rate_control=False)


def has_gst_rtsp_server() -> bool:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    return Path(SYSTEM_PYTHON).exists() and subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False).returncode == 0


pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.peer,
    pytest.mark.skipif(not has_gst_rtsp_server(), reason="apt: gir1.2-gst-rtsp-server-1.0; make test installs it"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ports() -> AsyncIterator[tuple[int, int]]:
    clip = await asyncio.to_thread(ensure_clip, CLIP, default_cache(os.environ))
    start_s = str(int(NOON.timestamp()))
    process = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON, str(RECORDER), str(clip), start_s, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_LIMIT_S):
            onvif, plain = (await process.stdout.readline()).split()
        yield int(onvif), int(plain)
    finally:
        process.stdin.close()
        await process.wait()


@pytest.fixture(params=[True, False], ids=["onvif", "plain"])
def knows_replay(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@asynccontextmanager
async def opened(ports: tuple[int, int], knows_replay: bool) -> AsyncIterator[RtspReplay]:
    access = RecorderAccess("gst", 1, chance=lambda: 0.0, now=time.monotonic)
    target = Target(f"rtsp://127.0.0.1:{ports[0] if knows_replay else ports[1]}/recording")
    replay = await RtspReplay.open(target, access, clock=SystemClock(), coalescing=Coalescing(), silence_limit_s=0.5)
    try:
        assert access.habits.knows_replay == knows_replay
        yield replay
    finally:
        await replay.close()


def shown(pictures: list[Picture]) -> list[int | None]:
    """The frame counters that are burned into the pictures."""
    return decoded_counters((packet for picture in pictures for packet in picture.packets), Codec.H264)


def due(pictures: list[Picture]) -> list[int]:
    """Those that ``at`` says should be."""
    return [round((picture.at - NOON) / FRAME) for picture in pictures]


async def test_the_picture_shown_is_of_the_instant_asked(ports: tuple[int, int], knows_replay: bool) -> None:
    # the instant read from the decoded picture is within one frame of the instant asked
    async with opened(ports, knows_replay) as replay:
        for start_s in (0.0, 0.8, 2.4, 1.2):
            found = await some(replay, Passage(NOON + start_s * SECOND, None, FAST), GROUP)
            assert found[0].clean
            assert found[0].discontinuous
            assert abs(found[0].at - NOON - start_s * SECOND) <= FRAME
            assert shown(found) == due(found)


async def test_a_start_between_keyframes_begins_at_the_one_before(ports: tuple[int, int], knows_replay: bool) -> None:
    # ONVIF Streaming 6.5.4
    async with opened(ports, knows_replay) as replay:
        found = await some(replay, Passage(NOON + 1.5 * SECOND, None, FAST), GROUP)
    assert due(found)[0] == 30
    assert shown(found) == due(found)


async def test_a_bounded_passage_ends_at_its_end(ports: tuple[int, int], knows_replay: bool) -> None:
    async with opened(ports, knows_replay) as replay:
        passage = Passage(NOON + 0.8 * SECOND, NOON + 2 * SECOND, PlayOptions(scale=4.0))
        found = [picture async for picture in replay.play(passage)]
    assert due(found)[0] == 20
    assert 48 <= due(found)[-1] <= 50


async def test_the_end_of_the_recording_is_the_end(ports: tuple[int, int], knows_replay: bool) -> None:
    # ONVIF Streaming 6.9
    async with opened(ports, knows_replay) as replay:
        found = [picture async for picture in replay.play(Passage(NOON + 3.2 * SECOND, None, FAST))]
    assert due(found) == list(range(80, 100))


async def test_in_reverse_groups_come_backwards_and_pictures_forwards(
    ports: tuple[int, int], knows_replay: bool
) -> None:
    # ONVIF Streaming 6.6
    passage = Passage(NOON + 2 * SECOND, NOON + 1.2 * SECOND, PlayOptions(scale=-1.0, rate_control=False))
    async with opened(ports, knows_replay) as replay:
        found = [picture async for picture in replay.play(passage)]
    groups = [picture for picture in found if picture.clean]
    assert len(groups) >= 2
    assert due(groups) == sorted(due(groups), reverse=True)
    assert min(due(found)) == 30


async def test_keyframes_alone_can_be_asked_for(ports: tuple[int, int], knows_replay: bool) -> None:
    options = PlayOptions(rate_control=False, frames=Frames(FrameKind.INTRA))
    async with opened(ports, knows_replay) as replay:
        found = [picture async for picture in replay.play(Passage(NOON, NOON + 1 * SECOND, options))]
    assert all(picture.clean for picture in found)
    assert due(found)[:3] == [0, 10, 20]
