"""What may be told of a camera, to anyone who may see it: nothing here leads to the device itself (C16)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_IDENTIFIER_CHARACTERS: Final = 64
"""Length of a camera's identifier, as it stands in URLs, the trace and the referential. Longer: refused."""

_IDENTIFIER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_IDENTIFIER_CHARACTERS - 1}}}")


class CameraState(StrEnum):
    """Whether a camera can be watched, as annex 4 and the indicators count it."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    ANOMALY = "anomaly"
    """It can be watched, but something about it is wrong; the cause says what."""
    PLANNED = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way in which a camera encodes its picture.

    ``id`` is ours (``main``, ``sub``, ``p3`` …) and survives the device's replacement; ``codec`` is the RTP
    encoding name (``H264``, ``H265``, ``JPEG``); ``width`` and ``height`` are in pixels, ``fps`` in frames a
    second; each is 0 where the device did not say.
    """

    id: str
    codec: str
    width: int
    height: int
    fps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera of the referential.

    ``id`` is given once, never reused, and survives the device's replacement (C06). Coordinates are degrees
    in WGS 84. ``cause`` says why the state is not ``available``. ``profiles`` are best first: the first is
    played when none is named. ``recorded`` is whether footage of it can be asked for.

    Raises ValueError for an identifier that cannot stand in a URL path, or coordinates that are none.
    """

    id: str
    name: str
    site: str
    commune: str
    latitude: float
    longitude: float
    state: CameraState = CameraState.PLANNED
    cause: str | None = None
    profiles: tuple[Profile, ...] = ()
    recorded: bool = False

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.id):
            raise ValueError(f"not a camera identifier: {self.id!r}")
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError(f"camera {self.id}: coordinates out of range")

    def profile(self, profile_id: str | None) -> Profile | None:
        """Return the profile of that id, or the best one if none is named; None if there is none such."""
        if not profile_id:
            return self.profiles[0] if self.profiles else None
        return next((profile for profile in self.profiles if profile.id == profile_id), None)
