"""Which recorder has which camera's footage, put together from the configuration."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from camera_registry.clock import Clock
from camera_registry.connections import Credentials
from camera_registry.onvif_port import RecorderPort
from camera_registry.onvif_process import OnvifProcess
from halfgateway.config import Configuration
from halfgateway.config_recordings import (
    OnvifRecorderSection,
    RecorderSection,
    SegmentRecorderSection,
    UrlRecorderSection,
)
from halfgateway.net.coalescing import Coalescing
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.footage import Footage
from halfgateway.replay.onvif_recorder import OnvifFootage, OnvifRecorder
from halfgateway.replay.segment_folder import SegmentFolder
from halfgateway.replay.url_recorder import ReplayUrl, UrlFootage
from halfgateway.segments.layout import Layout

THREADS_PER_FOLDER: Final = 8
"""Reads from one recorder's folder that may wait for its disk at once; what comes more waits for them."""


class ConfiguredRecorders:
    """Fills :class:`~halfgateway.replay.footage.Recorders`."""

    def __init__(self, footage: Mapping[str, Footage]) -> None:
        self._footage = footage

    def of(self, camera: str) -> Footage | None:
        """See the port."""
        return self._footage.get(camera)


def recorded_cameras(configuration: Configuration) -> frozenset[str]:
    """The cameras that a recorder has footage of."""
    return frozenset(camera for recorder in configuration.recorders for camera in recorder.cameras)


def open_recorders(
    configuration: Configuration, onvif: OnvifProcess, clock: Clock, life: AsyncExitStack
) -> ConfiguredRecorders:
    """The recorders of this configuration; nothing is asked of them yet."""
    makers = _Makers(onvif, clock, life)
    return ConfiguredRecorders(dict(makers.footage(configuration.recorders)))


class _Makers:
    """Makes footage of each kind; what must be closed is closed with ``life``."""

    def __init__(self, onvif: OnvifProcess, clock: Clock, life: AsyncExitStack) -> None:
        self._onvif = onvif
        self._clock = clock
        self._life = life
        self._coalescing = Coalescing()

    def footage(self, recorders: Iterable[RecorderSection]) -> Iterator[tuple[str, Footage]]:
        """Each camera with its footage."""
        for recorder in recorders:
            match recorder:
                case OnvifRecorderSection():
                    yield from self._of_onvif(recorder)
                case UrlRecorderSection():
                    yield from self._of_url(recorder)
                case SegmentRecorderSection():
                    yield from self._of_segments(recorder)

    def _of_onvif(self, section: OnvifRecorderSection) -> Iterator[tuple[str, Footage]]:
        credentials = section.credentials()
        device = self._onvif.open(section.onvif_url, credentials)
        recorder, footage = onvif_recorder(
            section, credentials, device, clock=self._clock, coalescing=self._coalescing, chance=random.random
        )
        self._life.push_async_callback(device.aclose)
        self._life.push_async_callback(recorder.aclose)
        yield from footage.items()

    def _of_url(self, section: UrlRecorderSection) -> Iterator[tuple[str, Footage]]:
        yield from url_footage(
            section, section.credentials(), clock=self._clock, coalescing=self._coalescing, chance=random.random
        ).items()

    def _of_segments(self, section: SegmentRecorderSection) -> Iterator[tuple[str, Footage]]:
        threads = ThreadPoolExecutor(THREADS_PER_FOLDER, thread_name_prefix=f"recorder-{section.id}")
        self._life.callback(threads.shutdown, wait=False, cancel_futures=True)
        layout = Layout(section.pattern, ZoneInfo(section.time_zone))
        for camera, channel in section.cameras.items():
            yield camera, SegmentFolder(section.folder, channel, layout, clock=self._clock, threads=threads)


def onvif_recorder(
    section: OnvifRecorderSection,
    credentials: Credentials,
    device: RecorderPort,
    *,
    clock: Clock,
    coalescing: Coalescing,
    chance: Callable[[], float],
) -> tuple[OnvifRecorder, dict[str, OnvifFootage]]:
    """A recorder of ONVIF Profile G, to be closed before ``device`` is, and its footage by our cameras."""
    access = RecorderAccess(section.id, section.sessions, chance=chance, now=clock.monotonic)
    recorder = OnvifRecorder(device, credentials, access, clock=clock, coalescing=coalescing)
    return recorder, {camera: recorder.footage(token) for camera, token in section.cameras.items()}


def url_footage(
    section: UrlRecorderSection,
    credentials: Credentials,
    *,
    clock: Clock,
    coalescing: Coalescing,
    chance: Callable[[], float],
) -> dict[str, UrlFootage]:
    """The footage of a recorder that is played by its maker's URLs, by our cameras; nothing of it is to be closed."""
    access = RecorderAccess(section.id, section.sessions, chance=chance, now=clock.monotonic)
    url = ReplayUrl(section.url, section.time_format, ZoneInfo(section.time_zone))
    keeps = timedelta(days=section.keeps_days)
    return {
        camera: UrlFootage(channel, url, credentials, access, keeps=keeps, clock=clock, coalescing=coalescing)
        for camera, channel in section.cameras.items()
    }
