"""How a reader knows which frame it has got, and when the camera handed it over.

Each access unit carries its number in an SEI message of its own (ITU-T H.264 D.1.6, user data unregistered), which
survives a proxy that takes the RTP apart and packs it anew. The camera notes in a file shared by all processes of
the bench at which instant it handed over the last packet of each frame.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

MARK: Final = b"halfgateway-seq:"
"""The message's 16 bytes of UUID: no two zeros in a row, so that no emulation prevention is ever needed."""

SEI_NAL: Final = 6
NUMBER_DIGITS: Final = 8

FRAMES_KEPT: Final = 4096
"""Instants kept of each camera: 163 s at 25 frames a second, longer than any reader of the bench is behind."""

_USER_DATA_UNREGISTERED: Final = 5
_SLOT: Final = struct.Struct("<qd")
_END: Final = b"\x80"


def counter_nal(frame: int) -> bytes:
    """The NAL unit that carries a frame's number."""
    content = MARK + b"%08x" % frame
    return bytes((SEI_NAL, _USER_DATA_UNREGISTERED, len(content))) + content + _END


class FrameTable:
    """Instants (monotonic seconds) of the last packets of ``cameras`` cameras' frames, in a file."""

    def __init__(self, path: Path, cameras: int) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), cameras * FRAMES_KEPT * _SLOT.size)

    @classmethod
    def make(cls, path: Path, cameras: int) -> FrameTable:
        """Make the file, with no instant in it."""
        path.write_bytes(_SLOT.pack(-1, 0.0) * (cameras * FRAMES_KEPT))
        return cls(path, cameras)

    def note(self, camera: int, frame: int, instant_s: float) -> None:
        """The camera hands over the last packet of a frame."""
        _SLOT.pack_into(self._map, self._offset(camera, frame), frame, instant_s)

    def instant(self, camera: int, frame: int) -> float | None:
        """When it did; None if that is not, or no longer, known."""
        known, instant_s = _SLOT.unpack_from(self._map, self._offset(camera, frame))
        return instant_s if known == frame else None

    def newest(self, camera: int) -> tuple[int, float]:
        """The number and the instant of the last frame that a camera has handed over; -1 before the first."""
        begin = self._offset(camera, 0)
        slots = _SLOT.iter_unpack(self._map[begin : begin + FRAMES_KEPT * _SLOT.size])
        frame, instant_s = max(slots)
        return frame, instant_s

    def _offset(self, camera: int, frame: int) -> int:
        return (camera * FRAMES_KEPT + frame % FRAMES_KEPT) * _SLOT.size
