"""RTSP requests and responses as values, and as the bytes that we send (RFC 2326 sections 4 to 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from halfgateway.errors import LocalProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.uri import redacted

VERSION = "RTSP/1.0"

#: Reason phrases (RFC 2326 sections 7.1.1 and 11.3; 463 from RFC 4567 section 4.3).
REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    250: "Low on Storage Space",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Time-out",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    415: "Unsupported Media Type",
    451: "Parameter Not Understood",
    452: "Conference Not Found",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    456: "Header Field Not Valid for Resource",
    457: "Invalid Range",
    458: "Parameter Is Read-Only",
    459: "Aggregate operation not allowed",
    460: "Only aggregate operation allowed",
    461: "Unsupported transport",
    462: "Destination unreachable",
    463: "Key management failure",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
    505: "RTSP Version not supported",
    551: "Option not supported",
}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"RTSP/[0-9]\.[0-9]")
_BREAKS_A_LINE = re.compile(r"[\r\n\x00]")
_NOT_IN_A_URI = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Request:
    """An RTSP request; ``uri`` is as it stood on the wire, ``*`` included."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    version: str = VERSION

    def __repr__(self) -> str:
        return f"Request({self.method} {redacted(self.uri)}, {self.headers!r}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Response:
    """An RTSP response; ``status`` is from 100 to 599."""

    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Response({self.status} {self.reason!r}, {self.headers!r}, {len(self.body)} bytes)"


def response(status: int, headers: Headers | None = None, body: bytes = b"") -> Response:
    """A response with the reason phrase of its status."""
    return Response(status, REASONS.get(status, "Unknown"), headers or Headers(), body)


def serialise(message: Request | Response) -> bytes:
    """The bytes of a message. ``Content-Length`` is set from the body, whatever the headers say of it.

    Raises:
        LocalProtocolError: a method, URL, status, header or reason that would not be read back as itself,
            for instance one that holds a line break.
    """
    lines = [_request_line(message) if isinstance(message, Request) else _status_line(message)]
    for name, value in message.headers:
        if _TOKEN.fullmatch(name) is None or _BREAKS_A_LINE.search(value):
            raise LocalProtocolError(f"header {name!r} cannot be sent")
        if name.lower() != "content-length":
            lines.append(f"{name}: {value}")
    if message.body:
        lines.append(f"Content-Length: {len(message.body)}")
    try:
        return "\r\n".join([*lines, "", ""]).encode() + message.body
    except UnicodeEncodeError as error:
        raise LocalProtocolError("the message is not Unicode text") from error


def _request_line(request: Request) -> str:
    if _TOKEN.fullmatch(request.method) is None:
        raise LocalProtocolError("the method is not a token")
    if not request.uri or _NOT_IN_A_URI.search(request.uri):
        raise LocalProtocolError("the URL cannot stand in a request line")
    if _VERSION.fullmatch(request.version) is None:
        raise LocalProtocolError("not a version of RTSP")
    return f"{request.method} {request.uri} {request.version}"


def _status_line(answer: Response) -> str:
    if not 100 <= answer.status <= 599 or _BREAKS_A_LINE.search(answer.reason):
        raise LocalProtocolError("the status line cannot be sent")
    return f"{VERSION} {answer.status} {answer.reason}"
