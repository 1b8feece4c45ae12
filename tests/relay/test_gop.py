"""What a joining reader begins with: the current group of pictures, drawn together (ADR 4)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch
from halfgateway.protocol.rtp import RtpView, timestamp_distance
from halfgateway.relay.chunk import Chunk
from halfgateway.relay.gop import MAX_GOP_S, GroupOfPictures, Opening
from tests.relay.packets import IDR, NON_IDR, frames, rtp, sender_report

CLOCK_HZ = 90_000
MILLISECOND = 90
FRAME = 3600


def chunk(*packets: tuple[int, bytes], keyframe: int | None = None) -> Chunk:
    return Chunk(InterleavedBatch(frames(*packets)), keyframe)


def picture(number: int, *, keyframe: bool = False, time: int | None = None) -> Chunk:
    """One picture of two packets."""
    payload = IDR if keyframe else NON_IDR
    stamp = (number * FRAME if time is None else time) & 0xFFFFFFFF
    parts = [(0, rtp((2 * number + part) & 0xFFFF, stamp, payload, marker=part == 1)) for part in range(2)]
    return chunk(*parts, keyframe=0 if keyframe else None)


def packets(opening: Opening | None) -> list[RtpView]:
    assert opening is not None
    data = opening.chunk.data
    return [RtpView(data[start + FRAME_HEADER_BYTES : end]) for _, start, end in opening.chunk.batch.frames]


def test_without_a_keyframe_there_is_nothing_to_begin_with() -> None:
    gop = GroupOfPictures(CLOCK_HZ)
    assert gop.opening() is None
    gop.add(picture(0), 0.0)
    assert gop.opening() is None


def test_the_group_is_drawn_together_and_ends_at_the_live_edge() -> None:
    gop = GroupOfPictures(CLOCK_HZ)
    for number in range(5):
        gop.add(picture(number, keyframe=number == 0), number / 25)
    opening = gop.opening()
    found = packets(opening)
    assert [packet.sequence for packet in found] == list(range(10))
    live = 4 * FRAME
    assert [packet.timestamp for packet in found] == [
        (live - back * MILLISECOND) & 0xFFFFFFFF for back in (4, 4, 3, 3, 2, 2, 1, 1, 0, 0)
    ]
    assert [packet.marker for packet in found] == [False, True] * 5
    assert opening is not None
    assert (opening.sequence, opening.timestamp) == (found[0].sequence, found[0].timestamp)
    assert opening.chunk.keyframe == 0


def test_it_begins_at_the_keyframe_within_its_chunk_and_leaves_reports_out() -> None:
    gop = GroupOfPictures(CLOCK_HZ)
    before, key, report = rtp(1, 0, NON_IDR), rtp(2, FRAME, IDR), sender_report(0x11223344, FRAME)
    gop.add(chunk((0, before), (1, report), (0, key), keyframe=2), 0.0)
    gop.add(chunk((1, report), (0, rtp(3, 2 * FRAME, NON_IDR))), 0.04)
    assert [packet.sequence for packet in packets(gop.opening())] == [2, 3]


def test_a_new_keyframe_begins_a_new_group() -> None:
    gop = GroupOfPictures(CLOCK_HZ)
    for number in (0, 1, 2):
        gop.add(picture(number, keyframe=number != 1), number / 25)
    assert [packet.sequence for packet in packets(gop.opening())] == [4, 5]


def test_past_its_bounds_it_is_given_up_until_the_next_keyframe() -> None:
    size = len(picture(0).data)
    for gop, last_s in (
        (GroupOfPictures(CLOCK_HZ), MAX_GOP_S + 0.1),
        (GroupOfPictures(CLOCK_HZ, max_bytes=2 * size), 0.1),
    ):
        gop.add(picture(0, keyframe=True), 0.0)
        gop.add(picture(1), 0.04)
        assert gop.opening() is not None
        gop.add(picture(2), last_s)
        assert gop.opening() is None
        gop.add(picture(3), last_s)
        assert gop.opening() is None
        gop.add(picture(4, keyframe=True), last_s)
        assert gop.opening() is not None


def test_what_was_no_start_is_forgotten() -> None:
    gop = GroupOfPictures(CLOCK_HZ)
    gop.add(picture(0, keyframe=True), 0.0)
    gop.forget()
    assert gop.opening() is None


def test_the_packets_that_are_kept_are_not_changed() -> None:
    gop = GroupOfPictures(CLOCK_HZ)
    key = picture(0, keyframe=True)
    before = bytes(key.data)
    gop.add(key, 0.0)
    gop.add(picture(1), 0.04)
    gop.opening()
    assert key.data == before


@given(
    first=st.integers(0, 0xFFFFFFFF),
    order=st.lists(st.integers(0, 200), min_size=1, max_size=60, unique=True),
)
def test_pictures_keep_their_order_in_time(first: int, order: list[int]) -> None:
    """Also where they are sent in another order than they are shown in (B pictures), and where the clock wraps."""
    gop = GroupOfPictures(CLOCK_HZ)
    times = [first + FRAME * place for place in order]
    for number, time in enumerate(times):
        gop.add(picture(number, keyframe=number == 0, time=time), 0.0)
    drawn = [packet.timestamp for packet in packets(gop.opening())][::2]
    shown = sorted(range(len(order)), key=lambda number: order[number])
    assert drawn[shown[-1]] == max(times) & 0xFFFFFFFF
    assert all(timestamp_distance(drawn[one], drawn[next_one]) == MILLISECOND for one, next_one in pairwise(shown))
