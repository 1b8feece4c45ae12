"""From RTP packets back to JPEG pictures (RFC 2435 section 3.1), for players that are a bare socket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av

from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.blockcode import read_counter

MAIN_HEADER_BYTES = 8
RESTART_HEADER_BYTES = 4
TABLES_HEADER_BYTES = 4
TABLE_BYTES = 64
RESTARTS_FROM_TYPE = 64
TABLES_IN_BAND_FROM_Q = 128


def decoded_jpeg_counters(packets: Iterable[bytes]) -> list[int | None]:
    """The block codes of all pictures that the packets hold, as a decoder shows them."""
    decoder = av.CodecContext.create("mjpeg", "r")
    frames = [frame for picture in jpegs(packets) for frame in decoder.decode(av.Packet(picture))]
    return [read_counter(frame.to_ndarray(format="gray")) for frame in frames]


def jpegs(packets: Iterable[bytes]) -> Iterator[bytes]:
    """Whole pictures; one that has no end is left out."""
    payloads = list[bytes]()
    for packet in packets:
        view = RtpView(packet)
        payloads.append(bytes(view.payload))
        if view.marker:
            yield b"".join(_jpeg(payloads))
            payloads.clear()


def _jpeg(payloads: list[bytes]) -> Iterator[bytes]:
    """A file with the quantisation tables of its first packet; decoders know the Huffman tables by heart."""
    first = payloads[0]
    kind, quality, width, height = first[4], first[5], first[6] * 8, first[7] * 8
    assert quality >= TABLES_IN_BAND_FROM_Q, "tables by formula (section 4.2) are for cameras of another age"
    restarts = kind >= RESTARTS_FROM_TYPE
    header = MAIN_HEADER_BYTES + (RESTART_HEADER_BYTES if restarts else 0)
    begin = header + TABLES_HEADER_BYTES
    scan = begin + int.from_bytes(first[begin - 2 : begin], "big")
    yield b"\xff\xd8"
    for number, start in enumerate(range(begin, scan, TABLE_BYTES)):
        yield _segment(0xDB, bytes([number]) + first[start : start + TABLE_BYTES])
    if restarts:
        yield _segment(0xDD, first[MAIN_HEADER_BYTES : MAIN_HEADER_BYTES + 2])
    luma_sampling = 0x22 if kind & 1 else 0x21  # section 4.1: odd types are 4:2:0, even ones 4:2:2
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    yield _segment(0xC0, b"\x08" + size + bytes([3, 1, luma_sampling, 0, 2, 0x11, 1, 3, 0x11, 1]))
    yield _segment(0xDA, bytes([3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]))
    yield first[scan:]
    yield from (payload[header:] for payload in payloads[1:])
    yield b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content
