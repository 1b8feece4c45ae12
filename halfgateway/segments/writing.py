"""Footage written down as it was sent: fragmented MP4, cut at keyframes, the camera's own bits, video alone (L08, L15).

Each fragment is in its file as soon as it is whole, so that a process that is killed loses the one that was open and
no more. The name of a file tells the instant of its first picture, and its pictures' time counts from there.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from halfgateway.errors import HalfGatewayError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import START_CODE, AccessUnit
from halfgateway.protocol.rtp import timestamp_distance
from halfgateway.segments.layout import Layout

log = logging.getLogger(__name__)

FRAGMENT_S: Final = 1.0
"""The longest fragment: what a kill loses of a camera whose keyframes are far apart."""

LONGEST_PAUSE_S: Final = 5.0
"""A longer time between two pictures is a gap, and no picture that lasts: cameras send one a second at the least."""

MAX_HELD_BACK: Final = timedelta(hours=1)
"""By how much the clock may go back and footage still follow on what is written, so that no two segments tell of one
time. Past it, what is written was dated by a clock that was wrong, and the clock that was set right is believed."""

_REORDERING_S: Final = 1
"""Pictures come at most this much out of the order in which they are shown; cameras send at most three ahead."""

_MICROSECOND: Final = timedelta(microseconds=1)
_USUAL_PICTURE_S: Final = Fraction(1, 25)
_FORMATS: Final = {Codec.H264: "h264", Codec.H265: "hevc"}
_SETS: Final = {Codec.H264: frozenset({7, 8}), Codec.H265: frozenset({32, 33, 34})}
_OPTIONS: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets",
    "frag_duration": str(int(FRAGMENT_S * 1_000_000)),
}


class UnwritablePicture(HalfGatewayError):
    """A keyframe that is no start of a film, as one without its parameter sets."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Footage that there is not, between two instants (aware, UTC)."""

    start: datetime
    end: datetime


def parameter_sets(codec: Codec, unit: AccessUnit) -> tuple[bytes, ...]:
    """The parameter sets that an access unit holds, in their order."""
    return tuple(nal for nal in unit.nal_units if nal and _kind(codec, nal) in _SETS[codec])


class SegmentWriter:
    """The footage of one camera in one format, segment after segment. For one thread; blocks while the disk does.

    ``sets`` are the parameter sets of its description, for cameras that send none. ``after`` is where the footage ends
    that is there already. Every method that writes raises OSError: the segment is ended where it was whole, and the
    next keyframe begins another.
    """

    def __init__(
        self,
        folder: Path,
        codec: Codec,
        clock_rate_hz: int,
        *,
        sets: Sequence[bytes] = (),
        length_s: float = 60.0,
        layout: Layout,
        after: datetime | None = None,
    ) -> None:
        self._folder = folder
        self._codec = codec
        self._clock_rate_hz = clock_rate_hz
        self._described = tuple(sets)
        self._length_s = length_s
        self._layout = layout
        self._open: _Segment | None = None
        self.end = after

    def write(self, unit: AccessUnit, at: datetime) -> Gap | None:
        """Write a picture that was filmed at ``at``, an aware instant; answers the gap that it ends, if any.

        Pictures before the first keyframe are let go.

        Raises:
            UnwritablePicture: no film can begin with this keyframe.
            OSError: the disk does not take it.
        """
        if self._open is not None and not self._open.has_room(unit, self._length_s):
            self._close(self._next_start(at) if unit.key and self._open.is_followed_by(unit) else None)
        if self._open is None:
            return self._begin(unit, at) if unit.key else None
        self._add(self._open, unit)
        return None

    def close(self) -> None:
        """End the segment that is open: what comes next does not follow on it. Raises OSError."""
        self._close(None)

    def _begin(self, unit: AccessUnit, at: datetime) -> Gap | None:
        start, before = self._next_start(at), self.end
        path = self._folder / self._layout.path_of(start)
        sets = parameter_sets(self._codec, unit) or self._described
        self._open = _Segment(path, self._codec, self._clock_rate_hz, unit, sets, start)
        self._add(self._open, unit)
        if before is None or (start - before).total_seconds() <= LONGEST_PAUSE_S:
            return None
        return Gap(before, start)

    def _next_start(self, at: datetime) -> datetime:
        """The instant at which a segment begins whose first picture was filmed at ``at``: none that is told already."""
        earliest = self._open.earliest_sequel if self._open is not None else self.end
        if earliest is None or at >= earliest:
            return at
        if earliest - at > MAX_HELD_BACK:
            log.critical("recording.clock_back folder=%s by_s=%.0f", self._folder, (earliest - at).total_seconds())
            return at
        return earliest

    def _add(self, segment: _Segment, unit: AccessUnit) -> None:
        try:
            segment.add(unit)
        except OSError:
            self._open = None
            self.end = segment.end
            segment.abandon()
            raise

    def _close(self, sequel: datetime | None) -> None:
        segment, self._open = self._open, None
        if segment is not None:
            self.end = segment.end if sequel is None else sequel
            segment.close(sequel)


