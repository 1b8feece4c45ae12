"""Where a decoder can start, read from RTP payloads without decoding (RFC 6184, RFC 7798, RFC 2435).

The rule. A start is the packet from which everything that a decoder needs is in the stream or in the SDP:

- H.264 and H.265: the first parameter set (SPS or PPS; VPS, SPS or PPS) before an IDR (IRAP) picture, else the
  first packet of that picture itself, where the parameter sets stand in the SDP only.
- AV1: the packet whose aggregation header says that a coded video sequence begins (N bit).
- JPEG: every frame. MPEG-4: a sequence header, or an intra picture.
- Any other codec: every frame, since nothing better is known: a new timestamp, or a marker before.

Cameras send SPS, PPS and picture in one packet or in several, with one timestamp or two, and with markers
on parameter sets too. So parameter sets announce a start, and the first picture after them is part of it.

Some cameras repeat parameter sets before a predicted picture: that start was false. ``KeyframeFinder``
notices at the first such picture, says so in ``false_start``, and from then on reports only pictures; their
parameter sets are then those of the SDP or of the last repetition.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from halfgateway.protocol.codec import Codec

Bytes: TypeAlias = bytes | bytearray | memoryview

#: Doubt that a false start adds, a true one takes away, and at which parameter sets alone are believed no more:
#: a stream that repeats them once a GOP is found out in four GOPs, one that lost a packet is forgiven.
_DOUBT_OF_FALSE_START: Final = 2
_DOUBT_OF_TRUE_START: Final = 1
_DOUBT_TO_STOP_BELIEVING: Final = 4


class _Unit(enum.Enum):
    """What a NAL unit, or the first fragment of one, means for a start."""

    PARAMETERS = 1
    KEY_PICTURE = 2
    INTRA_PICTURE = 3
    PICTURE = 4


_Units: TypeAlias = tuple[_Unit, ...]

_PARAMETERS: Final = (_Unit.PARAMETERS,)
_KEY_PICTURE: Final = (_Unit.KEY_PICTURE,)
_INTRA_PICTURE: Final = (_Unit.INTRA_PICTURE,)
_PICTURE: Final = (_Unit.PICTURE,)


def starts_keyframe(codec: Codec, payload: Bytes) -> bool:
    """Whether a decoder could start at this RTP payload, judged by it alone.

    True for parameter sets, and for the packet in which a key picture begins. For a codec that is not known
    it is always False: there only ``KeyframeFinder`` can tell.
    """
    units = _UNITS.get(codec)
    if units is None:
        return False
    return any(unit in {_Unit.PARAMETERS, _Unit.KEY_PICTURE} for unit in units(payload, 0, len(payload)))


def holds_parameter_sets(codec: Codec, payload: Bytes) -> bool:
    """Whether this RTP payload carries parameter sets; False for a codec that has none, or is not known."""
    units = _UNITS.get(codec)
    return units is not None and _Unit.PARAMETERS in units(payload, 0, len(payload))


class KeyframeFinder:
    """Finds the first packet of each start in one stream, packet by packet.

    ``false_start`` is true after the packet which showed that the start reported last was none. Packets with
    ``settled_timestamp``, None between two pictures, are of a picture that has begun and need not be shown to it, but
    the one with the marker.
    """

    __slots__ = ("_announced", "_doubt", "_units", "false_start", "settled_timestamp")

    def __init__(self, codec: Codec) -> None:
        self._units = _UNITS.get(codec, _any_units)
        self._announced = False
        self._doubt = 0
        self.settled_timestamp: int | None = None
        self.false_start = False

    def feed(self, payload: Bytes, timestamp: int, marker: bool, *, start: int = 0, end: int | None = None) -> bool:
        """Take the next packet of the stream; answers whether a decoder can start at it.

        A key picture is reported once, at the first packet of it or of the parameter sets before it. The
        payload may be part of a larger buffer, from ``start`` to ``end``. Once a picture has begun, the
        other packets with its timestamp are not looked at: that makes most packets cheap.
        """
        self.false_start = False
        starts = False
        if timestamp != self.settled_timestamp:
            for unit in self._units(payload, start, len(payload) if end is None else end):
                starts |= self._takes(unit, timestamp)
        if marker:
            self.settled_timestamp = None
        return starts

    def _takes(self, unit: _Unit, timestamp: int) -> bool:
        if timestamp == self.settled_timestamp:
            return False
        if unit is _Unit.PARAMETERS:
            starts = not self._announced and self._doubt < _DOUBT_TO_STOP_BELIEVING
            self._announced |= starts
            return starts
        announced, self._announced = self._announced, False
        self.settled_timestamp = timestamp
        if announced:
            self.false_start = unit is _Unit.PICTURE
            change = _DOUBT_OF_FALSE_START if self.false_start else -_DOUBT_OF_TRUE_START
            self._doubt = max(0, self._doubt + change)
        return unit is _Unit.KEY_PICTURE and not announced


def _h264_units(data: Bytes, start: int, end: int) -> _Units:
    """RFC 6184 section 5.2; MTAP is not read: no camera sends packetization mode 2."""
    if end - start < 2:
        return ()
    kind = data[start] & 0x1F
    if kind in {28, 29}:
        if data[start + 1] < 0x80:
            return ()
        return _h264_unit(data[start + 1] & 0x1F, data, start + (2 if kind == 28 else 4), end)
    if kind in {24, 25}:
        units = _aggregated(data, start + (1 if kind == 24 else 3), end)
        return tuple(found for at, to in units for found in _h264_unit(data[at] & 0x1F, data, at + 1, to))
    return _h264_unit(kind, data, start + 1, end)


def _h264_unit(kind: int, data: Bytes, start: int, end: int) -> _Units:
    if kind in {1, 2}:
        return _PICTURE if not _is_intra_slice(data, start, end) else _INTRA_PICTURE
    if kind == 5:
        return _KEY_PICTURE
    return _PARAMETERS if kind in {7, 8, 13, 15} else ()


def _is_intra_slice(data: Bytes, start: int, end: int) -> bool:
    """Whether slice_type, the second Exp-Golomb number of an H.264 slice header, is I (7.4.3)."""
    bits = int.from_bytes(bytes(data[start : min(end, start + 8)]).ljust(8, b"\0"), "big")
    left = 64
    value = 0
    for _ in range(2):
        zeros = left - (bits & (1 << left) - 1).bit_length()
        left -= 2 * zeros + 1
        if left < 0:
            return False
        value = (bits >> left & (1 << zeros + 1) - 1) - 1
    return value % 5 == 2


def _h265_units(data: Bytes, start: int, end: int) -> _Units:
    """RFC 7798 section 4.4, without DONL fields: cameras do not interleave."""
    if end - start < 3:
        return ()
    kind = data[start] >> 1 & 0x3F
    if kind == 49:
        return _h265_unit(data[start + 2] & 0x3F) if data[start + 2] & 0x80 else ()
    if kind == 48:
        units = _aggregated(data, start + 2, end)
        return tuple(found for at, _ in units for found in _h265_unit(data[at] >> 1 & 0x3F))
    return _h265_unit(kind)


def _h265_unit(kind: int) -> _Units:
    if kind < 16:
        return _PICTURE
    if kind < 24:
        return _KEY_PICTURE
    return _PARAMETERS if 32 <= kind <= 34 else ()


def _aggregated(data: Bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Where the units of an aggregation packet begin and end; units of no length, or cut off, are left out."""
    found = []
    while start + 2 < end:
        stop = start + 2 + (data[start] << 8 | data[start + 1])
        if start + 2 < stop <= end:
            found.append((start + 2, stop))
        start = stop
    return found


