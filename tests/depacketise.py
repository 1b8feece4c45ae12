"""From RTP packets back to pictures, for players that are a bare socket (RFC 6184 section 5, RFC 7798 section 4.4,
RFC 2435 section 3.1)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator

import av

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.blockcode import read_counter

START = b"\0\0\0\1"

_DECODERS = {Codec.H264: "h264", Codec.H265: "hevc", Codec.JPEG: "mjpeg"}
_TABLES_IN_BAND = 128  # RFC 2435 section 4.2: from this Q on, the first packet of a picture carries its tables.


def decoded_counters(packets: Iterable[bytes], codec: Codec, parameter_sets: bytes = b"") -> list[int | None]:
    """The block codes of all pictures that the packets hold, as a decoder shows them.

    ``parameter_sets`` are those of the description, for cameras that send none in band.
    """
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    units = list(access_units(packets, codec))
    frames = [frame for unit in [parameter_sets + units[0], *units[1:]] for frame in decoder.decode(av.Packet(unit))]
    frames += decoder.decode(None)
    return [read_counter(frame.to_ndarray(format="gray")) for frame in frames]


def described_parameter_sets(description: bytes) -> bytes:
    """The parameter sets in an SDP's ``a=fmtp`` (RFC 6184 section 8.1, RFC 7798 section 7.1), as a byte stream."""
    lists = re.findall(rb"sprop-(?:parameter-sets|vps|sps|pps)=([A-Za-z0-9+/=,]+)", description)
    return b"".join(START + base64.b64decode(each) for found in lists for each in found.split(b","))


def access_units(packets: Iterable[bytes], codec: Codec) -> Iterator[bytes]:
    """Whole pictures as a byte stream; one that has no end is left out."""
    payloads = list[bytes]()
    for packet in packets:
        view = RtpView(packet)
        payloads.append(bytes(view.payload))
        if view.marker:
            yield b"".join(_picture(payloads, codec))
            payloads.clear()


def _picture(payloads: list[bytes], codec: Codec) -> Iterator[bytes]:
    if codec is Codec.JPEG:
        yield from _jpeg(payloads)
        return
    for payload in payloads:
        yield from _h265(payload) if codec is Codec.H265 else _h264(payload)


def _h264(payload: bytes) -> Iterator[bytes]:
    kind = payload[0] & 0x1F
    if kind == 24:
        yield from _aggregated(payload[1:])
    elif kind == 28:
        if payload[1] & 0x80:
            yield START + bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
        yield payload[2:]
    else:
        yield START + payload


def _h265(payload: bytes) -> Iterator[bytes]:
    kind = payload[0] >> 1 & 0x3F
    if kind == 48:
        yield from _aggregated(payload[2:])
    elif kind == 49:
        if payload[2] & 0x80:
            yield START + bytes([payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]])
        yield payload[3:]
    else:
        yield START + payload


def _aggregated(payload: bytes) -> Iterator[bytes]:
    while len(payload) > 2:
        size = int.from_bytes(payload[:2], "big")
        yield START + payload[2 : 2 + size]
        payload = payload[2 + size :]


def _jpeg(payloads: list[bytes]) -> Iterator[bytes]:
    """A JPEG file of 4:2:0 (types 1 and 65) or 4:2:2; without Huffman tables, which decoders know by heart."""
    first = payloads[0]
    kind, quality, width, height = first[4], first[5], first[6] * 8, first[7] * 8
    assert quality >= _TABLES_IN_BAND, "tables by formula (section 4.2) are not what cameras send"
    header = 8 if kind < 64 else 12
    interval = first[8:10] if kind >= 64 else None
    size = int.from_bytes(first[header + 2 : header + 4], "big")
    tables = first[header + 4 : header + 4 + size]
    yield b"\xff\xd8"
    for number in range(size // 64):
        yield b"\xff\xdb\0\x43" + bytes([number]) + tables[64 * number : 64 * (number + 1)]
    if interval is not None:
        yield b"\xff\xdd\0\4" + interval
    luma = 0x22 if kind & 1 else 0x21
    yield b"\xff\xc0\0\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big")
    yield bytes([3, 1, luma, 0, 2, 0x11, 1, 3, 0x11, 1])
    yield b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0"
    yield first[header + 4 + size :]
    for payload in payloads[1:]:
        yield payload[header:]
    yield b"\xff\xd9"
