"""The session description of a recording: a track for each of its codecs (ONVIF Streaming 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from halfgateway.simulator.clips import FPS
from halfgateway.simulator.film_coder import SIZES, Coder
from halfgateway.simulator.packets import AUDIO_PAYLOAD_TYPE, VIDEO_CLOCK_HZ, VIDEO_PAYLOAD_TYPE

AUDIO_TRACK: Final = "AUDIO001"


def video_track(number: int) -> str:
    """The token of video track ``number``, from 0."""
    return f"VIDEO{number + 1:03d}"


def video_control(number: int) -> str:
    """The control URL of video track ``number``, from 0."""
    return f"trackID={number}"


def audio_control(videos: int) -> str:
    """The control URL of the track of sound, beside so many of video."""
    return f"trackID={videos}"


def describe(coders: Sequence[Coder], *, name: str, internal_address: str, session_id: int, with_audio: bool) -> bytes:
    """Return the SDP (RFC 4566) of a recording whose tracks are of these coders."""
    lines = [
        "v=0",
        f"o=- {session_id} 1 IN IP4 {internal_address}",
        f"s={name}",
        f"c=IN IP4 {internal_address}",
        "t=0 0",
        "a=control:*",
    ]
    for number, coder in enumerate(coders):
        width, height = SIZES[coder.codec]
        lines += [
            f"m=video 0 RTP/AVP {VIDEO_PAYLOAD_TYPE}",
            f"a=framerate:{FPS}.0",
            f"a=x-dimensions:{width},{height}",
            f"a=rtpmap:{VIDEO_PAYLOAD_TYPE} {coder.codec.upper()}/{VIDEO_CLOCK_HZ}",
            f"a=fmtp:{VIDEO_PAYLOAD_TYPE} {coder.format_parameters}",
            "a=recvonly",
            f"a=control:{video_control(number)}",
            f"a=x-onvif-track:{video_track(number)}",
        ]
    if with_audio:
        lines += [
            f"m=audio 0 RTP/AVP {AUDIO_PAYLOAD_TYPE}",
            f"a=rtpmap:{AUDIO_PAYLOAD_TYPE} PCMA/8000",
            "a=recvonly",
            f"a=control:{audio_control(len(coders))}",
            f"a=x-onvif-track:{AUDIO_TRACK}",
        ]
    return "\r\n".join([*lines, ""]).encode()
