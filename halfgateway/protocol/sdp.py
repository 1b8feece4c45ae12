"""Session descriptions as cameras write them (RFC 4566, RFC 2326 appendix C).

Reading is lenient: line ends, order, blanks and unknown lines of real cameras do not matter. What is kept is
what a relay needs; the rest stays in ``attributes``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.codec import Codec, codec_of

#: Bytes of a session description. Cameras send 1 to 20 KiB; a larger one is refused.
MAX_SDP_BYTES: Final = 256 * 1024
#: Lines of one description. A larger one is refused, so that reading stays a matter of milliseconds.
MAX_SDP_LINES: Final = 4096
#: Media descriptions of one session: video, audio, back-channel, metadata, a few of each. More are refused.
MAX_SDP_MEDIA: Final = 64

_LINE_END = re.compile(r"\r\n|\n|\r")
_BLANKS = " \t\x00"
_LINE = re.compile(r"\s*(?P<kind>[a-z])\s*=\s?(?P<value>.*)", re.DOTALL)
_RTPMAP = re.compile(
    r"(?P<payload_type>[0-9]{1,3})\s+(?P<encoding>[^\s/]{1,64})(?:\s*/\s*(?P<clock_hz>[0-9]{1,9}))?.*",
    re.DOTALL,
)
_FMTP = re.compile(r"(?P<payload_type>[0-9]{1,3})\s+(?P<parameters>.+)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,5}")
_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


@dataclass(frozen=True, slots=True)
class RtpMap:
    """Encoding name and RTP clock, in Hz, of one payload type."""

    encoding: str
    clock_hz: int


#: Static payload types of video (RFC 3551 section 6).
STATIC_VIDEO: Final[Mapping[int, RtpMap]] = MappingProxyType(
    {
        26: RtpMap("JPEG", 90_000),
        32: RtpMap("MPV", 90_000),
        33: RtpMap("MP2T", 90_000),
        34: RtpMap("H263", 90_000),
    }
)


@dataclass(frozen=True, slots=True)
class Media:
    """One ``m=`` section. ``direction`` is from the describing side: ``sendonly`` is a back-channel in ONVIF.

    ``payload_types`` are the numeric formats in order of preference; ``rtpmap`` holds static video types too.
    ``attributes`` are all ``a=`` lines, as (name, value or None).
    """

    kind: str
    port: int
    protocol: str
    payload_types: tuple[int, ...]
    rtpmap: Mapping[int, RtpMap]
    fmtp: Mapping[int, str]
    control: str | None
    direction: str | None
    bandwidth: tuple[str, ...]
    attributes: tuple[tuple[str, str | None], ...]

    @property
    def codec(self) -> Codec:
        """The codec of the preferred payload type."""
        first = self.rtpmap.get(self.payload_types[0]) if self.payload_types else None
        return codec_of(first.encoding) if first else Codec.OTHER

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of that name, or None."""
        return _value(self.attributes, name)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description: the session's own attributes, then its media in order."""

    name: str
    control: str | None
    range: str | None
    bandwidth: tuple[str, ...]
    attributes: tuple[tuple[str, str | None], ...]
    media: tuple[Media, ...]


def parse(text: bytes | str) -> SessionDescription:
    """Read a session description.

    Raises:
        RemoteProtocolError: too large, or no line of it is one of SDP.
    """
    if len(text) > MAX_SDP_BYTES:
        raise RemoteProtocolError(f"the session description is larger than {MAX_SDP_BYTES} bytes")
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    raw_lines = _LINE_END.split(decoded)
    if len(raw_lines) > MAX_SDP_LINES:
        raise RemoteProtocolError(f"the session description has more than {MAX_SDP_LINES} lines")
    lines = [(match["kind"], match["value"].rstrip(_BLANKS)) for line in raw_lines if (match := _LINE.fullmatch(line))]
    if not lines:
        raise RemoteProtocolError("not a session description")
    head, sections = _sections(lines)
    if len(sections) > MAX_SDP_MEDIA:
        raise RemoteProtocolError(f"the session description has more than {MAX_SDP_MEDIA} media")
    attributes = _attributes(head)
    return SessionDescription(
        name=_first(head, "s") or "",
        control=_value(attributes, "control"),
        range=_value(attributes, "range"),
        bandwidth=tuple(value for kind, value in head if kind == "b"),
        attributes=attributes,
        media=tuple(media for section in sections if (media := _media(section))),
    )


def first_video(description: SessionDescription) -> Media:
    """The video to relay: the first that is not marked as a back-channel, else the first (ONVIF 5.3).

    Raises:
        RemoteProtocolError: there is none.
    """
    videos = [media for media in description.media if media.kind == "video" and media.payload_types]
    if not videos:
        raise RemoteProtocolError("the camera describes no video")
    return next((media for media in videos if media.direction not in {"sendonly", "inactive"}), videos[0])


_Lines = list[tuple[str, str]]


def _sections(lines: _Lines) -> tuple[_Lines, list[_Lines]]:
    head: _Lines = []
    sections: list[_Lines] = []
    for line in lines:
        if line[0] == "m":
            sections.append([])
        (sections[-1] if sections else head).append(line)
    return head, sections


def _media(lines: _Lines) -> Media | None:
    words = lines[0][1].split()
    if len(words) < 3:
        return None
    kind, port, protocol, *formats = words
    attributes = _attributes(lines)
    payload_types = tuple(int(text) for text in formats if _NUMBER.fullmatch(text) and int(text) < 128)
    return Media(
        kind=kind.lower(),
        port=int(port) if _NUMBER.fullmatch(port) else 0,
        protocol=protocol,
        payload_types=payload_types,
        rtpmap=MappingProxyType(_rtpmap(payload_types, attributes)),
        fmtp=MappingProxyType(_fmtp(attributes)),
        control=_value(attributes, "control"),
        direction=next((name for name, _ in attributes if name in _DIRECTIONS), None),
        bandwidth=tuple(value for key, value in lines if key == "b"),
        attributes=attributes,
    )


def _rtpmap(payload_types: tuple[int, ...], attributes: tuple[tuple[str, str | None], ...]) -> dict[int, RtpMap]:
    found = {number: STATIC_VIDEO[number] for number in payload_types if number in STATIC_VIDEO}
    for name, value in attributes:
        match = _RTPMAP.fullmatch(value) if name == "rtpmap" and value else None
        if match and int(match["payload_type"]) < 128:
            found[int(match["payload_type"])] = RtpMap(match["encoding"], int(match["clock_hz"] or 90_000))
    return found


def _fmtp(attributes: tuple[tuple[str, str | None], ...]) -> dict[int, str]:
    found = {}
    for name, value in attributes:
        match = _FMTP.fullmatch(value) if name == "fmtp" and value else None
        if match and int(match["payload_type"]) < 128:
            found[int(match["payload_type"])] = match["parameters"]
    return found


def _attributes(lines: _Lines) -> tuple[tuple[str, str | None], ...]:
    found = []
    for kind, text in lines:
        if kind == "a":
            name, colon, value = text.partition(":")
            found.append((name.strip().lower(), value.strip() if colon else None))
    return tuple(found)


def _value(attributes: tuple[tuple[str, str | None], ...], name: str) -> str | None:
    return next((value for key, value in attributes if key == name), None)


def _first(lines: _Lines, wanted: str) -> str | None:
    return next((value for kind, value in lines if kind == wanted), None)
