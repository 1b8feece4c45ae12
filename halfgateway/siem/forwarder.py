"""Follows the journal and sends it to a collector: at least once, in order, and never in a grant's way (S06).

The journal is the spool. Nothing here is awaited by whoever writes an entry: this only reads what is durable, a few
entries at a time, and is idle for longer than it works. While the collector is away the lag grows; past its bound an
alarm is raised, on stderr, by a gauge and in the trace. Nothing is lost for as long as the journal keeps its entries:
a purge is by age, months, and what was erased before it was sent is sent as what a purge leaves of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol, TypeVar

from auth.trace import Draft, Entry, Kind, TraceUnavailable
from auth.trace.scopes import Scope, seen
from halfgateway.errors import HalfGatewayError
from halfgateway.siem.cursor import Cursor, CursorFile
from halfgateway.siem.messages import Writer

log = logging.getLogger(__name__)

BATCH = 64
"""Entries read, written and sent at a time: some 4 ms of one core, less than Python lets one thread run while others
wait."""

REST = 3.0
"""Times as long as a batch took that the next one waits: catching up takes a quarter of a core at most."""

SHORTEST_REST_S = 0.01

LOOK_S = 0.5
"""How often it is looked whether the journal has grown, and how far behind the collector is."""

MAX_UNPROVEN = 10_000
"""Entries that are sent before it is proven that they were read: what a break sends again, twice over at most."""

FIRST_DELAY_S = 1.0
"""After the first failure; doubles with each further one."""

LONGEST_DELAY_S = 60.0
"""A collector that has been gone for days is still tried once a minute."""

Result = TypeVar("Result")


class Reader(Protocol):
    """The journal, as far as it is read."""

    @property
    def size(self) -> int:
        """Entries that can be read now."""

    async def following(self, start: int, *, limit: int) -> tuple[list[Entry], int]:
        """See :meth:`auth.trace.TraceReader.following`."""


class Link(Protocol):
    """See :class:`halfgateway.siem.link.Link`."""

    def open(self) -> None:
        """Connect."""

    def send(self, messages: bytes) -> None:
        """Hand messages over."""

    def finish(self) -> None:
        """Prove that they were read."""

    def close(self) -> None:
        """Let go."""

    def abort(self) -> None:
        """Have what blocks in another thread fail at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is agreed with the collector: who reads there, how often it proves that it has, and the lag's bounds."""

    collector: str
    scope: Scope = Scope.SYN
    proof_s: float = 30.0
    max_lag_entries: int = 100_000
    max_lag_s: float = 900.0


