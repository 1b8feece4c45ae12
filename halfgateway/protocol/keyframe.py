"""Where a decoder can start, read from RTP payloads without decoding (RFC 6184, RFC 7798, RFC 2435).

The rule. A start is the packet from which everything that a decoder needs is in the stream or in the SDP:

- H.264 and H.265: the first parameter set (SPS or PPS; VPS, SPS or PPS) before an IDR (IRAP) picture, else the
  first packet of that picture itself, where the parameter sets stand in the SDP only.
- AV1: the packet whose aggregation header says that a coded video sequence begins (N bit).
- JPEG: every frame. MPEG-4: a sequence header, or an intra picture.
- Any other codec: every frame, since nothing better is known; it is the first packet after a marker.

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


def starts_keyframe(codec: Codec, payload: Bytes) -> bool:
    """Whether a decoder could start at this RTP payload, judged by it alone.

    True for parameter sets, and for the packet in which a key picture begins. For a codec that is not known
    it is always False: there only ``KeyframeFinder`` can tell.
    """
    units = _UNITS.get(codec)
    return units is not None and any(unit in {_Unit.PARAMETERS, _Unit.KEY_PICTURE} for unit in units(payload))


class KeyframeFinder:
    """Finds the first packet of each start in one stream, packet by packet.

    ``false_start`` is true after the packet which showed that the start reported last was none.
    """

    __slots__ = ("_announced", "_doubt", "_key_timestamp", "_previous_timestamp", "_units", "false_start")

    def __init__(self, codec: Codec) -> None:
        self._units = _UNITS.get(codec)
        self._announced = False
        self._doubt = 0
        self._key_timestamp: int | None = None
        self._previous_timestamp: int | None = None
        self.false_start = False

    def feed(self, payload: Bytes, timestamp: int, marker: bool) -> bool:
        """Take the next packet of the stream; answers whether a decoder can start at it.

        A key picture is reported once, at the first packet of it or of the parameter sets before it.
        """
        self.false_start = False
        if self._units is None:
            starts = timestamp != self._previous_timestamp
            self._previous_timestamp = None if marker else timestamp
            return starts
        starts = False
        for unit in self._units(payload):
            starts |= self._takes(unit, timestamp)
        if marker:
            self._key_timestamp = None
        return starts

    def _takes(self, unit: _Unit, timestamp: int) -> bool:
        if unit is _Unit.PARAMETERS:
            if self._announced or timestamp == self._key_timestamp or self._doubt >= _DOUBT_TO_STOP_BELIEVING:
                return False
            self._announced = True
            return True
        announced, self._announced = self._announced, False
        if unit is _Unit.PICTURE:
            if announced:
                self.false_start = True
                self._doubt += _DOUBT_OF_FALSE_START
            return False
        if announced:
            self._doubt = max(0, self._doubt - _DOUBT_OF_TRUE_START)
        already_reported = announced or timestamp == self._key_timestamp
        if unit is _Unit.KEY_PICTURE or announced:
            self._key_timestamp = timestamp
        return unit is _Unit.KEY_PICTURE and not already_reported


def _h264_units(payload: Bytes) -> _Units:
    """RFC 6184 section 5.2; MTAP is not read: no camera sends packetization mode 2."""
    if len(payload) < 2:
        return ()
    kind = payload[0] & 0x1F
    if kind in {28, 29}:
        begins = payload[1] & 0x80
        return _h264_unit(payload[1] & 0x1F, payload[2 if kind == 28 else 4 :]) if begins else ()
    if kind in {24, 25}:
        return tuple(
            found
            for start, end in _aggregated(payload, 1 if kind == 24 else 3)
            for found in _h264_unit(payload[start] & 0x1F, payload[start + 1 : end])
        )
    return _h264_unit(kind, payload[1:])


def _h264_unit(kind: int, data: Bytes) -> _Units:
    if kind in {7, 8, 13, 15}:
        return (_Unit.PARAMETERS,)
    if kind == 5:
        return (_Unit.KEY_PICTURE,)
    if kind in {1, 2}:
        return (_Unit.INTRA_PICTURE if _is_intra_slice(data) else _Unit.PICTURE,)
    return ()


def _is_intra_slice(data: Bytes) -> bool:
    """Whether slice_type, the second Exp-Golomb number of an H.264 slice header, is I (7.4.3)."""
    bits = int.from_bytes(bytes(data[:8]).ljust(8, b"\0"), "big")
    position = 64
    value = 0
    for _ in range(2):
        zeros = position - (bits & (1 << position) - 1).bit_length()
        position -= 2 * zeros + 1
        if position < 0:
            return False
        value = (bits >> position & (1 << zeros + 1) - 1) - 1
    return value % 5 == 2


def _h265_units(payload: Bytes) -> _Units:
    """RFC 7798 section 4.4, without DONL fields: cameras do not interleave."""
    if len(payload) < 3:
        return ()
    kind = payload[0] >> 1 & 0x3F
    if kind == 49:
        return _h265_unit(payload[2] & 0x3F) if payload[2] & 0x80 else ()
    if kind == 48:
        return tuple(found for start, _ in _aggregated(payload, 2) for found in _h265_unit(payload[start] >> 1 & 0x3F))
    return _h265_unit(kind)


def _h265_unit(kind: int) -> _Units:
    if 32 <= kind <= 34:
        return (_Unit.PARAMETERS,)
    if 16 <= kind <= 23:
        return (_Unit.KEY_PICTURE,)
    return (_Unit.PICTURE,) if kind < 16 else ()


def _aggregated(payload: Bytes, start: int) -> list[tuple[int, int]]:
    """Where the units of an aggregation packet begin and end; units of no length, or cut off, are left out."""
    found = []
    while start + 2 < len(payload):
        end = start + 2 + (payload[start] << 8 | payload[start + 1])
        if start + 2 < end <= len(payload):
            found.append((start + 2, end))
        start = end
    return found


def _av1_units(payload: Bytes) -> _Units:
    """The aggregation header of the AV1 payload format, section 4.4: N says that a sequence begins."""
    if not payload:
        return ()
    return (_Unit.KEY_PICTURE,) if payload[0] & 0x08 else ()


def _jpeg_units(payload: Bytes) -> _Units:
    """RFC 2435 section 3.1: the fragment whose offset is zero begins a frame."""
    return (_Unit.KEY_PICTURE,) if len(payload) >= 8 and not any(payload[1:4]) else ()


def _mpeg4_units(payload: Bytes) -> _Units:
    """The start code at the head of an RFC 6416 payload: a header, or a VOP with its coding type."""
    if len(payload) < 5 or bytes(payload[:3]) != b"\0\0\1":
        return ()
    code = payload[3]
    if code == 0xB6:
        return (_Unit.PICTURE if payload[4] >> 6 else _Unit.KEY_PICTURE,)
    return (_Unit.PARAMETERS,) if code in {0xB0, 0xB3, 0xB5} or code <= 0x2F else ()


_UNITS: Final[Mapping[Codec, Callable[[Bytes], _Units]]] = MappingProxyType(
    {
        Codec.H264: _h264_units,
        Codec.H265: _h265_units,
        Codec.AV1: _av1_units,
        Codec.JPEG: _jpeg_units,
        Codec.MPEG4: _mpeg4_units,
    }
)
