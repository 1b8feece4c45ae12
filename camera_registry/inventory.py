"""From a list of devices to cameras on record: what each says by ONVIF, checked against what its stream says.

Every call is optional: a device that fails one is recorded with the cause, and the rest of it is kept. What was
known before stays where the device is silent now, so that a camera that is switched off keeps its profiles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.connections import CameraRecord, Connection, Credentials, DeviceInformation, StreamSource
from camera_registry.errors import NoVideo, RegistryError
from camera_registry.onvif_port import ClockReading, OnvifPort, OpenOnvif, VideoProfile

DEVICES_AT_ONCE: Final = 8
"""Devices asked at the same time; the others wait. Enough for a thousand in minutes, gentle on their network."""

KNOCKS_AT_ONCE: Final = 32
"""Devices whose door is tried at the same time: a small network's tables of neighbours hold that many that are gone."""

CLOCK_ANOMALY_S: Final = 60.0
"""A clock further off than this, in seconds, is an anomaly: recordings would be found at the wrong time."""

CLOCK_CAUSE: Final = "clock-offset"
"""The cause given with such an anomaly."""

MASKED_CAUSE: Final = "masked-profile-missing"
"""The cause given where a device does not have the profile that alone may be shown, or has not been seen to."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as the operator names it: which camera it is, where it stands, and how to ask it.

    ``masked_profile`` is the device's own token of the one profile in which dwellings are masked: with it no other
    profile is ever put on record (L07).
    """

    id: str
    name: str
    site: str
    commune: str
    latitude: float
    longitude: float
    onvif_url: str
    credentials: Credentials | None = None
    recorded: bool = False
    masked_profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What a stream says of itself (RTSP DESCRIBE): ``codec`` as in ``a=rtpmap``, sizes 0 where it is silent."""

    codec: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    audio: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of asking one device.

    ``faults`` maps each step that failed (``connect``, ``clock``, ``device-information``, ``profiles``, ``stream-url
    TOKEN``, ``probe PROFILE``) to its cause. ``audio`` is whether a stream offers sound, which is never set up (L08).
    """

    record: CameraRecord
    clock: ClockReading | None = None
    audio: bool = False
    faults: Mapping[str, str] = field(default_factory=dict)


Knock: TypeAlias = Callable[[str], Awaitable[None]]
"""Sees whether the device at a URL takes a connection at all; raises RegistryError if not."""

ProbeStream: TypeAlias = Callable[[StreamSource], Awaitable[StreamFacts]]
"""Asks a stream to describe itself, without playing it; raises RegistryError."""


async def inventory(
    devices: Sequence[Device],
    *,
    knock: Knock,
    onvif: OpenOnvif,
    probe_stream: ProbeStream,
    keep: Callable[[Finding], Awaitable[None]],
    known: Mapping[str, CameraRecord] | None = None,
) -> None:
    """Ask every device, and ``keep`` each finding as soon as it is whole; ``known`` is what is on record now.

    A device that takes no connection is not asked anything: a thousand that are off cost a thousand attempts.
    """
    doors, places = asyncio.Semaphore(KNOCKS_AT_ONCE), asyncio.Semaphore(DEVICES_AT_ONCE)

    async def ask(device: Device) -> None:
        inquiry = _Inquiry(device, (known or {}).get(device.id), probe_stream)
        async with doors:
            finding = None if await inquiry.reaches(knock) else await inquiry.without_device()
        if finding is None:
            async with places:
                finding = await inquiry.with_device(onvif)
        await keep(finding)

    async with asyncio.TaskGroup() as group:
        for device in devices:
            group.create_task(ask(device))


