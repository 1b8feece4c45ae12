"""The pictures of a segment's file, taken out whole and never decoded; sound is not read (L08).

A file is opened as what its first bytes show it to be, never as a play list or another text that names more files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from halfgateway.errors import HalfGatewayError
from halfgateway.protocol.codec import Codec
from halfgateway.segments.units import (
    ParameterSets,
    described_sets,
    joined,
    measured,
    parameter_sets,
    split,
    with_sets,
)

MAX_PICTURE_BYTES: Final = 16 << 20
"""A larger picture is no camera's, and is left out: 8K at its best has 4 MiB."""

USUAL_PICTURE: Final = timedelta(milliseconds=40)
"""How long a picture lasts where its file does not say."""

LONGEST_SEGMENT: Final = timedelta(days=1)
"""A segment that says it is longer is believed to have no more than this: damaged files name any duration."""

_BOXES: Final = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"uuid"})
_SYNC: Final = 0x47
_TS_PACKET_BYTES: Final = 188
_STEPS_BACK_S: Final = (0, 2, 10, 60)
"""How far before an instant, in seconds, its clean picture is looked for where a file has no index of them; then, from
the beginning."""

_TAIL: Final = Fraction(1, 10)
_CODECS: Final = {"h264": Codec.H264, "hevc": Codec.H265}

_OPTIONS: Final = {"protocol_whitelist": "file", "codec_whitelist": "none"}
"""Nothing but files is opened, and no decoder: FFmpeg would decode the first pictures to tell their colours."""

_Container = Literal["mov", "mpegts"]


class UnreadableSegment(HalfGatewayError):
    """A file that holds no footage that can be played, or none yet.

    ``lasting``: it stays so for as long as the file does not change.
    """

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of footage. ``named`` is the instant that its path tells; ``start``, ``end`` (aware, UTC) its pictures'.

    ``first_pts`` is the time stamp, in the file's own clock, of the picture filmed at ``start``; ``stamp`` tells one
    state of the file from another.
    """

    path: Path
    named: datetime
    start: datetime
    end: datetime
    codec: Codec
    first_pts: int
    stamp: tuple[int, int]

    def begun_at(self, start: datetime) -> Segment:
        """The same, with all its pictures earlier or later."""
        return replace(self, start=start, end=start + (self.end - self.start))


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture as a byte stream (annex B), filmed at ``at``; ``lasts`` until the next.

    ``clean``: a decoder can begin here, with the parameter sets that stand in it. ``order`` grows from each to the next
    in the file.
    """

    data: bytes
    at: datetime
    lasts: timedelta
    clean: bool
    order: int


