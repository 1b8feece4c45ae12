"""The hub: at most one pull per camera profile and node, started by its first reader, lingering after its last.

The hub dials nothing itself: it is given a start function, and owns the task that runs it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

from halfgateway.errors import CameraUnreachable
from halfgateway.relay.packet_sizes import LargestPacket
from halfgateway.relay.source import Source, SourceKey

log = logging.getLogger(__name__)

StartPull: TypeAlias = Callable[[Source], Coroutine[Any, Any, None]]
"""Pulls a camera into the source until cancelled, reconnecting as it sees fit."""

LINGER_S = 10.0
"""How long a pull outlives its last reader: an operator who switches back finds the camera warm."""

HOLD_S = 30.0
"""How long readers are held while their camera is lost (ADR 2, Numbers)."""

STUCK_LIMIT_S = 30.0
"""How long a reader may take nothing at all: it skips to keyframes meanwhile, and costs the others nothing."""

OPEN_TIMEOUT_S = 8.0
"""How long a first reader waits for the camera before it is told that it is unreachable."""

MAX_REMEMBERED_SIZES = 10_000
"""Camera profiles whose packets' size is remembered while nobody pulls them: several times the cameras of a large
partner. When full, the one pulled longest ago is forgotten, and measured again."""


class Hub:
    """Sources by camera profile, and the tasks that pull them. ``stuck_limit_s`` may be changed while it runs."""

    def __init__(
        self,
        start_pull: StartPull,
        *,
        now: Callable[[], float],
        wall_ns: Callable[[], int] = time.time_ns,
        linger_s: float = LINGER_S,
        hold_s: float = HOLD_S,
        stuck_limit_s: float = STUCK_LIMIT_S,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        keyframe_wanted: Callable[[SourceKey], None] = lambda key: None,
    ) -> None:
        self._start_pull = start_pull
        self._now = now
        self._wall_ns = wall_ns
        self._linger_s = linger_s
        self._hold_s = hold_s
        self.stuck_limit_s = stuck_limit_s
        self._open_timeout_s = open_timeout_s
        self._keyframe_wanted = keyframe_wanted
        self._sources: dict[SourceKey, Source] = {}
        self._pulls: dict[SourceKey, asyncio.Task[None]] = {}
        self._users: dict[SourceKey, int] = {}
        self._idle_since: dict[SourceKey, float] = {}
        self._ending: dict[asyncio.Task[None], SourceKey] = {}
        self._largest_packets: OrderedDict[SourceKey, LargestPacket] = OrderedDict()

    def __iter__(self) -> Iterator[Source]:
        return iter(tuple(self._sources.values()))

    async def enter(self, key: SourceKey) -> Source:
        """Take part in the pull of ``key``, starting it if need be, and wait until the camera plays.

        Whoever enters must :meth:`leave`. Raises CameraUnreachable.
        """
        self._users[key] = self._users.get(key, 0) + 1
        self._idle_since.pop(key, None)
        source = self._sources.get(key) or self._begin_pull(key)
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await source.live()
        except TimeoutError as error:
            self.leave(key)
            raise CameraUnreachable("La caméra ne répond pas.") from error
        except BaseException:
            self.leave(key)
            raise
        return source

    def leave(self, key: SourceKey) -> None:
        """Take part no longer; the last one leaves the pull lingering."""
        self._users[key] -= 1
        if self._users[key] == 0:
            del self._users[key]
            self._idle_since[key] = self._now()

    def sweep(self) -> None:
        """End pulls that nobody has used for the linger, and readers that are stuck, or held, for too long."""
        now = self._now()
        for key, since in tuple(self._idle_since.items()):
            if now - since >= self._linger_s:
                self._end_pull(key)
        for source in self:
            source.end_the_stuck(self.stuck_limit_s)
            lost_since = source.interrupted_at_s
            if lost_since is not None and source.readers and now - lost_since >= self._hold_s:
                source.give_up()

    def withdraw(self, camera: str) -> None:
        """End every pull of this camera now, used or not: none who enters later is given what was pulled before."""
        for source in self:
            if source.key.camera == camera:
                source.interrupt(CameraUnreachable("La caméra n'est plus mise à disposition."))
                source.give_up()
                self._end_pull(source.key)

    async def close(self) -> None:
        """End every pull and wait until each has said goodbye to its camera."""
        for key in tuple(self._pulls):
            self._end_pull(key)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _begin_pull(self, key: SourceKey) -> Source:
        source = Source(
            key,
            now=self._now,
            wall_ns=self._wall_ns,
            largest_packet=self._largest_packet_of(key),
            keyframe_wanted=lambda: self._keyframe_wanted(key),
        )
        earlier = {pull for pull, pulled in self._ending.items() if pulled == key}
        self._sources[key] = source
        self._pulls[key] = asyncio.create_task(self._run_pull(source, earlier), name=f"pull {key.camera}/{key.profile}")
        return source

    def _largest_packet_of(self, key: SourceKey) -> LargestPacket:
        largest = self._largest_packets.setdefault(key, LargestPacket(now=self._now))
        self._largest_packets.move_to_end(key)
        if len(self._largest_packets) > MAX_REMEMBERED_SIZES:
            self._largest_packets.popitem(last=False)
        return largest

    async def _run_pull(self, source: Source, earlier: set[asyncio.Task[None]]) -> None:
        """Pull, once the camera has its earlier session back: it may have no second one to give."""
        try:
            if earlier:
                await asyncio.wait(earlier)
            await self._start_pull(source)
        finally:
            if self._sources.get(source.key) is source:
                self._end_pull(source.key)
                source.interrupt(CameraUnreachable("Le relais de la caméra s'est arrêté."))
                source.give_up()

    def _end_pull(self, key: SourceKey) -> None:
        self._idle_since.pop(key, None)
        self._sources.pop(key, None)
        pull = self._pulls.pop(key, None)
        if pull is not None:
            self._ending[pull] = key
            pull.add_done_callback(self._ended)
            pull.cancel()

    def _ended(self, pull: asyncio.Task[None]) -> None:
        del self._ending[pull]
        if not pull.cancelled() and pull.exception() is not None:
            log.critical("pull.died task=%s", pull.get_name(), exc_info=pull.exception())
