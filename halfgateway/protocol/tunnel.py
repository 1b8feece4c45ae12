"""RTSP tunnelled over HTTP: how a connection says that it is half of a tunnel, and what the client says in it.

A client opens a GET, on which the server says everything, and a POST with the same ``x-sessioncookie``, whose
body is what the client says, in base64 (ONVIF Streaming Specification, "RTP/RTSP/HTTP/TCP", which refers to
Apple's "Tunneling QuickTime RTSP and RTP over HTTP"). The POST's ``Content-Length`` is made up, and is not answered.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.wire import MAX_HEAD_BYTES, split_head

#: Characters of a cookie: QuickTime's has 22, ffmpeg's 16, GStreamer's about 23. A longer one opens no tunnel.
MAX_COOKIE_CHARACTERS: Final = 128

#: The answer to a GET that opens a tunnel; RTSP follows it.
TUNNEL_OPENED: Final = (
    b"HTTP/1.0 200 OK\r\n"
    b"Content-Type: application/x-rtsp-tunnelled\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Pragma: no-cache\r\n"
    b"Connection: close\r\n"
    b"\r\n"
)
#: The one answer to a half that finds no other, or one that is taken: it does not tell which cookies there are.
TUNNEL_REFUSED: Final = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n"

_VERBS = (b"GET ", b"POST ")
_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"(?P<method>GET|POST) [!-~]+ HTTP/1\.[01][ \t]*")
_COOKIE = re.compile(rf"[!-~]{{1,{MAX_COOKIE_CHARACTERS}}}")
_RUN = re.compile(rb"[A-Za-z0-9+/]*+={0,2}")


@dataclass(frozen=True, slots=True)
class TunnelRequest:
    """Half of a tunnel: ``method`` is ``GET`` or ``POST``, ``body`` what came in one piece with the head."""

    method: str
    cookie: str
    body: bytes


class TunnelOpening:
    """The first bytes of a connection, until they show whether it is half of a tunnel."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> TunnelRequest | bytes | None:
        """Take bytes of the remote, until they are given back.

        Answers None where more are needed; where they open no tunnel, all of them, for RTSP to answer or refuse.
        """
        searched = max(0, len(self._buffer) - 2)
        self._buffer += data
        if not any(self._buffer.startswith(verb[: len(self._buffer)]) for verb in _VERBS):
            return bytes(self._buffer)
        end = _HEAD_END.search(self._buffer, searched)
        if (end.end() if end else len(self._buffer)) > MAX_HEAD_BYTES:
            return bytes(self._buffer)
        if end is None:
            return None
        head, body = bytes(self._buffer[: end.start()]), bytes(self._buffer[end.end() :])
        half = _half_of(head.removesuffix(b"\r"))
        return bytes(self._buffer) if half is None else TunnelRequest(*half, body)


class TunnelBody:
    """The body of a tunnel's POST: base64 cut anywhere, padded wherever the client ended a message."""

    def __init__(self) -> None:
        self._kept = b""

    def decode(self, data: bytes) -> bytes:
        """What is whole so far, perhaps nothing; of a group of four characters the beginning is kept.

        Raises:
            RemoteProtocolError: what is neither base64 nor a line break.
        """
        text = self._kept + data.translate(None, b"\r\n")
        decoded = []
        self._kept = b""
        for run in _RUN.finditer(text):
            characters, last = run[0], run.end() == len(text)
            whole = len(characters) // 4 * 4
            begun = characters[whole:]
            if (not last and (begun or not characters)) or begun.find(b"=") not in {-1, 2}:
                raise RemoteProtocolError("the tunnel's body is not base64")
            decoded.append(binascii.a2b_base64(characters[:whole]))
            self._kept = self._kept or begun
        return b"".join(decoded)


def _half_of(head: bytes) -> tuple[str, str] | None:
    try:
        start, headers = split_head(head, skip_malformed=True)
    except RemoteProtocolError:
        return None
    line, cookies = _REQUEST_LINE.fullmatch(start), headers.get_all("x-sessioncookie")
    if line is None or len(cookies) != 1 or _COOKIE.fullmatch(cookies[0]) is None:
        return None
    return line["method"].decode("ascii"), cookies[0]