class _Segment:
    """One file being written. A picture is written once it is known how long it lasts: when the next has come."""

    def __init__(
        self,
        path: Path,
        codec: Codec,
        clock_rate_hz: int,
        first: AccessUnit,
        sets: Sequence[bytes],
        start: datetime,
    ) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._codec = codec
        self._sets = tuple(sets)
        self._start = start
        self._first_timestamp = first.timestamp
        self._latest = 0
        self._decoded = -_REORDERING_S * clock_rate_hz
        self._usual = round(_USUAL_PICTURE_S * clock_rate_hz)
        self._waiting: Packet[Stream] | None = None
        with _template(codec, first, sets) as template:
            self._file = _File(path)
            self._container = av.open(self._file, "w", format="mp4", options=_OPTIONS)
            self._stream = self._container.add_stream_from_template(template.streams.video[0])
        self._stream.time_base = Fraction(1, clock_rate_hz)
        try:
            with _as_os_errors():
                self._container.start_encoding()
        except OSError:
            self.abandon()
            raise
        self._file.has_begun()

    @property
    def earliest_sequel(self) -> datetime:
        """The first instant that is none of a picture here."""
        return self._instant(self._latest + 1)

    @property
    def end(self) -> datetime:
        """When the last picture is over, if it lasts as long as others."""
        return self._instant(self._latest + self._usual)

    def has_room(self, unit: AccessUnit, length_s: float) -> bool:
        """Whether a picture goes on here: directly, in the same format, and not with a keyframe past the length."""
        if not self.is_followed_by(unit):
            return False
        sets = parameter_sets(self._codec, unit)
        return not unit.key or (self._ticks(unit) < length_s * self._clock_rate_hz and sets in {(), self._sets})

    def is_followed_by(self, unit: AccessUnit) -> bool:
        """Whether nothing is missing before a picture."""
        step = self._ticks(unit) - self._latest
        return -_REORDERING_S * self._clock_rate_hz <= step <= LONGEST_PAUSE_S * self._clock_rate_hz

    def add(self, unit: AccessUnit) -> None:
        """Write the picture before this one. Raises OSError."""
        shown = self._ticks(unit)
        self._decoded = max(self._decoded + 1, shown - _REORDERING_S * self._clock_rate_hz)
        packet = Packet(unit.data)
        packet.stream, packet.time_base = self._stream, Fraction(1, self._clock_rate_hz)
        packet.dts, packet.pts = self._decoded, max(shown, self._decoded)
        packet.is_keyframe = unit.key
        self._latest = max(self._latest, shown)
        waiting, self._waiting = self._waiting, packet
        if waiting is not None and waiting.dts is not None:
            self._usual = self._decoded - waiting.dts
            self._write(waiting, self._usual)

    def close(self, sequel: datetime | None) -> None:
        """End the file; ``sequel`` is when the next segment begins that follows directly. Raises OSError."""
        try:
            lasts = self._usual if sequel is None else self._ticks_until(sequel) - self._latest
            if self._waiting is not None:
                self._write(self._waiting, max(1, lasts))
            with _as_os_errors():
                self._container.close()
        except OSError:
            self.abandon()
            raise
        self._file.close()

    def abandon(self) -> None:
        """End the file where it is whole."""
        self._file.cut_short()
        with contextlib.suppress(OSError, av.FFmpegError):
            self._container.close()

    def _write(self, packet: Packet[Stream], lasts: int) -> None:
        packet.duration = lasts
        with _as_os_errors():
            self._container.mux(packet)
        self._file.is_whole()

    def _ticks(self, unit: AccessUnit) -> int:
        return timestamp_distance(self._first_timestamp, unit.timestamp)

    def _ticks_until(self, instant: datetime) -> int:
        return round(Fraction((instant - self._start) // _MICROSECOND, 1_000_000) * self._clock_rate_hz)

    def _instant(self, ticks: int) -> datetime:
        return self._start + math.ceil(Fraction(ticks * 1_000_000, self._clock_rate_hz)) * _MICROSECOND


class _File:
    """What FFmpeg's muxer writes to: nothing waits in memory of ours, and what is not whole can be cut off."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._size_bytes = self._whole_bytes = self._head_bytes = 0

    def write(self, data: bytes) -> int:
        """Write all, as the muxer wants it; what comes after the end is let go."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            taken = os.write(self._descriptor, rest)
            self._size_bytes += taken
            rest = rest[taken:]
        return len(data)

    def has_begun(self) -> None:
        """What is written is the head, and no footage."""
        self._head_bytes = self._whole_bytes = self._size_bytes

    def is_whole(self) -> None:
        """No box is half written now."""
        self._whole_bytes = self._size_bytes

    def close(self) -> None:
        """Have it all on the disk. Raises OSError."""
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            finally:
                self._end()

    def cut_short(self) -> None:
        """Keep what is whole, and no file where that is no footage."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._whole_bytes)
                if self._whole_bytes <= self._head_bytes:
                    self._path.unlink()
            self._end()

    def _end(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """The muxer's own errors as the disk's: with either the segment ends."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno or errno.EIO, f"the segment's muxer: {error.strerror}") from error


def _template(codec: Codec, first: AccessUnit, sets: Sequence[bytes]) -> InputContainer:
    """What the muxer is to know of a film that begins with this picture. Raises UnwritablePicture."""
    described = b"".join(START_CODE + each for each in sets if each not in first.nal_units)
    try:
        container = av.open(io.BytesIO(described + first.data), "r", format=_FORMATS[codec])
    except av.FFmpegError as error:
        raise UnwritablePicture(f"no film begins with this picture: {error}") from error
    if not container.streams.video or not container.streams.video[0].codec_context.width:
        container.close()
        raise UnwritablePicture("no film begins with this picture: its size is unknown")
    return container


def _kind(codec: Codec, nal: bytes) -> int:
    return nal[0] & 0x1F if codec is Codec.H264 else nal[0] >> 1 & 0x3F
