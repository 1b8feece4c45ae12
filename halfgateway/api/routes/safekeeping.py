"""Judicial holds, requests made outside the link, and the retention probe (C04, C05, L26)."""

from __future__ import annotations

import asyncio
import contextlib

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.life_shapes import ByNumber
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.rights_shapes import ReasonRequest
from halfgateway.api.safekeeping_ports import Holds, OutsideRequests, Probe, RetentionRecords
from halfgateway.api.safekeeping_shapes import (
    AnswerRequest,
    HoldList,
    HoldRequest,
    HoldShape,
    OutsideRequestList,
    OutsideRequestRequest,
    OutsideRequestShape,
    RetentionShape,
    SealRequest,
)
from halfgateway.api.shapes import Paging
from halfgateway.errors import TraceUnavailable

READERS = frozenset({Role.OFFICER, Role.OPS, Role.AUDITOR})
HANDS = frozenset({Role.OFFICER, Role.OPS})
OFFICER = frozenset({Role.OFFICER})

PROBE_ANSWER_S = 30.0
"""How long a call waits for the round that it asked for; a longer one goes on without it."""


class HoldRoutes:
    """Keeps the holds; each act is traced behind the port."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds

    @operation(
        "GET",
        f"{API}/holds",
        summary="List the judicial holds",
        roles=READERS,
        untraced="reads a register of acts, each of which is traced; no stream, nobody's access",
    )
    async def list_holds(self, call: Call, principal: Principal, query: Paging) -> HoldList:
        """List, newest first."""
        page = page_of(
            await self._holds.holds(),
            key=lambda each: (each.placed_at, f"{each.number:010}"),
            limit=query.limit,
            cursor=query.cursor,
        )
        return HoldList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/holds",
        summary="Hold a camera's footage of an interval; nothing is opened by it",
        roles=OFFICER,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.HOLD_PLACED,),
    )
    async def place_hold(self, call: Call, principal: Principal, body: HoldRequest) -> HoldShape:
        """Place it."""
        return await self._holds.place(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/holds/{{number}}/release",
        summary="End a hold: what it held is destroyed once its term has passed",
        roles=OFFICER,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.HOLD_ENDED,),
    )
    async def release_hold(self, call: Call, principal: Principal, path: ByNumber, body: ReasonRequest) -> HoldShape:
        """End it, for good."""
        return await self._holds.release(path.number, reason=body.reason, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/holds/{{number}}/extraction",
        summary="Have the trace told that a hold's interval is about to be extracted at the node's machine",
        roles=OFFICER,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.HOLD_EXTRACTING,),
    )
    async def begin_extraction(self, call: Call, principal: Principal, path: ByNumber) -> HoldShape:
        """Have it told; nothing is read before."""
        return await self._holds.extracting(path.number, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/holds/{{number}}/sealed",
        summary="Record that a hold's interval was extracted to a sealed medium",
        roles=OFFICER,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.HOLD_EXTRACTED,),
    )
    async def seal_hold(self, call: Call, principal: Principal, path: ByNumber, body: SealRequest) -> HoldShape:
        """Record it, once."""
        return await self._holds.sealed(path.number, body, by=call.actor(principal))


class OutsideRequestRoutes:
    """Keeps the register of requests; each act is traced behind the port."""

    def __init__(self, requests: OutsideRequests) -> None:
        self._requests = requests

    @operation(
        "GET",
        f"{API}/requests",
        summary="List the requests made outside the link, and the requisitions",
        roles=READERS,
        untraced="reads a register of acts, each of which is traced; no stream, nobody's access",
    )
    async def list_requests(self, call: Call, principal: Principal, query: Paging) -> OutsideRequestList:
        """List, newest first."""
        page = page_of(
            await self._requests.requests(),
            key=lambda each: (each.recorded_at, f"{each.number:010}"),
            limit=query.limit,
            cursor=query.cursor,
        )
        return OutsideRequestList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/requests",
        summary="Put a request that came outside the link on record",
        roles=HANDS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.REQUEST_RECEIVED,),
    )
    async def receive_request(
        self, call: Call, principal: Principal, body: OutsideRequestRequest
    ) -> OutsideRequestShape:
        """Put it on record."""
        return await self._requests.receive(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/requests/{{number}}/answer",
        summary="Record what was answered, and why no more could be served",
        roles=HANDS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.REQUEST_ANSWERED,),
    )
    async def answer_request(
        self, call: Call, principal: Principal, path: ByNumber, body: AnswerRequest
    ) -> OutsideRequestShape:
        """Record it, once."""
        return await self._requests.answer(path.number, body, by=call.actor(principal))


class RetentionRoutes:
    """Shows what the retention probe found."""

    def __init__(self, records: RetentionRecords) -> None:
        self._records = records

    @operation(
        "GET",
        f"{API}/retention",
        summary="Show what the recorders were last found to have of each camera",
        roles=READERS,
        untraced="reads what recorders have, not what it shows: no person, no stream",
    )
    async def show_retention(self, call: Call, principal: Principal, query: Paging) -> RetentionShape:
        """Show it, by camera."""
        return await shown(self._records, query)


class ProbeRoutes:
    """Has the retention probe run, which only a node can."""

    def __init__(self, probe: Probe, records: RetentionRecords) -> None:
        self._probe = probe
        self._records = records

    @operation(
        "POST",
        f"{API}/retention/probe",
        summary="Ask the recorders now; a round that takes longer than the call goes on without it",
        roles=HANDS,
        errors=(TraceUnavailable,),
        traces=(Kind.RETENTION_PROBED,),
    )
    async def probe_retention(self, call: Call, principal: Principal) -> RetentionShape:
        """Ask them, and show what was found."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_ANSWER_S):
                await self._probe.ask(call.actor(principal))
        return await shown(self._records, Paging())


async def shown(records: RetentionRecords, query: Paging) -> RetentionShape:
    """One page of what was found."""
    findings, probed_at = await records.findings()
    page = page_of(findings, key=lambda each: (each.probed_at, each.camera), limit=query.limit, cursor=query.cursor)
    return RetentionShape(probed_at=probed_at, items=tuple(page.items), next=page.next)
