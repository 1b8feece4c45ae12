"""From RTP packets back to pictures, for players that are a bare socket (RFC 6184 section 5, RFC 7798 section 4.4)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator

import av

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import START_CODE, Depacketiser
from halfgateway.simulator.blockcode import read_counter


def decoded_counters(packets: Iterable[bytes], codec: Codec, *, described: str = "") -> list[int | None]:
    """The block codes of all pictures that the packets hold, as a decoder shows them.

    ``described`` are the parameter sets of the session description, in base64 with commas between them.
    """
    decoder = av.CodecContext.create("hevc" if codec is Codec.H265 else "h264", "r")
    if described:
        decoder.extradata = b"".join(START_CODE + b64decode(unit) for unit in described.split(","))
    frames = [frame for unit in access_units(packets, codec) for frame in decoder.decode(av.Packet(unit))]
    frames += decoder.decode(None)
    return [read_counter(frame.to_ndarray(format="gray")) for frame in frames]


def access_units(packets: Iterable[bytes], codec: Codec) -> Iterator[bytes]:
    """Whole pictures as a byte stream; one that has no end is left out."""
    depacketiser = Depacketiser(codec)
    for packet in packets:
        unit = depacketiser.feed(packet)
        if unit is not None:
            yield unit.data
    last = depacketiser.end()
    if last is not None:
        yield last.data
