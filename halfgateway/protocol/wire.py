"""The head of an RTSP message: from bytes to values, within bounds (RFC 2326 sections 4, 6 and 7).

Folded header lines and bare line feeds are accepted, for old clients send them. What a server must be sure of
is refused; what a camera may get wrong without harm (a header line without a colon) is passed over.
"""

from __future__ import annotations

import re

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import VERSION, Request, Response
from halfgateway.protocol.uri import MAX_URI_BYTES

#: Bytes of a start line and its header lines, together. Clients send under 2 KiB; past it, 400.
MAX_HEAD_BYTES = 64 * 1024
#: Bytes of a start line: a method, the longest URL and the version. Past it, 414.
MAX_START_LINE_BYTES = MAX_URI_BYTES + 64
#: Header lines of one message. VMS send about fifteen; past it, 400, so that look-ups stay cheap.
MAX_HEADER_FIELDS = 128
#: Bytes of a request's body: ANNOUNCE and SET_PARAMETER, which we refuse or ignore anyway. Past it, 413.
MAX_REQUEST_BODY_BYTES = 64 * 1024
#: Bytes of a response's body, in practice an SDP of 1 to 20 KiB. Past it the camera is given up.
MAX_RESPONSE_BODY_BYTES = 1024 * 1024

_REQUEST_LINE = re.compile(
    rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (?P<uri>[\x21-\x7e]+) (?P<version>[!-~]{1,32})[ \t]*"
)
_STATUS_LINE = re.compile(rb"RTSP/(?P<version>[0-9]\.[0-9]) +(?P<status>[1-5][0-9]{2})(?: (?P<reason>[^\r\n]*))?")
_HEADER_LINE = re.compile(r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*(?P<value>.*)", re.DOTALL)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE_END = re.compile(rb"\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,10}")


def read_request(head: bytes) -> Request:
    """A request without its body, from its head without the empty line.

    Raises:
        RemoteProtocolError: 400, or 414 for the URL, or 505 for another version of RTSP.
    """
    start, headers = split_head(head, skip_malformed=False)
    line = _REQUEST_LINE.fullmatch(start)
    if line is None:
        raise RemoteProtocolError("not an RTSP request line")
    version = line["version"].decode("ascii")
    if version != VERSION:
        other_rtsp = version.startswith("RTSP/")
        raise RemoteProtocolError(f"{version} is not spoken here", status=505 if other_rtsp else 400)
    if len(line["uri"]) > MAX_URI_BYTES:
        raise RemoteProtocolError("the URL is too long", status=414)
    return Request(line["method"].decode("ascii"), line["uri"].decode("ascii"), headers)


def read_response(head: bytes) -> Response:
    """A response without its body, from its head without the empty line.

    Raises:
        RemoteProtocolError: not a status line of RTSP 1.x.
    """
    start, headers = split_head(head, skip_malformed=True)
    line = _STATUS_LINE.fullmatch(start)
    if line is None or not line["version"].startswith(b"1."):
        raise RemoteProtocolError("not an RTSP status line")
    return Response(int(line["status"]), _text(line["reason"] or b"").strip(), headers)


def body_size(headers: Headers, maximum: int) -> int:
    """Bytes of the body that follows a head (RFC 2326 section 12.14); without the header there is none.

    Raises:
        RemoteProtocolError: 400 for a value that is not one number, 413 above ``maximum``.
    """
    values = {value.strip() for value in headers.get_all("Content-Length")}
    if not values:
        return 0
    text = values.pop()
    if values or _DIGITS.fullmatch(text) is None:
        raise RemoteProtocolError("Content-Length is not one number")
    if int(text) > maximum:
        raise RemoteProtocolError(f"the body is larger than {maximum} bytes", status=413)
    return int(text)


def split_head(head: bytes, *, skip_malformed: bool) -> tuple[bytes, Headers]:
    """The start line as it stood, and the header lines; ``skip_malformed`` passes over lines that are none.

    Raises:
        RemoteProtocolError: 400 for too many lines, or for one that is no header line.
    """
    start, *lines = _LINE_END.split(_FOLD.sub(b" ", head))
    if len(lines) > MAX_HEADER_FIELDS:
        raise RemoteProtocolError(f"more than {MAX_HEADER_FIELDS} header lines")
    headers = Headers()
    for line in lines:
        match = _HEADER_LINE.fullmatch(_text(line))
        if match is not None and _CONTROL.search(match["value"]) is None:
            headers.add(match["name"], match["value"].rstrip(" \t"))
        elif not skip_malformed:
            raise RemoteProtocolError("not a header line")
    return start, headers


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
