"""From RTP packets back to pictures, for players that are a bare socket (RFC 6184 section 5, RFC 7798 section 4.4)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator

import av

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.blockcode import read_counter

START = b"\0\0\0\1"


def decoded_counters(packets: Iterable[bytes], codec: Codec, *, described: str = "") -> list[int | None]:
    """The block codes of all pictures that the packets hold, as a decoder shows them.

    ``described`` are the parameter sets of the session description, in base64 with commas between them.
    """
    decoder = av.CodecContext.create("hevc" if codec is Codec.H265 else "h264", "r")
    if described:
        decoder.extradata = b"".join(START + b64decode(unit) for unit in described.split(","))
    frames = [frame for unit in access_units(packets, codec) for frame in decoder.decode(av.Packet(unit))]
    frames += decoder.decode(None)
    return [read_counter(frame.to_ndarray(format="gray")) for frame in frames]


def access_units(packets: Iterable[bytes], codec: Codec) -> Iterator[bytes]:
    """Whole pictures as a byte stream; one that has no end is left out."""
    unit = bytearray()
    for packet in packets:
        view = RtpView(packet)
        unit += b"".join(_h265(bytes(view.payload)) if codec is Codec.H265 else _h264(bytes(view.payload)))
        if view.marker:
            yield bytes(unit)
            unit.clear()


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
