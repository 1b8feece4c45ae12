"""How a device is reached: internal, never part of anything public (C16).

These records are kept apart from :mod:`camera_registry.cameras` on purpose: no serialiser of cameras can
reach them. Addresses never hold credentials, and a representation never holds a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from camera_registry.cameras import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and password of a device, without percent-encoding. Both may hold any printable character.

    Raises ValueError for control characters, which no protocol that carries them could.
    """

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.username.isprintable() and self.password.isprintable()):
            raise ValueError("control characters in credentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSource:
    """Where one profile of one camera is pulled from.

    Raises ValueError if ``url`` is not ``rtsp://`` or ``rtsps://``, or holds credentials.
    """

    camera: str
    profile: str
    url: str
    credentials: Credentials | None

    def __post_init__(self) -> None:
        _refuse_credentials(self.url, ("rtsp", "rtsps"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInformation:
    """What ``GetDeviceInformation`` says (ONVIF Core 8.2.1); empty where the device said nothing."""

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    hardware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """All that SYN's side knows of reaching a camera's device.

    ``streams`` maps our profile ids to RTSP URLs without credentials; ``clock_offset_s`` is the device's
    clock minus ours, in seconds, None if it could not be told.

    Raises ValueError if an address holds credentials or has a scheme that cannot be.
    """

    onvif_url: str
    credentials: Credentials | None = None
    streams: Mapping[str, str] = field(default_factory=dict)
    device: DeviceInformation = DeviceInformation()
    clock_offset_s: float | None = None

    def __post_init__(self) -> None:
        _refuse_credentials(self.onvif_url, ("http", "https"))
        for url in self.streams.values():
            _refuse_credentials(url, ("rtsp", "rtsps"))
        object.__setattr__(self, "streams", MappingProxyType(dict(self.streams)))


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """A camera with its connection: what the store keeps, and what only SYN's side may hold."""

    camera: Camera
    connection: Connection

    def source(self, profile_id: str | None) -> StreamSource | None:
        """Return where to pull a profile from (the best one if none is named), or None if that is unknown."""
        profile = self.camera.profile(profile_id)
        url = self.connection.streams.get(profile.id) if profile else None
        if profile is None or url is None:
            return None
        return StreamSource(camera=self.camera.id, profile=profile.id, url=url, credentials=self.connection.credentials)


def _refuse_credentials(url: str, schemes: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"an address of scheme {' or '.join(schemes)} with a host is wanted")
    if "@" in parts.netloc:
        raise ValueError("an address must not hold credentials")
