"""What keeps the convention while streams run: leases renewed, ends noticed, the trace and the state watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from auth.errors import RecordsUnavailableError
from auth.trace import TraceUnavailable as JournalUnavailable
from halfgateway.control.bandwidth import Rates
from halfgateway.control.closing import Closer
from halfgateway.control.endings import MovedToAnotherNode
from halfgateway.control.freshness import Freshness
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.slots import Renewal, SlotTable
from halfgateway.control.streams import Stream, StreamTable
from halfgateway.control.terms import Terms
from halfgateway.control.tickets import TicketStore
from halfgateway.errors import StateStoreUnavailable, TraceUnavailable

log = logging.getLogger(__name__)

SWEEP_S = 0.1
"""How often ends are looked for: the precision of every delay that the door promises."""

SWEEP_AT_REST_S = 0.5
"""The same while no stream is open: an idle node is to cost next to nothing."""

PROBE_S = 1.0
"""How often the journal is asked whether it can still be written."""


RECORDS_EVERY_S = 2.0
"""How often the records are asked whether who may has changed: what another node, or the command line, has ended there
ends here within five seconds (S12)."""

RECORDS_TIMEOUT_S = 5.0
"""How long the database may take to answer that."""


class Probed(Protocol):
    """The journal, as far as it is watched."""

    async def probe(self) -> None:
        """Raises auth.trace.TraceUnavailable when an entry could not be written now."""


class Enforcement:
    """The node's loops. Each does one small thing, for ever; :meth:`run` runs them all."""

    def __init__(
        self,
        *,
        table: StreamTable,
        slots: SlotTable,
        tickets: TicketStore,
        closer: Closer,
        interconnection: Interconnection,
        journal: Probed,
        check_records: Callable[[], Awaitable[object]],
        rights: Freshness,
        terms: Terms,
        now: Callable[[], float],
        sweepers: Sequence[Callable[[], None]],
    ) -> None:
        self._table = table
        self._slots = slots
        self._tickets = tickets
        self._closer = closer
        self._interconnection = interconnection
        self._journal = journal
        self._check_records = check_records
        self._rights = rights
        self._terms = terms
        self._now = now
        self._sweepers = (closer.end_what_is_over, *sweepers)
        self._rates = Rates()
        self._unwritable_since_s: float | None = None

    async def run(self) -> None:
        """Keep going until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(_every(self._renew_s, self.renew), name="renew leases")
            loops.create_task(_every(lambda: RECORDS_EVERY_S, self.probe_records), name="probe records")
            loops.create_task(_every(lambda: PROBE_S, self.probe_trace), name="probe trace")
            loops.create_task(_every(self._sweep_s, self._sweep), name="sweep")

    async def renew(self) -> None:
        """Renew every lease, and learn in the same round trip how the interconnection stands."""
        try:
            now = self._now()
            kbps = self._rates.look(self._table, now, self._terms.line.assumed_kbps)
            doing = {stream.id: stream.activity(now) for stream in self._table}
            renewal = await self._slots.renew(doing.keys(), kbps=kbps, doing=doing)
            self._follow(renewal)
            for stream in self._table:
                await self._keep_ticket(stream)
        except StateStoreUnavailable as error:
            log.warning("lease.not_renewed streams=%d error=%s", len(self._table), error)

    def _follow(self, renewal: Renewal) -> None:
        self._interconnection.observe(renewal.state)
        for stream in self._table:
            if stream.id in renewal.deadlines:
                stream.gate.until = renewal.deadlines[stream.id]
            elif stream.id in renewal.moved:
                self._closer.end(stream, MovedToAnotherNode())
            elif stream.id in renewal.lost:
                self._closer.end(stream, StateStoreUnavailable("La place du Flux a été perdue."))

    async def _keep_ticket(self, stream: Stream) -> None:
        """A ticket lasts as long as its stream, and is put back if the store was emptied, or has an older one."""
        if stream.ticket is None:
            return
        life_s = self._terms.timings.lease_s * 2
        kept = not stream.ticket_changed and await self._tickets.keep(stream.ticket.id, life_s)
        if not kept and stream in self._table:
            await self._tickets.put(stream.ticket, life_s)
            stream.ticket_changed = False

    async def probe_records(self) -> None:
        """See that the records of who may answer; while they do not, nothing new is granted."""
        try:
            async with asyncio.timeout(RECORDS_TIMEOUT_S):
                await self._check_records()
            self._rights.seen()
        except (RecordsUnavailableError, TimeoutError) as error:
            log.warning("records.unavailable error=%s", error)

    async def probe_trace(self) -> None:
        """Close what plays when the journal has been unwritable for the grace (T01)."""
        try:
            await self._journal.probe()
            if self._unwritable_since_s is not None:
                log.warning("trace.writable_again seconds=%.1f", self._now() - self._unwritable_since_s)
            self._unwritable_since_s = None
        except JournalUnavailable as error:
            now = self._now()
            if self._unwritable_since_s is None:
                self._unwritable_since_s = now
                log.critical("trace.unwritable error=%s", error)
            if now - self._unwritable_since_s >= self._terms.timings.trace_grace_s:
                for stream in self._table:
                    self._closer.end(stream, TraceUnavailable("L'accès ne peut plus être tracé."))

    def _renew_s(self) -> float:
        return self._terms.timings.renew_s

    def _sweep_s(self) -> float:
        return SWEEP_S if len(self._table) else SWEEP_AT_REST_S

    async def _sweep(self) -> None:
        for sweep in self._sweepers:
            sweep()


async def _every(period_s: Callable[[], float], step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await step()
        await asyncio.sleep(period_s())
