"""The history of accesses: reading it is an entry too (T11)."""

from __future__ import annotations

from typing import Any

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import API, Call, operation
from halfgateway.api.ports import AccessTrace, TraceFilter, TraceHistory
from halfgateway.api.problems import UnknownEntry
from halfgateway.api.shapes import (
    CheckpointList,
    EntryPath,
    EntryShape,
    Proof,
    ProofQuery,
    TraceList,
    TraceQuery,
)
from halfgateway.errors import TraceUnavailable


class TraceRoutes:
    """Reads the journals, within the auditor's scope."""

    def __init__(self, history: TraceHistory, trace: AccessTrace) -> None:
        self._history = history
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
        wanted = TraceFilter(**query.model_dump(exclude={"limit", "cursor"}))
        page = await self._history.entries(principal, wanted, limit=query.limit, cursor=query.cursor)
        return TraceList(items=tuple(EntryShape.of(entry) for entry in page.items), next=page.next)

    @operation(
        "GET",
        f"{API}/trace/checkpoints",
        summary="Show the latest signed head of each node",
        roles={Role.AUDITOR},
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

    async def _trace_reading(self, call: Call, principal: Principal, what: str, asked: dict[str, Any]) -> None:
        read = {"what": what, "asked": asked, "scope": principal.scope}
        await self._trace.durable(call.entry(Kind.TRACE_READ, principal, read))
