"""A reader's stream stays one stream when its camera comes back with other numbers (RFC 3550 section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol.rtp import RtpView
from halfgateway.relay.chunk import Frame
from halfgateway.relay.continuity import Continuity
from tests.relay.packets import NON_IDR, frames, rtp, sender_report

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


def views(data: bytes, places: Sequence[Frame]) -> list[RtpView]:
    return [RtpView(data[start + 4 : end]) for channel, start, end in places if channel == 0]


def test_not_a_bit_is_changed_before_a_reconnection() -> None:
    data, places = frames((0, rtp(1, 100, NON_IDR)), (1, sender_report(0x11223344, 100)))
    continuity = Continuity(90_000)
    assert continuity.apply(data, places, 0.0) == (data, places)
    assert continuity.apply(data, places, 1.0)[0] is data


@given(first=U16, first_ts=U32, second=U16, second_ts=U32, ssrc=U32)
def test_the_sequel_follows_in_sequence_time_and_source(
    first: int, first_ts: int, second: int, second_ts: int, ssrc: int
) -> None:
    continuity = Continuity(90_000)
    continuity.apply(*frames((0, rtp(first, first_ts, NON_IDR))), 10.0)
    continuity.reconnected()
    data, places = frames(
        (0, rtp(second, second_ts, NON_IDR, ssrc=ssrc)),
        (0, rtp((second + 1) % 65536, (second_ts + 3600) % 2**32, NON_IDR, ssrc=ssrc)),
        (1, sender_report(ssrc, second_ts)),
    )
    sequel, _ = continuity.apply(data, places, 12.0)
    one, two = views(sequel, places)
    assert one.sequence == (first + 1) % 65536
    assert two.sequence == (first + 2) % 65536
    assert one.timestamp == (first_ts + 2 * 90_000) % 2**32
    assert (two.timestamp - one.timestamp) % 2**32 == 3600
    assert one.ssrc == two.ssrc == 0x11223344
    report = sequel[places[2][1] + 4 :]
    assert int.from_bytes(report[4:8], "big") == 0x11223344
    assert int.from_bytes(report[16:20], "big") == one.timestamp
    assert bytes(one.payload) == NON_IDR


def test_a_second_reconnection_follows_the_sequel() -> None:
    continuity = Continuity(90_000)
    continuity.apply(*frames((0, rtp(10, 0, NON_IDR))), 0.0)
    last = 10
    for start in (500, 7):
        continuity.reconnected()
        data, places = frames((0, rtp(start, 9, NON_IDR, ssrc=start)))
        (view,) = views(*continuity.apply(data, places, 1.0))
        assert view.sequence == last + 1
        last = view.sequence


def test_a_camera_that_never_sent_a_packet_has_nothing_to_continue() -> None:
    continuity = Continuity(90_000)
    continuity.reconnected()
    data, places = frames((0, rtp(5, 5, NON_IDR)))
    assert continuity.apply(data, places, 0.0) == (data, places)


def test_frames_too_short_to_be_packets_do_not_pass() -> None:
    continuity = Continuity(90_000)
    continuity.apply(*frames((0, rtp(1, 1, NON_IDR))), 0.0)
    continuity.reconnected()
    data, places = frames((0, b"\x80"), (1, b""), (0, rtp(9, 9, NON_IDR)))
    sequel, kept = continuity.apply(data, places, 0.5)
    assert kept == ((0, 0, len(sequel)),)
    assert RtpView(sequel[4:]).sequence == 2
