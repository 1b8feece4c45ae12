"""A slow reader skips whole groups of pictures and never holds the others back."""

from __future__ import annotations

import pytest

from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.relay.chunk import Chunk
from halfgateway.relay.gop import Opening
from halfgateway.relay.reader import PIECE_BYTES, Gate, LastPacket, Reader


class RecordingSink:
    """A sink whose buffer the test fills and empties."""

    def __init__(self) -> None:
        self.writable = True
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def frame(channel: int, sequence: int, size: int = 20) -> bytes:
    packet = bytes([0x80, 96]) + sequence.to_bytes(2, "big") + bytes(4) + b"SSRC" + bytes(size - 12)
    return b"$" + bytes([channel]) + size.to_bytes(2, "big") + packet


def chunk(*sequences: int, keyframe: int | None = None, size: int = 20) -> Chunk:
    return Chunk(InterleavedBatch(b"".join(frame(0, sequence, size) for sequence in sequences)), keyframe)


def reader(sink: RecordingSink, *, limit_bytes: int = 100, channels: tuple[int, int] = (0, 1)) -> Reader:
    return Reader(sink, Gate(), now=lambda: 0.0, channels=channels, limit_bytes=limit_bytes)


def test_begins_at_the_first_keyframe_not_before() -> None:
    sink = RecordingSink()
    joining = reader(sink)
    joining.deliver(chunk(1, 2))
    joining.deliver(chunk(3, 4, 5, keyframe=1))
    assert b"".join(sink.written) == frame(0, 4) + frame(0, 5)
    assert (joining.sent_packets, joining.lost_packets) == (2, 0)
    assert joining.ssrc == int.from_bytes(b"SSRC", "big")


def test_what_the_sink_could_not_send_is_counted_as_lost() -> None:
    sink = RecordingSink()
    losing = reader(sink)
    losing.deliver(chunk(1, 2, 3, keyframe=0))
    losing.not_sent(2, 48)
    assert (losing.sent_packets, losing.lost_packets, losing.sent_bytes) == (1, 2, 24)


def test_passes_the_cameras_own_bytes() -> None:
    sink = RecordingSink()
    whole = chunk(1, 2, keyframe=0)
    reader(sink).deliver(whole)
    assert sink.written == [whole.data]
    assert sink.written[0] is whole.data


def test_renumbers_channels_for_a_reader_that_asked_for_others() -> None:
    sink = RecordingSink()
    data = frame(0, 1) + frame(1, 9)
    reader(sink, channels=(6, 7)).deliver(Chunk(InterleavedBatch(data), 0))
    assert sink.written == [frame(6, 1) + frame(7, 9)]


def test_a_full_reader_loses_what_waits_and_goes_on_at_a_keyframe() -> None:
    # L10: what is lost is counted, never silent
    sink = RecordingSink()
    slow = reader(sink, limit_bytes=60)
    slow.deliver(chunk(1, keyframe=0))
    sink.writable = False
    slow.deliver(chunk(2))
    slow.deliver(chunk(3))
    assert slow.queued_bytes == 48
    slow.deliver(chunk(4))
    assert slow.queued_bytes == 0
    sink.writable = True
    slow.drain()
    slow.deliver(chunk(5))
    slow.deliver(chunk(6, 7, keyframe=1))
    assert b"".join(sink.written) == frame(0, 1) + frame(0, 7)
    assert slow.lost_packets == 4


def test_drains_in_order_as_far_as_the_sink_takes() -> None:
    sink = RecordingSink()
    slow = reader(sink, limit_bytes=10_000)
    slow.deliver(chunk(1, keyframe=0))
    sink.writable = False
    for sequence in (2, 3, 4):
        slow.deliver(chunk(sequence))
    assert len(sink.written) == 1
    sink.writable = True
    slow.drain()
    slow.deliver(chunk(5))
    assert b"".join(sink.written) == b"".join(frame(0, sequence) for sequence in range(1, 6))


@pytest.mark.parametrize("shut", [lambda gate: gate.close(), lambda gate: setattr(gate, "until", 0.0)])
def test_nothing_passes_a_gate_that_is_closed_or_whose_lease_has_lapsed(shut) -> None:  # type: ignore[no-untyped-def]
    # C01, C10: the lease is asked for every chunk, and for what waited
    sink = RecordingSink()
    gate = Gate()
    gated = Reader(sink, gate, now=lambda: 1.0)
    gated.deliver(chunk(1, keyframe=0))
    sink.writable = False
    gated.deliver(chunk(2))
    shut(gate)
    sink.writable = True
    gated.drain()
    gated.deliver(chunk(3, keyframe=0))
    assert b"".join(sink.written) == frame(0, 1)
    assert gated.queued_bytes == 0


