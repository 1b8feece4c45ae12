"""The trace anchored outside, and what a person at the node's own machine does to it while it is written."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Call, Forbidden, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import AccessTrace, Anchors, TraceCustody
from halfgateway.api.trace_shapes import (
    Cosignature,
    CosignRequest,
    Disclosed,
    Disclosure,
    KeyRotation,
    KeyRotationRequest,
    Statement,
)
from halfgateway.errors import TraceUnavailable


class AnchorRoutes:
    """Cosignatures from the other half-gateway; the key and the readings of whoever is at this machine."""

    def __init__(self, anchors: Anchors, custody: TraceCustody, trace: AccessTrace) -> None:
        self._anchors = anchors
        self._custody = custody
        self._trace = trace

    @operation(
        "POST",
        f"{API}/trace/cosign",
        summary="Bring a cosignature over a head of this node's trace",
        roles={Role.MACHINE},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_ANCHORED,),
    )
    async def cosign_head(self, call: Call, principal: Principal, body: CosignRequest) -> Cosignature:
        """Verify it, keep it beside the journal, and return what it says."""
        return await self._anchors.cosign(body.note, call.entry(Kind.TRACE_ANCHORED, principal, {}))

    @operation(
        "GET",
        f"{API}/trace/statement",
        summary="Show the heads of every node's trace as a text to keep",
        roles={Role.OFFICER, Role.OPS, Role.AUDITOR},
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ,),
    )
    async def show_statement(self, call: Call, principal: Principal) -> Statement:
        """Return the text of the daily mail."""
        await self._trace.durable(call.entry(Kind.TRACE_READ, principal, {"what": "statement"}))
        return Statement(text=await self._anchors.statement())

    @operation(
        "POST",
        f"{API}/trace/keys",
        summary="Hand the trace over to a new signing key, at the node's own machine",
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_KEY_ROTATED,),
    )
    async def rotate_trace_key(self, call: Call, principal: Principal, body: KeyRotationRequest) -> KeyRotation:
        """Return both keys; the old one has signed for the new one."""
        _require_local(call)
        return await self._custody.rotate_key(call.entry(Kind.TRACE_KEY_ROTATED, principal, {"motive": body.reason}))

    @operation(
        "POST",
        f"{API}/trace/disclosures",
        summary="Record a reading or an export that is made at the node's own machine",
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.TRACE_READ, Kind.TRACE_EXPORTED),
    )
    async def record_disclosure(self, call: Call, principal: Principal, body: Disclosure) -> Disclosed:
        """Return the size of the head that covers the entry: what is read then is read under it."""
        _require_local(call)
        draft = call.entry(Kind(body.kind), principal, dict(body.detail))
        return Disclosed(size=await self._custody.disclose(draft))


def _require_local(call: Call) -> None:
    if call.local is None:
        raise Forbidden("Cette action ne se fait que sur la machine du nœud.")
