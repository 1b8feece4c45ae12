"""What PLAY says of recordings beside ``Range``: speed, pace, which frames, and whether at once.

RFC 2326 section 12.34; ONVIF Streaming 6.5.2 (Rate-Control), 6.5.3 (Frames), 6.10 (Immediate).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers

FEATURE: Final = "onvif-replay"
"""The feature tag of a server that replays recordings as ONVIF has it (6.4)."""

_SCALE = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{0,6})?")
_FRAMES = re.compile(r"(?P<kind>all|predicted|intra)(?:/(?P<interval>[0-9]{1,9}))?")


class FrameKind(StrEnum):
    """Which frames are wanted: all, all but those that nothing depends on, or those that depend on nothing."""

    ALL = "all"
    PREDICTED = "predicted"
    INTRA = "intra"


@dataclass(frozen=True, slots=True)
class Frames:
    """``interval_ms`` is the least time between two intra frames, in milliseconds of the recording; 0: every one."""

    kind: FrameKind = FrameKind.ALL
    interval_ms: int = 0

    def __str__(self) -> str:
        return f"{self.kind}/{self.interval_ms}" if self.interval_ms else self.kind.value


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """How recordings are played. ``scale`` is recorded seconds a second, negative in reverse, never 0.

    ``rate_control``: the server paces; else it sends as fast as it is read. ``immediate``: what plays is given up
    for this.
    """

    scale: float = 1.0
    rate_control: bool = True
    frames: Frames = Frames()
    immediate: bool = False

    def headers(self) -> dict[str, str]:
        """As a request says it: nothing of what is the default."""
        said = {
            "Scale": f"{self.scale:.6f}" if self.scale != 1.0 else "",
            "Rate-Control": "no" if not self.rate_control else "",
            "Frames": str(self.frames) if self.frames != Frames() else "",
            "Immediate": "yes" if self.immediate else "",
        }
        return {name: value for name, value in said.items() if value}


def play_options(headers: Headers) -> PlayOptions:
    """Read what a request's headers say.

    Raises:
        RemoteProtocolError: 400 for what is none of the values that are written down.
    """
    return PlayOptions(
        scale=_scale(headers.get("Scale")),
        rate_control=_yes_or_no(headers.get("Rate-Control"), default=True),
        frames=_frames(headers.get("Frames")),
        immediate=_yes_or_no(headers.get("Immediate"), default=False),
    )


def _scale(value: str | None) -> float:
    if value is None:
        return 1.0
    if not _SCALE.fullmatch(value.strip()):
        raise RemoteProtocolError("not a scale")
    scale = float(value)
    if math.isclose(scale, 0.0, abs_tol=1e-6):
        raise RemoteProtocolError("a scale of nothing")
    return scale


def _yes_or_no(value: str | None, *, default: bool) -> bool:
    match value.strip().lower() if value is not None else None:
        case None:
            return default
        case "yes":
            return True
        case "no":
            return False
        case _:
            raise RemoteProtocolError("neither yes nor no")


def _frames(value: str | None) -> Frames:
    if value is None:
        return Frames()
    match = _FRAMES.fullmatch(value.strip().lower())
    if match is None or (match["interval"] and match["kind"] != FrameKind.INTRA):
        raise RemoteProtocolError("not a choice of frames")
    return Frames(FrameKind(match["kind"]), int(match["interval"] or 0))