def test_begins_anew_at_a_keyframe_after_a_pause() -> None:
    sink = RecordingSink()
    paused = reader(sink)
    paused.deliver(chunk(1, keyframe=0))
    paused.restart()
    paused.deliver(chunk(2))
    paused.deliver(chunk(3, keyframe=0))
    assert b"".join(sink.written) == frame(0, 1) + frame(0, 3)


def opening(*sequences: int, size: int = 20) -> Opening:
    return Opening(chunk(*sequences, keyframe=0, size=size), sequences[0], 0)


def test_an_opening_comes_before_the_next_chunk_and_needs_no_keyframe() -> None:
    sink = RecordingSink()
    joining = reader(sink)
    joining.open(opening(1, 2))
    joining.deliver(chunk(3))
    assert b"".join(sink.written) == frame(0, 1) + frame(0, 2) + frame(0, 3)
    assert (joining.sent_packets, joining.lost_packets) == (3, 0)
    assert joining.ssrc == int.from_bytes(b"SSRC", "big")


def test_an_opening_is_exempt_from_what_a_reader_may_leave_unsent() -> None:
    # issue: the burst is exempt from the slow-reader rule; what comes after it is not
    sink = RecordingSink()
    joining = reader(sink, limit_bytes=60)
    sink.writable = False
    joining.open(opening(*range(10)))
    joining.deliver(chunk(10))
    joining.deliver(chunk(11))
    assert joining.lost_packets == 0
    joining.deliver(chunk(12))
    assert joining.lost_packets == 12
    sink.writable = True
    joining.drain()
    assert sink.written == []


def test_once_an_opening_is_sent_the_limit_is_as_always() -> None:
    sink = RecordingSink()
    joining = reader(sink, limit_bytes=60)
    sink.writable = False
    joining.open(opening(*range(10)))
    sink.writable = True
    joining.drain()
    sink.writable = False
    for sequence in range(10, 14):
        joining.deliver(chunk(sequence))
    assert joining.lost_packets == 4


def test_an_opening_that_is_taken_at_once_leaves_no_exemption() -> None:
    sink = RecordingSink()
    prompt = reader(sink, limit_bytes=60)
    prompt.open(opening(*range(10)))
    sink.writable = False
    for sequence in range(10, 14):
        prompt.deliver(chunk(sequence))
    assert prompt.lost_packets == 4


def test_an_opening_is_handed_over_in_pieces_that_a_gate_can_stop() -> None:
    # C10: what waits in the event loop's own buffer escapes the gate
    gate = Gate()

    class Closing(RecordingSink):
        def write(self, data: bytes) -> None:
            super().write(data)
            gate.close()

    sink = Closing()
    Reader(sink, gate, now=lambda: 0.0).open(opening(*range(200), size=1400))
    assert len(sink.written) == 1
    assert len(sink.written[0]) <= PIECE_BYTES + 1404


def test_the_last_packet_is_the_one_that_went_all_the_way() -> None:
    # N15: what the sink still held and threw away was never handed over
    sink = RecordingSink()
    ended = reader(sink, channels=(2, 3))
    assert ended.last_handed_over() is None
    ended.deliver(chunk(65_534, 65_535, keyframe=0))
    ended.deliver(chunk(0, 1, 2))
    size = len(frame(2, 0))

    def last(discarded_bytes: int) -> int | None:
        packet = ended.last_handed_over(discarded_bytes)
        return packet.sequence if packet is not None else None

    assert [last(0), last(1), last(size), last(size + 1), last(2 * size)] == [2, 1, 1, 0, 0]
    assert [last(3 * size), last(4 * size), last(5 * size), last(9 * size)] == [65_535, 65_534, None, None]


def test_it_is_known_however_small_the_chunks_are_of_which_a_sink_holds_back_its_fill() -> None:
    # N15: a sink of 64 KiB may hold a hundred of them
    sink, now_s = RecordingSink(), 0.0
    ended = Reader(sink, Gate(), now=lambda: now_s)
    ended.deliver(chunk(0, keyframe=0, size=1400))
    for sequence in range(1, 500):
        now_s = sequence / 100
        ended.deliver(chunk(sequence, size=1400))
    size = len(sink.written[-1])
    held_back = 64 * 1024 // size
    assert ended.last_handed_over(held_back * size) == LastPacket(499 - held_back, (499 - held_back) / 100)
    assert ended.last_handed_over(400 * size) is None
