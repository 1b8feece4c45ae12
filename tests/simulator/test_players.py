"""Real players decode the simulated cameras: every counter is read back, and moves by one a frame."""

from __future__ import annotations

import asyncio
import itertools

import av
import numpy as np
import pytest
from simulated_cameras import H264, H264_WITH_AUDIO, H265, url_with_credentials

from halfgateway.protocol.codec import Codec
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.simulator import Simulator
from tests.players import (
    FRAMES,
    counters_by_pyav,
    counters_of,
    ffmpeg_command,
    gstreamer_command,
    in_turn,
    needs_ffmpeg,
    needs_gstreamer,
)
from tests.raw_player import Credentials

every_camera = pytest.mark.parametrize("number", [H264, H265, H264_WITH_AUDIO])


@every_camera
async def test_pyav_decodes_every_frame(simulator: Simulator, number: int) -> None:
    camera = simulator.cameras[number]
    counters = await counters_by_pyav(url_with_credentials(camera))
    assert len(counters) == FRAMES
    assert in_turn(counters)


async def test_the_picture_goes_on_over_the_seam_of_the_loop(short_camera: SimulatedCamera) -> None:
    counters = await counters_by_pyav(url_with_credentials(short_camera), 35)
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
    counters = await counters_of(ffmpeg_command(url_with_credentials(simulator.cameras[number])))
    assert len(counters) == FRAMES
    assert in_turn(counters)


@every_camera
@needs_gstreamer
@pytest.mark.peer
async def test_gstreamer_decodes_every_frame(simulator: Simulator, number: int) -> None:
    camera = simulator.cameras[number]
    credentials = Credentials(camera.identity.username, camera.identity.password)
    codec = Codec.H265 if number == H265 else Codec.H264
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
    video = gstreamer_command(camera.rtsp_url, credentials, codec)
    counters = await counters_of(video + (sound if number == H264_WITH_AUDIO else []))
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)
