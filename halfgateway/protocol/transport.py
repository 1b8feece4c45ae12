"""The ``Transport`` header: what a client asks for at SETUP and what a server grants (RFC 2326 section 12.39)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from halfgateway.errors import LocalProtocolError, RemoteProtocolError

#: Alternatives of one header that are read; a client offers two or three. Further ones are not looked at.
MAX_TRANSPORTS: Final = 16

_PAIR = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<second>[0-9]{1,5}))?")
_SSRC = re.compile(r"[0-9A-Fa-f]{1,8}")
_SAFE = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,253}")

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Transport:
    """One alternative of a ``Transport`` header.

    ``lower`` is ``TCP`` (interleaved) or ``UDP``. Pairs are (RTP, RTCP): ``interleaved`` channels from 0 to 255,
    the others ports from 0 to 65535. ``ssrc`` has 32 bits; ``mode`` is ``PLAY`` unless the header says otherwise.
    """

    profile: str = "RTP/AVP"
    lower: str = "UDP"
    multicast: bool = False
    interleaved: Pair | None = None
    client_port: Pair | None = None
    server_port: Pair | None = None
    destination: str | None = None
    source: str | None = None
    ssrc: int | None = None
    mode: str = "PLAY"

    def __str__(self) -> str:
        """The header's value.

        Raises:
            LocalProtocolError: an address or a mode that cannot stand in it.
        """
        words = [self.profile if self.lower == "UDP" else f"{self.profile}/{self.lower}"]
        words.append("multicast" if self.multicast else "unicast")
        for name, address in (("destination", self.destination), ("source", self.source)):
            if address is not None:
                words.append(f"{name}={_safe(address)}")
        pairs = (
            ("interleaved", self.interleaved),
            ("client_port", self.client_port),
            ("server_port", self.server_port),
        )
        words += [f"{name}={pair[0]}-{pair[1]}" for name, pair in pairs if pair is not None]
        if self.ssrc is not None:
            words.append(f"ssrc={self.ssrc:08X}")
        if self.mode != "PLAY":
            words.append(f'mode="{_safe(self.mode)}"')
        return ";".join(words)


def parse_transports(value: str) -> tuple[Transport, ...]:
    """The alternatives of a header, in the client's order of preference.

    Parameters that are unknown, or whose value makes no sense, are passed over, as section 12.39 wants.
    Alternatives with a protocol other than RTP are passed over too, so the result may be empty (461).

    Raises:
        RemoteProtocolError: nothing in it has the form of a transport (400).
    """
    alternatives = [text.strip() for text in value.split(",")[:MAX_TRANSPORTS]]
    if not any(alternatives):
        raise RemoteProtocolError("an empty Transport header")
    return tuple(found for text in alternatives if (found := _transport(text)) is not None)


def _transport(text: str) -> Transport | None:
    protocol, *words = (word.strip() for word in text.split(";"))
    profile, lower = _protocol(protocol.upper())
    if profile is None:
        return None
    given = {name.strip().lower(): value.strip().strip('"') for name, _, value in (w.partition("=") for w in words)}
    ssrc = given.get("ssrc", "")
    return Transport(
        profile=profile,
        lower=lower,
        multicast="multicast" in given,
        interleaved=_pair(given.get("interleaved"), 255),
        client_port=_pair(given.get("client_port"), 65535),
        server_port=_pair(given.get("server_port"), 65535),
        destination=given.get("destination") or None,
        source=given.get("source") or None,
        ssrc=int(ssrc, 16) if _SSRC.fullmatch(ssrc) else None,
        mode=given.get("mode", "PLAY").upper() or "PLAY",
    )


def _protocol(text: str) -> tuple[str | None, str]:
    parts = text.split("/")
    if parts[0] != "RTP" or not 2 <= len(parts) <= 3:
        return None, ""
    lower = parts[2] if len(parts) == 3 else "UDP"
    return (f"RTP/{parts[1]}", lower) if lower in {"TCP", "UDP"} else (None, "")


def _pair(text: str | None, maximum: int) -> Pair | None:
    """Two numbers, or one that the next follows; clients write both."""
    match = _PAIR.fullmatch(text or "")
    if match is None:
        return None
    first = int(match["first"])
    second = int(match["second"]) if match["second"] else min(first + 1, maximum)
    return (first, second) if first <= maximum and second <= maximum else None


def _safe(text: str) -> str:
    if _SAFE.fullmatch(text) is None:
        raise LocalProtocolError("a value cannot stand in Transport")
    return text
