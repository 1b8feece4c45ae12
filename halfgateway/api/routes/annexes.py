"""The convention's annexes in their versions (articles 11 and 12; C07, C20), and the charter (L25)."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.life_ports import Annexes
from halfgateway.api.life_shapes import (
    MAX_ANNEX_BODY_BYTES,
    AnnexList,
    AnnexRequest,
    AnnexShape,
    ByAnnex,
    ByVersion,
    CharterAcknowledgement,
    CharterShape,
    OppositionRequest,
)
from halfgateway.api.operation import EVERYONE, Attachment, Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.shapes import Paging
from halfgateway.errors import TraceUnavailable
from ops.annexes import MediaType

WRITERS = frozenset({Role.OPS, Role.OFFICER})
READERS = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})

_CONTRACT = "reads the contract's own documents: no person's access, no stream"


class AnnexRoutes:
    """Keeps the annexes; each act is traced behind the port."""

    def __init__(self, annexes: Annexes) -> None:
        self._annexes = annexes

    @operation("GET", f"{API}/annexes", summary="List every version of the annexes", roles=READERS, untraced=_CONTRACT)
    async def list_annexes(self, call: Call, principal: Principal, query: Paging) -> AnnexList:
        """List, newest first."""
        page = page_of(
            await self._annexes.annexes(),
            key=lambda each: (each.informed_at, f"{each.annex}-{each.version:010}"),
            limit=query.limit,
            cursor=query.cursor,
        )
        return AnnexList(items=tuple(page.items), next=page.next)

    @operation(
        "GET",
        f"{API}/annexes/diagram",
        summary="Draw SYN's half of annex 1 as it is now",
        roles=READERS,
        untraced=_CONTRACT,
        files=(MediaType.SVG.value,),
    )
    async def draw_diagram(self, call: Call, principal: Principal) -> Attachment:
        """Draw it; it is no version until it is informed of."""
        return await self._annexes.diagram()

    @operation(
        "POST",
        f"{API}/annexes/{{annex}}",
        summary="Record a new version of an annex, of which the co-contractant is informed",
        max_body_bytes=MAX_ANNEX_BODY_BYTES,
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.ANNEX_INFORMED,),
    )
    async def inform_annex(self, call: Call, principal: Principal, path: ByAnnex, body: AnnexRequest) -> AnnexShape:
        """Record it; it comes into force by silence (1 to 6), or as its avenant says (7 and 8)."""
        return await self._annexes.inform(path.annex, body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/annexes/{{annex}}/{{version}}/oppose",
        summary="Record the co-contractant's opposition to a version",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.ANNEX_OPPOSED,),
    )
    async def oppose_annex(
        self, call: Call, principal: Principal, path: ByVersion, body: OppositionRequest
    ) -> AnnexShape:
        """Record it: the version is never served from then on."""
        return await self._annexes.oppose(path.annex, path.version, body, by=call.actor(principal))

    @operation(
        "GET",
        f"{API}/annexes/{{annex}}/{{version}}/document",
        summary="Hand out what a version says",
        roles=READERS,
        errors=(UnknownRecord,),
        untraced=_CONTRACT,
        files=tuple(each.value for each in MediaType),
    )
    async def get_annex_document(self, call: Call, principal: Principal, path: ByVersion) -> Attachment:
        """Hand it out."""
        return await self._annexes.document(path.annex, path.version)


class CharterRoutes:
    """Shows the charter, and has it acknowledged."""

    def __init__(self, annexes: Annexes) -> None:
        self._annexes = annexes

    @operation(
        "GET",
        f"{API}/charter",
        summary="Show the charter of ethics in force (annex 7)",
        roles=EVERYONE,
        errors=(UnknownRecord,),
        untraced=_CONTRACT,
    )
    async def show_charter(self, call: Call, principal: Principal) -> CharterShape:
        """Show it, and whether the caller has acknowledged it."""
        return await self._annexes.charter(principal)

    @operation(
        "POST",
        f"{API}/charter/acknowledge",
        summary="Acknowledge the version of the charter in force, before a first stream",
        roles={Role.OPERATOR, Role.SUPERVISOR},
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.ANNEX_ACKNOWLEDGED,),
    )
    async def acknowledge_charter(self, call: Call, principal: Principal, body: CharterAcknowledgement) -> CharterShape:
        """Record that the caller has read it."""
        return await self._annexes.acknowledge(body.version, reader=principal, by=call.actor(principal))