def stamp_of(path: Path) -> tuple[int, int]:
    """What tells whether a file has changed: its size in bytes and its time of change in nanoseconds.

    Raises:
        OSError: it cannot be looked at.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def examine(path: Path, named: datetime) -> Segment:
    """Look at a file whose path says that it begins at ``named``. Blocks for some milliseconds.

    Raises:
        UnreadableSegment: no footage of H.264 or H.265 in MP4 or MPEG-TS.
    """
    try:
        stamp = stamp_of(path)
    except OSError as error:
        raise UnreadableSegment(f"{path.name} cannot be looked at", lasting=False) from error
    unknown = Segment(path, named, named, named, Codec.OTHER, 0, stamp)
    with SegmentReader(unknown) as reader:
        first = reader.first_pts()
        end = reader.end_after(first)
        return replace(unknown, end=named + min(end, LONGEST_SEGMENT), codec=reader.codec, first_pts=first)


class SegmentReader:
    """An open segment. ``whole`` False: more is being written, and what may be cut off in the middle is left out.

    Raises:
        UnreadableSegment: from the constructor; a fault further on ends the pictures there.
    """

    def __init__(self, segment: Segment, *, whole: bool = True) -> None:
        self._segment = segment
        self._kind = _kind_of(segment.path)
        self._holds_back = not whole and self._kind == "mpegts"
        self._container = _opened(segment.path, self._kind)
        self._is_fresh = True
        try:
            self._stream = _video(self._container)
            context = self._stream.codec_context
            # None where FFmpeg knows no decoder for what the file says it holds.
            self.codec = _CODECS[context.name if context else ""]
            self._sets, self._length_bytes = described_sets(self.codec, context.extradata or b"")
            self._clock = Fraction(self._stream.time_base or Fraction(1, 90_000))
            self._micros_a_tick = self._clock.numerator * 1_000_000, self._clock.denominator
        except (KeyError, IndexError) as error:
            self._container.close()
            raise UnreadableSegment(f"{segment.path.name} has no video that can be played") from error

    def __enter__(self) -> SegmentReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    @property
    def sets(self) -> ParameterSets:
        """The parameter sets that hold at the place that was read last."""
        return self._sets

    @property
    def frame_rate(self) -> float | None:
        """Pictures a second, as far as the file says."""
        rate = self._stream.average_rate
        return float(rate) if rate else None

    def first_pts(self) -> int:
        """The time stamp of the first picture.

        Raises:
            UnreadableSegment: there is none.
        """
        for packet in self._packets():
            return _pts(packet)
        raise UnreadableSegment(f"{self._segment.path.name} has no picture")

    def end_after(self, first_pts: int) -> timedelta:
        """How long after the first picture the last one ends, whatever the file says of its own length."""
        told = self._stream.duration or 0
        end = self._end_from(first_pts + max(0, told - int(_TAIL / self._clock)))
        if end is None:
            end = self._end_from(None)
        return self._span(end - first_pts) if end is not None else timedelta(0)

    def units(self) -> Iterator[AccessUnit]:
        """All pictures, the first of which may need those of the segment before."""
        self._rewind(None)
        yield from self._units(self._packets())

    def units_from(self, at: datetime) -> Iterator[AccessUnit]:
        """The pictures from the clean one at or before ``at`` on; from the first clean one where there is none."""
        key_pts = None
        if at > self._segment.start:
            since = _seconds(at - self._segment.start + _ROUNDING)
            key_pts = self._clean_pts(self._segment.first_pts + int(since / self._clock))
        yield from self._units(self._from_clean(key_pts))

    def clean_instants(self) -> list[datetime]:
        """When the pictures were filmed at which a decoder can begin. Reads the whole file."""
        self._rewind(None)
        return sorted(self._instant(_pts(packet)) for packet in self._packets() if packet.is_keyframe)

    def _instant(self, pts: int) -> datetime:
        return self._segment.start + self._span(pts - self._segment.first_pts)

    def _span(self, ticks: int) -> timedelta:
        micros, parts = self._micros_a_tick
        return timedelta(microseconds=(ticks * micros + parts // 2) // parts)

    def _rewind(self, pts: int | None) -> None:
        """Go to a time stamp or somewhere before it; None: to the beginning."""
        if pts is not None:
            self._is_fresh = False
            try:
                self._container.seek(pts, stream=self._stream, backward=True)
            except av.FFmpegError:
                pts = None
        if pts is None and not self._is_fresh:
            self._container.close()
            self._container = _opened(self._segment.path, self._kind)
            self._stream = _video(self._container)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """What comes next; nothing that is damaged, and nothing behind it."""
        self._is_fresh = False
        try:
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt:
                    return
                if packet.size and (packet.pts is not None or packet.dts is not None):
                    yield packet
        except (av.FFmpegError, ValueError):
            return

    def _end_from(self, pts: int | None) -> int | None:
        """The time stamp at which the last picture ends, read from ``pts`` on; None where nothing is there."""
        self._rewind(pts)
        end = None
        usual = int(_seconds(USUAL_PICTURE) / self._clock)
        for packet in self._packets():
            end = max(end or 0, _pts(packet) + (packet.duration or usual))
        return end

    def _clean_pts(self, wanted: int) -> int | None:
        """The time stamp of the last clean picture at or before ``wanted``."""
        before = (wanted - int(seconds / self._clock) for seconds in _STEPS_BACK_S)
        for origin in [*(pts for pts in before if pts >= self._segment.first_pts), None]:
            self._rewind(origin)
            found = None
            for packet in self._packets():
                if packet.is_keyframe and _pts(packet) <= wanted:
                    found = _pts(packet)
                elif _order(packet) > wanted:
                    break
            if found is not None:
                return found
        return None

    def _from_clean(self, pts: int | None) -> Iterator[Packet[VideoStream]]:
        """The packets from the clean picture of this time stamp on."""
        self._rewind(pts)
        packets = self._packets()
        for packet in packets:
            if packet.is_keyframe and (pts is None or _pts(packet) == pts):
                yield packet
                yield from packets
                return

    def _units(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[AccessUnit]:
        held: AccessUnit | None = None
        for packet in packets:
            if held is not None:
                yield held
            held = self._unit(packet) if packet.size <= MAX_PICTURE_BYTES else None
        if held is not None and not self._holds_back:
            yield held

    def _unit(self, packet: Packet[VideoStream]) -> AccessUnit | None:
        data = bytes(packet)
        units = measured(data, self._length_bytes) if self._length_bytes else None
        stream = data if units is None else joined(units)
        if not stream:
            return None
        clean = packet.is_keyframe
        if clean:
            carried = parameter_sets(self.codec, list(split(data)) if units is None else units)
            if carried.complete:
                self._sets = carried
            elif self._sets.complete:
                stream = with_sets(stream, self._sets)
            else:
                clean = False
        lasts = self._span(packet.duration) if packet.duration else USUAL_PICTURE
        return AccessUnit(stream, self._instant(_pts(packet)), lasts, clean, _order(packet))


_ROUNDING: Final = timedelta(microseconds=1)
"""A picture's instant may be so much before its time stamp, which is finer."""


def _seconds(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), 1_000_000)


def _pts(packet: Packet[VideoStream]) -> int:
    return packet.pts if packet.pts is not None else packet.dts or 0


def _order(packet: Packet[VideoStream]) -> int:
    return packet.dts if packet.dts is not None else packet.pts or 0


def _kind_of(path: Path) -> _Container:
    """What a file is by its first bytes.

    Raises:
        UnreadableSegment: neither MP4 nor MPEG-TS, or not a regular file that can be read.
    """
    try:
        if not path.is_file():
            raise UnreadableSegment(f"{path.name} is no file")
        with path.open("rb") as file:
            head = file.read(_TS_PACKET_BYTES + 1)
    except OSError as error:
        raise UnreadableSegment(f"{path.name} cannot be read", lasting=False) from error
    if head[4:8] in _BOXES:
        return "mov"
    if head[:1] and head[0] == _SYNC and head[_TS_PACKET_BYTES:][:1] in {b"", bytes((_SYNC,))}:
        return "mpegts"
    raise UnreadableSegment(f"{path.name} is neither MP4 nor MPEG-TS")


def _opened(path: Path, kind: _Container) -> InputContainer:
    try:
        return av.open(f"file:{path}", "r", format=kind, container_options=_OPTIONS)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise UnreadableSegment(f"{path.name} cannot be opened") from error


def _video(container: InputContainer) -> VideoStream:
    return container.streams.video[0]
