"""The history of accesses: reading it is an entry too (T11)."""

from __future__ import annotations

from typing import Any

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Attachment, Call, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import AccessTrace, TraceFilter, TraceHistory, TracePurge
from halfgateway.api.problems import UnknownEntry
from halfgateway.api.shapes import (
    CheckpointList,
    EntryPath,
    EntryShape,
    Proof,
    ProofQuery,
    TraceCriteria,
    TraceList,
    TraceQuery,
)
from halfgateway.api.trace_shapes import (
    ByNode,
    Consistency,
    ConsistencyQuery,
    EliminationShape,
    ExtractQuery,
    PurgeRequest,
)
from halfgateway.dossiers.tables import TableFormat
from halfgateway.errors import TraceUnavailable


class TraceRoutes:
    """Reads the journals, within the auditor's scope."""

    def __init__(self, history: TraceHistory, purges: TracePurge, trace: AccessTrace) -> None:
        self._history = history
        self._purges = purges
        self._trace = trace

    @operation(
        "GET",
        f"{API}/trace",
        summary="Search the history of accesses",
        roles={Role.AUDITOR},
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ,),
    )
    async def read_trace(self, call: Call, principal: Principal, query: TraceQuery) -> TraceList:
        """Return matching entries, newest first."""
        await self._trace_reading(call, principal, "entries", query.model_dump(mode="json", exclude_none=True))
        wanted = _filter(query)
        page = await self._history.entries(principal, wanted, limit=query.limit, cursor=query.cursor)
        return TraceList(items=tuple(EntryShape.of(entry) for entry in page.items), next=page.next)

    @operation(
        "GET",
        f"{API}/trace/checkpoints",
        summary="Show the latest signed head of each node",
        roles={Role.AUDITOR, Role.MACHINE},
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ,),
    )
    async def read_checkpoints(self, call: Call, principal: Principal) -> CheckpointList:
        """Return the heads."""
        await self._trace_reading(call, principal, "checkpoints", {})
        return CheckpointList(items=tuple(await self._history.checkpoints(principal)))

    @operation(
        "GET",
        f"{API}/trace/{{node}}/{{n}}/proof",
        summary="Prove that an entry is in the journal",
        roles={Role.AUDITOR},
        errors=(UnknownEntry, TraceUnavailable),
        traces=(Kind.TRACE_READ,),
    )
    async def prove_entry(self, call: Call, principal: Principal, path: EntryPath, query: ProofQuery) -> Proof:
        """Return the inclusion proof."""
        asked = {**path.model_dump(), **query.model_dump(exclude_none=True)}
        await self._trace_reading(call, principal, "proof", asked)
        proof = await self._history.proof(principal, node=path.node, n=path.n, size=query.size)
        if proof is None:
            raise UnknownEntry("Aucune entrée de ce numéro dans un journal de cette taille.")
        return proof

    @operation(
        "GET",
        f"{API}/trace/{{node}}/consistency",
        summary="Prove that a later tree of the journal extends an earlier one",
        roles={Role.AUDITOR, Role.MACHINE},
        errors=(UnknownEntry, TraceUnavailable),
        traces=(Kind.TRACE_READ,),
    )
    async def prove_consistency(
        self, call: Call, principal: Principal, path: ByNode, query: ConsistencyQuery
    ) -> Consistency:
        """Return the consistency proof."""
        asked = {"node": path.node, "from": query.first, "to": query.second}
        await self._trace_reading(call, principal, "consistency", asked)
        proof = await self._history.consistency(principal, node=path.node, first=query.first, second=query.second)
        if proof is None:
            raise UnknownEntry("Le journal n'a pas d'arbres de ces tailles.")
        return proof

    @operation(
        "GET",
        f"{API}/trace/export",
        summary="Export entries with their checkpoint and proofs, as CSV, XLSX or PDF",
        roles={Role.AUDITOR},
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_EXPORTED,),
        files=tuple(form.media_type for form in TableFormat),
    )
    async def export_trace(self, call: Call, principal: Principal, query: ExtractQuery) -> Attachment:
        """Return the file; that it was made is durable in the trace before."""
        criteria = query.model_dump(mode="json", exclude_none=True)
        exported = {"what": "entries", "asked": criteria, "scope": principal.scope}
        await self._trace.durable(call.entry(Kind.TRACE_EXPORTED, principal, exported))
        asked = ", ".join(f"{name} = {value}" for name, value in criteria.items() if name != "format")
        content = await self._history.extract(principal, _filter(query), query.format, asked=asked)
        return Attachment(content, query.format.media_type, f"journal-des-acces.{query.format.value}")

    @operation(
        "POST",
        f"{API}/trace/purges",
        summary="Eliminate what of a class has been kept long enough, under a visa",
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_PURGED,),
    )
    async def purge_trace(self, call: Call, principal: Principal, body: PurgeRequest) -> EliminationShape:
        """Return the elimination record."""
        record = await self._purges.purge(
            call.entry(Kind.TRACE_PURGED, principal, {}),
            body.retention_class,
            older_than_days=body.older_than_days,
            visa=body.visa,
        )
        if record is None:
            return EliminationShape(count=0)
        return EliminationShape(count=record.count, record=record.to_json())

    async def _trace_reading(self, call: Call, principal: Principal, what: str, asked: dict[str, Any]) -> None:
        read = {"what": what, "asked": asked, "scope": principal.scope}
        await self._trace.durable(call.entry(Kind.TRACE_READ, principal, read))


def _filter(query: TraceCriteria) -> TraceFilter:
    """The filter; naming a motive lifts the mask, for it is in the entry that was written of the reading (L19)."""
    members = query.model_dump(exclude={"limit", "cursor", "format", "unmask"})
    return TraceFilter(**members, motive=query.unmask)
