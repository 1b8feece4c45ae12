"""From RTP packets to whole pictures, bit for bit (RFC 6184 section 5, RFC 7798 section 4.4).

Read are single NAL units, aggregation packets (STAP-A, AP) and fragments (FU-A, FU). What bears a decoding order
number is not: no camera interleaves.

Two rules. An access unit ends before the packet that begins another: one with another timestamp or, once the marker
was seen, one in which a picture begins, or what announces one. Parameter sets and whatever else comes before a
picture are part of its unit, with whatever timestamp and marker they came.

Nothing is given of a unit that lost something, nor of those after it until a decoder can start again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.keyframe import KeyframeFinder, starts_keyframe
from halfgateway.protocol.rtp import RtpView

Bytes: TypeAlias = bytes | bytearray | memoryview

#: Bytes of one access unit: four times the key picture of a camera of 8 million pixels at its best. A larger one is
#: damaged, and what has come of it is let go.
MAX_ACCESS_UNIT_BYTES: Final = 8 << 20
#: NAL units of one access unit: several for each of the 600 slices that H.265 allows a picture (its table A.8). A unit
#: of more is damaged, and what has come of it is let go.
MAX_NAL_UNITS: Final = 4096

START_CODE: Final = b"\0\0\0\1"


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One whole picture with all that came with it, its RTP timestamp, and whether a decoder can start here."""

    nal_units: tuple[bytes, ...]
    timestamp: int
    key: bool

    @property
    def data(self) -> bytes:
        """The NAL units as a byte stream, each after a start code of four bytes (H.264 and H.265, annex B)."""
        return b"".join(START_CODE + unit for unit in self.nal_units)


class Depacketiser:
    """Puts the access units of one RTP stream together; ``dropped`` counts those that were not given."""

    def __init__(self, codec: Codec, *, limit_bytes: int = MAX_ACCESS_UNIT_BYTES) -> None:
        """Raises LocalProtocolError where the codec is neither H.264 nor H.265."""
        if codec not in _FORMATS:
            raise LocalProtocolError(f"no pictures are put together of {codec.value}")
        self._codec = codec
        self._format = _FORMATS[codec]
        self._limit_bytes = limit_bytes
        self._finder = KeyframeFinder(codec)
        self._next_sequence: int | None = None
        self._lost = False
        self._waits_for_key = False
        self._start_kind: int | None = None
        self._unit = _Unit()
        self.dropped = 0

    def restart(self) -> None:
        """What comes next is no sequel of what came before; a unit that has not ended is forgotten."""
        self._finder = KeyframeFinder(self._codec)
        self._next_sequence = self._start_kind = None
        self._lost = self._waits_for_key = False
        self._unit = _Unit()

    def feed(self, packet: Bytes) -> AccessUnit | None:
        """Take the next packet; answers the access unit that ended before it, if it is one to give.

        Raises:
            RemoteProtocolError: not an RTP packet, or not of this codec. It counts as lost; the next may be fed.
        """
        try:
            view = RtpView(packet)
            parts = self._format.parts(bytes(view.payload))
        except RemoteProtocolError:
            self._lost, self._next_sequence = True, None
            raise
        lost = self._lost or self._next_sequence not in {None, view.sequence}
        self._lost, self._next_sequence = False, (view.sequence + 1) & 0xFFFF
        if lost and self._unit.has_picture and not self._unit.marked:
            self._unit.damaged = True
        ended = self._end() if self._unit.has_picture and self._begins_another(view, parts) else None
        if lost and self._unit.has_picture:
            self._unit.damaged = True
        elif lost:  # what announced a picture that was lost is none of the next one's
            self._unit = _Unit(damaged=not self._is_fresh_start(view, parts[0]))
        self._take(view, parts)
        return ended

    def end(self) -> AccessUnit | None:
        """The unit that no packet ended, at the end of the stream; None where it is not known to be whole."""
        if not self._unit.has_picture:
            return None
        self._unit.damaged |= not self._unit.marked
        return self._end()

    def _begins_another(self, view: RtpView, parts: Sequence[_Part]) -> bool:
        if view.timestamp != self._unit.timestamp:
            return True
        return self._unit.marked and any(self._format.announces(part) for part in parts)

    def _is_fresh_start(self, view: RtpView, first: _Part) -> bool:
        """Whether nothing that was lost just before is part of the unit that this packet begins.

        So it is where it begins as the starts before it did: with the same parameter set, or with the picture itself.
        """
        begins_alike = self._start_kind is None or first.kind == self._start_kind
        return begins_alike and self._format.announces(first) and starts_keyframe(self._codec, view.payload)

    def _take(self, view: RtpView, parts: Sequence[_Part]) -> None:
        unit = self._unit
        if self._finder.feed(view.payload, view.timestamp, view.marker):
            unit.key, self._start_kind = True, parts[0].kind
        elif self._finder.false_start:
            unit.key = False
        for part in parts:
            unit.add(part)
            unit.has_picture |= part.kind in self._format.pictures
            if unit.size_bytes > self._limit_bytes or len(unit.nal_units) > MAX_NAL_UNITS:
                unit.damaged = True
                unit.nal_units, unit.size_bytes = [bytearray()], 0
        unit.timestamp, unit.marked = view.timestamp, view.marker

    def _end(self) -> AccessUnit | None:
        unit, self._unit = self._unit, _Unit()
        whole = not unit.damaged and unit.fragmented is None
        self._waits_for_key = not whole or (self._waits_for_key and not unit.key)
        if self._waits_for_key:
            self.dropped += 1
            return None
        return AccessUnit(tuple(map(bytes, unit.nal_units)), unit.timestamp, unit.key)


