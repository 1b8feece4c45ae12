"""How long an MP4 lasts, by its own boxes: a tenth of what it takes to open it, where ten days are looked through.

ISO/IEC 14496-12. Only what is beyond doubt is answered: whoever gets None opens the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

MAX_BOXES: Final = 1 << 20
"""Boxes of one level that are walked; a file with more is opened: a day of fragments has some 200,000."""

MAX_BOX_BYTES: Final = 16 << 20
"""Bytes of a box that is read whole; a file with a larger one is opened: a day of pictures is told in some 15 MB."""

_HEADER_BYTES: Final = 16

_VIDEO: Final = frozenset({b"avc1", b"avc3", b"hvc1", b"hev1"})
_DURATION_OF_SAMPLES: Final = 0x000100
_DEFAULT_DURATION: Final = 0x000008
_BEFORE_DEFAULT_DURATION: Final = ((0x000001, 8), (0x000002, 4))
_BEFORE_SAMPLES: Final = ((0x000001, 4), (0x000004, 4))
_FIELDS_OF_SAMPLE: Final = (0x000100, 0x000200, 0x000400, 0x000800)


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


class _Track(NamedTuple):
    """``usual`` is how long a sample of a fragment lasts that does not say."""

    number: int
    clock_hz: int
    duration: int
    usual: int


def told_duration(path: Path) -> timedelta | None:
    """How long the video of a whole MP4 lasts; None: it is none, is cut off, or is not as simple as cameras' are.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return _duration(file.fileno())
        except (struct.error, IndexError, ValueError, OverflowError):
            return None


def _duration(file: int) -> timedelta | None:
    # Not mapped into memory: a file that another machine cuts short would end the process.
    top = list(_boxes(lambda at: os.pread(file, _HEADER_BYTES, at), 0, os.fstat(file).st_size))
    moov = next((box for box in top if box.kind == b"moov"), None)
    fragments = [box for box in top if box.kind == b"moof"]
    track = _video(_body(file, moov)) if moov else None
    if track is None or not track.clock_hz:
        return None
    if not fragments:
        ticks = track.duration
    else:
        begins, _ = _fragment(_body(file, fragments[0]), track)
        _, ends = _fragment(_body(file, fragments[-1]), track)
        ticks = ends - begins
    return timedelta(microseconds=ticks * 1_000_000 // track.clock_hz) if ticks > 0 else None


def _body(file: int, box: _Box) -> bytes:
    if box.end - box.start > MAX_BOX_BYTES:
        raise ValueError("a box that is too large")
    return os.pread(file, box.end - box.start, box.start)


def _boxes(header: Callable[[int], bytes], start: int, end: int) -> Iterator[_Box]:
    """The boxes that fill a place; ``header`` gives what stands at an offset.

    Raises:
        ValueError: they do not fill it, or are too many.
    """
    for _ in range(MAX_BOXES):
        if start == end:
            return
        told = header(start)
        size, kind = struct.unpack_from(">I4s", told)
        header_bytes = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", told, 8)
            header_bytes = 16
        if size < header_bytes or start + size > end:
            raise ValueError("a box that does not fit")
        yield _Box(kind, start + header_bytes, start + size)
        start += size
    raise ValueError("too many boxes")


def _parts(content: bytes, box: _Box | None = None) -> Iterator[_Box]:
    """The boxes of a box, or of all that was read."""
    start, end = (box.start, box.end) if box else (0, len(content))
    return _boxes(lambda at: content[at : at + _HEADER_BYTES], start, end)


def _within(content: bytes, box: _Box, kind: bytes) -> _Box:
    return next(each for each in _parts(content, box) if each.kind == kind)


def _video(content: bytes) -> _Track | None:
    """The one track of video, None where there is not one of a codec that can be played."""
    tracks = [box for box in _parts(content) if box.kind == b"trak"]
    found = [track for track in (_track(content, box) for box in tracks) if track is not None]
    return found[0] if len(found) == 1 else None


def _track(content: bytes, trak: _Box) -> _Track | None:
    try:
        media = _within(content, trak, b"mdia")
        table = _within(content, _within(content, media, b"minf"), b"stbl")
        samples = _within(content, table, b"stsd")
        header, clock = _within(content, trak, b"tkhd"), _within(content, media, b"mdhd")
    except StopIteration:
        return None
    if content[samples.start + 12 : samples.start + 16] not in _VIDEO:
        return None
    wide = content[header.start] == 1
    (number,) = struct.unpack_from(">I", content, header.start + (20 if wide else 12))
    if content[clock.start] == 1:
        clock_hz, duration = struct.unpack_from(">IQ", content, clock.start + 20)
    else:
        clock_hz, duration = struct.unpack_from(">II", content, clock.start + 12)
    return _Track(number, clock_hz, duration, _usual(content, number))


def _usual(content: bytes, number: int) -> int:
    for extends in _parts(content):
        if extends.kind == b"mvex":
            for box in _parts(content, extends):
                told, _, usual = (
                    struct.unpack_from(">III", content, box.start + 4) if box.kind == b"trex" else (0, 0, 0)
                )
                if told == number:
                    return int(usual)
    return 0


def _fragment(content: bytes, track: _Track) -> tuple[int, int]:
    """When the video of a fragment begins and ends, in the track's clock.

    Raises:
        ValueError: it has none, or does not say.
    """
    for traf in _parts(content):
        if traf.kind != b"traf":
            continue
        parts = list(_parts(content, traf))
        head = next((box for box in parts if box.kind == b"tfhd"), None)
        time = next((box for box in parts if box.kind == b"tfdt"), None)
        if head is None or time is None or struct.unpack_from(">I", content, head.start + 4)[0] != track.number:
            continue
        layout = ">Q" if content[time.start] == 1 else ">I"
        (begins,) = struct.unpack_from(layout, content, time.start + 4)
        usual = _told_usual(content, head, track.usual)
        return begins, begins + sum(_length(content, box, usual) for box in parts if box.kind == b"trun")
    raise ValueError("no video in the fragment")


def _told_usual(content: bytes, head: _Box, usual: int) -> int:
    flags = int.from_bytes(content[head.start + 1 : head.start + 4], "big")
    if not flags & _DEFAULT_DURATION:
        return usual
    before = sum(size for flag, size in _BEFORE_DEFAULT_DURATION if flags & flag)
    return int(struct.unpack_from(">I", content, head.start + 8 + before)[0])


def _length(content: bytes, run: _Box, usual: int) -> int:
    """How long the samples of a run last together."""
    flags, count = struct.unpack_from(">II", content, run.start)
    flags &= 0xFFFFFF
    if not flags & _DURATION_OF_SAMPLES:
        return int(count) * usual
    first = run.start + 8 + sum(size for flag, size in _BEFORE_SAMPLES if flags & flag)
    stride = 4 * sum(bool(flags & flag) for flag in _FIELDS_OF_SAMPLE)
    if first + count * stride > run.end:
        raise ValueError("a run that does not fit")
    return sum(struct.unpack_from(">I", content, at)[0] for at in range(first, first + count * stride, stride))