class _Inquiry:
    """The asking of one device, and what failed in it."""

    def __init__(self, device: Device, known: CameraRecord | None, probe_stream: ProbeStream) -> None:
        self._device = device
        self._known = known
        self._probe_stream = probe_stream
        self._faults: dict[str, str] = {}
        self._audio = False

    async def reaches(self, knock: Knock) -> bool:
        """Return whether the device takes a connection."""
        await self._try("connect", knock(self._device.onvif_url))
        return "connect" not in self._faults

    async def without_device(self) -> Finding:
        """Ask its streams alone, if any are on record: they may play although ONVIF is gone.

        Where the best one is gone too, the others are not tried.
        """
        self._faults["profiles"] = self._faults["connect"]
        streams = self._streams_on_record()
        profiles = await self._probed(streams[:1])
        if any(f"probe {profile.id}" in self._faults for profile in profiles):
            profiles += tuple(profile for profile, _ in streams[1:])
        else:
            profiles += await self._probed(streams[1:])
        return self._found(profiles, streams)

    async def with_device(self, onvif: OpenOnvif) -> Finding:
        """Ask the device, then each stream that it names."""
        async with onvif(self._device.onvif_url, self._device.credentials) as port:
            clock = await self._try("clock", port.clock())
            information = await self._try("device-information", port.device_information())
            streams = await self._streams(port)
        return self._found(await self._probed(streams), streams, clock, information)

    def _found(
        self,
        profiles: tuple[Profile, ...],
        streams: Sequence[tuple[Profile, str]],
        clock: ClockReading | None = None,
        information: DeviceInformation | None = None,
    ) -> Finding:
        connection = Connection(
            onvif_url=self._device.onvif_url,
            credentials=self._device.credentials,
            streams={profile.id: url for profile, url in streams},
            device=information or (self._known.connection.device if self._known else DeviceInformation()),
            clock_offset_s=clock.offset_s if clock else None,
        )
        state, cause = self._state(profiles, clock)
        camera = Camera(
            id=self._device.id,
            name=self._device.name,
            site=self._device.site,
            commune=self._device.commune,
            latitude=self._device.latitude,
            longitude=self._device.longitude,
            recorded=self._device.recorded,
            state=state,
            cause=cause,
            profiles=profiles,
        )
        record = CameraRecord(camera, connection)
        return Finding(record=record, clock=clock, audio=self._audio, faults=self._faults)

    async def _try(self, step: str, call: Awaitable[Found]) -> Found | None:
        try:
            return await call
        except RegistryError as error:
            self._faults[step] = error.cause
            return None

    async def _streams(self, port: OnvifPort) -> list[tuple[Profile, str]]:
        """Return the profiles that have an address, best first; those on record if the device names none."""
        announced: list[tuple[VideoProfile, str]] = []
        offered = await self._try("profiles", port.profiles()) or ()
        exposed = exposed_profiles(offered, self._device.masked_profile)
        if offered and not exposed:
            self._faults["profiles"] = MASKED_CAUSE
        for profile in exposed:
            url = await self._try(f"stream-url {profile.token}", port.stream_url(profile))
            if url is not None:
                announced.append((profile, url))
        if announced:
            return ranked(announced)
        self._faults.setdefault("profiles", NoVideo.cause)
        return self._streams_on_record()

    def _streams_on_record(self) -> list[tuple[Profile, str]]:
        if self._known is None or self._device.masked_profile is not None:
            return []  # What is on record may be from before the profile was marked.
        if _host(self._known.connection.onvif_url) != _host(self._device.onvif_url):
            return []  # What is on record are another host's addresses: it is not to be sent this one's password.
        streams = self._known.connection.streams
        return [(each, streams[each.id]) for each in self._known.camera.profiles if each.id in streams]

    async def _probed(self, streams: Iterable[tuple[Profile, str]]) -> tuple[Profile, ...]:
        """Let each stream correct what ONVIF says of it: Media1 calls H.265 H.264, and sizes go stale."""
        profiles = []
        for profile, url in streams:
            source = StreamSource(
                camera=self._device.id,
                profile=profile.id,
                url=url,
                credentials=self._device.credentials,
            )
            facts = await self._try(f"probe {profile.id}", self._probe_stream(source))
            profiles.append(_corrected(profile, facts) if facts else profile)
            self._audio = self._audio or (facts is not None and facts.audio)
        return tuple(profiles)

    def _state(self, profiles: tuple[Profile, ...], clock: ClockReading | None) -> tuple[CameraState, str | None]:
        unplayable = self._faults.get(f"probe {profiles[0].id}") if profiles else self._faults["profiles"]
        if unplayable is not None:
            return CameraState.UNAVAILABLE, unplayable
        if "profiles" in self._faults:
            return CameraState.ANOMALY, self._faults["profiles"]
        if clock is not None and abs(clock.offset_s) > CLOCK_ANOMALY_S:
            return CameraState.ANOMALY, CLOCK_CAUSE
        return CameraState.AVAILABLE, None


def _host(url: str) -> str | None:
    return urlsplit(url).hostname


def exposed_profiles(offered: Sequence[VideoProfile], masked: str | None) -> tuple[VideoProfile, ...]:
    """Return the profiles that may be put on record: all, or the masked one alone, or none if it is not there (L07)."""
    return tuple(profile for profile in offered if masked is None or profile.token == masked)


def ranked(announced: Sequence[tuple[VideoProfile, str]]) -> list[tuple[Profile, str]]:
    """Name profiles by rank, largest picture first: a replaced device brings other tokens, and links stay (C06)."""
    ranked = sorted(announced, key=lambda item: item[0].width * item[0].height, reverse=True)
    return [
        (
            Profile(
                id=_profile_id(rank),
                codec=found.codec,
                width=found.width,
                height=found.height,
                fps=found.fps,
            ),
            url,
        )
        for rank, (found, url) in enumerate(ranked)
    ]


def _profile_id(rank: int) -> str:
    return ("main", "sub")[rank] if rank < 2 else f"p{rank + 1}"


def _corrected(profile: Profile, facts: StreamFacts) -> Profile:
    return replace(
        profile,
        codec=facts.codec or profile.codec,
        width=facts.width or profile.width,
        height=facts.height or profile.height,
        fps=facts.fps or profile.fps,
    )
