"""The video codecs that may pass, by their names in SDP (RFC 3551, 6184, 7798, AV1 RTP payload format)."""

from __future__ import annotations

import enum


class Codec(enum.Enum):
    """A video codec; the value is its encoding name in ``a=rtpmap``."""

    H264 = "H264"
    H265 = "H265"
    AV1 = "AV1"
    JPEG = "JPEG"
    MPEG4 = "MP4V-ES"
    OTHER = "other"


def codec_of(encoding: str) -> Codec:
    """The codec of an encoding name in any case; HEVC is a camera's word for H265."""
    name = encoding.upper()
    if name == "HEVC":
        return Codec.H265
    return next((codec for codec in Codec if codec.value == name), Codec.OTHER)
