"""The ``RTP-Info`` header: which packet is the first of each stream (RFC 2326 section 12.33)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from halfgateway.errors import LocalProtocolError

#: Streams of one header that are read; a presentation has two to four. Further ones are not looked at.
MAX_STREAMS: Final = 64

_BETWEEN = re.compile(r",(?=\s*url\s*=)", re.IGNORECASE)
_URL = re.compile(r"\s*url\s*=\s*\"?(?P<url>[^\s\"]*?)\"?\s*(?=;\s*(?:seq|rtptime|ssrc)\s*=|$)", re.IGNORECASE)
_NUMBER = re.compile(r";\s*(?P<name>seq|rtptime)\s*=\s*\"?(?P<value>[0-9]{1,10})(?![0-9])", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The first packet of one stream: 16-bit sequence number and 32-bit timestamp, None where not told."""

    url: str
    sequence: int | None = None
    rtp_timestamp: int | None = None


def rtp_info(streams: Iterable[StreamInfo]) -> str:
    """The value of the header; a comma or a quote in a URL is percent-encoded, for they delimit.

    Raises:
        LocalProtocolError: a URL with a blank, a control character or a letter beyond ASCII.
    """
    parts = []
    for stream in streams:
        if _UNSAFE.search(stream.url):
            raise LocalProtocolError("the URL cannot stand in RTP-Info")
        url = stream.url.replace(",", "%2C").replace('"', "%22")
        sequence = "" if stream.sequence is None else f";seq={stream.sequence & 0xFFFF}"
        rtptime = "" if stream.rtp_timestamp is None else f";rtptime={stream.rtp_timestamp & 0xFFFFFFFF}"
        parts.append(f"url={url}{sequence}{rtptime}")
    return ",".join(parts)


def parse_rtp_info(value: str) -> tuple[StreamInfo, ...]:
    """What a camera says; whatever cannot be read, or does not fit its width, is None or left out.

    A camera's RTP-Info is a hint that the packets themselves correct, so nothing in it is an error.
    """
    found = []
    for part in _BETWEEN.split(value, maxsplit=MAX_STREAMS)[:MAX_STREAMS]:
        text = part.strip()
        url = _URL.match(text)
        numbers = {match["name"].lower(): int(match["value"]) for match in _NUMBER.finditer(text)}
        if url:
            found.append(
                StreamInfo(url["url"], _within(numbers.get("seq"), 0xFFFF), _within(numbers.get("rtptime"), 0xFFFFFFFF))
            )
    return tuple(found)


def _within(value: int | None, maximum: int) -> int | None:
    return value if value is not None and value <= maximum else None
