"""Takes the configured devices into the inventory: by ONVIF what they are, by RTSP DESCRIBE what they send."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn
from urllib.parse import urlsplit

from auth.trace import Draft, Kind
from camera_registry.cameras import CameraState
from camera_registry.connections import CameraRecord, Credentials, StreamSource
from camera_registry.errors import (
    AuthRejected,
    ClientLost,
    NotSupported,
    NoVideo,
    RegistryError,
    Timeout,
    Unreachable,
)
from camera_registry.hosts import AllowedHosts
from camera_registry.inventory import MASKED_CAUSE, Device, Finding, StreamFacts, inventory
from camera_registry.onvif_port import OpenDevice
from camera_registry.schedule import Schedule
from camera_registry.store import CameraStore
from halfgateway.config import CameraSection, Configuration
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.tracing import Tracer
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.sdp import first_video
from halfgateway.relay.source import SourceKey
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import CONNECT_TIMEOUT_S, Target
from halfgateway.upstream.presentation import probe

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""How often it is looked which devices are due: those that are, are asked together."""

CLOCK_NOISE_S = 1.0
"""Devices tell whole seconds: a clock that seems to have moved by less against ours has not."""

_PASSING = frozenset({Unreachable.cause, Timeout.cause, ClientLost.cause})
"""Causes that may be gone in a minute. Others are a person's to mend; a password that was refused is not sent again
(:mod:`camera_registry.guard`)."""


class Survey:
    """Asks devices and keeps what they said. Only hosts that the configuration names are ever dialled.

    ``moved`` is told of each camera that is reached otherwise than before. ``taken`` is set once every device has been
    asked.
    """

    def __init__(
        self,
        *,
        store: CameraStore,
        descriptions: Descriptions,
        tracer: Tracer,
        open_device: OpenDevice,
        moved: Callable[[str], None] = lambda camera: None,
    ) -> None:
        self._store = store
        self._descriptions = descriptions
        self._tracer = tracer
        self._open_device = open_device
        self._moved = moved
        self._cameras: dict[str, CameraSection] = {}
        self._recorded: frozenset[str] = frozenset()
        self._due: set[str] = set()
        self._news = asyncio.Event()
        self.taken = asyncio.Event()

    def look_after(
        self, cameras: Iterable[CameraSection], *, due: Collection[str] = (), recorded: Collection[str] = ()
    ) -> None:
        """Keep these cameras, and no others, from now on; those of ``due`` (identifiers) are asked again at once.

        Of those in ``recorded`` there is footage to be asked for.

        What was found out for another configuration of a camera is dropped.
        """
        self._cameras = {camera.id: camera for camera in cameras}
        self._recorded = frozenset(recorded)
        self._due = (self._due | set(due)) & self._cameras.keys()
        self._news.set()

    async def run(self, *, schedule: Schedule | None = None, look_s: float = LOOK_S) -> NoReturn:
        """Ask every configured device, again and again; what cannot be kept now is kept the next time.

        One that does not answer, or of which nothing can be shown yet, is asked again sooner than the others.
        """
        schedule = schedule or Schedule(time.monotonic(), chance=random.random)
        while True:
            self._news.clear()
            began_s = time.monotonic()
            due = [camera for camera in self._cameras.values() if self._is_due(camera.id, schedule, began_s)]
            self._due.clear()
            settled = await self.take(due) if due else frozenset()
            ended_s = time.monotonic()
            for camera in due:
                if camera.id in settled:
                    schedule.answered(camera.id, began_s)
                else:
                    schedule.failed(camera.id, ended_s)
            self.taken.set()
            await self._rest(look_s)

    def _is_due(self, camera_id: str, schedule: Schedule, now_s: float) -> bool:
        return camera_id in self._due or schedule.is_due(camera_id, now_s)

    async def _rest(self, rest_s: float) -> None:
        """Wait, but no longer than until there are devices to be asked at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await self._news.wait()

    async def withdraw_unproven(self, cameras: Sequence[CameraSection]) -> None:
        """Take the profiles off record of each camera of which only one may be shown, until the device has named it.

        What is on record may be from before it was marked (L07). Raises RegistryError.
        """
        for section in cameras:
            known = self._store.snapshot.records.get(section.id)
            if section.masked_profile is not None and known is not None and known.camera.profiles:
                hidden = replace(known.camera, profiles=(), state=CameraState.UNAVAILABLE, cause=MASKED_CAUSE)
                await self._store.upsert(CameraRecord(hidden, replace(known.connection, streams={})))

    async def take(self, cameras: Iterable[CameraSection]) -> frozenset[str]:
        """Ask these devices, keep what is found, and trace what has changed; return those that need no asking soon."""
        asked = {camera.id: camera for camera in cameras}
        settled: set[str] = set()

        async def keep(finding: Finding) -> None:
            camera_id = finding.record.camera.id
            if self._cameras.get(camera_id) == asked[camera_id] and await self._keep(finding, asked[camera_id]):
                settled.add(camera_id)

        await inventory(
            [device for device in map(self._device, asked.values()) if device is not None],
            knock=knock,
            onvif=self._open_device,
            probe_stream=self._probe,
            keep=keep,
            known=self._store.snapshot.records,
        )
        return frozenset(settled)

    def _device(self, camera: CameraSection) -> Device | None:
        """The device, or None while its password cannot be read: the others are asked all the same."""
        try:
            return device_of(camera, recorded=camera.id in self._recorded)
        except (OSError, ValueError) as error:
            log.error("survey.no_password id=%s error=%s", camera.id, type(error).__name__)
            return None

    async def _keep(self, finding: Finding, asked: CameraSection) -> bool:
        """Put a finding on record; return whether the device need not be asked again soon."""
        record, camera = finding.record, finding.record.camera
        before = self._store.snapshot.records.get(camera.id)
        if before is not None and ClientLost.cause in finding.faults.values():
            log.warning("survey.not_asked id=%s", camera.id)
            return False
        changed = before is None or before.camera != camera
        level = logging.INFO if changed else logging.DEBUG
        log.log(level, "survey.camera id=%s state=%s faults=%s", camera.id, camera.state, dict(finding.faults))
        if before is None or _differs(before, record):
            try:
                await self._store.upsert(record)
            except RegistryError as error:
                log.error("survey.not_kept id=%s error=%s", camera.id, error)
                return False
        current = self._cameras.get(camera.id)
        if current is None or may_show_less(asked, current):  # it was withdrawn while this was being kept
            self._store.forget([camera.id])
        elif changed:
            self._trace(record, "added" if before is None else "changed")
        if before is not None and _way(before) != _way(record):
            self._moved(camera.id)
        return bool(camera.profiles) and camera.cause not in _PASSING

    def withdraw(self, camera_ids: Iterable[str]) -> None:
        """Answer for these cameras no longer: their records are kept, and not served."""
        records = self._store.snapshot.records
        withdrawn = [records[camera_id] for camera_id in camera_ids if camera_id in records]
        self._store.forget(record.camera.id for record in withdrawn)
        for record in withdrawn:
            self._descriptions.forget(record.camera.id)
            self._trace(record, "withdrawn")

    def _trace(self, record: CameraRecord, change: str) -> None:
        camera = record.camera
        detail = {
            "change": change,
            "state": camera.state.value,
            "cause": camera.cause,
            "profiles": [profile.id for profile in camera.profiles],
        }
        self._tracer.eventual(Draft(kind=Kind.REGISTRY_CHANGED, camera=camera.id, detail=detail))

    async def _probe(self, stream: StreamSource) -> StreamFacts:
        try:
            presentation = await probe(target_of(stream))
            video = first_video(presentation.description)
        except CameraFailure as failure:
            raise _as_registry_error(failure) from failure
        except RemoteProtocolError as error:
            raise NoVideo(str(error)) from error
        self._descriptions.remember(SourceKey(stream.camera, stream.profile), presentation.description)
        audio = any(media.kind == "audio" for media in presentation.description.media)
        return StreamFacts(codec=video.codec.value, audio=audio)


def _way(record: CameraRecord) -> tuple[Mapping[str, str], Credentials | None]:
    """Where a camera's profiles are pulled from, and as whom."""
    return record.connection.streams, record.connection.credentials