def _av1_units(data: Bytes, start: int, end: int) -> _Units:
    """The aggregation header of the AV1 payload format, section 4.4: N says that a sequence begins."""
    if start >= end:
        return ()
    return _KEY_PICTURE if data[start] & 0x08 else ()


def _jpeg_units(data: Bytes, start: int, end: int) -> _Units:
    """RFC 2435 section 3.1: the fragment whose offset is zero begins a frame."""
    return _KEY_PICTURE if end - start >= 8 and not any(data[start + 1 : start + 4]) else ()


def _mpeg4_units(data: Bytes, start: int, end: int) -> _Units:
    """The start code at the head of an RFC 6416 payload: a header, or a VOP with its coding type."""
    if end - start < 5 or data[start : start + 3] != b"\0\0\1":
        return ()
    code = data[start + 3]
    if code == 0xB6:
        return _PICTURE if data[start + 4] >> 6 else _KEY_PICTURE
    return _PARAMETERS if code in {0xB0, 0xB3, 0xB5} or code <= 0x2F else ()


def _any_units(_data: Bytes, _start: int, _end: int) -> _Units:
    """A codec that is not known: each new timestamp begins a frame."""
    return _KEY_PICTURE


_UNITS: Final[Mapping[Codec, Callable[[Bytes, int, int], _Units]]] = MappingProxyType(
    {
        Codec.H264: _h264_units,
        Codec.H265: _h265_units,
        Codec.AV1: _av1_units,
        Codec.JPEG: _jpeg_units,
        Codec.MPEG4: _mpeg4_units,
    }
)
