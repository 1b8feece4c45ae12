"""Players as people use them, each told to play a URL and give back the counters burned into what it decoded."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from halfgateway.protocol.codec import Codec
from halfgateway.simulator.blockcode import read_counter
from halfgateway.simulator.clips import CLIP_FRAMES
from tests.depacketise import access_units, decoded_counters
from tests.raw_player import Credentials, RawPlayer

FRAMES = 25
SIZE = (640, 360)
FRAME_BYTES = SIZE[0] * SIZE[1]

LIMIT_S = 60.0
"""Thirty times what a player needs: machines that test are noisy."""

Counters = list[int | None]

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="apt: ffmpeg; make test installs it")
needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="apt: gstreamer1.0-tools; make test installs it"
)

_VIDEO = ["application/x-rtp,media=video", "!"]
_DECODE = {
    Codec.H264: ["rtph264depay", "!", "h264parse", "!", "avdec_h264"],
    Codec.H265: ["rtph265depay", "!", "h265parse", "!", "avdec_h265"],
    Codec.JPEG: ["rtpjpegdepay", "!", "jpegdec"],
}


def in_turn(counters: Counters, *, loop: int = CLIP_FRAMES) -> bool:
    """Whether every picture was read and follows the one before it, the loop's seam included."""
    return all(earlier is not None and later == (earlier + 1) % loop for earlier, later in itertools.pairwise(counters))


def ffmpeg_command(url: str, *, frames: int | None = FRAMES, transport: str | None = "tcp") -> list[str]:
    """With ``transport`` None it chooses by itself: UDP, and TCP when that is refused."""
    by = ["-rtsp_transport", transport] if transport else []
    until = ["-frames:v", str(frames)] if frames else []
    picture = ["-vf", f"scale={SIZE[0]}:{SIZE[1]},format=gray", "-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    return ["ffmpeg", "-nostdin", "-v", "error", *by, "-i", url, "-an", *until, *picture]


def gstreamer_command(
    url: str, credentials: Credentials, codec: Codec, *, frames: int | None = FRAMES, protocols: str = "tcp"
) -> list[str]:
    source = ["rtspsrc", f"location={url}", f"protocols={protocols}", "name=camera"]
    source += [f"user-id={credentials.username}", f"user-pw={credentials.password}"]
    grey = ["videoconvert", "!", "videoscale", "!", f"video/x-raw,format=GRAY8,width={SIZE[0]},height={SIZE[1]}"]
    until = ["!", "identity", f"eos-after={frames}"] if frames else []
    return ["gst-launch-1.0", "-q", *source, "!", *_VIDEO, *_DECODE[codec], "!", *grey, *until, "!", "fdsink", "fd=1"]


async def counters_of(command: list[str]) -> Counters:
    """Run a player until it ends by itself; what stands in its pictures."""
    return [read_counter(picture) for picture in await pictures_of(command)]


async def pictures_of(command: list[str]) -> npt.NDArray[Any]:
    """Run a player until it ends by itself; its pictures of ``SIZE``, in grey.

    GStreamer's exit code says nothing: version 1.22 now and then cancels its own PAUSE while it leaves, and fails.
    """
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(LIMIT_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert output, errors.decode()
    assert process.returncode == 0 or command[0] != "ffmpeg", errors.decode()
    whole = len(output) // FRAME_BYTES
    return np.frombuffer(output[: whole * FRAME_BYTES], dtype=np.uint8).reshape(-1, SIZE[1], SIZE[0])


@asynccontextmanager
async def playing(command: list[str]) -> AsyncIterator[Process]:
    """A player that plays on; it has shown a picture when this begins, and is gone when it ends."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            await process.stdout.readexactly(FRAME_BYTES)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def counters_by_pyav(
    url: str,
    frames: int = FRAMES,
    *,
    transport: str | None = "tcp",
    options: Mapping[str, str] = MappingProxyType({}),
) -> Counters:
    """With ``transport`` None it chooses by itself, as ffmpeg does."""
    by = {"rtsp_transport": transport} if transport else {}

    def decoded() -> Counters:
        with av.open(url, options={**by, **options}, timeout=LIMIT_S) as container:
            pictures = itertools.islice(container.decode(video=0), frames)
            return [read_counter(picture.to_ndarray(format="gray")) for picture in pictures]

    return await asyncio.to_thread(decoded)


async def counters_by_socket(player: RawPlayer, path: str, codec: Codec, frames: int = FRAMES) -> Counters:
    """SETUP, PLAY, so many whole pictures, TEARDOWN; the pictures are decoded."""
    assert (await player.set_up(path)).status == 200
    assert (await player.play(path)).status == 200
    while len(units := list(access_units(_video(player), codec))) < frames:
        await player.packets_until(len(_video(player)) + 5)
    assert (await player.tear_down(path)).status == 200
    counters = await asyncio.to_thread(decoded_counters, _video(player), codec)
    return counters[: len(units)]


def _video(player: RawPlayer) -> list[bytes]:
    return [packet for channel, packet, _ in player.packets if channel == 0]
