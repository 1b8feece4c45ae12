"""The convention itself: its calendar (article 11; C18, C22) and its acceptance (article 4; C23)."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.life_ports import ConventionLife
from halfgateway.api.life_shapes import (
    AcceptanceList,
    AcceptancePlan,
    AcceptanceRequest,
    AcceptanceShape,
    ActRequest,
    ByNumber,
    ConventionShape,
    FormQuery,
    PersonsAct,
)
from halfgateway.api.operation import Attachment, Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.shapes import Paging
from halfgateway.control.life_entries import KIND_OF_ACT
from halfgateway.errors import TraceUnavailable
from ops.calendar import ActKind

READERS = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR, Role.SUPERVISOR})
OWN_READERS = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})

_CONTRACT = "reads what the parties have signed: no person's access, no stream"


class ConventionRoutes:
    """Shows how the convention stands, and records what the parties do to it; traced behind the port."""

    def __init__(self, convention: ConventionLife) -> None:
        self._convention = convention

    @operation(
        "GET",
        f"{API}/convention",
        summary="Show the convention's terms, and every act on record",
        roles=READERS,
        untraced=_CONTRACT,
    )
    async def show_convention(self, call: Call, principal: Principal) -> ConventionShape:
        """Show it."""
        return await self._convention.standing()

    @operation(
        "POST",
        f"{API}/convention/acts",
        summary="Record a denunciation, a formal notice, an end, or the PVPP's own order",
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=tuple(KIND_OF_ACT[ActKind(act.value)] for act in PersonsAct),
    )
    async def record_act(self, call: Call, principal: Principal, body: ActRequest) -> ConventionShape:
        """Record it, and have both parties told."""
        return await self._convention.record_act(body, by=call.actor(principal))


class AcceptanceRoutes:
    """Takes both parties through the acceptance, and keeps its signed record; traced behind the port."""

    def __init__(self, convention: ConventionLife) -> None:
        self._convention = convention

    @operation("GET", f"{API}/acceptance", summary="List the acceptance records", roles=OWN_READERS, untraced=_CONTRACT)
    async def list_acceptances(self, call: Call, principal: Principal, query: Paging) -> AcceptanceList:
        """List, newest first."""
        page = page_of(
            await self._convention.acceptances(),
            key=lambda each: (each.held_at, f"{each.number:010}"),
            limit=query.limit,
            cursor=query.cursor,
        )
        return AcceptanceList(items=tuple(page.items), next=page.next)

    @operation(
        "GET",
        f"{API}/acceptance/plan",
        summary="Show the acceptance run, with what the node sees now",
        roles=OWN_READERS,
        untraced="looks at the node's own health; no person, no stream",
    )
    async def plan_acceptance(self, call: Call, principal: Principal) -> AcceptancePlan:
        """Show it."""
        return await self._convention.plan_acceptance()

    @operation(
        "POST",
        f"{API}/acceptance",
        summary="Write the signed record of an acceptance run: it opens the access if every check passed",
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.ACCEPTANCE_RECORDED,),
    )
    async def record_acceptance(self, call: Call, principal: Principal, body: AcceptanceRequest) -> AcceptanceShape:
        """Write it."""
        return await self._convention.accept(body, by=call.actor(principal))

    @operation(
        "GET",
        f"{API}/acceptance/{{number}}",
        summary="Hand out an acceptance record: PDF, JSON, its signature, or the key that verifies it",
        roles=OWN_READERS,
        errors=(UnknownRecord,),
        untraced=_CONTRACT,
        files=("application/pdf", "application/json", "application/octet-stream", "application/x-pem-file"),
    )
    async def get_acceptance(self, call: Call, principal: Principal, path: ByNumber, query: FormQuery) -> Attachment:
        """Hand it out."""
        return await self._convention.acceptance(path.number, query.form)
