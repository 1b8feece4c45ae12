"""A simulated SYN: cameras that a gateway can be pointed at, and that a test can misuse."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from camera_registry.clock import Clock, SystemClock
from halfgateway.simulator import sites
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.clips import ClipError, ClipSpec, default_cache, ensure_clip
from halfgateway.simulator.footage_folder import FootageFolder
from halfgateway.simulator.identity import CameraIdentity
from halfgateway.simulator.packets import Clip, load_clip
from halfgateway.simulator.recorder import SimulatedRecorder
from halfgateway.simulator.recordings import recordings


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


class RecordingListing(TypedDict):
    """The recording of one camera: its token in ONVIF, its channel in makers' URLs, its folder below the footage's."""

    camera: str
    token: str
    channel: str
    folder: str


class RecorderListing(TypedDict):
    """What ``halfgateway simulate --json`` tells of the recorder; ``footage`` is its folder of segments, if any."""

    id: str
    onvif_url: str
    url: str
    username: str
    password: str
    footage: str | None
    recordings: list[RecordingListing]


class Simulator:
    """Cameras that run between ``async with`` and its end, and with ``with_recorder`` the recorder of them all.

    In the folder ``footage`` the recorder lays segments, and goes on doing so while it runs.
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
        with_recorder: bool = False,
        footage: Path | None = None,
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
        self._with_recorder = with_recorder
        self._footage = None if footage is None else FootageFolder(footage, clock=self._clock)
        self._recorder: SimulatedRecorder | None = None
        self._running: list[SimulatedCamera] = []
        self._abandoned = threading.Event()

    @property
    def cameras(self) -> tuple[SimulatedCamera, ...]:
        """The cameras, while they run."""
        return tuple(self._running)

    @property
    def recorder(self) -> SimulatedRecorder:
        """The recorder, while it runs. Raises RuntimeError where there is none."""
        if self._recorder is None:
            raise RuntimeError("no recorder runs")
        return self._recorder

    async def __aenter__(self) -> Self:
        """Start every camera, and the recorder. Raises ClipError, OSError (a port is taken)."""
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
            if self._with_recorder:
                await self._record(identities)
        except (OSError, ClipError):
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

    def recorder_listing(self) -> RecorderListing | None:
        """Return what SYN's side needs to know of the recorder; None where there is none."""
        if self._recorder is None:
            return None
        recorder, footage = self._recorder, self._footage
        return RecorderListing(
            id=recorder.identity.id,
            onvif_url=recorder.onvif_url,
            url=recorder.url_template,
            username=recorder.identity.username,
            password=recorder.identity.password,
            footage=None if footage is None else str(footage.root),
            recordings=[
                RecordingListing(camera=each.camera, token=each.token, channel=str(each.channel), folder=each.camera)
                for each in recorder.recordings
            ],
        )

    async def _record(self, identities: Sequence[CameraIdentity]) -> None:
        """Start the recorder, on free ports, and lay its footage."""
        held = recordings([(each.id, each.name) for each in identities], self._clock.now())
        recorder = SimulatedRecorder(held, clock=self._clock, random_bytes=self._random_bytes)
        await recorder.start(self._host)
        self._recorder = recorder
        if self._footage is not None:
            self._footage.begin(held)

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
        if self._footage is not None:
            await self._footage.end()
        if self._recorder is not None:
            await self._recorder.stop()
            self._recorder = None
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
