"""The session description of a simulated camera.

It holds what must never reach the prefecture's side: its internal address, and sound where it has some (C16,
L08).
"""

from __future__ import annotations

from typing import Final

from halfgateway.simulator.clips import AUDIO_RATE_HZ, FPS
from halfgateway.simulator.packets import AUDIO_PAYLOAD_TYPE, VIDEO_CLOCK_HZ, VIDEO_PAYLOAD_TYPE, Clip

VIDEO_CONTROL: Final = "trackID=0"
AUDIO_CONTROL: Final = "trackID=1"


def describe(clip: Clip, *, name: str, internal_address: str, session_id: int) -> bytes:
    """Return the SDP (RFC 4566) of a camera that plays ``clip``."""
    spec = clip.spec
    lines = [
        "v=0",
        f"o=- {session_id} 1 IN IP4 {internal_address}",
        f"s={name}",
        f"c=IN IP4 {internal_address}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {VIDEO_PAYLOAD_TYPE}",
        f"b=AS:{spec.bit_rate // 1000}",
        f"a=framerate:{FPS}.0",
        f"a=x-dimensions:{spec.width},{spec.height}",
        f"a=rtpmap:{VIDEO_PAYLOAD_TYPE} {clip.encoding}/{VIDEO_CLOCK_HZ}",
        f"a=fmtp:{VIDEO_PAYLOAD_TYPE} {clip.format_parameters}",
        "a=recvonly",
        f"a=control:{VIDEO_CONTROL}",
    ]
    if clip.audio:
        lines += [
            f"m=audio 0 RTP/AVP {AUDIO_PAYLOAD_TYPE}",
            f"a=rtpmap:{AUDIO_PAYLOAD_TYPE} PCMA/{AUDIO_RATE_HZ}",
            "a=recvonly",
            f"a=control:{AUDIO_CONTROL}",
        ]
    return "\r\n".join([*lines, ""]).encode()
