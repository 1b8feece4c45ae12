"""RTP packets, read in place and renumbered in place (RFC 3550 section 5.1).

The functions take a buffer and the offset of a packet that is known to hold its 12 fixed bytes; they check
nothing. ``RtpView`` checks everything.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from halfgateway.errors import RemoteProtocolError

#: Bytes of the fixed part of an RTP header.
RTP_HEADER_BYTES: Final = 12

#: First byte of a packet of version 2 with nothing but its fixed part and a payload, as nearly all are.
_PLAIN: Final = 0x80

Bytes: TypeAlias = bytes | bytearray | memoryview

_FIXED = struct.Struct("!BBHII")
_U32 = struct.Struct("!I")


class RtpView:
    """One RTP packet, checked, seen through a memoryview without a copy.

    ``payload`` excludes CSRCs, extension and padding; ``extension`` is (profile id, words) or None.
    It is valid as long as the buffer beneath keeps its bytes.
    """

    __slots__ = (
        "extension",
        "marker",
        "padding_bytes",
        "payload",
        "payload_type",
        "sequence",
        "ssrc",
        "timestamp",
    )

    def __init__(self, packet: Bytes) -> None:
        """Read one packet.

        Raises:
            RemoteProtocolError: not RTP version 2, or its parts do not fit its length.
        """
        view = memoryview(packet)
        if len(view) < RTP_HEADER_BYTES:
            raise RemoteProtocolError("shorter than an RTP header")
        first, second, self.sequence, self.timestamp, self.ssrc = _FIXED.unpack_from(view)
        if first >> 6 != 2:
            raise RemoteProtocolError("not RTP version 2")
        self.marker = bool(second & 0x80)
        self.payload_type = second & 0x7F
        start = RTP_HEADER_BYTES + 4 * (first & 0x0F)
        self.extension: tuple[int, memoryview] | None = None
        if first & 0x10:
            if start + 4 > len(view):
                raise RemoteProtocolError("the RTP extension does not fit")
            profile, words = struct.unpack_from("!HH", view, start)
            self.extension = profile, view[start + 4 : start + 4 + 4 * words]
            start += 4 + 4 * words
        self.padding_bytes = view[-1] if first & 0x20 else 0
        end = len(view) - self.padding_bytes
        if start > end or (first & 0x20 and not self.padding_bytes):
            raise RemoteProtocolError("CSRCs, extension or padding do not fit the RTP packet")
        self.payload = view[start:end]


def is_rtp(buffer: Bytes, offset: int, end: int) -> bool:
    """Whether the bytes from ``offset`` to ``end`` can be an RTP packet, by length and version alone."""
    return end - offset >= RTP_HEADER_BYTES and buffer[offset] >> 6 == 2


def marker(buffer: Bytes, offset: int) -> bool:
    """The marker bit: for video, the last packet of a frame."""
    return buffer[offset + 1] >= 0x80


def payload_type(buffer: Bytes, offset: int) -> int:
    """The payload type, 0 to 127."""
    return buffer[offset + 1] & 0x7F


def sequence(buffer: Bytes, offset: int) -> int:
    """The sequence number, 16 bits."""
    return buffer[offset + 2] << 8 | buffer[offset + 3]


def timestamp(buffer: Bytes, offset: int) -> int:
    """The RTP timestamp, 32 bits, in units of the payload's clock (90 kHz for video)."""
    value: int = _U32.unpack_from(buffer, offset + 4)[0]
    return value


def set_timestamp(buffer: bytearray | memoryview, offset: int, timestamp: int) -> None:
    """Write the timestamp of the packet at ``offset``, modulo its width."""
    _U32.pack_into(buffer, offset + 4, timestamp & 0xFFFFFFFF)


def ssrc(buffer: Bytes, offset: int) -> int:
    """The synchronisation source, 32 bits."""
    value: int = _U32.unpack_from(buffer, offset + 8)[0]
    return value


def payload_bounds(buffer: Bytes, offset: int, end: int) -> tuple[int, int]:
    """Where the payload of the packet from ``offset`` to ``end`` begins and ends.

    CSRCs, extension and padding are left out; such as do not fit leave an empty payload within the packet.
    """
    first = buffer[offset]
    if first == _PLAIN:
        return offset + RTP_HEADER_BYTES, end
    start = offset + RTP_HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10 and start + 4 <= end:
        start += 4 + 4 * (buffer[start + 2] << 8 | buffer[start + 3])
    if first & 0x20:
        end -= min(buffer[end - 1], end - offset - RTP_HEADER_BYTES)
    return min(start, end), end


def sequence_distance(earlier: int, later: int) -> int:
    """Steps from one sequence number to another, from -32,768 to 32,767 (RFC 1982 with 16 bits)."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_distance(earlier: int, later: int) -> int:
    """Clock units from one timestamp to another, from -2**31 to 2**31 - 1 (RFC 1982 with 32 bits)."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000
