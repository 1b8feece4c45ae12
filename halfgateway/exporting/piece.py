"""What is known of one finished file of an export; what writes it takes tens of megabytes to load, and knows this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from camera_registry.clock import rfc3339
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

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "name": self.name,
            "codec": self.codec,
            "start": rfc3339(self.start),
            "end": rfc3339(self.end),
            "pictures": self.pictures,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "elementary_stream_sha256": self.stream_sha256,
        }