class Forwarder:
    """Sends one journal to one collector. ``now`` is the monotonic clock in seconds, ``chance`` a number in [0, 1).

    ``tell`` writes an entry about the export itself, as soon as can be.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        plan: Plan,
        writer: Writer,
        cursor: CursorFile,
        connect: Callable[[], Link],
        tell: Callable[[Draft], None],
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._plan = plan
        self._writer = writer
        self._file = cursor
        self._connect = connect
        self._tell = tell
        self._now = now
        self._chance = chance
        self._cursor: Cursor | None = None
        self._next: int | None = None  # after a break, or a kill: what was sent last may be lost
        self._up_to_date_s = now()
        self._threads = ThreadPoolExecutor(1, "siem")
        self.failures = 0
        self.alarmed = False

    @property
    def lag_entries(self) -> int:
        """Entries that the collector has not been proven to have read."""
        return max(0, self._reader.size - self._cursor.proven) if self._cursor is not None else self._reader.size

    @property
    def lag_s(self) -> float:
        """Seconds since it had read everything, or was last proven to go on reading."""
        return self._now() - self._up_to_date_s if self.lag_entries else 0.0

    async def run(self) -> NoReturn:
        """Keep going until cancelled."""
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._send_for_ever(), name="siem: send")
                loops.create_task(self._watch_for_ever(), name="siem: watch")
        finally:
            self._threads.shutdown(wait=False)
        raise AssertionError("both loops are endless")

    async def send_session(self) -> None:
        """Wait for something new and send it over one connection, to its proof.

        Raises HalfGatewayError, TraceUnavailable, OSError where that fails: the next session begins further back, and
        those after it go on from there, past what had been proven before.
        """
        cursor = self._cursor = self._cursor or await self._begin()
        start = position = cursor.settled if self._next is None else self._next
        await self._until_news(cursor.proven)
        link = self._connect()
        try:
            await self._in_thread(link.open)
            ends_s = self._now() + self._plan.proof_s
            while self._now() < ends_s and position - start < MAX_UNPROVEN:
                began_s = self._now()
                entries, end = await self._reader.following(position, limit=BATCH)
                if end == position:
                    await asyncio.sleep(min(LOOK_S, max(0.0, ends_s - self._now())))
                    continue
                await self._in_thread(partial(self._hand_over, link, entries))
                position = end
                await asyncio.sleep(max(SHORTEST_REST_S, REST * (self._now() - began_s)))
            await self._in_thread(link.finish)
        except BaseException:
            self._next = None
            raise
        finally:
            link.abort()
            self._threads.submit(link.close)
        self._next = position
        self._cursor = advanced = Cursor(start, max(position, cursor.proven))
        await self._in_thread(partial(self._file.write, advanced))
        self._up_to_date_s = self._now()

    def watch(self) -> None:
        """Raise the alarm once the lag has passed a bound, and end it once it is well below; to be called often."""
        plan, entries = self._plan, self.lag_entries
        if entries == 0:
            self._up_to_date_s = self._now()
        seconds = self.lag_s
        if not self.alarmed and (entries > plan.max_lag_entries or seconds > plan.max_lag_s):
            self.alarmed = True
            log.critical("siem.lagging collector=%s entries=%d seconds=%.0f lost=0", plan.collector, entries, seconds)
            self._tell_of(Kind.SIEM_LAGGING, entries=entries, seconds=round(seconds), lost=0)
        elif self.alarmed and entries <= plan.max_lag_entries // 2 and seconds <= plan.max_lag_s / 2:
            self.alarmed = False
            log.warning("siem.caught_up collector=%s entries=%d", plan.collector, entries)
            self._tell_of(Kind.SIEM_CAUGHT_UP, entries=entries)

    async def _begin(self) -> Cursor:
        cursor, size = await self._in_thread(self._file.read), self._reader.size
        if cursor.proven > size:
            log.critical("siem.ahead collector=%s sent=%d entries=%d", self._plan.collector, cursor.proven, size)
            cursor = Cursor(min(cursor.settled, size), size)
        self._tell_of(Kind.SIEM_OPENED, scope=self._plan.scope.value, **{"from": cursor.proven})
        return cursor

    async def _send_for_ever(self) -> NoReturn:
        while True:
            try:
                await self.send_session()
                self.failures = 0
            except (HalfGatewayError, TraceUnavailable, OSError) as error:
                self.failures += 1
                delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self.failures - 1, 16))
                log.error("siem.failed collector=%s lag=%d error=%s", self._plan.collector, self.lag_entries, error)
                await asyncio.sleep(delay_s * (0.5 + self._chance() / 2))

    async def _watch_for_ever(self) -> NoReturn:
        while True:
            self.watch()
            await asyncio.sleep(LOOK_S)

    async def _until_news(self, known: int) -> None:
        while True:
            if self._reader.size > known:
                return
            await asyncio.sleep(LOOK_S)

    def _hand_over(self, link: Link, entries: Iterable[Entry]) -> None:
        shown = [each for entry in entries if (each := seen(entry, self._plan.scope)) is not None]
        link.send(b"".join(map(self._writer.write, shown)))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _tell_of(self, kind: Kind, **detail: object) -> None:
        self._tell(Draft(kind=kind, detail={"collector": self._plan.collector, **detail}))
