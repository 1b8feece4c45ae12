"""From one camera to its readers, without the door: puller, hub, and readers that keep every packet."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

from halfgateway.errors import Refusal
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.rtp import RtpView, sequence_distance, timestamp_distance
from halfgateway.relay.hub import Hub
from halfgateway.relay.reader import Gate, Reader
from halfgateway.relay.source import Source, SourceKey
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.upstream.client import Target
from halfgateway.upstream.presentation import Presentation
from halfgateway.upstream.pull import Puller

TIMEOUT_S = 20.0
KEY = SourceKey("cam-1", "main")


def target_of(camera: SimulatedCamera, *, password: str | None = None) -> Target:
    secret = camera.identity.password if password is None else password
    return Target(camera.rtsp_url, camera.identity.username, secret)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


class Watcher:
    """The sink of one reader: every packet that it was handed, by channel."""

    def __init__(self) -> None:
        self.writable = True
        self.video: list[RtpView] = []
        self.reports: list[bytes] = []
        self.ended: list[Refusal] = []
        self.reader = Reader(self, Gate(), now=time.monotonic)

    def write(self, data: bytes) -> None:
        while data:
            size = int.from_bytes(data[2:4], "big")
            packet, channel = data[4 : 4 + size], data[1]
            if channel == 0:
                self.video.append(RtpView(packet))
            else:
                self.reports.append(packet)
            data = data[4 + size :]

    async def packets(self, more: int) -> list[RtpView]:
        """Wait for so many packets more; those."""
        had = len(self.video)
        await eventually(lambda: len(self.video) >= had + more)
        return self.video[had:]

    @property
    def sources(self) -> set[int]:
        return {packet.ssrc for packet in self.video}

    @property
    def sequence_steps(self) -> set[int]:
        return {sequence_distance(a.sequence, b.sequence) for a, b in itertools.pairwise(self.video)}

    @property
    def timestamp_steps(self) -> set[int]:
        return {timestamp_distance(a.timestamp, b.timestamp) for a, b in itertools.pairwise(self.video)}


class Line:
    """One camera's pull. ``waits`` are the seconds for which it was to be left alone; none is waited for."""

    def __init__(
        self,
        target: Target,
        *,
        silence_limit_s: float = 10.0,
        linger_s: float = 10.0,
        open_timeout_s: float = 8.0,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.target: Target | None = target
        self.waits: list[float] = []
        self.described: list[Presentation] = []
        self.patience = asyncio.Event()
        self.patience.set()
        self.skipped_s = 0.0
        self.puller = Puller(
            lambda key: self.target,
            chance=chance,
            now=self.now,
            on_described=lambda key, presentation: self.described.append(presentation),
            coalescing=Coalescing(),
            silence_limit_s=silence_limit_s,
            sleep=self._sleep,
        )
        self.hub = Hub(self.puller.pull, now=self.now, linger_s=linger_s, hold_s=30.0, open_timeout_s=open_timeout_s)

    def now(self) -> float:
        """Monotonic seconds, and those that a test has skipped."""
        return time.monotonic() + self.skipped_s

    async def watch(self) -> Watcher:
        """A reader that takes part from now on."""
        source: Source = await self.hub.enter(KEY)
        watcher = Watcher()
        source.attach(watcher.reader, watcher.ended.append)
        return watcher

    async def leave(self, watcher: Watcher) -> None:
        for source in self.hub:
            source.detach(watcher.reader)
        self.hub.leave(KEY)

    async def waited(self, times: int) -> None:
        """Until the camera was to be left alone so many times."""
        await eventually(lambda: len(self.waits) >= times)

    async def _sleep(self, wait_s: float) -> None:
        """Note what was to be waited for; it passes at once, unless patience is wanted."""
        self.waits.append(wait_s)
        await asyncio.sleep(0)
        await self.patience.wait()
