"""RTP packets and interleaved frames for the hub's tests."""

from __future__ import annotations

import struct

from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.relay.chunk import Chunk

IDR = b"\x65\x88\x80"
NON_IDR = b"\x41\x9a\x00"


def rtp(sequence: int, timestamp: int, payload: bytes, *, ssrc: int = 0x11223344, marker: bool = True) -> bytes:
    """One RTP packet of payload type 96."""
    return struct.pack("!BBHII", 0x80, 96 | marker << 7, sequence, timestamp, ssrc) + payload


def sender_report(ssrc: int, rtp_timestamp: int) -> bytes:
    """One RTCP sender report without blocks."""
    return struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, 0x1234567800000000, rtp_timestamp, 10, 1000)


def frames(*packets: tuple[int, bytes]) -> bytes:
    """The packets as interleaved frames on their channels."""
    return b"".join(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet for channel, packet in packets)


def channels(data: bytes) -> list[int]:
    """The channel of each of the interleaved frames."""
    found, at = [], 0
    while at < len(data):
        assert data[at] == ord("$")
        found.append(data[at + 1])
        at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found


def chunk(*packets: tuple[int, bytes]) -> Chunk:
    """The same, as a pull hands it to its source."""
    return Chunk(InterleavedBatch(frames(*packets)))
