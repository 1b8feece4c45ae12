"""Sitting down before a recording, and playing it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from halfgateway.control.replay_seat import RecordedSeat
from halfgateway.downstream.door import Playing, PlayWish, StreamPath
from halfgateway.errors import Refusal
from halfgateway.protocol.ranges import Range
from halfgateway.protocol.replay import PlayOptions
from halfgateway.relay.reader import Reader
from tests.control.doors import BY_MACHINE, CAMERA, Place, Player

PATH = StreamPath("recorded", CAMERA, None, None)


@dataclass
class Sink:
    """Takes what it is given while it is ``writable``."""

    writable: bool = True
    data: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.data += data


async def sit(place: Place, caller: Any = BY_MACHINE, player: Player | None = None) -> RecordedSeat:
    seat = await place.door.take_replay_seat(caller, PATH, player or Player())
    assert isinstance(seat, RecordedSeat)
    return seat


async def play(
    seat: RecordedSeat, span: Range | None, options: PlayOptions | None = None, sink: Sink | None = None
) -> Playing:
    """PLAY, and let it flow."""
    sink = sink or Sink()
    playing = await seat.play(
        PlayWish(span, options or PlayOptions(), None), lambda: Reader(sink, seat.gate, now=time.monotonic)
    )
    playing.begin()
    return playing


async def refused(seat: RecordedSeat, span: Range | None, options: PlayOptions | None = None) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await play(seat, span, options)
    return refusal.value
