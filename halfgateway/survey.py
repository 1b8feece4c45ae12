"""Takes the configured devices into the inventory: by ONVIF what they are, by RTSP DESCRIBE what they send."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, TypeAlias
from urllib.parse import urlsplit

from auth.trace import Draft, Kind
from camera_registry.cameras import CameraState
from camera_registry.clock import Clock
from camera_registry.connections import CameraRecord, Credentials, StreamSource
from camera_registry.errors import AuthRejected, NotSupported, NoVideo, RegistryError, Unreachable
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.inventory import MASKED_CAUSE, Device, StreamFacts, inventory
from camera_registry.onvif_client import OnvifClient, onvif_opener
from camera_registry.store import CameraStore
from halfgateway.config import CameraSection
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.tracing import Tracer
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.sdp import first_video
from halfgateway.relay.source import SourceKey
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import Target
from halfgateway.upstream.presentation import probe

log = logging.getLogger(__name__)

OpenDevice: TypeAlias = Callable[[str, Credentials | None], OnvifClient]
"""Opens the device at a URL with its credentials."""

SURVEY_S = 3600.0
"""How often devices are asked again: their clocks drift, their profiles change (onvif.md, quirk 1)."""

UNKNOWN_S = 60.0
"""How often devices are asked of which no profile is on record: one that was off when the node started is back within
minutes. A password that was refused is not sent again (:mod:`camera_registry.guard`)."""


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
        self._due: set[str] = set()
        self._news = asyncio.Event()
        self.taken = asyncio.Event()

    def look_after(self, cameras: Iterable[CameraSection], *, due: Collection[str] = ()) -> None:
        """Keep these cameras, and no others, from now on; those of ``due`` (identifiers) are asked again at once.

        What was found out for another configuration of a camera is dropped.
        """
        self._cameras = {camera.id: camera for camera in cameras}
        self._due = (self._due | set(due)) & self._cameras.keys()
        self._news.set()

    async def run(self, *, every_s: float = SURVEY_S, unknown_every_s: float = UNKNOWN_S) -> NoReturn:
        """Ask every configured device, again and again; what cannot be kept now is kept the next time.

        Between two rounds, those of which nothing can be shown yet are asked every ``unknown_every_s``.
        """
        while True:
            self._news.clear()
            await self._take_or_log(tuple(self._cameras.values()))
            self.taken.set()
            for _ in range(round(every_s / unknown_every_s) - 1):
                await self._rest(unknown_every_s)
                await self._take_or_log([camera for camera in self._cameras.values() if self._is_due(camera)])
            await self._rest(unknown_every_s)

    async def _rest(self, rest_s: float) -> None:
        """Wait, but no longer than until there are devices to be asked at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await self._news.wait()
        self._news.clear()

    async def _take_or_log(self, cameras: Sequence[CameraSection]) -> None:
        try:
            await self.take(cameras)
        except RegistryError as error:
            log.error("survey.failed error=%s", error)

    def _is_due(self, camera: CameraSection) -> bool:
        known = self._store.get(camera.id)
        return camera.id in self._due or known is None or not known.profiles

    async def withdraw_unproven(self, cameras: Sequence[CameraSection]) -> None:
        """Take the profiles off record of each camera of which only one may be shown, until the device has named it.

        What is on record may be from before it was marked (L07). Raises RegistryError.
        """
        for section in cameras:
            known = self._store.snapshot.records.get(section.id)
            if section.masked_profile is not None and known is not None and known.camera.profiles:
                hidden = replace(known.camera, profiles=(), state=CameraState.UNAVAILABLE, cause=MASKED_CAUSE)
                await self._store.upsert(CameraRecord(hidden, replace(known.connection, streams={})))

    async def take(self, cameras: Sequence[CameraSection]) -> None:
        """Ask these devices, keep what is found, and trace what has changed. Raises RegistryError."""
        asked = {camera.id: camera for camera in cameras}
        findings = await inventory(
            _devices_of(cameras),
            onvif=self._open_device,
            probe_stream=self._probe,
            known=self._store.snapshot.records,
        )
        for finding in findings:
            camera = finding.record.camera
            log.info("survey.camera id=%s state=%s faults=%s", camera.id, camera.state, dict(finding.faults))
            if self._cameras.get(camera.id) == asked[camera.id]:
                await self._keep(finding.record, asked[camera.id])

    async def _keep(self, record: CameraRecord, asked: CameraSection) -> None:
        camera_id = record.camera.id
        before = self._store.snapshot.records.get(camera_id)
        self._due.discard(camera_id)
        try:
            await self._store.upsert(record)
        except RegistryError:
            self._due.add(camera_id)
            raise
        current = self._cameras.get(camera_id)
        if current is None or may_show_less(asked, current):  # it was withdrawn while this was being kept
            self._store.forget([camera_id])
        elif before is None or before.camera != record.camera:
            self._trace(record, "added" if before is None else "changed")
        if before is not None and _way(before) != _way(record):
            self._moved(camera_id)

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


def device_opener(cameras: Iterable[CameraSection], guard: CredentialGuard, clock: Clock) -> OpenDevice:
    """What opens a configured device, and no other host; one ``guard`` for all who ask devices."""
    hosts = AllowedHosts(urlsplit(camera.onvif_url).hostname or "" for camera in cameras)
    return onvif_opener(allowed=hosts, guard=guard, clock=clock, random_bytes=secrets.token_bytes)


class ConfiguredDevices:
    """Opens the devices that the configuration names now; :meth:`open` is an :data:`OpenDevice` for good."""

    def __init__(self, cameras: Iterable[CameraSection], guard: CredentialGuard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock
        self.replace(cameras)

    def replace(self, cameras: Iterable[CameraSection]) -> None:
        """Open these devices from now on, and no others."""
        self._open = device_opener(cameras, self._guard, self._clock)

    def open(self, url: str, credentials: Credentials | None) -> OnvifClient:
        """Open the device at a URL with its credentials."""
        return self._open(url, credentials)


def _devices_of(cameras: Iterable[CameraSection]) -> list[Device]:
    """Each camera's device; one whose password cannot be read is left out, and asked the next time."""
    devices = []
    for camera in cameras:
        try:
            devices.append(device_of(camera))
        except (OSError, ValueError) as error:
            log.error("survey.no_password camera=%s error=%s", camera.id, type(error).__name__)
    return devices


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


def device_of(camera: CameraSection) -> Device:
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
        masked_profile=camera.masked_profile,
    )
