"""The report block that we send to a camera: what came, what did not, how evenly (RFC 3550 6.4.1, appendix A)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol.reception import Reception
from halfgateway.protocol.rtcp import (
    ReceiverReport,
    ReportBlock,
    SenderReport,
    ntp_timestamp,
    parse_compound,
    receiver_report,
)

CLOCK_HZ = 90_000
SSRC = 7


def packet(number: int, *, rtp_ts: int = 0, ssrc: int = SSRC) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, number & 0xFFFF, rtp_ts & 0xFFFFFFFF, ssrc)


def block_of(reception: Reception, now_s: float = 0.0) -> ReportBlock:
    block = reception.block(now_s)
    assert block is not None
    return block


def test_nothing_is_told_of_what_was_never_heard() -> None:
    assert Reception(CLOCK_HZ).block(1.0) is None


@given(st.integers(0, 0xFFFF), st.lists(st.integers(1, 20), max_size=60))
def test_what_is_missing_is_told(first: int, steps: list[int]) -> None:
    reception = Reception(CLOCK_HZ)
    reception.take(packet(first), 0.0)
    number = first
    for step in steps:
        number += step
        reception.take(packet(number), 0.0)
    block = block_of(reception)
    assert block.ssrc == SSRC
    assert block.highest_sequence == number, "with the turns of the 16 bits"
    lost = sum(step - 1 for step in steps)
    assert block.cumulative_lost == lost
    assert block.fraction_lost == lost * 256 // (number - first + 1)
    again = block_of(reception)
    assert (again.fraction_lost, again.cumulative_lost) == (0, lost)


def test_what_is_missing_is_told_of_the_last_interval() -> None:
    reception = Reception(CLOCK_HZ)
    for number in (0, 1, 2, 3):
        reception.take(packet(number), 0.0)
    assert block_of(reception).fraction_lost == 0
    for number in (5, 7):
        reception.take(packet(number), 0.0)
    assert block_of(reception).fraction_lost == 128


def test_jitter_is_that_of_appendix_a8() -> None:
    reception = Reception(CLOCK_HZ)
    reception.take(packet(0, rtp_ts=0xFFFFFFFF - 1799), 10.00)
    reception.take(packet(1, rtp_ts=1800), 10.04)
    assert block_of(reception).jitter == 0, "3,600 units in 40 ms, over the turn of the 32 bits"
    reception.take(packet(2, rtp_ts=5400), 10.09)
    assert block_of(reception).jitter == pytest.approx(900 / 16, abs=1)


def test_the_round_trip_can_be_told_from_it() -> None:
    reception = Reception(CLOCK_HZ)
    reception.take_report(SenderReport(SSRC + 1, 1 << 40, 0, 1, 1), 0.5)
    reception.take(packet(0), 1.0)
    assert block_of(reception, 2.0).last_sender_report == 0
    assert block_of(reception, 3.0).delay_since_last_sender_report == 0
    told = ntp_timestamp(1_800_000_000_500_000_000)
    reception.take_report(SenderReport(SSRC, told, 0, 1, 1), 3.0)
    block = block_of(reception, 4.5)
    assert block.last_sender_report == told >> 16 & 0xFFFFFFFF
    assert block.delay_since_last_sender_report == 3 << 15


def test_a_report_that_comes_before_the_first_packet_counts() -> None:
    reception = Reception(CLOCK_HZ)
    reception.take_report(SenderReport(SSRC, 5 << 16, 0, 0, 0), 1.0)
    reception.take(packet(0), 1.5)
    assert block_of(reception, 2.0).last_sender_report == 5


@pytest.mark.parametrize("again", [packet(5, ssrc=8), packet(9, ssrc=SSRC), packet(40_000, ssrc=SSRC)])
def test_a_source_that_begins_anew_is_counted_anew(again: bytes) -> None:
    reception = Reception(CLOCK_HZ)
    for number in (10, 20):
        reception.take(packet(number), 0.0)
    reception.take(again, 0.0)
    assert block_of(reception).cumulative_lost == 0


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.floats(0, 1e6)), min_size=1))
def test_any_block_can_be_sent(arrivals: list[tuple[int, int, float]]) -> None:
    reception = Reception(CLOCK_HZ)
    for number, rtp_ts, arrival_s in arrivals:
        reception.take(packet(number, rtp_ts=rtp_ts), arrival_s)
    block = block_of(reception, 2e6)
    (report, _) = parse_compound(receiver_report(ReceiverReport(1, (block,)), "gateway"))
    assert report == ReceiverReport(1, (block,))
