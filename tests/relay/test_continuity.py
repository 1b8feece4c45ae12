"""A reader's stream stays one stream when its camera comes back with other numbers (RFC 3550 section 5.1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol import rtcp
from halfgateway.protocol.rtp import RtpView, sequence_distance, timestamp_distance
from halfgateway.relay.chunk import Chunk
from halfgateway.relay.continuity import (
    MAX_DROPOUT,
    MAX_MISORDER,
    MAX_TIMESTAMP_RETREAT_S,
    Continuity,
)
from tests.relay.packets import NON_IDR, chunk, rtp, sender_report

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


def seen(chunk: Chunk) -> list[RtpView]:
    return [RtpView(chunk.data[start + 4 : end]) for channel, start, end in chunk.batch.frames if channel == 0]


def test_not_a_bit_is_changed_before_a_reconnection() -> None:
    first = chunk((0, rtp(1, 100, NON_IDR)), (1, sender_report(0x11223344, 100)))
    continuity = Continuity(90_000)
    assert continuity.apply(first, 0.0).data == first.data
    assert continuity.apply(first, 1.0) is first


@given(first=U16, first_ts=U32, second=U16, second_ts=U32, ssrc=U32)
def test_the_sequel_follows_in_sequence_time_and_source(
    first: int, first_ts: int, second: int, second_ts: int, ssrc: int
) -> None:
    continuity = Continuity(90_000)
    continuity.apply(chunk((0, rtp(first, first_ts, NON_IDR))), 10.0)
    continuity.reconnected()
    batch = chunk(
        (0, rtp(second, second_ts, NON_IDR, ssrc=ssrc)),
        (0, rtp((second + 1) % 65536, (second_ts + 3600) % 2**32, NON_IDR, ssrc=ssrc)),
        (1, sender_report(ssrc, second_ts)),
    )
    sequel = continuity.apply(batch, 12.0)
    one, two = seen(sequel)
    assert one.sequence == (first + 1) % 65536
    assert two.sequence == (first + 2) % 65536
    assert one.timestamp == (first_ts + 2 * 90_000) % 2**32
    assert (two.timestamp - one.timestamp) % 2**32 == 3600
    assert one.ssrc == two.ssrc == 0x11223344
    report = sequel.data[sequel.batch.ends[1] + 4 :]
    assert int.from_bytes(report[4:8], "big") == 0x11223344
    assert int.from_bytes(report[16:20], "big") == one.timestamp
    assert bytes(one.payload) == NON_IDR


def test_a_second_reconnection_follows_the_sequel() -> None:
    continuity = Continuity(90_000)
    continuity.apply(chunk((0, rtp(10, 0, NON_IDR))), 0.0)
    last = 10
    for start in (500, 7):
        continuity.reconnected()
        (view,) = seen(continuity.apply(chunk((0, rtp(start, 9, NON_IDR, ssrc=start))), 1.0))
        assert view.sequence == last + 1
        last = view.sequence


def test_a_camera_that_never_sent_a_packet_has_nothing_to_continue() -> None:
    continuity = Continuity(90_000)
    continuity.reconnected()
    first = chunk((0, rtp(5, 5, NON_IDR)))
    assert continuity.apply(first, 0.0).data == first.data


def test_frames_too_short_to_be_packets_do_not_pass() -> None:
    continuity = Continuity(90_000)
    continuity.apply(chunk((0, rtp(1, 1, NON_IDR))), 0.0)
    continuity.reconnected()
    sequel = continuity.apply(chunk((0, b"\x80"), (1, b""), (0, rtp(9, 9, NON_IDR))), 0.5)
    assert sequel.batch.ends == [len(sequel.data)]
    assert RtpView(sequel.data[4:]).sequence == 2


PICTURE_TICKS = 3600


def feed(continuity: Continuity, packets: list[tuple[int, int, int]], now: float = 0.0) -> list[RtpView]:
    """Packets of (SSRC, sequence, timestamp) in one batch, as readers see them."""
    batch = chunk(*((0, rtp(number, ticks, NON_IDR, ssrc=ssrc)) for ssrc, number, ticks in packets))
    return seen(continuity.apply(batch, now))


def test_what_is_lost_late_or_twice_stays_so() -> None:  # RFC 3550 appendix A.1
    continuity = Continuity(90_000)
    feed(continuity, [(1, 10, 0)])
    seen = [view.sequence for number in (13, 12, 13, 2900) for view in feed(continuity, [(1, number, 0)])]
    assert seen == [13, 12, 13, 2900]


def test_pictures_in_the_order_of_their_decoding_keep_their_time() -> None:
    continuity = Continuity(90_000)
    ticks = [0, 3 * PICTURE_TICKS, PICTURE_TICKS, 2 * PICTURE_TICKS, 5 * PICTURE_TICKS]
    seen = [view.timestamp for n, tick in enumerate(ticks) for view in feed(continuity, [(1, n, tick)], n * 0.04)]
    assert seen == ticks


def test_what_a_camera_held_back_keeps_its_time() -> None:
    continuity = Continuity(90_000)
    feed(continuity, [(1, 0, 0)], 0.0)
    (burst,) = feed(continuity, [(1, 1, 9 * 90_000)], 0.01)
    (silence,) = feed(continuity, [(1, 2, 69 * 90_000)], 60.0)
    assert [burst.timestamp, silence.timestamp] == [9 * 90_000, 69 * 90_000]


def test_a_source_that_falls_silent_gives_way_to_the_one_that_was_kept_apart() -> None:
    continuity = Continuity(90_000)
    for now, ssrc, number in ((0.0, 1, 0), (0.1, 2, 900), (0.2, 1, 1), (0.3, 2, 901)):
        seen = feed(continuity, [(ssrc, number, round(now * 90_000))], now)
        assert len(seen) == (0 if now == 0.3 else 1)
    (taken,) = feed(continuity, [(2, 902, 5)], 1.5)
    assert (taken.ssrc, taken.sequence) == (1, 3)


def test_what_is_no_packet_does_not_pass_for_another_source() -> None:
    continuity = Continuity(90_000)
    feed(continuity, [(1, 0, 0)])
    batch = chunk((0, b"\x90" + rtp(7, 7, b"", ssrc=2)[1:]), (0, rtp(1, 1, NON_IDR, ssrc=1)))
    assert [view.sequence for view in seen(continuity.apply(batch, 0.1))] == [1]


def test_reports_and_names_follow_their_source() -> None:
    continuity = Continuity(90_000)
    feed(continuity, [(1, 0, 0)])
    feed(continuity, [(2, 500, 50)], 1.0)
    for ssrc, passes in ((1, False), (2, True), (3, False)):
        report = chunk((1, rtcp.sender_report(rtcp.SenderReport(ssrc, 1 << 32, 50, 1, 1), "camera")))
        sequel = continuity.apply(report, 1.1)
        assert bool(sequel.data) is passes
        assert not passes or sequel.data[8:12] == sequel.data[36:40] == (1).to_bytes(4, "big")


@given(st.lists(st.tuples(st.integers(1, 3), U16, U32, st.floats(0, 20)), min_size=1, max_size=40))
def test_readers_see_one_source_whose_numbers_never_leap(packets: list[tuple[int, int, int, float]]) -> None:  # row 52
    continuity = Continuity(90_000)
    now, last = 0.0, None
    for ssrc, number, ticks, after in packets:
        now += after
        for view in feed(continuity, [(ssrc, number, ticks)], now):
            assert view.ssrc == packets[0][0]
            if last is not None:
                assert -MAX_MISORDER <= sequence_distance(last.sequence, view.sequence) <= MAX_DROPOUT
                moved_s = timestamp_distance(last.timestamp, view.timestamp) / 90_000
                assert moved_s >= -MAX_TIMESTAMP_RETREAT_S - 1
            last = view
