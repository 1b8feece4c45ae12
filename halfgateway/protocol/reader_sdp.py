"""The session description given to the prefecture's side: written anew, never the camera's own.

Only what a decoder needs is carried over, each value by the shape it must have, so that no address,
credential or free text of the partner's half can ride in it (C16), and no sound is described (L08).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.codec import Codec, codec_of
from halfgateway.protocol.sdp import Media, RtpMap, SessionDescription, first_video

#: Bytes of one parameter set. Real ones have under 200; a larger one is left out.
MAX_PARAMETER_SET_BYTES: Final = 1024

_ENCODINGS: Final = frozenset(
    {"H264", "H265", "AV1", "JPEG", "MP4V-ES", "VP8", "VP9", "MPV", "MP2T", "H263", "H263-1998", "H263-2000"}
)
_BANDWIDTH = re.compile(r"(?:AS|CT|TIAS|RS|RR):[0-9]{1,10}")
_FRAME_RATE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_FRAME_SIZE = re.compile(r"(?P<payload_type>[0-9]{1,3}) (?P<size>[0-9]{1,5}-[0-9]{1,5})")
_CONTROL = re.compile(r"[A-Za-z0-9=_./-]{1,128}|\*")
_RANGE = re.compile(r"(?:npt|clock)=[0-9A-Za-z.:-]{1,64}")

_Shape = Callable[[str], str | None]


def describe_for_reader(
    description: SessionDescription,
    *,
    control: str,
    session_id: int,
    name: str,
    span: str = "npt=now-",
    over_ipv6: bool = False,
    replay_track: str | None = None,
) -> bytes:
    """The description of the first video alone.

    ``control`` names the track (``trackID=0``), ``session_id`` is a number of ours, ``name`` the title that
    the reader may see, ``span`` the value of ``a=range``: live by default. No address is told: the unspecified one
    of the reader's own kind stands for ours. ``replay_track`` is a recording's track's token (ONVIF Streaming 6.2).

    Raises:
        RemoteProtocolError: the camera describes no video of a codec that may pass.
        LocalProtocolError: control, name or span cannot stand in a description.
    """
    if not name or not name.isprintable() or not _CONTROL.fullmatch(control) or not _RANGE.fullmatch(span):
        raise LocalProtocolError("control, name or span cannot stand in a session description")
    video = first_video(description)
    maps = _known_maps(video)
    nowhere = "IN IP6 ::" if over_ipv6 else "IN IP4 0.0.0.0"
    lines = [
        "v=0",
        f"o=- {session_id} 1 {nowhere}",
        f"s={name}",
        f"c={nowhere}",
        *_bandwidth(description.bandwidth),
        "t=0 0",
        "a=control:*",
        f"a=range:{span}",
        "m=video 0 RTP/AVP " + " ".join(map(str, maps)),
        *_bandwidth(video.bandwidth),
        *_attributes(video, maps),
        *([f"a=x-onvif-track:{replay_track}"] if replay_track is not None else []),
        f"a=control:{control}",
    ]
    return "\r\n".join([*lines, ""]).encode()


def _known_maps(video: Media) -> dict[int, RtpMap]:
    maps = {}
    for number in video.payload_types:
        found = video.rtpmap.get(number)
        encoding = found.encoding.upper().replace("HEVC", "H265") if found else ""
        if found and encoding in _ENCODINGS:
            maps[number] = RtpMap(encoding, found.clock_hz)
    if not maps:
        raise RemoteProtocolError("the camera describes no video of a known codec")
    return maps


def _bandwidth(values: tuple[str, ...]) -> list[str]:
    return [f"b={value}" for value in values if _BANDWIDTH.fullmatch(value)]


def _attributes(video: Media, maps: Mapping[int, RtpMap]) -> list[str]:
    lines = []
    for number, found in maps.items():
        lines.append(f"a=rtpmap:{number} {found.encoding}/{found.clock_hz}")
        parameters = _format_parameters(codec_of(found.encoding), video.fmtp.get(number, ""))
        if parameters:
            lines.append(f"a=fmtp:{number} {parameters}")
    rate, size = video.attribute("framerate") or "", _FRAME_SIZE.fullmatch(video.attribute("framesize") or "")
    if _FRAME_RATE.fullmatch(rate):
        lines.append(f"a=framerate:{rate}")
    if size and int(size["payload_type"]) in maps:
        lines.append(f"a=framesize:{int(size['payload_type'])} {size['size']}")
    return lines


def _format_parameters(codec: Codec, text: str) -> str:
    shapes = _SHAPES.get(codec, {})
    kept: dict[str, str] = {}
    for part in text.split(";"):
        key, _, value = part.partition("=")
        name = key.strip().lower()
        shape = shapes.get(name)
        shown = shape(value.strip()) if shape else None
        if shown is not None:
            kept[name] = shown
    if codec is Codec.H264:
        kept |= _profile_of_parameter_set(kept.get("sprop-parameter-sets", ""))
        if not _is_whole_pair(kept.get("sprop-parameter-sets", "")):
            kept.pop("sprop-parameter-sets", None)
    return ";".join(f"{name}={value}" for name, value in kept.items())


def _profile_of_parameter_set(encoded: str) -> dict[str, str]:
    """profile-level-id as the sequence parameter set has it: cameras state others, and decoders refuse them."""
    for text in encoded.split(","):
        unit = _decoded(text)
        if len(unit) >= 4 and _h264_type(unit[0]) == 7:
            return {"profile-level-id": unit[1:4].hex()}
    return {}


def _is_whole_pair(encoded: str) -> bool:
    """Whether there is a sequence and a picture parameter set: decoders take one of them for both, and show nothing."""
    kinds = {_h264_type(unit[0]) for text in encoded.split(",") if (unit := _decoded(text))}
    return kinds >= {7, 8}


def _matching(pattern: str) -> _Shape:
    compiled = re.compile(pattern)
    return lambda value: value if compiled.fullmatch(value) else None


def _parameter_sets(nal_type: Callable[[int], int], allowed: frozenset[int]) -> _Shape:
    """Base64 NAL units of the allowed types, encoded anew; anything else is left out."""

    def shape(value: str) -> str | None:
        kept = []
        for text in value.split(","):
            unit = _decoded(text.strip())
            if unit and len(unit) <= MAX_PARAMETER_SET_BYTES and nal_type(unit[0]) in allowed:
                kept.append(base64.b64encode(unit).decode("ascii"))
        return ",".join(kept) or None

    return shape


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _h264_type(first: int) -> int:
    return first & 0x1F


def _h265_type(first: int) -> int:
    return first >> 1 & 0x3F


_SMALL = _matching(r"[0-9]{1,9}")
_SHAPES: Final[Mapping[Codec, Mapping[str, _Shape]]] = MappingProxyType(
    {
        # RFC 6184 section 8.1. SEI and others are not parameter sets.
        Codec.H264: {
            "packetization-mode": _matching("[0-2]"),
            "level-asymmetry-allowed": _matching("[01]"),
            "profile-level-id": _matching("[0-9A-Fa-f]{6}"),
            "sprop-parameter-sets": _parameter_sets(_h264_type, frozenset({7, 8, 13, 15})),
        },
        # RFC 7798 section 7.1. sprop-sei may hold free text and is left out.
        Codec.H265: {
            "profile-space": _matching("[0-3]"),
            "profile-id": _matching("[0-9]{1,2}"),
            "tier-flag": _matching("[01]"),
            "level-id": _matching("[0-9]{1,3}"),
            "profile-compatibility-indicator": _matching("[0-9A-Fa-f]{8}"),
            "interop-constraints": _matching("[0-9A-Fa-f]{12}"),
            "sprop-vps": _parameter_sets(_h265_type, frozenset({32})),
            "sprop-sps": _parameter_sets(_h265_type, frozenset({33})),
            "sprop-pps": _parameter_sets(_h265_type, frozenset({34})),
            "sprop-max-don-diff": _SMALL,
            "sprop-depack-buf-nalus": _SMALL,
            "sprop-depack-buf-bytes": _SMALL,
        },
        Codec.AV1: {
            "profile": _matching("[0-7]"),
            "level-idx": _matching("[0-9]{1,2}"),
            "tier": _matching("[01]"),
        },
        # RFC 6416 section 7.1; the decoder's configuration is a few start codes long.
        Codec.MPEG4: {
            "profile-level-id": _matching("[0-9]{1,3}"),
            "config": _matching("(?:[0-9A-Fa-f]{2}){4,128}"),
        },
    }
)
