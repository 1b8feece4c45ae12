"""A running simulator, and its clips from the user's cache, encoded by the first test run on a machine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_cameras import H264, SMALL

from camera_registry.clock import SystemClock
from halfgateway.simulator import sites
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.clips import default_cache, ensure_clip
from halfgateway.simulator.packets import Clip, load_clip
from halfgateway.simulator.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def camera(simulator: Simulator) -> SimulatedCamera:
    return simulator.cameras[H264]


@pytest.fixture(scope="session")
def small_clip() -> Clip:
    return load_clip(SMALL, ensure_clip(SMALL, default_cache(os.environ)))


@pytest.fixture(scope="session")
def short_clip(small_clip: Clip) -> Clip:
    """A loop of ten frames: a key frame, and a seam, every 0.4 s."""
    return replace(small_clip, access_units=small_clip.access_units[:10])


@pytest.fixture
async def short_camera(short_clip: Clip) -> AsyncIterator[SimulatedCamera]:
    camera = SimulatedCamera(
        sites.identity(0, random_bytes=os.urandom),
        short_clip,
        Behaviour(),
        clock=SystemClock(),
        random_bytes=os.urandom,
    )
    await camera.start("127.0.0.1")
    yield camera
    await camera.stop()


@pytest.fixture
def empty_cache(tmp_path: Path) -> Path:
    return tmp_path / "clips"
