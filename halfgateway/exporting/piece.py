"""What is known of one finished file of an export; what writes it takes tens of megabytes to load, and knows this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from halfgateway.protocol.codec import Codec

EXPORTABLE = frozenset({Codec.H264, Codec.H265})
"""The codecs of which exact copies are made."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A finished file. ``stream_sha256`` is that of the elementary stream, both of its source and of the file."""

    name: str
    codec: str
    start: datetime
    end: datetime
    pictures: int
    size_bytes: int
    sha256: str
    stream_sha256: str