@dataclass(slots=True)
class _Unit:
    """An access unit as far as it has come; ``fragmented`` is the type of its last NAL unit, if that has not ended."""

    nal_units: list[bytearray] = field(default_factory=list)
    size_bytes: int = 0
    timestamp: int = 0
    marked: bool = False
    key: bool = False
    has_picture: bool = False
    damaged: bool = False
    fragmented: int | None = None

    def add(self, part: _Part) -> None:
        """Take the next NAL unit, or fragment of one."""
        if not part.begins and part.kind == self.fragmented:
            self.nal_units[-1] += part.data
        else:
            self.damaged |= not part.begins or self.fragmented is not None
            self.nal_units.append(bytearray(part.data))
        self.fragmented = None if part.ends else part.kind
        self.size_bytes += len(part.data)


@dataclass(frozen=True, slots=True)
class _Part:
    """A NAL unit, or a fragment of one, with the unit's type; its header is there where it begins."""

    kind: int
    data: bytes
    begins: bool = True
    ends: bool = True


@dataclass(frozen=True, slots=True)
class _Format:
    """How the NAL units of one codec lie in RTP payloads, and what their types mean.

    ``units`` are the types that are the codec's own; ``pictures`` those of slices, ``first_slices`` those whose slice
    header begins with a bit that says whether the picture begins there (first_mb_in_slice is 0 in H.264,
    first_slice_segment_in_pic_flag in H.265); ``openings`` those that stand before a picture only (H.264 7.4.1.2.3,
    H.265 7.4.2.4.4).
    """

    header_bytes: int
    kind_of: Callable[[bytes], int]
    fragment_of: Callable[[bytes], _Part]
    aggregation: int
    fragmentation: int
    units: range
    pictures: frozenset[int]
    first_slices: frozenset[int]
    openings: frozenset[int]

    def parts(self, payload: bytes) -> list[_Part]:
        """The NAL units, or the fragment of one, in a payload; at least one. Raises RemoteProtocolError."""
        if len(payload) < self.header_bytes:
            raise RemoteProtocolError("an RTP payload without a header")
        kind = self.kind_of(payload)
        if kind == self.aggregation:
            return list(self._aggregated(payload))
        if kind != self.fragmentation:
            return [self._whole(payload)]
        if len(payload) <= self.header_bytes + 1:
            raise RemoteProtocolError("an RTP payload with an empty fragment")
        part = self.fragment_of(payload)
        self._check(part.kind)
        return [part]

    def announces(self, part: _Part) -> bool:
        """Whether a picture begins with this part, or what stands before a picture only."""
        if not part.begins:
            return False
        begins_picture = part.kind in self.first_slices and any(
            byte & 0x80 for byte in part.data[self.header_bytes : self.header_bytes + 1]
        )
        return begins_picture or part.kind in self.openings

    def _aggregated(self, payload: bytes) -> Iterator[_Part]:
        start = self.header_bytes
        while start < len(payload) or start == self.header_bytes:
            end = start + 2 + int.from_bytes(payload[start : start + 2], "big")
            if end > len(payload) or end < start + 2 + self.header_bytes:
                raise RemoteProtocolError("an aggregation packet whose units do not fit")
            yield self._whole(payload[start + 2 : end])
            start = end

    def _whole(self, unit: bytes) -> _Part:
        kind = self.kind_of(unit)
        self._check(kind)
        return _Part(kind, unit)

    def _check(self, kind: int) -> None:
        if kind not in self.units:
            raise RemoteProtocolError(f"a payload of type {kind}, which is not read")


def _h264_fragment(payload: bytes) -> _Part:
    indicator, header = payload[0], payload[1]
    begins, kind = bool(header & 0x80), header & 0x1F
    unit_header = bytes([indicator & 0xE0 | kind]) if begins else b""
    return _Part(kind, unit_header + payload[2:], begins, bool(header & 0x40))


def _h265_fragment(payload: bytes) -> _Part:
    header = payload[2]
    begins, kind = bool(header & 0x80), header & 0x3F
    unit_header = bytes([payload[0] & 0x81 | kind << 1, payload[1]]) if begins else b""
    return _Part(kind, unit_header + payload[3:], begins, bool(header & 0x40))


_FORMATS: Final[Mapping[Codec, _Format]] = MappingProxyType(
    {
        Codec.H264: _Format(
            header_bytes=1,
            kind_of=lambda unit: unit[0] & 0x1F,
            fragment_of=_h264_fragment,
            aggregation=24,
            fragmentation=28,
            units=range(1, 24),
            pictures=frozenset(range(1, 6)),
            first_slices=frozenset({1, 2, 5}),
            openings=frozenset({6, 7, 8, 9, 14, 15, 16, 17, 18}),
        ),
        Codec.H265: _Format(
            header_bytes=2,
            kind_of=lambda unit: unit[0] >> 1 & 0x3F,
            fragment_of=_h265_fragment,
            aggregation=48,
            fragmentation=49,
            units=range(48),
            pictures=frozenset(range(32)),
            first_slices=frozenset(range(32)),
            openings=frozenset({32, 33, 34, 35, 39, 41, 42, 43, 44}),
        ),
    }
)
