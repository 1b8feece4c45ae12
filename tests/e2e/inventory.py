"""Cameras that a test puts into a running gateway's inventory by itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord, Connection, Credentials
from halfgateway.protocol.codec import Codec
from halfgateway.simulator import sites
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.clips import ClipSpec, default_cache, ensure_clip
from halfgateway.simulator.packets import PACKET_BYTES, load_clip
from tests.simulated_cameras import SMALL

TEST_SITE = "Essai"
"""Where such cameras stand: an order covers them all."""

QUICK_FRAMES = 10
"""A loop of 0.4 s, with a key frame: nobody waits for a picture to begin."""


def record_of(
    camera_id: str,
    url: str,
    credentials: Credentials,
    *,
    codec: Codec = Codec.H264,
    profiles: tuple[str, ...] = ("main",),
    onvif_url: str = "http://127.0.0.1/",
) -> CameraRecord:
    """A camera all of whose profiles are one stream."""
    camera = Camera(
        id=camera_id,
        name="Caméra d'essai",
        site=TEST_SITE,
        commune="Versailles",
        latitude=48.8,
        longitude=2.1,
        state=CameraState.AVAILABLE,
        profiles=tuple(Profile(id=each, codec=codec.value, width=320, height=180, fps=25.0) for each in profiles),
    )
    streams = dict.fromkeys(profiles, url)
    return CameraRecord(camera, Connection(onvif_url=onvif_url, credentials=credentials, streams=streams))


def record_of_simulated(camera: SimulatedCamera, camera_id: str, profiles: tuple[str, ...] = ("main",)) -> CameraRecord:
    identity = camera.identity
    credentials = Credentials(username=identity.username, password=identity.password)
    return record_of(camera_id, camera.rtsp_url, credentials, profiles=profiles, onvif_url=camera.onvif_url)


@asynccontextmanager
async def simulated_camera(
    spec: ClipSpec = SMALL,
    *,
    frames: int | None = None,
    username: str = sites.USERNAME,
    packet_bytes: int = PACKET_BYTES,
) -> AsyncIterator[SimulatedCamera]:
    """A simulated camera in this very process, so that a test can look into it; ``frames`` shortens its loop."""
    clip = load_clip(spec, ensure_clip(spec, default_cache(os.environ)), packet_bytes=packet_bytes)
    if frames is not None:
        clip = replace(clip, access_units=clip.access_units[:frames])
    identity = replace(sites.identity(0, random_bytes=os.urandom), username=username)
    camera = SimulatedCamera(identity, clip, Behaviour(), clock=SystemClock(), random_bytes=os.urandom)
    await camera.start("127.0.0.1")
    try:
        yield camera
    finally:
        await camera.stop()
