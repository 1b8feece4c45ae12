"""The HTTP and the base64 around a tunnelled conversation (row 39), whole, cut anywhere, and hostile."""

from __future__ import annotations

import base64
import itertools
import random
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.tunnel import MAX_COOKIE_CHARACTERS, TunnelBody, TunnelOpening, TunnelRequest
from halfgateway.protocol.wire import MAX_HEAD_BYTES, MAX_HEADER_FIELDS
from tests.protocol.feeding import bytewise

TIME_BOUND_S = 8.0

FFMPEG_POST = (
    b"POST /live/x HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nConnection: close\r\n"
    b"Host: 127.0.0.1:18554\r\nIcy-MetaData: 1\r\nx-sessioncookie: c8adf9b6cb2e5373\r\n"
    b"Content-Type: application/x-rtsp-tunnelled\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n"
    b"Content-Length: 32767\r\nExpires: Sun, 9 Jan 1972 00:00:00 GMT\r\n\r\n"
)
GSTREAMER_GET = (
    b"GET /live/x HTTP/1.0\r\nx-sessioncookie: kmsmyuwbkajtamstejskltj\r\nAccept: application/x-rtsp-tunnelled\r\n"
    b"Cache-Control: no-cache\r\nPragma: no-cache\r\nHost: 127.0.0.1:18555\r\n"
    b"Date: Sat, 21 Nov 2026 21:58:40 GMT\r\n\r\n"
)
BARE_GET = b"GET / HTTP/1.0\nX-SessionCookie:c\n\n"


def opened(chunks: Iterable[bytes]) -> TunnelRequest | bytes | None:
    """The outcome; chunks after it are added to it, as they would be read by whoever has taken over."""
    opening = TunnelOpening()
    outcome: TunnelRequest | bytes | None = None
    for chunk in chunks:
        match outcome:
            case None:
                outcome = opening.receive_data(chunk)
            case TunnelRequest(method, cookie, body):
                outcome = TunnelRequest(method, cookie, body + chunk)
            case bytes():
                outcome += chunk
    return outcome


def decoded(chunks: Iterable[bytes]) -> bytes | None:
    """What the chunks held, or None where they were refused."""
    body = TunnelBody()
    try:
        return b"".join([body.decode(chunk) for chunk in chunks])
    except RemoteProtocolError:
        return None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (FFMPEG_POST, TunnelRequest("POST", "c8adf9b6cb2e5373", b"")),
        (GSTREAMER_GET, TunnelRequest("GET", "kmsmyuwbkajtamstejskltj", b"")),
        (BARE_GET, TunnelRequest("GET", "c", b"")),
        (FFMPEG_POST + b"T1BUS\r\n\r\n", TunnelRequest("POST", "c8adf9b6cb2e5373", b"T1BUS\r\n\r\n")),
    ],
    ids=["ffmpeg", "gstreamer", "bare", "with-body"],
)
def test_halves_of_real_players_are_known_however_cut(head: bytes, expected: TunnelRequest) -> None:
    assert opened([head]) == expected
    assert opened(bytewise(head)) == expected
    for cut in range(len(head)):
        assert opened([head[:cut], head[cut:]]) == expected


@pytest.mark.parametrize(
    "said",
    [
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"GET_PARAMETER rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"PLAY rtsp://h/ RTSP/1.0\r\n",
        b"$\x00\x00\x01a",
        b"\xff\xfe",
        b"HEAD / HTTP/1.0\r\nx-sessioncookie: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/2.0\r\nx-sessioncookie: c\r\n\r\n",
        b"GET rtsp://h/ RTSP/1.0\r\nx-sessioncookie: c\r\n\r\n",
        b"GET  / HTTP/1.0\r\nx-sessioncookie: c\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie:\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: a b\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: c\xc3\xa9\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: " + b"c" * (MAX_COOKIE_CHARACTERS + 1) + b"\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: a\r\nx-sessioncookie: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: c\r\n" + b"X: y\r\n" * MAX_HEADER_FIELDS + b"\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: c\r\nX: " + b"y" * MAX_HEAD_BYTES,
        b"GET / HTTP/1.0\r\nx-sessioncookie: c\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
    ],
)
def test_what_opens_no_tunnel_is_given_back_whole(said: bytes) -> None:
    # row 10: RTSP refuses it, as it would without tunnels
    assert opened([said]) == said
    assert opened(bytewise(said)) == said


