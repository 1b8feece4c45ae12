"""Real players decode the simulated cameras: every counter is read back, and moves by one a frame."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from asyncio.subprocess import PIPE

import av
import numpy as np
import pytest
from simulated_cameras import H264, H264_WITH_AUDIO, H265, url_with_credentials

from halfgateway.simulator.blockcode import read_counter
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.clips import CLIP_FRAMES
from halfgateway.simulator.simulator import Simulator

FRAMES = 30
SIZE = (640, 360)

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="apt: ffmpeg; make test installs it")
needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="apt: gstreamer1.0-tools; make test installs it"
)
every_camera = pytest.mark.parametrize("number", [H264, H265, H264_WITH_AUDIO])


def in_turn(counters: list[int | None], *, loop: int = CLIP_FRAMES) -> bool:
    """Whether each counter was read and follows the one before it, the loop's seam included."""
    return all(earlier is not None and later == (earlier + 1) % loop for earlier, later in itertools.pairwise(counters))


def decoded_by_pyav(url: str, frames: int) -> list[int | None]:
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=20) as container:
        decoded = itertools.islice(container.decode(video=0), frames)
        return [read_counter(frame.to_ndarray(format="gray")) for frame in decoded]


async def grey_frames(*command: str) -> list[int | None]:
    """Run a player that writes grey frames of ``SIZE`` to its output, and read their counters.

    Its exit code says nothing: GStreamer 1.22 now and then cancels its own PAUSE while it leaves, and fails.
    """
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert output, errors.decode()
    frames = np.frombuffer(output, dtype=np.uint8).reshape(-1, SIZE[1], SIZE[0])
    return [read_counter(frame) for frame in frames]


@every_camera
async def test_pyav_decodes_every_frame(simulator: Simulator, number: int) -> None:
    camera = simulator.cameras[number]
    counters = await asyncio.to_thread(decoded_by_pyav, url_with_credentials(camera), FRAMES)
    assert len(counters) == FRAMES
    assert in_turn(counters)


async def test_the_picture_goes_on_over_the_seam_of_the_loop(short_camera: SimulatedCamera) -> None:
    counters = await asyncio.to_thread(decoded_by_pyav, url_with_credentials(short_camera), 35)
    assert in_turn(counters, loop=10)
    assert set(counters) == set(range(10))


async def test_the_sound_of_the_third_camera_is_a_tone(simulator: Simulator) -> None:  # L08
    camera = simulator.cameras[H264_WITH_AUDIO]

    def listen() -> np.ndarray:
        with av.open(url_with_credentials(camera), options={"rtsp_transport": "tcp"}, timeout=20) as container:
            decoded = itertools.islice(container.decode(audio=0), 25)
            return np.concatenate([frame.to_ndarray().ravel() for frame in decoded]).astype(np.float64)

    samples = await asyncio.to_thread(listen)
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(float(np.argmax(spectrum)) * 8000 / len(samples) - 440) < 8
    assert camera.media_counters.audio_packets > 0


@every_camera
@needs_ffmpeg
@pytest.mark.peer
async def test_ffmpeg_decodes_every_frame(simulator: Simulator, number: int) -> None:
    url = url_with_credentials(simulator.cameras[number])
    options = ["-frames:v", str(FRAMES), "-vf", f"scale={SIZE[0]}:{SIZE[1]},format=gray", "-f", "rawvideo", "-"]
    counters = await grey_frames("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url, "-an", *options)
    assert len(counters) == FRAMES
    assert in_turn(counters)


@every_camera
@needs_gstreamer
@pytest.mark.peer
async def test_gstreamer_decodes_every_frame(simulator: Simulator, number: int) -> None:
    camera = simulator.cameras[number]
    source = ["rtspsrc", f"location={camera.rtsp_url}", "protocols=tcp", "name=camera"]
    source += [f"user-id={camera.identity.username}", f"user-pw={camera.identity.password}"]
    depayload = ["!", "rtph265depay", "!", "h265parse"] if number == H265 else ["!", "rtph264depay", "!", "h264parse"]
    decode = ["!", "avdec_h265" if number == H265 else "avdec_h264", "!", "videoconvert", "!", "videoscale"]
    grey = ["!", f"video/x-raw,format=GRAY8,width={SIZE[0]},height={SIZE[1]}"]
    sink = ["!", "identity", f"eos-after={FRAMES}", "!", "fdsink", "fd=1"]
    video_only = ["!", "application/x-rtp,media=video"]
    sound = [
        "camera.",
        "!",
        "application/x-rtp,media=audio",
        "!",
        "identity",
        f"eos-after={3 * FRAMES}",
        "!",
        "fakesink",
    ]
    video = [*source, *video_only, *depayload, *decode, *grey, *sink]
    counters = await grey_frames("gst-launch-1.0", "-q", *video, *(sound if number == H264_WITH_AUDIO else []))
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)
