"""RTP and RTCP: read without a copy, renumbered in place, reports and goodbyes (rows 52, 53)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol import rtcp, rtp
from halfgateway.protocol.connection import Role
from halfgateway.protocol.interleaved import frame, frame_head
from halfgateway.protocol.rtcp import (
    Goodbye,
    OtherPacket,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    parse_compound,
)
from halfgateway.protocol.rtp import RtpView
from tests.protocol.feeding import corpus, hear

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


def packet(
    payload: bytes = b"video",
    *,
    marker: bool = False,
    csrcs: int = 0,
    extension: bytes | None = None,
    padding: bytes = b"",
) -> bytes:
    first = 0x80 | csrcs | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    head = struct.pack("!BBHII", first, marker << 7 | 96, 7, 90_000, 0xDECAFBAD) + bytes(4 * csrcs)
    if extension is not None:
        head += struct.pack("!HH", 0xABAC, len(extension) // 4) + extension
    return head + payload + padding


@given(
    st.binary(max_size=50),
    st.booleans(),
    st.integers(0, 15),
    st.none() | st.integers(0, 4).map(lambda words: bytes(range(4 * words))),
    st.integers(0, 20),
)
def test_a_packet_is_taken_apart(payload: bytes, marker: bool, csrcs: int, extension: bytes | None, pad: int) -> None:
    padding = bytes(pad - 1) + bytes([pad]) if pad else b""
    data = packet(payload, marker=marker, csrcs=csrcs, extension=extension, padding=padding)
    view = RtpView(data)
    assert (view.sequence, view.timestamp, view.ssrc) == (7, 90_000, 0xDECAFBAD)
    assert (view.payload_type, view.marker, view.padding_bytes) == (96, marker, pad)
    assert view.payload == payload
    assert (view.extension is None) == (extension is None)
    if view.extension is not None:
        assert view.extension[0] == 0xABAC
        assert bytes(view.extension[1]) == extension
    in_place = b"####" + data
    end = len(in_place)
    assert rtp.is_rtp(in_place, 4, end)
    assert rtp.marker(in_place, 4) is marker
    assert rtp.payload_type(in_place, 4) == 96
    assert rtp.sequence(in_place, 4) == 7
    assert rtp.timestamp(in_place, 4) == 90_000
    assert rtp.ssrc(in_place, 4) == 0xDECAFBAD
    start, stop = rtp.payload_bounds(in_place, 4, end)
    assert in_place[start:stop] == payload


def test_the_payload_is_not_copied() -> None:
    data = bytearray(packet(b"video"))
    view = RtpView(memoryview(data))
    data[-1:] = b"!"
    assert bytes(view.payload) == b"vide!"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet()[:11],
        b"\x40" + packet()[1:],
        packet(csrcs=3)[:20],
        packet(extension=b"")[:14],
        packet(extension=bytes(8))[:18],
        b"\xa0" + packet(b"")[1:],
        packet(b"video\x00")[:1].replace(b"\x80", b"\xa0") + packet(b"video\x00")[1:],
        packet(b"x", padding=b"\x09"),
    ],
)
def test_what_is_no_rtp_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        RtpView(data)


def test_what_is_no_rtp_is_seen_from_its_first_bytes() -> None:
    assert not rtp.is_rtp(packet(), 0, 11)
    assert not rtp.is_rtp(b"\x40" + packet()[1:], 0, len(packet()))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_packet_or_a_declared_error(data: bytes) -> None:
    for candidate in (data, b"\x80" + data, b"\xbf" + data):
        if rtp.is_rtp(candidate, 0, len(candidate)):
            start, stop = rtp.payload_bounds(candidate, 0, len(candidate))
            assert 12 <= start <= stop <= len(candidate)
        try:
            view = RtpView(candidate)
        except RemoteProtocolError:
            continue
        assert len(view.payload) <= len(candidate) - 12


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_only_the_three_numbers_are_others(sequence: int, timestamp: int, ssrc: int) -> None:
    before = packet(marker=True)
    head = frame_head(6, before, sequence=sequence, timestamp=timestamp, ssrc=ssrc)
    after = RtpView(head[4:] + before[12:])
    assert (after.sequence, after.timestamp, after.ssrc) == (
        sequence % 2**16,
        timestamp % 2**32,
        ssrc % 2**32,
    )
    assert head[:6] == frame(6, before)[:6]
    assert len(head) == 4 + 12


@given(U16, st.integers(-32768, 32767), U32, st.integers(-(2**31), 2**31 - 1))
def test_distances_are_signed_and_wrap(sequence: int, steps: int, timestamp: int, units: int) -> None:
    assert rtp.sequence_distance(sequence, (sequence + steps) % 2**16) == steps
    assert rtp.timestamp_distance(timestamp, (timestamp + units) % 2**32) == units


blocks = st.lists(
    st.builds(ReportBlock, U32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), U32, U32, U32, U32), max_size=31
).map(tuple)
NAMES = st.text("abcdefgh", min_size=1, max_size=255)


@given(st.builds(SenderReport, U32, st.integers(0, 2**64 - 1), U32, U32, U32, blocks), NAMES)
def test_a_sender_report_is_read_back_as_it_was_written(report: SenderReport, cname: str) -> None:
    first, description = parse_compound(rtcp.sender_report(report, cname))
    assert first == report
    assert isinstance(description, OtherPacket)
    assert (description.packet_type, description.count) == (rtcp.SOURCE_DESCRIPTION, 1)
    assert description.content[:6] == struct.pack("!IBB", report.ssrc, 1, len(cname))
    assert description.content[6:].rstrip(b"\0") == cname.encode()
    assert description.content.endswith(b"\0")


@given(st.builds(ReceiverReport, U32, blocks), NAMES)
def test_a_receiver_report_is_read_back_as_it_was_written(report: ReceiverReport, cname: str) -> None:
    assert parse_compound(rtcp.receiver_report(report, cname))[0] == report


def test_a_goodbye_says_every_source() -> None:
    assert parse_compound(rtcp.bye(1, 2, 3)) == (ReceiverReport(1), Goodbye((1, 2, 3)))
    with_name = parse_compound(rtcp.bye(1, cname="gw"))
    assert [type(part) for part in with_name] == [ReceiverReport, OtherPacket, Goodbye]
    assert rtcp.bye(0xDECAFBAD) == bytes.fromhex("80c90001decafbad81cb0001decafbad")


def test_what_cannot_be_said_is_not_sent() -> None:
    attempts: tuple[Callable[[], bytes], ...] = (
        rtcp.bye,
        lambda: rtcp.bye(*range(32)),
        lambda: rtcp.bye(1, cname="x" * 256),
        lambda: rtcp.receiver_report(ReceiverReport(1), ""),
        lambda: rtcp.receiver_report(ReceiverReport(1, (ReportBlock(1),) * 32), "x"),
    )
    for wrong in attempts:
        with pytest.raises(LocalProtocolError):
            wrong()


def test_padding_and_unknown_packets_are_read() -> None:
    padded = bytes.fromhex("a0c90002") + bytes.fromhex("00000001") + b"\0\0\0\x04"
    assert parse_compound(padded + b"\x81\xcd\x00\x01abcd") == (
        ReceiverReport(1),
        OtherPacket(205, 1, b"abcd"),
    )


@pytest.mark.parametrize(
    "data",
    ["", "80", "80c9", "80c90001", "00c9000100000001", "81c9000100000001", "80c8000100000001", "82cb000100000001",
     "a0c9000100000000", "a0c9000100000009", "a0c90000", "80c900010000000180"],
)  # fmt: skip
def test_what_is_no_rtcp_is_refused(data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_compound(bytes.fromhex(data))


@given(st.binary(max_size=80))
def test_any_bytes_are_rtcp_or_a_declared_error(data: bytes) -> None:
    for candidate in (data, b"\x80\xc8\x00\x06" + data, b"\x81\xc9\x00\x07" + data):
        try:
            assert parse_compound(candidate)
        except RemoteProtocolError:
            continue


@given(st.integers(0, 4_000_000_000 * 10**9), st.integers(-(10**9), 10**9))
def test_ntp_times_survive_the_era_of_2036(unix_ns: int, apart_s: int) -> None:
    ntp = rtcp.ntp_timestamp(unix_ns)
    assert 0 <= ntp < 2**64
    assert abs(rtcp.unix_ns(ntp, unix_ns + apart_s * 10**9) - unix_ns) <= 1


def test_ntp_time_of_a_known_instant() -> None:
    assert rtcp.ntp_timestamp(0) == 2_208_988_800 << 32
    assert rtcp.ntp_timestamp(500_000_000) & 0xFFFFFFFF == 0x80000000


def test_the_captures_are_rtp_and_rtcp() -> None:
    heard = hear([corpus(".bin")["gst-rtsp-server-1.22-h264.bin"]], Role.CLIENT).items
    video = [RtpView(item[1]) for item in heard if isinstance(item, tuple) and item[0] == 0]
    assert len({view.ssrc for view in video}) == 1
    steps = [rtp.sequence_distance(a.sequence, b.sequence) for a, b in pairwise(video)]
    assert set(steps) == {1}
