"""Asks devices for a keyframe, so that who joins a long group of pictures need not wait for its end.

Within its bound the group itself is given (:mod:`halfgateway.relay.gop`); past it, this is what shortens the wait
(ONVIF Streaming 5.4, SetSynchronizationPoint).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from camera_registry.connections import CameraRecord, Credentials
from camera_registry.errors import NotSupported, RegistryError
from camera_registry.onvif_port import OpenDevice, OpenedDevice, VideoProfile
from camera_registry.store import CameraStore
from halfgateway.relay.source import SourceKey

log = logging.getLogger(__name__)

ASKED_EVERY_S = 1.0
"""Seconds between two requests for one profile: a keyframe costs a camera as much as a second of pictures."""

REST_S = 600.0
"""Seconds for which a device is not asked again that could not, or would not."""

MAX_OPEN = 64
"""Devices whose connection is kept, for the next reader; the one not asked for longest is closed when full."""


class Keyframes:
    """Asks in the background, one request at a time for each profile; a failure costs the reader nothing but the wait.

    ``open_device`` opens a device at its URL with its credentials; ``now`` is monotonic seconds. A device that is
    reached otherwise than before begins anew.
    """

    def __init__(
        self,
        *,
        store: CameraStore,
        open_device: OpenDevice,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._open_device = open_device
        self._now = now
        self._not_before_s: dict[SourceKey, tuple[_Way, float]] = {}
        self._open: OrderedDict[SourceKey, _Opened] = OrderedDict()
        self._asking: dict[SourceKey, asyncio.Task[None]] = {}

    def wanted(self, key: SourceKey) -> None:
        """A reader waits for a keyframe of this profile."""
        record = self._store.snapshot.records.get(key.camera)
        if record is None or key in self._asking or self._is_resting(key, _way(record)):
            return
        asking = asyncio.create_task(self._ask_or_rest(key, record), name=f"keyframe of {key.camera}")
        self._asking[key] = asking
        asking.add_done_callback(lambda _: self._asking.pop(key))

    async def close(self) -> None:
        """Ask nobody any more."""
        for asking in tuple(self._asking.values()):
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        for opened in self._open.values():
            await opened.client.aclose()
        self._open.clear()

    def _is_resting(self, key: SourceKey, way: _Way) -> bool:
        asked_by, until_s = self._not_before_s.get(key, (way, 0.0))
        return way == asked_by and self._now() < until_s

    async def _ask_or_rest(self, key: SourceKey, record: CameraRecord) -> None:
        rest_s = ASKED_EVERY_S
        try:
            await self._ask(key, record)
        except RegistryError as error:
            log.info("keyframe.refused camera=%s cause=%s", key.camera, error.cause)
            rest_s = REST_S
            await self._forget(key)
        self._not_before_s[key] = _way(record), self._now() + rest_s

    async def _ask(self, key: SourceKey, record: CameraRecord) -> None:
        if key in self._open and self._open[key].way != _way(record):
            await self._forget(key)
        if key not in self._open:
            self._open[key] = await self._opened(key, record)
            if len(self._open) > MAX_OPEN:
                await self._forget(next(iter(self._open)))
        self._open.move_to_end(key)
        opened = self._open[key]
        await opened.client.request_keyframe(opened.profile)

    async def _opened(self, key: SourceKey, record: CameraRecord) -> _Opened:
        """The device, and its own name for the profile: the one that plays at the address on record."""
        connection = record.connection
        client = self._open_device(connection.onvif_url, connection.credentials)
        try:
            await client.clock()
            for profile in await client.profiles():
                if await client.stream_url(profile) == connection.streams.get(key.profile):
                    return _Opened(client, profile, _way(record))
            raise NotSupported("the device names no such profile any more")
        except BaseException:
            await client.aclose()
            raise

    async def _forget(self, key: SourceKey) -> None:
        opened = self._open.pop(key, None)
        if opened is not None:
            await opened.client.aclose()


_Way: TypeAlias = tuple[str, Credentials | None]
"""How a device is reached: at which URL, and as whom."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A device that can be asked, and its own name for the profile."""

    client: OpenedDevice
    profile: VideoProfile
    way: _Way


def _way(record: CameraRecord) -> _Way:
    return record.connection.onvif_url, record.connection.credentials