def may_show_less(before: CameraSection, now: CameraSection) -> bool:
    """Whether what was found of a camera for one configuration may not be shown any more for another (L07)."""
    return now.masked_profile is not None and now.masked_profile != before.masked_profile


def hosts_of(configuration: Configuration) -> AllowedHosts:
    """The hosts of the configured devices and recorders: no other is ever asked."""
    urls = [camera.onvif_url for camera in configuration.cameras]
    urls += [recorder.onvif_url for recorder in configuration.recorders if recorder.kind == "onvif"]
    return AllowedHosts(dict.fromkeys(urlsplit(url).hostname or "" for url in urls))


async def knock(url: str) -> None:
    """See whether anything takes a connection where a device's address says, and hang up. Raises RegistryError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    except TimeoutError as error:
        raise Timeout(f"no connection within {CONNECT_TIMEOUT_S:g} s") from error
    except (OSError, UnicodeError) as error:  # the latter of a name that DNS cannot hold
        raise Unreachable(f"no connection: {type(error).__name__}") from error
    transport.close()


def _as_registry_error(failure: CameraFailure) -> RegistryError:
    """What the inventory records of a stream that could not be described."""
    kind = {401: AuthRejected, 404: NoVideo, None: Unreachable}.get(failure.status, NotSupported)
    return kind(str(failure))


def target_of(stream: StreamSource) -> Target:
    """Where and as whom a stream is pulled."""
    credentials = stream.credentials
    if credentials is None:
        return Target(stream.url)
    return Target(stream.url, credentials.username, credentials.password)


def device_of(camera: CameraSection, *, recorded: bool = False) -> Device:
    """The device that a section of the configuration names, with its password.

    Raises OSError, or ValueError for what is no line of printable text.
    """
    return Device(
        id=camera.id,
        name=camera.name,
        site=camera.site,
        commune=camera.commune,
        latitude=camera.latitude,
        longitude=camera.longitude,
        onvif_url=camera.onvif_url,
        credentials=Credentials(
            username=camera.username, password=camera.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        ),
        recorded=recorded,
        masked_profile=camera.masked_profile,
    )


def _differs(before: CameraRecord, record: CameraRecord) -> bool:
    """Whether there is anything to keep: a thousand devices whose clocks go on as they did are not written hourly."""
    was_s, is_s = before.connection.clock_offset_s, record.connection.clock_offset_s
    if was_s is not None and is_s is not None and abs(is_s - was_s) < CLOCK_NOISE_S:
        record = replace(record, connection=replace(record.connection, clock_offset_s=was_s))
    return before != record
