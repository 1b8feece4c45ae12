"""The one way out: whatever ends a stream, its slot goes back and its result is traced."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from auth.trace import Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.endings import MovedToAnotherNode, Teardown
from halfgateway.control.slots import Heir, SlotTable
from halfgateway.control.streams import Stream, StreamTable
from halfgateway.control.tickets import TicketStore
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.door import EndOfTransmission
from halfgateway.errors import Refusal, StateStoreUnavailable

Result = TypeVar("Result")

log = logging.getLogger(__name__)

MAX_WITHDRAWN_TICKETS = 1_000
"""Tickets whose holders lost the right to watch, and are told so when they ask again: a hundred times the streams that
can lose it together. When full, the oldest are forgotten, and are then tickets that have ended, as any other."""


class Closer:
    """Ends streams: at once for the viewers, then for the slot, the ticket and the trace."""

    def __init__(
        self, *, table: StreamTable, slots: SlotTable, tickets: TicketStore, tracer: Tracer, clock: Clock
    ) -> None:
        self._table = table
        self._slots = slots
        self._tickets = tickets
        self._tracer = tracer
        self._clock = clock
        self._chores: dict[asyncio.Task[Any], str] = {}
        self._withdrawn: OrderedDict[str, None] = OrderedDict()

    def end(self, stream: Stream, cause: Refusal, *, by: str | None = None) -> None:
        """Stop a stream now; its slot goes back as soon as the state store takes it. ``by`` is who closed it."""
        if not self._table.remove(stream, cause):
            return
        if cause.rtsp_status == 403 and stream.request.ticket is not None:
            self._withdraw(stream.request.ticket)
        self._trace_result(stream, cause, by)
        moved = isinstance(cause, MovedToAnotherNode)
        self._later(stream.id, self._hand_over(stream.id) if moved else self._let_go(stream, 0.0))

    def end_what_is_over(self) -> None:
        """End the streams that are condemned, whose lease has lapsed, or whose holder kept them waiting."""
        for stream, cause in self._table.over():
            self.end(stream, cause)

    async def bequeath(self, stream: Stream, cause: Refusal, heir: Heir) -> bool:
        """Stop a stream now and let ``heir`` have its slot; False if it was not to be had. Goes on when cancelled."""
        if not self._table.remove(stream, cause):
            return False
        self._trace_result(stream, cause, None)
        return await asyncio.shield(self._later(stream.id, self._pass_on(stream, heir)))

    def withdrew(self, ticket: str) -> bool:
        """Whether this ticket's stream was ended because its holder lost the right to watch (conformance, 1.7)."""
        return ticket in self._withdrawn

    async def leave(self, stream: Stream, ticket_grace_s: float) -> None:
        """The holder said goodbye: the slot is free when this returns, its ticket good for a little longer.

        Goes on when it is cancelled.
        """
        goodbye = Teardown()
        if not self._table.remove(stream, goodbye):
            return
        self._trace_result(stream, goodbye, None)
        await asyncio.shield(self._later(stream.id, self._let_go(stream, ticket_grace_s)))

    def give_back(self, slot_id: str) -> None:
        """Give a slot back as soon as the state store takes it; one that was never taken is no fault."""
        self._later(slot_id, self._give_back(slot_id))

    async def let_go(self, slot_id: str) -> None:
        """Wait until this slot, if it is on its way back, has gone or could not: then it may be taken again."""
        while chores := [chore for chore, about in self._chores.items() if about == slot_id]:
            await asyncio.wait(chores)

    async def settle(self) -> None:
        """Wait until every slot that was to go back has gone, or could not."""
        while self._chores:
            await asyncio.wait(self._chores)

    def _withdraw(self, ticket: str) -> None:
        self._withdrawn[ticket] = None
        if len(self._withdrawn) > MAX_WITHDRAWN_TICKETS:
            self._withdrawn.popitem(last=False)

    async def _let_go(self, stream: Stream, ticket_grace_s: float) -> None:
        await self._give_back(stream.id)
        if stream.request.ticket is not None:
            await self._end_ticket(stream.request.ticket, ticket_grace_s)

    async def _pass_on(self, stream: Stream, heir: Heir) -> bool:
        passed = False
        try:
            passed = await self._slots.bequeath(stream.id, heir)
        except StateStoreUnavailable:
            log.warning("slot.not_passed_on stream=%s: its lease will lapse", stream.id)
        if stream.request.ticket is not None:
            await self._end_ticket(stream.request.ticket, 0.0)
        return passed

    async def _hand_over(self, slot_id: str) -> None:
        try:
            await self._slots.let_go(slot_id)
        except StateStoreUnavailable:
            log.warning("slot.not_handed_over stream=%s: it may be used elsewhere once our lease has lapsed", slot_id)

    async def _give_back(self, slot_id: str) -> None:
        try:
            await self._slots.release(slot_id)
        except StateStoreUnavailable:
            log.warning("slot.not_released stream=%s: its lease will lapse", slot_id)

    async def _end_ticket(self, ticket: str, grace_s: float) -> None:
        try:
            await self._tickets.end(ticket, grace_s)
        except StateStoreUnavailable:
            log.warning("ticket.not_ended: its life will lapse")

    def _trace_result(self, stream: Stream, cause: Refusal, by: str | None) -> None:
        traffic = stream.traffic()
        result = {
            "cause": cause.code,
            "why": cause.detail or None,
            "reason": cause.reason,
            "by": by,
            "bytes": traffic.bytes,
            "packets": traffic.packets,
            "lost": traffic.lost,
            "duration_s": round((self._clock.now() - stream.since).total_seconds(), 3),
            "end_of_transmission": [self._attested(end) for end in stream.ends],
        }
        self._tracer.eventual(stream.request.entry(Kind.STREAM_STOPPED, result))

    def _attested(self, end: EndOfTransmission) -> dict[str, Any]:
        """The *attestation de fin de transmission* of one session of the stream (N15)."""
        last_at = None
        if end.last is not None:
            ago = timedelta(seconds=max(0.0, self._clock.monotonic() - end.last.at_s))
            last_at = rfc3339(self._clock.now() - ago)
        return {
            "ssrc": end.ssrc,
            "sequence": end.last.sequence if end.last is not None else None,
            "at": last_at,
            "withheld_bytes": end.withheld_bytes,
            "discarded_bytes": end.discarded_bytes,
        }

    def _later(self, slot_id: str, chore: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(chore, name=f"let go of {slot_id}")
        self._chores[task] = slot_id
        task.add_done_callback(self._chores.pop)
        return task
