"""The node says in its trace, at a steady pace, that it lives and whether it could serve: silence proves absence (T07).

With each goes what is known of the clock (T08), the open streams, and the size of the last signed tree. What could not
be written in time is not written later: a heartbeat is true at its own instant or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NoReturn, Protocol

from auth.trace import Draft, Entry, Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.reader import TraceFilter, TraceReader
from camera_registry.clock import Clock
from halfgateway.control.clock_reference import ClockReading
from halfgateway.control.store import StateStore
from halfgateway.errors import Refusal, StateStoreUnavailable

log = logging.getLogger(__name__)

LONGEST_PERIOD_S = 600.0
"""Seconds between two heartbeats at most: how exactly a silence can be dated."""

_SECOND_US = 1_000_000
_PROOFS = frozenset({Kind.HEARTBEAT, Kind.STREAM_GRANTED})

RecordEntry = Callable[[Draft], Awaitable[Entry]]


class Watched(Protocol):
    """The node, as far as its heartbeats tell of it."""

    def streams(self) -> int:
        """Streams that are open."""

    def checkpoint(self) -> int:
        """Entries under the last signed checkpoint."""

    def require_serving(self) -> None:
        """Raises a Refusal where nothing could be granted now, whoever asked."""


class Heartbeat:
    """Writes the heartbeats. Every way to learn of a clock is passed in; ``store_clock`` is asked where the kernel's
    is not synchronised, and is None where the store is on this machine."""

    def __init__(
        self,
        *,
        record: RecordEntry,
        node: Watched,
        period_s: Callable[[], float],
        kernel_clock: Callable[[], ClockReading | None],
        store_clock: Callable[[], Awaitable[dict[str, Any]]] | None,
    ) -> None:
        self._record = record
        self._node = node
        self._period_s = period_s
        self._kernel_clock = kernel_clock
        self._store_clock = store_clock
        self._synchronised: bool | None = None

    async def run(self) -> NoReturn:
        """Keep going until cancelled; the first is written a period after ``node.started``, which proves as much."""
        while True:
            await asyncio.sleep(self._period_s())
            try:
                await self.beat()
            except JournalUnavailable as error:
                log.error("heartbeat.not_written error=%s", error)

    async def beat(self) -> Entry:
        """Write one, and before it that the clock was synchronised or is no more, if so.

        Raises auth.trace.TraceUnavailable.
        """
        kernel = self._kernel_clock()
        synchronised = kernel is not None and kernel.synchronised
        clock = kernel.to_detail() if kernel is not None else {"synchronised": False}
        if not synchronised and self._store_clock is not None:
            clock |= await self._offset_from_store()
        if self._synchronised is not synchronised:
            log.warning("clock.reference synchronised=%s", synchronised)
            if self._synchronised is not None:
                await self._record(Draft(kind=Kind.CLOCK_REFERENCE, detail=clock))
            self._synchronised = synchronised
        detail = {
            "serving": self._serves(),
            "streams": self._node.streams(),
            "checkpoint": self._node.checkpoint(),
            "period_s": self._period_s(),
            "clock": clock,
        }
        return await self._record(Draft(kind=Kind.HEARTBEAT, detail=detail))

    def _serves(self) -> bool:
        try:
            self._node.require_serving()
        except Refusal:
            return False
        return True

    async def _offset_from_store(self) -> dict[str, Any]:
        if self._store_clock is None:
            return {}
        try:
            return await self._store_clock()
        except StateStoreUnavailable:
            return {}


async def offset_from_store(store: StateStore, clock: Clock) -> dict[str, Any]:
    """Return how far the store's clock is ahead of this machine's, and within what. Raises StateStoreUnavailable."""
    began_s = clock.monotonic()
    async with store.limited():
        seconds, microseconds = await store.client.time()
    took_us = round((clock.monotonic() - began_s) * _SECOND_US)
    here_us = round(clock.now().timestamp() * _SECOND_US) - took_us // 2
    return {"store_offset_us": seconds * _SECOND_US + microseconds - here_us, "store_error_us": took_us // 2}


def proves_service(entry: Entry) -> bool:
    """Whether the node could serve at that entry's instant: a heartbeat says so, or a stream was granted (N02)."""
    return entry.kind is Kind.STREAM_GRANTED or (entry.kind is Kind.HEARTBEAT and entry.detail.get("serving") is True)


async def last_proven_good(reader: TraceReader) -> datetime | None:
    """Return the last instant at which this journal proves that its node could serve (N02); None where none does.

    Raises auth.trace.TraceUnavailable, TraceDamaged.
    """
    wanted, cursor = TraceFilter(kinds=_PROOFS), None
    while True:
        page = await reader.entries(wanted, cursor=cursor)
        for entry in page.items:
            if proves_service(entry):
                return entry.at
        if page.next is None:
            return None
        cursor = page.next


async def last_period_s(reader: TraceReader) -> float:
    """Return how long after the newest heartbeat the next was to come, as it says itself; 0 where none does.

    Raises auth.trace.TraceUnavailable, TraceDamaged.
    """
    for entry in (await reader.entries(TraceFilter(kinds=frozenset({Kind.HEARTBEAT})), limit=1)).items:
        said = entry.detail.get("period_s")
        if isinstance(said, int | float):
            return min(float(said), LONGEST_PERIOD_S)
    return 0.0
