"""The session description of a segment's video, as the packets of :mod:`halfgateway.segments.packetising` are."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Final

from halfgateway.protocol import sdp
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.segments.packetising import CLOCK_RATE_HZ, PAYLOAD_TYPE
from halfgateway.segments.reading import Segment, SegmentReader
from halfgateway.segments.units import ParameterSets

_SPROP: Final = {"sprop-vps": 32, "sprop-sps": 33, "sprop-pps": 34}
"""The parameters of H.265 that bear its sets (RFC 7798 section 7.1), each by its nal_unit_type."""


def describe(segment: Segment, at: datetime) -> SessionDescription:
    """The description of what begins at ``at``, with the parameter sets that hold there. Blocks.

    Raises:
        UnreadableSegment: the file can be read no more.
    """
    with SegmentReader(segment) as reader:
        next(reader.units_from(at), None)
        rate = reader.frame_rate
        lines = [
            "v=0",
            "s=-",
            "t=0 0",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} {segment.codec.value}/{CLOCK_RATE_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} {_parameters(reader.sets)}",
            *([f"a=framerate:{rate:.6g}"] if rate is not None and 0 < rate < 1000 else []),
            "a=recvonly",
        ]
    return sdp.parse("\r\n".join([*lines, ""]))


def _parameters(sets: ParameterSets) -> str:
    if sets.codec is Codec.H264:
        level = [f"profile-level-id={unit[1:4].hex().upper()}" for unit in sets.of(7)[:1] if len(unit) > 3]
        sprop = [f"sprop-parameter-sets={_base64(sets.units)}"] if sets.units else []
        return ";".join(["packetization-mode=1", *level, *sprop])
    return ";".join(f"{name}={_base64(sets.of(kind))}" for name, kind in _SPROP.items() if sets.of(kind))


def _base64(units: tuple[bytes, ...] | list[bytes]) -> str:
    return ",".join(base64.b64encode(unit).decode("ascii") for unit in units)
