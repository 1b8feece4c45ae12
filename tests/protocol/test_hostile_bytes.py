"""Any bytes give a declared event or a declared error, in time that grows with their number (ADR 1; T12).

``read_everything`` is what a server and a client do with what they hear, header by header. Any exception
but ``RemoteProtocolError`` is a bug, and fails these tests.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.digest import DigestVerifier, authorise, best, parse_challenges
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import frame
from halfgateway.protocol.keyframe import KeyframeFinder
from halfgateway.protocol.messages import Request, Response, response, serialise
from halfgateway.protocol.ranges import parse_range
from halfgateway.protocol.reader_sdp import describe_for_reader
from halfgateway.protocol.rtcp import parse_compound
from halfgateway.protocol.rtp import RtpView
from halfgateway.protocol.rtp_info import parse_rtp_info
from halfgateway.protocol.sdp import parse
from halfgateway.protocol.session import Session
from halfgateway.protocol.states import ServerState, next_server_state
from halfgateway.protocol.transport import parse_transports
from halfgateway.protocol.uri import RtspUri, join, redacted, same_resource
from tests.protocol.feeding import Item, corpus, hear, role_of

MUTATIONS = 30_000
SEED = 20261121
#: Seconds of CPU for 64 KiB of one header: hundreds of times what it takes, and a hundredth of what
#: a pattern that backtracks would take.
TIME_BOUND_S = 8.0

VERIFIER = DigestVerifier("halfgateway", bytes(16), 30.0)


def read_request(request: Request) -> None:
    next_server_state(ServerState.READY, request.method)
    uri = RtspUri.parse(request.uri)
    presentation, _ = uri.split_track()
    assert same_resource(str(presentation), str(uri))


def read_response(answer: Response) -> None:
    challenge = best(parse_challenges(answer.headers.get_all("WWW-Authenticate")))
    if challenge is not None:
        authorise(challenge, "user", "password", "PLAY", "rtsp://h/", nonce_count=1, cnonce="c")
    description = parse(answer.body)
    for media in description.media:
        join(RtspUri.parse("rtsp://cam/live"), media.control or "")
    describe_for_reader(description, control="trackID=0", session_id=1, name="x")


def read_frame(payload: bytes) -> None:
    parse_compound(payload)


def read_packet(payload: bytes) -> None:
    view = RtpView(payload)
    for codec in Codec:
        KeyframeFinder(codec).feed(view.payload, view.timestamp, view.marker)


def read_message(message: Request | Response) -> None:
    readers: dict[str, Callable[[str], object]] = {
        "Transport": parse_transports,
        "Session": Session.parse,
        "Range": parse_range,
        "RTP-Info": parse_rtp_info,
        "Authorization": lambda value: VERIFIER.verify(value, "PLAY", 0.0, lambda _: None),
        "Content-Base": RtspUri.parse,
    }
    for name, reader in readers.items():
        for value in message.headers.get_all(name):
            tolerate(reader, value)
    repr(message)


def tolerate(reader: Callable[..., object], value: object) -> None:
    try:
        reader(value)
    except RemoteProtocolError:
        return


def read_everything(items: list[Item]) -> None:
    for item in items:
        match item:
            case Request():
                read_message(item)
                tolerate(read_request, item)
                assert hear([serialise(item)], Role.SERVER).status is None
            case Response():
                read_message(item)
                tolerate(read_response, item)
            case (_, payload):
                tolerate(read_frame, payload)
                tolerate(read_packet, payload)


def seeds() -> dict[Role, list[bytes]]:
    """Each message and frame of the corpus by itself, by who hears it; long frames cut short."""
    found: dict[Role, list[bytes]] = {role: [] for role in Role}
    for name, data in corpus(".bin", ".rtsp").items():
        for item in hear([data], role_of(name)).items[:30]:
            raw = frame(item[0], item[1][:200]) if isinstance(item, tuple) else serialise(item)
            found[role_of(name)].append(raw)
    for text in corpus(".sdp").values():
        found[Role.CLIENT].append(serialise(response(200, Headers([("CSeq", "2")]), text)))
    return found


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The data with one to four random changes of the kinds that break parsers."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((1, 1, 2, 4, 16, 64)))
        replacement = chance.choice(
            (
                b"",
                chance.randbytes(end - start),
                data[start:end] * 2,
                other[start:end],
                chance.choice((b"\r\n", b"\n\r\n", b" ", b":", b'"', b"\\", b",", b"$", b"=", b"%", b"\x00", b"\xff")),
                chance.choice((b"-1", b"65536", b"4294967296", b"99999999999999999999", b"1e9", b"0x10", b"\xd9\xa0")),
            )
        )
        data = data[:start] + replacement + data[end:]
    return data[: chance.randrange(len(data) + 1)] if chance.random() < 0.1 else data


@pytest.mark.usefixtures("uncounted")
def test_thirty_thousand_mutations_end_in_declared_ways() -> None:
    chance = random.Random(SEED)
    starts = seeds()
    refused = 0
    for _ in range(MUTATIONS):
        role = chance.choice(list(Role))
        data, other = chance.choice(starts[role]), chance.choice(starts[role])
        lenient = role is Role.CLIENT and chance.random() < 0.5
        heard = hear([mutated(data, other, chance) + other], role, lenient_resync=lenient)
        read_everything(heard.items)
        refused += heard.status is not None
    # The mutations do reach both ends: what is refused, and what is read in spite of them.
    assert MUTATIONS * 0.02 < refused < MUTATIONS * 0.9


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(Role), st.booleans())
def test_any_bytes_are_events_or_a_declared_error(chunks: list[bytes], role: Role, lenient: bool) -> None:
    lenient = lenient and role is Role.CLIENT
    in_pieces = hear(chunks, role, lenient_resync=lenient)
    assert hear([b"".join(chunks)], role, lenient_resync=lenient) == in_pieces
    read_everything(in_pieces.items)


WORDS = st.sampled_from(
    ["OPTIONS", "rtsp://h/x", "RTSP/1.0", "RTSP/1.0 200", " ", "\r\n", "\n", "CSeq: 1", "Content-Length: 3", "abc", "$",
     "\x00\x00\x01", "Transport: RTP/AVP", ": ", "\t", "*", "RTSP/"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=20), st.sampled_from(Role), st.integers(1, 9))
def test_words_of_the_protocol_in_any_order_read_the_same_however_cut(words: list[str], role: Role, size: int) -> None:
    data = "".join(words).encode("latin-1")
    lenient = role is Role.CLIENT
    whole = hear([data], role, lenient_resync=lenient)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert hear(pieces, role, lenient_resync=lenient) == whole


LONG = 60_000
NASTY = {
    "blanks": " " * LONG + "x",
    "commas": "," * LONG,
    "commas and blanks": ", " * (LONG // 2) + "x",
    "semicolons": ";" * LONG,
    "letters": "a" * LONG,
    "schemes": "://" * (LONG // 3),
    "digits": "9" * LONG,
    "quotes": '"' * LONG,
    "backslashes": 'Digest a="' + "\\" * LONG,
    "unclosed": 'Digest realm="' + "x" * LONG,
    "parameters": "Digest " + 'a="b",' * (LONG // 6),
    "words": "a " * (LONG // 2),
    "urls": "url=" * (LONG // 4),
    "tracks": "/trackID=0" * (LONG // 10),
    "percents": "%2" * (LONG // 2),
    "dollars": "$\x13\xff" * (LONG // 3),
    "fold": "x\r\n " * (LONG // 4),
    "at": "rtsp://" + "@" * LONG,
    "dots": "npt=" + "0." * (LONG // 2),
}


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("name", NASTY)
def test_the_time_grows_with_the_bytes_and_no_faster(name: str) -> None:
    text = NASTY[name]
    message = Request("PLAY", "rtsp://h/", Headers([(field, text) for field in ("Transport", "Session", "Range")]))
    for field in ("RTP-Info", "Authorization", "Content-Base", "WWW-Authenticate"):
        message.headers.add(field, text)
    started = time.thread_time()
    read_message(message)
    parse_challenges([text])
    redacted(text)
    same_resource(text, "rtsp://h/live")
    for wrapped in (text, f"v=0\nm=video 0 RTP/AVP 96\na=fmtp:96 {text}", f"v=0\na=rtpmap:{text}", f"m={text}"):
        tolerate(parse, wrapped)
    for prefix in (b"", b"OPTIONS * RTSP/1.0\r\n", b"OPTIONS * RTSP/1.0\r\nX: ", b"RTSP/1.0 200 OK\r\n"):
        hear([prefix + text.encode()], Role.SERVER)
        hear([prefix + text.encode()], Role.CLIENT, lenient_resync=True)
    assert time.thread_time() - started < TIME_BOUND_S


@pytest.mark.usefixtures("uncounted")
def test_a_head_that_drips_in_is_no_work() -> None:
    connection = Connection(Role.SERVER)
    started = time.thread_time()
    connection.receive_data(b"OPTIONS * RTSP/1.0\r\n")
    for _ in range(5000):
        connection.receive_data(b"X")
        assert connection.next_event() is NEED_DATA
    assert time.thread_time() - started < TIME_BOUND_S
