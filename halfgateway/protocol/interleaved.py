"""Runs of interleaved frames (RFC 2326 section 10.12), walked once: for their bounds, and for their RTP headers.

This walk is all that a relay does for each packet, once for all who come after. The packets of a picture are alike but
for their number and their length: what it tells are stretches of frames that are alike, two or three a picture.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, TypeAlias

from halfgateway.errors import LocalProtocolError
from halfgateway.protocol.rtp import RTP_HEADER_BYTES

#: First byte of an interleaved frame, before its channel and its 16-bit length.
FRAME_MARK: Final = 0x24
#: Bytes before the payload of an interleaved frame.
FRAME_HEADER_BYTES: Final = 4

Bytes: TypeAlias = bytes | bytearray | memoryview

Frame: TypeAlias = tuple[int, int, int]
"""Channel, offset of the ``$``, end of the payload; the payload begins four bytes after the ``$``."""

_FRAME_HEAD = struct.Struct("!BBHBBHII")
_HEADERS = struct.Struct("!HHH2xQ")
"""Mark and channel; length; an RTP header's first two bytes; its timestamp and its source."""


class Stretch(NamedTuple):
    """Frames of one channel that differ in nothing but length and RTP sequence number.

    ``first`` is the index of the first one, ``after`` of the first that is none of them. ``kind`` is the first two
    bytes of their payloads, ``timestamp`` and ``source`` are the fifth to the twelfth, as in an RTP header (RFC 3550
    section 5.1). Frames that are too short to have one are a stretch whatever their channels, with 0 for all of these.
    """

    first: int
    after: int
    channel: int
    kind: int
    timestamp: int
    source: int

    @property
    def is_rtp(self) -> bool:
        """Whether they can be RTP packets, by length and version alone."""
        return self.kind >> 14 == 2

    @property
    def marker(self) -> bool:
        """The marker bit: for video, each of them ends a picture."""
        return self.kind & 0x80 != 0

    @property
    def payload_type(self) -> int:
        """The payload type, 0 to 127."""
        return self.kind & 0x7F


class InterleavedBatch:
    """A run of whole interleaved frames, as they stood on the wire, one after the other from 0 to ``len(data)``.

    ``ends`` are the offsets at which they end, ``stretches`` tell of them all in order, ``largest_bytes`` is the size
    of the largest payload.
    """

    __slots__ = ("data", "ends", "largest_bytes", "stretches")

    def __init__(self, data: Bytes) -> None:
        """Take the whole frames with which ``data`` begins; there may be none."""
        self.ends, self.stretches, self.largest_bytes = _walk(data)
        size = self.ends[-1] if self.ends else 0
        self.data = data if isinstance(data, bytes) and size == len(data) else bytes(memoryview(data)[:size])

    @property
    def frames(self) -> list[Frame]:
        """Each frame: (channel, start, end) with the ``$`` at ``start``, its payload from ``start + 4`` to ``end``."""
        data, starts = self.data, [0, *self.ends]
        return [(data[start + 1], start, end) for start, end in zip(starts, self.ends, strict=False)]

    def bounds(self, index: int) -> tuple[int, int]:
        """Where one frame begins and ends."""
        return self.ends[index - 1] if index else 0, self.ends[index]


def frame(channel: int, payload: Bytes) -> bytes:
    """One interleaved frame.

    Raises:
        LocalProtocolError: a channel beyond 255 or a payload beyond 65,535 bytes.
    """
    if not 0 <= channel <= 255 or len(payload) > 0xFFFF:
        raise LocalProtocolError("channel or payload does not fit an interleaved frame")
    return b"".join((bytes((FRAME_MARK, channel)), len(payload).to_bytes(2, "big"), payload))


def frame_head(channel: int, packet: Bytes, *, sequence: int, timestamp: int, ssrc: int) -> bytes:
    """The beginning of a frame with an RTP packet, up to and with the packet's fixed header under other numbers.

    What stands behind that header in ``packet``, of 12 bytes and more, follows as it is. Numbers are taken modulo their
    width.

    Raises:
        LocalProtocolError: a channel beyond 255 or a packet beyond 65,535 bytes.
    """
    size = len(packet)
    if not 0 <= channel <= 255 or size > 0xFFFF:
        raise LocalProtocolError("channel or payload does not fit an interleaved frame")
    numbers = sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc & 0xFFFFFFFF
    return _FRAME_HEAD.pack(FRAME_MARK, channel, size, packet[0], packet[1], *numbers)


def _walk(data: Bytes) -> tuple[list[int], list[Stretch], int]:
    """The whole frames with which ``data`` begins: their ends, their stretches, the size of the largest payload."""
    ends: list[int] = []
    stretches: list[Stretch] = []
    start = largest = 0
    while start < len(data):
        first = len(ends)
        end, largest = _stretch_end(data, start, ends, largest)
        if end > start:
            head, _, kind, stamp = _HEADERS.unpack_from(data, start)
            stretches.append(Stretch(first, len(ends), head & 0xFF, kind, stamp >> 32, stamp & 0xFFFFFFFF))
        else:
            end, largest = _short_end(data, start, ends, largest)
            if end == start:
                break
            stretches.append(Stretch(first, len(ends), data[start + 1], 0, 0, 0))
        start = end
    return ends, stretches, largest


def _stretch_end(data: Bytes, start: int, ends: list[int], largest: int) -> tuple[int, int]:
    """Where the frames that are like the one at ``start`` end, and the largest payload so far; adds to ``ends``.

    There are none where no frame begins, or one that is not whole, or has no RTP header.
    """
    last, headers_at, add = len(data), _HEADERS.unpack_from, ends.append
    head = kind = stamp = None
    # Plain numbers, and no max(): what is looked up or called here is so once a packet.
    while start + 16 <= last:
        its_head, size, its_kind, its_stamp = headers_at(data, start)
        if its_stamp != stamp or its_kind != kind or its_head != head:
            if head is not None or its_head >> 8 != FRAME_MARK:
                break
            head, kind, stamp = its_head, its_kind, its_stamp
        end = start + 4 + size
        if end > last or size < 12:
            break
        if size > largest:  # noqa: PLR1730
            largest = size
        add(end)
        start = end
    return start, largest


def _short_end(data: Bytes, start: int, ends: list[int], largest: int) -> tuple[int, int]:
    """The same for frames without an RTP header, whatever their channels."""
    while start + FRAME_HEADER_BYTES <= len(data) and data[start] == FRAME_MARK:
        size = data[start + 2] << 8 | data[start + 3]
        end = start + FRAME_HEADER_BYTES + size
        if end > len(data) or size >= RTP_HEADER_BYTES:
            break
        largest = max(largest, size)
        ends.append(end)
        start = end
    return start, largest
