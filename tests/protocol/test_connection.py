"""Requests and responses: whole, cut anywhere, pipelined, out of bounds (rows 1 to 4, 8 to 10; T12)."""

from __future__ import annotations

import pytest

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.connection import MAX_WAITING_BYTES, NEED_DATA, Connection, Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import frame
from halfgateway.protocol.messages import Request, Response
from halfgateway.protocol.wire import (
    MAX_HEAD_BYTES,
    MAX_HEADER_FIELDS,
    MAX_REQUEST_BODY_BYTES,
    MAX_RESPONSE_BODY_BYTES,
)
from tests.protocol.feeding import bytewise, corpus, hear, role_of

WIRE = corpus(".bin", ".rtsp")
OPTIONS = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"


@pytest.mark.parametrize("name", WIRE)
def test_each_example_reads_the_same_whole_in_pieces_and_byte_by_byte(name: str) -> None:
    data, role = WIRE[name], role_of(name)
    whole = hear([data], role)
    assert whole.status is None
    assert whole.items
    assert hear(bytewise(data), role) == whole
    for size in (3, 7, 1460):
        assert hear([data[i : i + size] for i in range(0, len(data), size)], role) == whole


@pytest.mark.parametrize("name", [name for name in WIRE if len(WIRE[name]) < 3000])
def test_each_example_can_be_cut_in_two_anywhere(name: str) -> None:
    # row 4
    data, role = WIRE[name], role_of(name)
    whole = hear([data], role)
    for cut in range(len(data)):
        assert hear([data[:cut], data[cut:]], role) == whole


@pytest.mark.parametrize("name", WIRE)
@pytest.mark.parametrize("trailing", [b"\r\n", b"$", b"$\x00\x00\x05abc", b"OPT", b"OPTIONS * RTSP/1.0\r\nCSe"])
def test_trailing_bytes_change_nothing_before_them(name: str, trailing: bytes) -> None:
    data, role = WIRE[name], role_of(name)
    assert hear([data + trailing], role) == hear([data], role)


def test_the_captures_hold_what_the_peers_said() -> None:
    requests = hear([WIRE["ffmpeg-5.1-client.bin"]], Role.SERVER).items
    methods = [item.method for item in requests if isinstance(item, Request)]
    assert methods == ["OPTIONS", "DESCRIBE", "DESCRIBE", "SETUP", "SETUP", "PLAY", "TEARDOWN"]
    answers = hear([WIRE["gst-rtsp-server-1.22-h264.bin"]], Role.CLIENT).items
    assert [item.status for item in answers if isinstance(item, Response)] == [200, 401, 200, 200, 200, 200]
    assert {item[0] for item in answers if isinstance(item, tuple)} == {0, 2}


def test_folded_lines_bare_line_feeds_and_any_case_are_read() -> None:
    # row 1
    first, second = hear([WIRE["old-client-bare-lf.rtsp"]], Role.SERVER).items
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert first.headers.get("CSeq") == "7"
    assert first.headers.get("user-agent") == "an old client that folds its lines"
    assert first.headers.get("Accept") == "application/sdp"
    assert second.headers.get("CSEQ") == "8"


def test_pipelined_requests_come_one_by_one_in_order() -> None:
    connection = Connection(Role.SERVER)
    connection.receive_data(b"".join(OPTIONS.replace(b": 1", b": %d" % n) for n in range(5)))
    numbers = []
    while isinstance(event := connection.next_event(), Request):
        numbers.append(event.headers.get("CSeq"))
    assert numbers == ["0", "1", "2", "3", "4"]
    assert event is NEED_DATA


def test_the_body_is_as_long_as_content_length_says() -> None:
    # row 1
    head = b"SET_PARAMETER rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\ncontent-length:  3 \r\n\r\n"
    (with_body, after) = hear([head + b"abc" + OPTIONS], Role.SERVER).items
    assert isinstance(with_body, Request)
    assert with_body.body == b"abc"
    assert isinstance(after, Request)
    assert after.body == b""


def test_a_client_also_hears_the_requests_of_a_camera() -> None:
    ask = b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 9\r\n\r\n"
    (request, answer) = hear([ask + b"RTSP/1.0 200 \r\nCSeq: 1\r\n\r\n"], Role.CLIENT).items
    assert isinstance(request, Request)
    assert answer == Response(200, "", Headers([("CSeq", "1")]))


