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
_SLOT: Final = struct.Struct("<q?d")
_END: Final = b"\x80"


def counter_nal(frame: int) -> bytes:
    """The NAL unit that carries a frame's number."""
    content = MARK + b"%08x" % frame
    return bytes((SEI_NAL, _USER_DATA_UNREGISTERED, len(content))) + content + _END


class FrameTable:
    """What the processes of a bench know of its cameras together, in a file.

    Instants (monotonic seconds) of the last packets of each camera's frames, and who is wanted to make a key frame.
    """

    def __init__(self, path: Path, cameras: int) -> None:
        self._wishes = cameras * FRAMES_KEPT * _SLOT.size
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self._wishes + cameras)

    @classmethod
    def make(cls, path: Path, cameras: int) -> FrameTable:
        """Make the file, with nothing known yet."""
        path.write_bytes(_SLOT.pack(-1, False, 0.0) * (cameras * FRAMES_KEPT) + bytes(cameras))
        return cls(path, cameras)

    def note(self, camera: int, frame: int, instant_s: float, *, key: bool) -> None:
        """The camera hands over the last packet of a frame."""
        _SLOT.pack_into(self._map, self._offset(camera, frame), frame, key, instant_s)

    def instant(self, camera: int, frame: int) -> float | None:
        """When it did; None if that is not, or no longer, known."""
        known, _, instant_s = _SLOT.unpack_from(self._map, self._offset(camera, frame))
        return instant_s if known == frame else None

    def last_key(self, camera: int) -> float | None:
        """The instant of a camera's last key frame; None before the first."""
        begin = self._offset(camera, 0)
        slots = _SLOT.iter_unpack(self._map[begin : begin + FRAMES_KEPT * _SLOT.size])
        return max(((frame, instant_s) for frame, key, instant_s in slots if key), default=(-1, None))[1]

    def wish_key(self, camera: int) -> None:
        """Somebody wants a key frame."""
        self._map[self._wishes + camera] = 1

    def take_wish(self, camera: int) -> bool:
        """Whether somebody has wanted one since the last call."""
        wished, self._map[self._wishes + camera] = self._map[self._wishes + camera], 0
        return bool(wished)

    def _offset(self, camera: int, frame: int) -> int:
        return (camera * FRAMES_KEPT + frame % FRAMES_KEPT) * _SLOT.size
