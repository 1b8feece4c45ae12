"""A session's media: a reader that does not read is skipped to the next key frame, never queued for without end."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from halfgateway.protocol.rtp import RtpView, sequence_distance
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.media_session import MAX_WAITING_BYTES, MediaCounters, MediaSession
from halfgateway.simulator.packets import Clip
from halfgateway.simulator.player import Player


@dataclass
class Wire:
    """A connection whose queue is as full as the test says."""

    waiting: int = 0
    written: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def video(self) -> list[RtpView]:
        packets, data = [], bytes(self.written)
        while data:
            size = int.from_bytes(data[2:4], "big")
            if data[1] == 0:
                packets.append(RtpView(data[4 : 4 + size]))
            data = data[4 + size :]
        return packets


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def session(short_clip: Clip, wire: Wire) -> MediaSession:
    """A playing session whose player's timer never comes: the test hands it its frames."""
    session = MediaSession(
        clip=short_clip,
        player=Player(short_clip),
        wire=wire,
        behaviour=Behaviour(),
        counters=MediaCounters(),
        unix_ns=lambda: 0,
        random_32=lambda: 0xFFFFFFFE,
        cname="camera",
    )
    session.set_up_video(0)
    return session


def give(session: MediaSession, clip: Clip, frame: int) -> None:
    unit = clip.access_units[frame % len(clip.access_units)]
    session.take(frame, unit, 0, len(unit.packets))


async def test_a_full_queue_skips_whole_frames_until_a_key_frame(
    session: MediaSession, short_clip: Clip, wire: Wire
) -> None:
    begins = session.play()
    session.stop()
    first = begins + (-begins) % 10
    for frame in range(first, first + 3):
        give(session, short_clip, frame)
    held = len(wire.video())
    wire.waiting = MAX_WAITING_BYTES + 1
    for frame in range(first + 3, first + 12):
        give(session, short_clip, frame)
    assert len(wire.video()) == held
    wire.waiting = 0
    for frame in range(first + 12, first + 22):
        give(session, short_clip, frame)
    packets = wire.video()
    assert packets[held].payload[0] & 0x1F in {7, 24}
    assert packets[held].timestamp == (0xFFFFFFFE + (first + 20) * 3600) & 0xFFFFFFFF
    assert all(sequence_distance(a.sequence, b.sequence) == 1 for a, b in pairwise(packets))


async def test_numbers_wrap_around(session: MediaSession, short_clip: Clip, wire: Wire) -> None:
    begins = session.play()
    session.stop()
    give(session, short_clip, begins + (-begins) % 10)
    give(session, short_clip, begins + (-begins) % 10 + 1)
    assert [packet.sequence for packet in wire.video()][:3] == [0xFFFE, 0xFFFF, 0]