def test_a_client_passes_over_header_lines_that_a_camera_garbled() -> None:
    (answer,) = hear([b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nno colon here\r\nX\x01: y\r\n\r\n"], Role.CLIENT).items
    assert isinstance(answer, Response)
    assert answer.headers.items() == (("CSeq", "1"),)


REFUSED_BY_A_SERVER = {
    "rubbish": (b"\x00\x01\x02", 400),
    "tls client hello": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "rfc 4571 framing": (b"\x05\x78\x80\x60" + bytes(40), 400),
    "a response": (b"RTSP/1.0 200 OK\r\n\r\n", 400),
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another rtsp": (b"OPTIONS * RTSP/2.0\r\nCSeq: 4\r\n\r\n", 505),
    "no version": (b"OPTIONS *\r\n\r\n", 400),
    "two blanks": (b"OPTIONS  * RTSP/1.0\r\n\r\n", 400),
    "a blank in the url": (b"DESCRIBE rtsp://h/a b RTSP/1.0\r\n\r\n", 400),
    "a control character in the url": (b"DESCRIBE rtsp://h/\x7f RTSP/1.0\r\n\r\n", 400),
    "a method without an end": (b"A" * 33, 400),
    "a header without a colon": (b"OPTIONS * RTSP/1.0\r\nCSeq 1\r\n\r\n", 400),
    "a header without a name": (b"OPTIONS * RTSP/1.0\r\n: 1\r\n\r\n", 400),
    "a nul in a header": (b"OPTIONS * RTSP/1.0\r\nCSeq: \x001\r\n\r\n", 400),
    "a bare carriage return in a header": (b"OPTIONS * RTSP/1.0\r\nX: a\rCSeq: 1\r\n\r\n", 400),
    "a folded request line": (b"OPTIONS *\r\n RTSP/1.0 x\r\n\r\n", 400),
    "a long url": (b"DESCRIBE rtsp://h/" + b"x" * 4096 + b" RTSP/1.0\r\n\r\n", 414),
    "an endless url": (b"DESCRIBE rtsp://h/" + b"x" * 8000, 414),
    "many headers": (b"OPTIONS * RTSP/1.0\r\n" + b"a: b\r\n" * (MAX_HEADER_FIELDS + 1) + b"\r\n", 400),
    "a large head": (b"OPTIONS * RTSP/1.0\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n", 400),
    "an endless head": (b"OPTIONS * RTSP/1.0\r\nX: " + b"y" * MAX_HEAD_BYTES, 400),
    "a large body": (b"ANNOUNCE * RTSP/1.0\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BODY_BYTES + 1), 413),
    "a negative length": (b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (b"OPTIONS * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a length of many digits": (b"OPTIONS * RTSP/1.0\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", REFUSED_BY_A_SERVER)
def test_a_server_refuses_with_its_status_however_the_bytes_come(name: str) -> None:
    # row 8
    data, status = REFUSED_BY_A_SERVER[name]
    heard = hear([OPTIONS + frame(0, b"rr") + data], Role.SERVER)
    assert (heard.status, len(heard.items)) == (status, 2)
    assert hear([data], Role.SERVER).status == status
    step = 1 if len(data) < 10_000 else 997
    assert hear([data[i : i + step] for i in range(0, len(data), step)], Role.SERVER).status == status


def test_what_is_just_within_the_bounds_is_read() -> None:
    url = b"rtsp://h/" + b"x" * (4096 - 9)
    lines = b"a: b\r\n" * MAX_HEADER_FIELDS
    body = b"b" * MAX_REQUEST_BODY_BYTES
    assert hear([b"DESCRIBE " + url + b" RTSP/1.0\r\n" + lines + b"\r\n"], Role.SERVER).status is None
    head = b"ANNOUNCE * RTSP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    (request,) = hear([head + body], Role.SERVER).items
    assert isinstance(request, Request)
    assert request.body == body


def test_a_client_bounds_the_body_of_a_camera() -> None:
    head = b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n"
    size = MAX_RESPONSE_BODY_BYTES
    (answer,) = hear([head % size, b"s" * size], Role.CLIENT).items
    assert isinstance(answer, Response)
    assert len(answer.body) == size
    assert hear([head % (size + 1)], Role.CLIENT).status == 413


@pytest.mark.parametrize("line", [b"RTSP/2.0 200 OK", b"RTSP/1.0 999 Odd", b"RTSP/1.0", b"RTSP/1.0 20 OK"])
def test_a_client_refuses_other_status_lines(line: bytes) -> None:
    assert hear([line + b"\r\n\r\n"], Role.CLIENT).status == 400


def test_an_error_stays() -> None:
    connection = Connection(Role.SERVER)
    connection.receive_data(b"OPTIONS * RTSP/2.0\r\ncseq : 41 \r\n\r\n" + OPTIONS)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            connection.next_event()
        assert caught.value.status == 505
    connection.receive_data(OPTIONS)
    with pytest.raises(RemoteProtocolError):
        connection.next_event()
    assert connection.failed_cseq == "41"


def test_a_caller_that_feeds_without_taking_is_told_so() -> None:
    connection = Connection(Role.SERVER)
    connection.receive_data(OPTIONS)
    with pytest.raises(LocalProtocolError):
        connection.receive_data(bytes(MAX_WAITING_BYTES))
    assert isinstance(connection.next_event(), Request)


def test_a_server_has_no_resynchronisation() -> None:
    with pytest.raises(LocalProtocolError):
        Connection(Role.SERVER, lenient_resync=True)