@pytest.mark.parametrize("said", [b"", b"G", b"GET", b"POST", b"GET ", b"POST / HTTP/1.0\r\n", GSTREAMER_GET[:-1]])
def test_nothing_is_decided_too_early(said: bytes) -> None:
    assert opened([said]) is None


def test_the_longest_cookie_opens_a_tunnel() -> None:
    cookie = "c" * MAX_COOKIE_CHARACTERS
    assert opened([f"GET / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n".encode()]) == TunnelRequest(
        "GET", cookie, b""
    )


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_first_bytes_mean_the_same_however_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert opened(chunks) == opened([whole]) or not whole
    head = GSTREAMER_GET[:40] + whole + GSTREAMER_GET[40:]
    assert opened(bytewise(head)) == opened([head])


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(0, 400), max_size=6), st.integers(1, 80))
def test_messages_padded_each_by_itself_come_out_whole_however_cut(
    messages: list[bytes], cuts: list[int], line: int
) -> None:
    # row 39: padding in mid-stream, line breaks anywhere
    text = b"".join(base64.b64encode(message) for message in messages)
    broken = b"\r\n".join(text[start : start + line] for start in range(0, len(text), line))
    places = sorted({0, len(broken), *(cut for cut in cuts if cut < len(broken))})
    chunks = [broken[start:end] for start, end in itertools.pairwise(places)]
    assert decoded(chunks) == b"".join(messages)
    assert decoded(bytewise(broken)) == b"".join(messages)


@pytest.mark.parametrize(
    "said",
    [
        "=",
        "Q=",
        "Q===",
        "=QQQ",
        "QQ=Q",
        "QQQ==",
        "QUJD=",
        "QUJD==",
        "QQ===",
        "QQ=\r\n=Q=",
        "Q-",
        "QUJD!",
        "QU JD",
        "QUé",
    ],
)
def test_what_is_not_base64_is_refused_however_cut(said: str) -> None:
    assert decoded([said.encode()]) is None
    assert decoded(bytewise(said.encode())) is None


@pytest.mark.parametrize(
    ("said", "expected"), [(b"", b""), (b"Q", b""), (b"QQ", b""), (b"QQ=", b""), (b"QUJDRA", b"ABC")]
)
def test_a_group_that_has_only_begun_waits(said: bytes, expected: bytes) -> None:
    assert decoded([said]) == expected


@given(st.lists(st.text("QUJDab01+/==\r\n -_", max_size=12), max_size=6))
def test_nearly_base64_is_read_or_refused_the_same_however_cut(chunks: list[str]) -> None:
    said = [chunk.encode() for chunk in chunks]
    assert decoded(said) == decoded([b"".join(said)]) == decoded(bytewise(b"".join(said)))


@pytest.mark.usefixtures("uncounted")
def test_the_time_grows_with_the_bytes_and_no_faster() -> None:
    chance = random.Random(20261121)
    started = time.thread_time()
    for text in (b"QQ==" * 50_000, b"Q" * 200_001, b"\r\n" * 100_000, b"=" * 200_000, b"QQ=" * 60_000):
        decoded([text])
        decoded([text[place : place + 100] for place in range(0, len(text), 100)])
    decoded([base64.b64encode(chance.randbytes(300_000))])
    for filler in (b"\n\r", b"X: y\r\n", b"y"):
        opened(bytewise(b"GET / HTTP/1.0\r\nX: " + filler * (60_000 // len(filler))))
    assert time.thread_time() - started < TIME_BOUND_S
