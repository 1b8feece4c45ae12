"""A stream handed over to the relief: another agent answers for it from now on, and the picture goes on (S15).

Slot, ticket, player and packets are not touched. What changes is whose the stream is: for the policy, which decides
anew and goes on asking about the new agent alone, for the trace, and for who may see it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from auth.principals import Attribution, Principal
from auth.trace import Kind
from halfgateway.control.access import AccessRequest
from halfgateway.control.admission import Admission
from halfgateway.control.slots import SlotTable
from halfgateway.control.streams import Stream, StreamState, StreamTable
from halfgateway.control.terms import Terms
from halfgateway.control.tickets import TicketStore
from halfgateway.control.tracing import Tracer
from halfgateway.errors import InvalidRequest, NotHabilitated, Refusal, StateStoreUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The agent who takes over, as they were asserted or have logged in; ``source`` is where that was said from."""

    principal: Principal
    reference: str | None
    assertion: str | None
    source: str


class Relief:
    """Hands over the streams that this node serves."""

    def __init__(
        self,
        *,
        table: StreamTable,
        slots: SlotTable,
        tickets: TicketStore,
        admission: Admission,
        tracer: Tracer,
        terms: Terms,
    ) -> None:
        self._table = table
        self._slots = slots
        self._tickets = tickets
        self._admission = admission
        self._tracer = tracer
        self._terms = terms
        self._one_at_a_time = asyncio.Lock()

    async def take_over(self, stream: Stream, newcomer: Newcomer) -> bool:
        """Let the newcomer have a stream; False if it has ended meanwhile.

        Raises a Refusal, traced: what the policy says of them, NotHabilitated or InvalidRequest where this stream is
        not for them to take, TraceUnavailable. Then nothing has changed.
        """
        async with self._one_at_a_time:
            former = stream.request
            request = replace(
                former,
                principal=newcomer.principal,
                reference=newcomer.reference or former.reference,
                assertion=newcomer.assertion,
                source=newcomer.source,
            )
            refusal = _not_theirs(former, request)
            if refusal is not None:
                self._tracer.refusal(request.refused(refusal))
                raise refusal
            self._admission.reconsider(request, stream.position if stream.state is StreamState.PLAYING else None)
            from_whom = {"from_agent": former.principal.agent, "from_account": former.principal.account}
            await self._tracer.durable(request.entry(Kind.STREAM_HANDED_OVER, from_whom))
            if stream not in self._table:
                return False
            self._give(stream, request)
        await self._tell(stream)
        return True

    def _give(self, stream: Stream, request: AccessRequest) -> None:
        principal = request.principal
        stream.request = request
        stream.login_asked = None
        if stream.ticket is not None:
            stream.ticket = replace(
                stream.ticket,
                account=principal.account,
                role=principal.role.value,
                agent=principal.agent,
                service=principal.service,
                site=principal.site,
                attribution=principal.attribution.value if principal.attribution else "",
                reference=request.reference,
                assertion_key=principal.assertion_key,
                certificate=principal.certificate,
            )
            stream.ticket_changed = True
        self._slots.relabel(stream.id, self._admission.holder_of(request))

    async def _tell(self, stream: Stream) -> None:
        """Let the ticket say so wherever it may come; what cannot be told now is with the next renewal."""
        if stream.ticket is None:
            return
        try:
            await self._tickets.put(stream.ticket, self._terms.timings.lease_s * 2)
        except StateStoreUnavailable:
            log.warning("ticket.not_changed stream=%s: told with its next renewal", stream.id)


def _not_theirs(former: AccessRequest, request: AccessRequest) -> Refusal | None:
    """Why this stream is not for this newcomer: it stays where it is shown, and on the way by which it was opened."""
    old, new = former.principal, request.principal
    authenticated_here = {old.attribution, new.attribution} == {Attribution.AGENT_AUTHENTICATED}
    if former.ticket is None:
        return InvalidRequest("Seul un Flux ouvert par titre d'accès peut être transmis.")
    if not authenticated_here and old.account != new.account:
        return NotHabilitated("Ce Flux a été ouvert par une autre voie : sa relève passe par la même.")
    if new.agent is None or new.agent == old.agent:
        return InvalidRequest("La relève est un autre agent, désigné.")
    if old.site is not None and new.site != old.site:
        return NotHabilitated("Ce Flux est affiché sur un autre site de visualisation.")
    return None
