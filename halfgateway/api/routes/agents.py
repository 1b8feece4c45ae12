"""Who may: agents, their factors, their habilitations, blocks. The security officer writes, the auditor reads."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.ports import AccessTrace
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.rights_ports import Personnel
from halfgateway.api.rights_shapes import (
    MAX_LIST_BODY_BYTES,
    AgentList,
    AgentRequest,
    AgentShape,
    AgentView,
    BlockList,
    BlockRequest,
    BlockShape,
    BootstrapRequest,
    ConfirmRequest,
    EndRequest,
    FactorAnswer,
    FactorRequest,
    HabilitationList,
    HabilitationRequest,
    HabilitationShape,
    HabilitationsQuery,
    ReasonRequest,
    SignedListAnswer,
    SignedListRequest,
)
from halfgateway.api.shapes import ById, Paging
from halfgateway.errors import TraceUnavailable

WRITERS = frozenset({Role.OFFICER})
READERS = frozenset({Role.OFFICER, Role.AUDITOR})


class AgentRoutes:
    """Keeps the register; each change is traced behind the port, each reading here (T11)."""

    def __init__(self, personnel: Personnel, trace: AccessTrace) -> None:
        self._personnel = personnel
        self._trace = trace

    @operation(
        "GET",
        f"{API}/agents",
        summary="List the designations",
        roles=READERS,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ,),
    )
    async def list_agents(self, call: Call, principal: Principal, query: Paging) -> AgentList:
        """List, newest first."""
        await self._trace_reading(call, principal, "agents")
        agents = await self._personnel.agents()
        page = page_of(agents, key=lambda each: (each.recorded_at, each.id), limit=query.limit, cursor=query.cursor)
        return AgentList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/agents",
        summary="Record a designation",
        lasting=True,
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.AGENT_ADDED,),
    )
    async def designate_agent(self, call: Call, principal: Principal, body: AgentRequest) -> AgentShape:
        """Record it, with the authority that designates and its reference."""
        return await self._personnel.designate(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/agents/bootstrap",
        summary="Make the first officer, where there is none",
        lasting=True,
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED, Kind.AGENT_ENROLLED),
    )
    async def bootstrap_officer(self, call: Call, principal: Principal, body: BootstrapRequest) -> FactorAnswer:
        """Give the first officer what they log in with, once."""
        return await self._personnel.bootstrap(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/agents/import",
        summary="Record the designations of a signed list, all or none",
        lasting=True,
        max_body_bytes=MAX_LIST_BODY_BYTES,
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED),
    )
    async def import_agents(self, call: Call, principal: Principal, body: SignedListRequest) -> SignedListAnswer:
        """Verify the list, and record what it designates."""
        return await self._personnel.import_list(body, by=call.actor(principal))

    @operation(
        "GET",
        f"{API}/agents/{{id}}",
        summary="Show an agent with habilitations and accounts",
        roles=READERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.TRACE_READ,),
    )
    async def show_agent(self, call: Call, principal: Principal, path: ById) -> AgentView:
        """Show one agent."""
        await self._trace_reading(call, principal, "agent", path.id)
        return await self._personnel.agent(path.id)

    @operation(
        "POST",
        f"{API}/agents/{{id}}/end",
        summary="Record the end of a designation: the agent's running streams close",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.AGENT_ENDED, Kind.HABILITATION_ENDED),
    )
    async def end_agent(self, call: Call, principal: Principal, path: ById, body: EndRequest) -> AgentView:
        """End it; for an agent of PP's, by the reference of PP's own decision."""
        return await self._personnel.end_agent(
            path.id, reason=body.reason, reference=body.reference, by=call.actor(principal)
        )

    @operation(
        "POST",
        f"{API}/agents/{{id}}/factors",
        summary="Give an agent a card, a one-time-code secret or a machine's secret",
        lasting=True,
        roles=WRITERS,
        status=201,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.AGENT_ENROLLED,),
    )
    async def enrol_factor(self, call: Call, principal: Principal, path: ById, body: FactorRequest) -> FactorAnswer:
        """Tell the secret once."""
        return await self._personnel.enrol(path.id, body, by=call.actor(principal))

    @operation(
        "GET",
        f"{API}/habilitations",
        summary="List habilitations: of an agent, or those that could be used on a day",
        roles=READERS,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ,),
    )
    async def list_habilitations(self, call: Call, principal: Principal, query: HabilitationsQuery) -> HabilitationList:
        """List, newest first."""
        await self._trace_reading(call, principal, "habilitations", query.agent)
        found = await self._personnel.habilitations(query)
        page = page_of(found, key=lambda each: (each.recorded_at, each.id), limit=query.limit, cursor=query.cursor)
        return HabilitationList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/habilitations",
        summary="Record a habilitation",
        lasting=True,
        roles=WRITERS,
        status=201,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.HABILITATION_GRANTED,),
    )
    async def grant_habilitation(
        self, call: Call, principal: Principal, body: HabilitationRequest
    ) -> HabilitationShape:
        """Record it."""
        return await self._personnel.habilitate(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/habilitations/{{id}}/end",
        summary="End a habilitation: what runs by it closes",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.HABILITATION_ENDED,),
    )
    async def end_habilitation(
        self, call: Call, principal: Principal, path: ById, body: EndRequest
    ) -> HabilitationShape:
        """End it."""
        return await self._personnel.end_habilitation(
            path.id, reason=body.reason, reference=body.reference, by=call.actor(principal)
        )

    @operation(
        "POST",
        f"{API}/habilitations/{{id}}/confirm",
        summary="Note that a review found a habilitation still needed",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.HABILITATION_CONFIRMED,),
    )
    async def confirm_habilitation(
        self, call: Call, principal: Principal, path: ById, body: ConfirmRequest
    ) -> HabilitationShape:
        """Confirm it."""
        return await self._personnel.confirm(path.id, reference=body.reference, by=call.actor(principal))

    @operation(
        "GET",
        f"{API}/blocks",
        summary="List who and what is kept out",
        roles=READERS,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ,),
    )
    async def list_blocks(self, call: Call, principal: Principal) -> BlockList:
        """List, newest first."""
        await self._trace_reading(call, principal, "blocks")
        return BlockList(items=tuple(await self._personnel.blocks()))

    @operation(
        "POST",
        f"{API}/blocks",
        summary="Keep an agent, a service, a camera or a viewing site out at once",
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.BLOCK_SET,),
    )
    async def set_block(self, call: Call, principal: Principal, body: BlockRequest) -> BlockShape:
        """Set it: what runs against it closes."""
        return await self._personnel.block(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/blocks/{{id}}/lift",
        summary="Lift a block",
        roles=WRITERS,
        status=204,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.BLOCK_LIFTED,),
    )
    async def lift_block(self, call: Call, principal: Principal, path: ById, body: ReasonRequest) -> None:
        """Lift it."""
        await self._personnel.lift(path.id, reason=body.reason, by=call.actor(principal))

    async def _trace_reading(self, call: Call, principal: Principal, what: str, of: str | None = None) -> None:
        read = {"what": what, "of": of, "scope": principal.scope}
        detail = {name: value for name, value in read.items() if value is not None}
        await self._trace.durable(call.entry(Kind.TRACE_READ, principal, detail))
