"""Interleaved frames: any size, any cut, between requests; and a client's way back after rubbish (T12)."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError
from halfgateway.protocol.connection import NEED_DATA, RESYNC_MAX_SKIPPED_BYTES, RESYNC_MAX_TRIES, Connection, Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import InterleavedBatch, frame, frame_head
from halfgateway.protocol.messages import Request, Response, response, serialise
from halfgateway.protocol.rtp import RTP_HEADER_BYTES, is_rtp, marker, payload_type, ssrc, timestamp
from tests.protocol.feeding import Item, bytewise, hear

OK = serialise(response(200, Headers([("CSeq", "5")])))
PING = serialise(Request("GET_PARAMETER", "rtsp://h/live", Headers([("CSeq", "5")]), b"x"))

payloads = st.one_of(st.binary(max_size=64), st.sampled_from([b"", bytes(1400), b"$" * 70, bytes(65535)]))
items = st.lists(st.one_of(st.tuples(st.integers(0, 255), payloads), st.just(PING)), max_size=8)


def wire(parts: list[tuple[int, bytes] | bytes]) -> bytes:
    return b"".join(part if isinstance(part, bytes) else frame(*part) for part in parts)


@given(items, st.lists(st.integers(0, 70_000), max_size=6))
def test_frames_and_requests_keep_their_order_and_bytes_at_any_cut(
    parts: list[tuple[int, bytes] | bytes], cuts: list[int]
) -> None:
    data = wire(parts)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    heard = hear([data[a:b] for a, b in pairwise(edges)], Role.SERVER)
    assert heard.status is None
    messages = [item if isinstance(item, tuple) else PING for item in heard.items]
    assert messages == parts


@pytest.mark.parametrize("size", [0, 1, 65535])
def test_frames_of_every_size_come_byte_by_byte(size: int) -> None:
    # row 5
    payload = b"$" * size
    expected: list[Item] = [(3, payload), (3, b"")]
    assert hear(bytewise(frame(3, payload) + frame(3, b"")), Role.CLIENT).items == expected


def test_a_chunk_of_whole_frames_is_one_batch_with_the_very_bytes() -> None:
    chunk = b"".join(frame(n & 1, bytes([n]) * 1400) for n in range(46))
    connection = Connection(Role.CLIENT)
    storage = bytearray(chunk + b"$\x00\x00")
    connection.receive_data(memoryview(storage))
    storage[:] = bytes(len(storage))  # the reader's buffer is used again before the event is taken
    batch = connection.next_event()
    assert isinstance(batch, InterleavedBatch)
    assert batch.data == chunk
    assert len(batch.frames) == 46
    assert connection.next_event() is NEED_DATA
    connection.receive_data(b"\x02hi")
    rest = connection.next_event()
    assert isinstance(rest, InterleavedBatch)
    assert (rest.data, rest.frames) == (frame(0, b"hi"), [(0, 0, 6)])


def test_frames_wait_while_a_body_is_incomplete() -> None:
    connection = Connection(Role.SERVER)
    connection.receive_data(PING[:-1])
    assert connection.next_event() is NEED_DATA
    connection.receive_data(b"$" + frame(0, b"after"))
    request = connection.next_event()
    assert isinstance(request, Request)
    assert request.body == b"$"
    assert isinstance(connection.next_event(), InterleavedBatch)


def test_frames_given_before_the_events_are_taken_keep_their_place() -> None:
    connection = Connection(Role.SERVER)
    connection.receive_data(PING)
    connection.receive_data(frame(1, b"rr"))
    assert isinstance(connection.next_event(), Request)
    assert isinstance(connection.next_event(), InterleavedBatch)
    assert connection.next_event() is NEED_DATA


@pytest.mark.parametrize(("channel", "size"), [(256, 0), (-1, 0), (0, 65536)])
def test_what_does_not_fit_a_frame_is_not_sent(channel: int, size: int) -> None:
    with pytest.raises(LocalProtocolError):
        frame(channel, bytes(size))
    with pytest.raises(LocalProtocolError):
        frame_head(channel, bytes(size), sequence=0, timestamp=0, ssrc=0)


RUBBISH = {
    "bytes": b"\x80\x60rubbish",
    "a dollar with an unlikely channel": b"\xff$\xc8\x00\x01x",
    "a dollar with an unlikely size": b"\xff$\x00\xff\xff",
    "a word that begins like RTSP": b"\xffRTS RTSP RT",
    "text": b"<xml/>",
}


@pytest.mark.parametrize("name", RUBBISH)
@pytest.mark.parametrize("after", [OK, frame(0, b"video"), frame(19, bytes(1500))])
def test_a_lenient_client_finds_its_way_back(name: str, after: bytes) -> None:
    # T12
    data = frame(2, b"before") + RUBBISH[name] + after + OK
    heard = hear([data], Role.CLIENT, lenient_resync=True)
    assert heard.status is None
    assert heard.items[0] == (2, b"before")
    assert len(heard.items) == 3
    assert isinstance(heard.items[-1], Response)
    assert hear(bytewise(data), Role.CLIENT, lenient_resync=True) == heard
    assert hear([data], Role.CLIENT).status == 400


def test_a_full_size_frame_is_believed_on_a_channel_seen_before() -> None:
    large = frame(2, bytes(9000))
    unknown = hear([b"\xff" + large + OK], Role.CLIENT, lenient_resync=True)
    known = hear([frame(2, b"") + b"\xff" + large + OK], Role.CLIENT, lenient_resync=True)
    assert [type(item) for item in unknown.items] == [Response]
    assert known.items[1] == (2, bytes(9000))


def test_a_lenient_client_gives_up_after_so_many_tries() -> None:
    lie = b"$\x00\xff\xff"
    assert hear([b"\xff" + lie * RESYNC_MAX_TRIES + OK], Role.CLIENT, lenient_resync=True).status is None
    beyond = b"\xff" + lie * (RESYNC_MAX_TRIES + 1) + OK
    assert hear([beyond], Role.CLIENT, lenient_resync=True).status == 400
    assert hear(bytewise(beyond), Role.CLIENT, lenient_resync=True).status == 400


def test_a_lenient_client_gives_up_after_so_many_bytes() -> None:
    rubbish = bytes(RESYNC_MAX_SKIPPED_BYTES)
    assert hear([rubbish + OK], Role.CLIENT, lenient_resync=True).status is None
    assert hear([rubbish + b"\xff" + OK], Role.CLIENT, lenient_resync=True).status == 400


def test_frames_that_follow_each_other_make_up_for_what_was_lost() -> None:
    damaged = b"\xff$\x05\xff\xff" + frame(0, b"a") + frame(0, b"b")
    heard = hear([damaged * 50], Role.CLIENT, lenient_resync=True)
    assert heard.status is None
    assert len(heard.items) == 100


def test_rubbish_now_and_then_is_forgiven_for_ever() -> None:
    # row 7: the tries are counted until two frames follow each other, in one read of the socket or in two
    kept = frame(0, b"\x80\x60")
    chunks = [kept, kept, b"\x00 rubbish $\x01\xff\xff", kept] * (3 * RESYNC_MAX_TRIES)
    heard = hear(chunks, Role.CLIENT, lenient_resync=True)
    assert heard.status is None
    assert len(heard.items) == 9 * RESYNC_MAX_TRIES


rtp_headers = st.builds(
    lambda kind, sequence, numbers: bytes(kind) + sequence.to_bytes(2, "big") + bytes(numbers),
    st.tuples(st.sampled_from([0x80, 0x90, 0x40]), st.sampled_from([96, 224, 97])),
    st.integers(0, 0xFFFF),
    st.lists(st.sampled_from([0, 255]), min_size=8, max_size=8),
)
packets = st.one_of(st.binary(max_size=11), st.builds(bytes.__add__, rtp_headers, st.binary(max_size=30)))


@given(st.lists(st.tuples(st.integers(0, 2), packets), max_size=12), st.sampled_from([b"", b"$", b"$\0\1\0", b"RTSP"]))
def test_a_walk_tells_of_every_frame_what_its_header_says(parts: list[tuple[int, bytes]], after: bytes) -> None:
    data = wire([*parts])
    for given_as in (bytes, bytearray, memoryview):
        batch = InterleavedBatch(given_as(data + after))
        assert batch.data == data
        assert type(batch.data) is bytes
    assert [(channel, data[start + 4 : end]) for channel, start, end in batch.frames] == parts
    assert batch.largest_bytes == max([len(packet) for _, packet in parts], default=0)
    told = [stretch for stretch in batch.stretches for _ in range(stretch.first, stretch.after)]
    assert [stretch.first for stretch in batch.stretches] == [0, *(each.after for each in batch.stretches)][:-1]
    assert len(told) == len(parts)
    for (channel, packet), stretch in zip(parts, told, strict=True):
        if len(packet) < RTP_HEADER_BYTES:
            assert stretch[3:] == (0, 0, 0)
            assert not stretch.is_rtp
        else:
            assert stretch.channel == channel
            assert stretch.is_rtp == is_rtp(packet, 0, len(packet))
            assert (stretch.payload_type, stretch.marker) == (payload_type(packet, 0), marker(packet, 0))
            assert (stretch.timestamp, stretch.source) == (timestamp(packet, 0), ssrc(packet, 0))


def test_the_packets_of_a_picture_are_two_stretches() -> None:
    picture = [
        struct.pack("!BBHII", 0x80, 96 | (number == 15) << 7, number, 3600, 7) + bytes(1400) for number in range(16)
    ]
    batch = InterleavedBatch(wire([(0, packet) for packet in picture]))
    assert [(stretch.first, stretch.after, stretch.marker) for stretch in batch.stretches] == [
        (0, 15, False),
        (15, 16, True),
    ]
