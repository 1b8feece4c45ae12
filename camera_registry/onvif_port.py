"""What is asked of an ONVIF device, whoever does the asking: in this process or in one of its own.

Nothing here needs the ONVIF library, so that a node's process can do without it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from camera_registry.connections import Credentials, DeviceInformation


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How far a device's clock is from ours, in seconds (positive: ahead), and where that was read."""

    offset_s: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoProfile:
    """A profile with video, as the device names it; ``token`` is opaque, numbers are 0 where it says nothing."""

    token: str
    codec: str
    width: int
    height: int
    fps: float
    media2: bool


class OnvifPort(Protocol):
    """What the inventory asks of a device; each call raises RegistryError."""

    async def clock(self) -> ClockReading:
        """Return the device's clock against ours."""

    async def device_information(self) -> DeviceInformation:
        """Return maker, model, firmware and serial number."""

    async def profiles(self) -> tuple[VideoProfile, ...]:
        """Return the profiles with video, in the device's order."""

    async def stream_url(self, profile: VideoProfile) -> str:
        """Return where a profile is played from, over TCP: within the allow-list, without credentials."""

    async def request_keyframe(self, profile: VideoProfile) -> None:
        """Have the device make a keyframe in all streams of a profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSpan:
    """What a recorder says of one recording (Recording Search 5.3.1); ``token`` is opaque.

    ``earliest`` and ``latest`` are those of its video where it tells them, None where it tells nothing: between them
    may be gaps. ``goes_on`` is whether it is being recorded now. ``tracks`` are the tokens of its video.
    """

    token: str
    earliest: datetime | None = None
    latest: datetime | None = None
    goes_on: bool = False
    tracks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """From ``at`` on there is footage, or none (Recording Search 5.21); ``track`` is empty for the recording itself."""

    at: datetime
    present: bool
    track: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingQuery:
    """One recording of a recorder, between two instants where they matter."""

    token: str
    start: datetime | None = None
    end: datetime | None = None


class RecorderPort(Protocol):
    """What a recorder of ONVIF Profile G is asked; each call raises RegistryError."""

    async def recordings(self) -> tuple[RecordingSpan, ...]:
        """Return all that it has."""

    async def recording(self, token: str) -> RecordingSpan:
        """Return what it says of one recording. Raises NoSuchRecording."""

    async def state_changes(self, token: str, start: datetime, end: datetime) -> tuple[StateChange, ...]:
        """Return from when on there was footage, and none, in any order; NotSupported where it cannot tell."""

    async def replay_url(self, token: str) -> str:
        """Return where a recording is played from, over TCP: within the allow-list, without credentials."""

    async def reverses(self) -> bool:
        """Return whether it plays in reverse."""


class OpenedDevice(OnvifPort, Protocol):
    """A device that is asked until it is closed; an asynchronous context manager that closes it."""

    async def aclose(self) -> None:
        """Ask it no more."""

    async def __aenter__(self) -> Self:
        """Return the device itself."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


OpenDevice: TypeAlias = Callable[[str, Credentials | None], OpenedDevice]
"""Opens the device at a URL with its credentials; nothing is sent yet."""

OpenOnvif: TypeAlias = Callable[[str, Credentials | None], AbstractAsyncContextManager[OnvifPort]]
"""The same, for who does not close it by hand."""
