"""The clock of a simulated camera: when each packet of its endless clip leaves, for all who watch it at once.

One timer serves all readers, and only while there are any. The picture goes on meanwhile, as a real camera's does:
frame numbers follow the loop's clock, not what was sent.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from halfgateway.simulator.clips import FPS
from halfgateway.simulator.packets import AccessUnit, Clip

PACKETS_AT_ONCE: Final = 5
"""Packets that leave together; cameras write a frame's packets in small groups as the encoder hands them over."""

GAP_S: Final = 0.001
"""Seconds between two such groups: the largest key frame (under 200 packets) still leaves within its 40 ms."""

MAX_LAG_S: Final = 0.5
"""A player further behind (a stopped process, a busy machine) goes on at the present, with a key frame."""


class Reader(Protocol):
    """Whoever a camera's packets are sent to."""

    def take(self, frame: int, unit: AccessUnit, first: int, end: int) -> None:
        """Send packets ``first`` to ``end`` (exclusive) of frame number ``frame``."""


class Player:
    """Plays one clip, again and again, to any number of readers."""

    def __init__(self, clip: Clip) -> None:
        self._units = clip.access_units
        self._loop = asyncio.get_running_loop()
        self._origin_s = self._loop.time()
        self._shift = 0
        self._frame = 0
        self._packet = 0
        self._readers: set[Reader] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._key_wanted = False

    def join(self, reader: Reader) -> int:
        """Begin to send to ``reader``; return the number of the frame that it gets first, a key frame.

        The first reader has the camera make a key frame at once, as a new session does in real ones; later ones
        wait for the next.
        """
        begins = self._frame + 1 if self._timer else self._present() + 1
        if self._timer is None:
            self._frame, self._packet = begins, 0
            self._shift += self._frames_to_key(begins)
            self._timer = self._loop.call_at(self._due(), self._step)
        self._readers.add(reader)
        return begins + self._frames_to_key(begins)

    def make_key_frame(self) -> None:
        """Let the next frame be a key frame, whatever was to come."""
        self._key_wanted = True

    def leave(self, reader: Reader) -> None:
        """Send nothing more to ``reader``; harmless if it does not read."""
        self._readers.discard(reader)
        if not self._readers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def seconds(self) -> float:
        """Return the camera's media time: frame ``n`` is sampled at ``n / 25`` seconds."""
        return self._loop.time() - self._origin_s

    def _present(self) -> int:
        return int(self.seconds() * FPS)

    def _unit(self, frame: int) -> AccessUnit:
        return self._units[(frame + self._shift) % len(self._units)]

    def _frames_to_key(self, frame: int) -> int:
        return next(ahead for ahead in range(len(self._units)) if self._unit(frame + ahead).key)

    def _due(self) -> float:
        return self._origin_s + self._frame / FPS + self._packet // PACKETS_AT_ONCE * GAP_S

    def _step(self) -> None:
        if self._loop.time() - self._due() > MAX_LAG_S:
            self._frame, self._packet = self._present(), 0
            self._shift += self._frames_to_key(self._frame)
        if self._key_wanted and self._packet == 0:
            self._shift += self._frames_to_key(self._frame)
            self._key_wanted = False
        unit = self._unit(self._frame)
        first, end = self._packet, min(self._packet + PACKETS_AT_ONCE, len(unit.packets))
        for reader in tuple(self._readers):
            reader.take(self._frame, unit, first, end)
        self._packet = end
        if end == len(unit.packets):
            self._frame, self._packet = self._frame + 1, 0
        if self._readers:
            self._timer = self._loop.call_at(self._due(), self._step)
        else:
            self._timer = None
