"""Packets put together into pictures, when they were filmed, and to which passage they belong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import RecorderUnreachable
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.replay import PlayOptions
from halfgateway.protocol.replay_header import ReplayHeader, with_replay_header
from halfgateway.protocol.rtcp import SenderReport, ntp_timestamp
from halfgateway.relay.source import VideoFormat
from halfgateway.replay import pictures
from halfgateway.replay.footage import Passage, Picture
from halfgateway.replay.passage_gate import STRAGGLERS, PassageGate
from halfgateway.replay.pictures import Assembly, Timeline
from tests.relay.packets import IDR, NON_IDR, rtp
from tests.replay.scripted_recorder import NOON

HZ = 90_000
SECOND = timedelta(seconds=1)
NOW = NOON + timedelta(days=2)
VIDEO = VideoFormat(Codec.H264, HZ, frozenset({96}))
PASSAGE = Passage(NOON)


def timeline(passage: Passage = PASSAGE) -> Timeline:
    return Timeline(passage, HZ, NOW)


def put_together(packets: list[bytes], video: VideoFormat = VIDEO) -> list[Picture]:
    assembly = Assembly(video, timeline())
    return [picture for packet in packets for picture in assembly.feed(packet)] + list(assembly.flush())


def test_packets_of_one_timestamp_are_one_picture() -> None:
    packets = [
        rtp(1, 0, IDR, marker=False),
        rtp(2, 0, IDR),
        rtp(3, 3000, NON_IDR, marker=False),  # whose marker is lost
        rtp(4, 6000, NON_IDR),
    ]
    found = put_together(packets)
    assert [picture.packets for picture in found] == [packets[:2], packets[2:3], packets[3:]]
    assert [picture.clean for picture in found] == [True, False, False]


def test_other_payload_types_are_left_out() -> None:
    other = bytearray(rtp(2, 0, IDR))
    other[1] = 0x80 | 97
    assert [len(picture.packets) for picture in put_together([rtp(1, 0, IDR), bytes(other)])] == [1]


def test_a_picture_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 10_000)
    assembly = Assembly(VIDEO, timeline())
    for number in range(9):
        assert not list(assembly.feed(rtp(number, 0, IDR + bytes(1000), marker=False)))
    with pytest.raises(RecorderUnreachable, match="sans fin"):
        list(assembly.feed(rtp(9, 0, IDR + bytes(1000), marker=False)))


@pytest.mark.parametrize(("codec", "clean"), [(Codec.H264, True), (Codec.OTHER, False)])
def test_a_recorder_that_never_says_clean_is_read_where_its_codec_can_be(codec: Codec, clean: bool) -> None:
    packet = with_replay_header(rtp(1, 0, IDR), ReplayHeader(NOON))
    assert bool(put_together([packet], VideoFormat(codec, HZ))) == clean


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 10 * HZ), min_size=1, max_size=50), st.sampled_from([1, -2]))
def test_instants_follow_the_timestamps_however_long_it_lasts(first: int, steps: list[int], scale: int) -> None:
    clock = timeline(Passage(NOON, None, PlayOptions(scale=scale)))
    timestamp = first
    assert clock.at(first) == NOON
    for step in steps:
        timestamp += step
        assert abs(clock.at(timestamp % 2**32) - NOON - (timestamp - first) / HZ * scale * SECOND) < SECOND / 1000


def test_without_rate_control_timestamps_are_of_what_was_filmed() -> None:
    clock = timeline(Passage(NOON, None, PlayOptions(scale=-1.0, rate_control=False)))
    clock.at(HZ)
    assert clock.at(0) == NOON - SECOND


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (NOON + timedelta(minutes=7), True),
        (NOON - timedelta(hours=23), True),
        (NOON - timedelta(hours=25), False),
        (NOW, False),
        (datetime(1970, 1, 2, tzinfo=UTC), False),
        (datetime(1900, 1, 1, tzinfo=UTC), False),
    ],
)
def test_a_sender_report_is_believed_where_it_can_be(told: datetime, believed: bool) -> None:
    clock = timeline()
    clock.at(0)
    clock.reported(SenderReport(1, ntp_timestamp(int(told.timestamp()) * 10**9), HZ, 0, 0))
    assert clock.at(2 * HZ) == (told + SECOND if believed else NOON + 2 * SECOND)


def test_a_report_of_the_present_is_the_senders_own_clock() -> None:
    now = NOON + timedelta(hours=2)
    clock = Timeline(PASSAGE, HZ, now)
    clock.at(0)
    clock.reported(SenderReport(1, ntp_timestamp(int(now.timestamp()) * 10**9), HZ, 0, 0))
    assert clock.at(2 * HZ) == NOON + 2 * SECOND


def test_where_a_recorder_says_that_it_begins_counts() -> None:
    clock = timeline()
    clock.begins(NOON - SECOND, 1000, 1.0)
    assert clock.at(1000 + HZ) == NOON
    clock = timeline()
    clock.begins(NOON - timedelta(days=2), None, 1.0)
    assert clock.at(5) == NOON


def test_a_recorder_that_plays_at_another_scale_than_asked_is_believed() -> None:
    clock = timeline(Passage(NOON, None, PlayOptions(scale=4.0)))
    clock.begins(None, 0, 1.0)
    assert clock.at(HZ) == NOON + SECOND


def gate(*, immediate: bool = True) -> PassageGate:
    return PassageGate(NOON, at_rest=False, immediate=immediate, last_cseq=lambda: 9, cseq_before=8)


def said(sequence: int, *, discontinuous: bool = False, cseq: int = 0) -> bytes:
    return with_replay_header(rtp(sequence, 0, IDR), ReplayHeader(NOON, discontinuous=discontinuous, cseq=cseq))


def test_what_comes_before_the_answer_counts_from_what_follows_nothing() -> None:
    # GStreamer: RTP-Info names a packet that comes after the first of the new passage
    shut = gate()
    packets = [said(1), said(2, discontinuous=True), said(3), said(4)]
    assert not any(shut.admits(packet) for packet in packets)
    assert shut.answered(4) == packets[1:]
    assert shut.admits(said(5))


def test_what_follows_nothing_elsewhere_is_of_before() -> None:
    shut = gate()
    elsewhere = with_replay_header(rtp(1, 0, IDR), ReplayHeader(NOON - timedelta(hours=1), discontinuous=True))
    assert not shut.admits(elsewhere)
    assert not shut.answered(None)
    assert not shut.admits(said(2))
    assert shut.admits(said(3, discontinuous=True))


def test_the_number_of_play_is_enough_and_another_is_none() -> None:
    shut = gate()
    assert not shut.admits(said(1, cseq=8, discontinuous=True))
    assert shut.admits(said(2, cseq=9))


def test_what_is_never_marked_is_let_in_in_the_end() -> None:
    shut = gate()
    shut.answered(None)
    turned_away = next(number for number in range(STRAGGLERS + 2) if shut.admits(said(number)))
    assert turned_away == STRAGGLERS


def test_a_late_packet_behind_the_first_is_not_let_in() -> None:
    shut = gate(immediate=False)
    shut.answered(100)
    assert not shut.admits(rtp(99, 0, IDR))
    assert shut.admits(rtp(100, 0, IDR))
