"""What the players see: who is sent media when, and how many are at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from halfgateway.protocol.rtcp import Goodbye, parse_compound
from halfgateway.protocol.rtp import RtpView, sequence_distance
from tests.raw_player import TIMEOUT_S, Answer, RawPlayer

GAP_S = 0.6
"""Without a packet for so long a stream does not deliver: fifteen frames of the cameras."""

SKEW_S = 0.25
"""How late a busy test may read what has long been sent: two streams that overlap by less may have followed one
another. Two that are granted one slot overlap by seconds."""


@dataclass
class Delivery:
    """Packets came from ``first_s`` to ``last_s`` (monotonic), never more than :data:`GAP_S` apart."""

    first_s: float
    last_s: float


@dataclass
class Watcher(RawPlayer):
    """A player that notes when it is sent media, what of it is missing, and its goodbye; it keeps no media."""

    path: str = ""
    watch: list[Watcher] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    media_packets: int = 0
    missing_packets: int = 0
    said_goodbye: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Watcher:
        await super().__aenter__()
        self._answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._sequence: int | None = None
        self._reading = asyncio.create_task(self._read())
        self.watch.append(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await super().__aexit__(*exc_info)

    async def start(self) -> Answer:
        """SETUP and PLAY; the first answer that is not 200, else PLAY's."""
        answer = await self.set_up(self.path)
        return await self.play(self.path) if answer.status == 200 else answer

    async def stop(self) -> Answer:
        """TEARDOWN."""
        return await self.tear_down(self.path)

    async def pause(self) -> Answer:
        return await self.ask("PAUSE", self.url(self.path), {"Session": self.session or ""})

    async def delivers(self) -> None:
        """Return once a packet has come that was not there before. Raises ConnectionResetError when none can come."""
        before = self.media_packets
        async with asyncio.timeout(TIMEOUT_S):
            while self.media_packets == before:
                if self.ended.is_set():
                    raise ConnectionResetError("the connection has ended")
                await asyncio.sleep(0.01)

    async def send(self, data: bytes) -> None:
        if self.ended.is_set():
            raise ConnectionResetError("the connection has ended")
        await super().send(data)

    def is_delivering(self, now: float) -> bool:
        return bool(self.deliveries) and now - self.deliveries[-1].last_s < GAP_S

    async def next_answer(self) -> Answer:
        asking = asyncio.create_task(self._answers.get())
        gone = asyncio.create_task(self.ended.wait())
        try:
            await asyncio.wait({asking, gone}, timeout=TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise ConnectionResetError("the connection ended before the answer")
        finally:
            asking.cancel()
            gone.cancel()

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                answer = await self._take_one()
                if answer is not None:
                    self._answers.put_nowait(answer)
                else:
                    channel, packet, at_s = self.packets.pop()
                    self.captured.clear()
                    if channel == 0:
                        self._note(at_s, RtpView(packet).sequence)
                    else:
                        self.said_goodbye |= any(isinstance(each, Goodbye) for each in parse_compound(packet))
        self.ended.set()

    def _note(self, now: float, sequence: int) -> None:
        self.media_packets += 1
        if self._sequence is not None:
            self.missing_packets += sequence_distance(self._sequence, sequence) - 1
        self._sequence = sequence
        if self.is_delivering(now):
            self.deliveries[-1].last_s = now
        else:
            self.deliveries.append(Delivery(now, now))


def most_at_once(watchers: Iterable[Watcher]) -> int:
    """How many streams were delivering at the same time, at most."""
    edges: list[tuple[float, int]] = []
    for watcher in watchers:
        for delivery in watcher.deliveries:
            last_s = delivery.last_s - SKEW_S
            if last_s > delivery.first_s:
                edges += [(delivery.first_s, 1), (last_s, -1)]
    most = now = 0
    for _, step in sorted(edges):
        now += step
        most = max(most, now)
    return most


def delivering_now(watchers: Iterable[Watcher]) -> int:
    """How many streams deliver as we look."""
    now = time.monotonic()
    return sum(watcher.is_delivering(now) for watcher in watchers)
