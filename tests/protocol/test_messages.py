"""Messages and headers as values and as bytes; nothing breaks a line, nothing shows a secret (row 43)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError
from halfgateway.protocol.connection import Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import REASONS, Request, Response, response, serialise
from tests.protocol.feeding import hear

TOKEN = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)
VALUE = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"])).map(
    lambda text: text.strip(" \t")
)
FIELDS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() != "content-length"), VALUE), max_size=6)
URI = st.text(string.ascii_letters + string.digits + ":/?=&%._-", min_size=1, max_size=60)


@given(TOKEN, URI, FIELDS, st.binary(max_size=200))
def test_a_request_is_read_back_as_itself(method: str, uri: str, fields: list[tuple[str, str]], body: bytes) -> None:
    request = Request(method, uri, Headers(fields), body)
    expected = Headers(fields)
    if body:
        expected.add("Content-Length", str(len(body)))
    assert hear([serialise(request)], Role.SERVER).items == [Request(method, uri, expected, body)]


@given(st.integers(100, 599), VALUE, FIELDS, st.binary(max_size=200))
def test_a_response_is_read_back_as_itself(
    status: int, reason: str, fields: list[tuple[str, str]], body: bytes
) -> None:
    answer = Response(status, reason, Headers(fields), body)
    (heard,) = hear([serialise(answer)], Role.CLIENT).items
    assert isinstance(heard, Response)
    assert (heard.status, heard.reason.strip(), heard.body) == (status, reason.strip(), body)


def test_content_length_is_that_of_the_body_whatever_the_headers_say() -> None:
    lying = Headers([("Content-Length", "9"), ("CSeq", "1"), ("content-LENGTH", "8")])
    assert serialise(response(200, lying, b"four")) == (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nfour")
    assert serialise(Request("OPTIONS", "*", lying)) == b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"


@pytest.mark.parametrize(
    "message",
    [
        Request("OPT\r\nIONS", "*"),
        Request("", "*"),
        Request("OPTIONS", ""),
        Request("OPTIONS", "rtsp://h/a b"),
        Request("OPTIONS", "rtsp://h/\r\nX: y"),
        Request("OPTIONS", "rtsp://h/é"),
        Request("OPTIONS", "*", version="RTSP/1.0\r\nX: y"),
        Request("OPTIONS", "*", Headers([("X", "a\nY: b")])),
        Request("OPTIONS", "*", Headers([("X", "a\rY: b")])),
        Request("OPTIONS", "*", Headers([("X", "a\0b")])),
        Request("OPTIONS", "*", Headers([("X: y\r\nZ", "b")])),
        Request("OPTIONS", "*", Headers([("", "b")])),
        Response(99, "too small"),
        Response(600, "too large"),
        Response(200, "OK\r\nX: y"),
    ],
)
def test_what_would_not_be_read_back_is_not_sent(message: Request | Response) -> None:
    with pytest.raises(LocalProtocolError):
        serialise(message)


def test_a_value_that_is_not_unicode_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        serialise(Request("OPTIONS", "*", Headers([("X", "\ud800")])))


def test_the_reasons_are_those_of_the_rfc() -> None:
    assert response(453).reason == REASONS[453] == "Not Enough Bandwidth"  # C01
    assert response(457).reason == "Invalid Range"  # C03
    assert response(599).reason == "Unknown"


def test_headers_keep_order_and_ignore_case() -> None:
    headers = Headers([("WWW-Authenticate", "a"), ("CSeq", "1"), ("www-authenticate", "b")])
    assert headers.get("cseq") == "1"
    assert headers.get("Session") is None
    assert headers.get("Session", "none") == "none"
    assert headers.get_all("WWW-AUTHENTICATE") == ("a", "b")
    assert "CSEQ" in headers
    assert "Session" not in headers
    assert 5 not in headers
    headers.set("Www-Authenticate", "c")
    headers.set("Session", "9")
    headers.add("CSeq", "2")
    assert headers.items() == (("Www-Authenticate", "c"), ("CSeq", "1"), ("Session", "9"), ("CSeq", "2"))
    assert list(headers) == list(headers.items())
    assert len(headers) == 4
    assert Headers([("cseq", "1")]) == Headers([("CSeq", "1")]) != Headers([("CSeq", "2")])
    assert Headers() != "headers"


def test_what_is_shown_has_no_secret() -> None:  # C16
    # row 43
    headers = Headers(
        [
            ("Authorization", "Digest hunter2"),
            ("proxy-authorization", "Basic hunter2"),
            ("Content-Base", "rtsp://admin:hunter2@10.1.2.3/live/"),
        ]
    )
    request = Request("DESCRIBE", "rtsp://admin:hunter2@10.1.2.3/live", headers, b"hunter2")
    answer = Response(200, "OK", headers, b"hunter2")
    for shown in (repr(headers), repr(request), repr(answer)):
        assert "hunter2" not in shown
    assert "DESCRIBE rtsp://***@10.1.2.3/live" in repr(request)
    assert "7 bytes" in repr(answer)
