"""What is asked of a chunk is told from its stretches, whatever stands between its packets."""

from __future__ import annotations

import pytest

from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.relay.chunk import Chunk
from tests.relay.packets import IDR, NON_IDR, chunk, frames, rtp, sender_report

REPORT = (1, sender_report(1, 0))
FIRST, MIDDLE, LAST = ((0, rtp(number, 0, NON_IDR.ljust(50), marker=number == 2)) for number in range(3))
SHORT = (0, b"\x80\x60")


def test_counts_packets_and_their_payloads_alone() -> None:
    mixed = chunk(REPORT, FIRST, SHORT, MIDDLE, REPORT, LAST, REPORT)
    assert (mixed.packets, mixed.octets) == (3, 150)
    assert [mixed.packets_from(index) for index in range(8)] == [3, 3, 2, 2, 1, 1, 0, 0]
    assert mixed.data[mixed.first_packet :].startswith(FIRST[1])
    assert mixed.data[mixed.last_packet :].startswith(LAST[1])
    assert mixed.batch.largest_bytes == 62


@pytest.mark.parametrize(
    ("ends_with", "more"),
    [(FIRST, True), (LAST, False), (REPORT, False), (SHORT, False), ((0, b"\x00" + MIDDLE[1][1:]), False)],
)
def test_more_of_a_picture_is_to_come_after_a_packet_without_the_marker(
    ends_with: tuple[int, bytes], more: bool
) -> None:
    assert chunk(FIRST, ends_with).is_within_picture is more


def test_is_parted_at_frames_and_loses_none() -> None:
    whole = chunk(FIRST, REPORT, MIDDLE, LAST)
    pieces = list(whole.pieces(80))
    assert [len(piece.batch.ends) for piece in pieces] == [2, 2]
    assert b"".join(piece.data for piece in pieces) == whole.data


def test_is_followed_by_a_report_and_keeps_its_keyframe() -> None:
    begins = Chunk(InterleavedBatch(frames(FIRST, (0, rtp(1, 3600, IDR)))), keyframe=1)
    told = begins.followed_by(*REPORT)
    assert (told.data, told.keyframe, told.packets) == (begins.data + frames(REPORT), 1, 2)


def test_is_renumbered_from_any_frame() -> None:
    mixed = chunk(FIRST, REPORT, MIDDLE)
    assert mixed.bytes_from(1, (6, 7)) == frames((7, REPORT[1]), (6, MIDDLE[1]))
    assert mixed.bytes_from(0, (0, 1)) is mixed.data
