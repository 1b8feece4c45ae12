"""A simulated SYN: cameras that a gateway can be pointed at, and that a test can misuse."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from camera_registry.clock import Clock, SystemClock
from halfgateway.simulator import sites
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.clips import ClipSpec, default_cache, ensure_clip
from halfgateway.simulator.packets import Clip, load_clip


class CameraListing(TypedDict):
    """What ``halfgateway simulate --json`` tells of each camera: for SYN's side, credentials included."""

    id: str
    name: str
    site: str
    commune: str
    latitude: float
    longitude: float
    onvif_url: str
    rtsp_url: str
    username: str
    password: str


class Simulator:
    """Cameras that run between ``async with`` and its end.

    With ``rtsp_port`` and ``onvif_port`` 0 each camera takes free ports; otherwise camera ``n`` takes that port plus
    ``n``. The first start on a machine encodes the clips, which takes some tens of seconds.
    """

    def __init__(
        self,
        cameras: int = 3,
        *,
        host: str = "127.0.0.1",
        rtsp_port: int = 0,
        onvif_port: int = 0,
        clip_cache: Path | None = None,
        clock: Clock | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Raises ValueError for a number of cameras below 1 or above :data:`sites.MAX_CAMERAS`."""
        if not 1 <= cameras <= sites.MAX_CAMERAS:
            raise ValueError(f"between 1 and {sites.MAX_CAMERAS} cameras can be simulated, not {cameras}")
        self._wanted = cameras
        self._host = host
        self._rtsp_port = rtsp_port
        self._onvif_port = onvif_port
        self._cache = clip_cache or default_cache(os.environ)
        self._clock = clock or SystemClock()
        self._random_bytes = random_bytes
        self._running: list[SimulatedCamera] = []
        self._abandoned = threading.Event()

    @property
    def cameras(self) -> tuple[SimulatedCamera, ...]:
        """The cameras, while they run."""
        return tuple(self._running)

    async def __aenter__(self) -> Self:
        """Start every camera. Raises ClipError, OSError (a port is taken)."""
        identities = [sites.identity(index, random_bytes=self._random_bytes) for index in range(self._wanted)]
        specs = [sites.clip_specs(index, each.name) for index, each in enumerate(identities)]
        clips = await self._clips([spec for of_camera in specs for spec in of_camera])
        try:
            for index, (identity, (best, *smaller)) in enumerate(zip(identities, specs, strict=True)):
                camera = SimulatedCamera(
                    identity,
                    clips[best],
                    sites.behaviour(index),
                    sub_clip=clips[smaller[0]] if smaller else None,
                    clock=self._clock,
                    random_bytes=self._random_bytes,
                )
                await camera.start(
                    self._host,
                    rtsp_port=self._rtsp_port and self._rtsp_port + index,
                    onvif_port=self._onvif_port and self._onvif_port + index,
                )
                self._running.append(camera)
        except OSError:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def listing(self) -> list[CameraListing]:
        """Return what SYN's side needs to know of each camera."""
        return [_listing(camera) for camera in self._running]

    async def _clips(self, specs: list[ClipSpec]) -> dict[ClipSpec, Clip]:
        distinct = list(dict.fromkeys(specs))
        try:
            loaded = await asyncio.gather(*(asyncio.to_thread(self._clip, spec) for spec in distinct))
        except asyncio.CancelledError:
            self._abandoned.set()
            raise
        return dict(zip(distinct, loaded, strict=True))

    def _clip(self, spec: ClipSpec) -> Clip:
        return load_clip(spec, ensure_clip(spec, self._cache, abandoned=self._abandoned.is_set))

    async def _stop(self) -> None:
        while self._running:
            await self._running.pop().stop()


def _listing(camera: SimulatedCamera) -> CameraListing:
    identity = camera.identity
    return CameraListing(
        id=identity.id,
        name=identity.name,
        site=identity.site,
        commune=identity.commune,
        latitude=identity.latitude,
        longitude=identity.longitude,
        onvif_url=camera.onvif_url,
        rtsp_url=camera.rtsp_url,
        username=identity.username,
        password=identity.password,
    )
