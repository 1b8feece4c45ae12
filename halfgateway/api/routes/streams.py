"""Asking for streams, seeing the open ones as one's role may, closing one."""

from __future__ import annotations

from auth.principals import Attribution, Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Call, Forbidden, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.ports import AccessTrace, Streams
from halfgateway.api.problems import UnknownStream
from halfgateway.api.shapes import ById
from halfgateway.api.stream_shapes import (
    CloseQuery,
    HandoverRequest,
    StreamList,
    StreamRequest,
    StreamsQuery,
    StreamView,
    Ticket,
)
from halfgateway.errors import (
    AssertionInvalid,
    BandwidthReached,
    CameraNotAuthorised,
    CameraUnreachable,
    CapReached,
    ConventionNotInForce,
    InterconnectionCut,
    NoRecording,
    StateStoreUnavailable,
    Throttled,
    TraceUnavailable,
    UnknownCamera,
)

MASKED_ROLES = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})
"""SYN's side sees slots and counters, not who in the police watches what (L19)."""

UNMASKING_ROLES = frozenset({Role.OFFICER, Role.AUDITOR})


class StreamRoutes:
    """The API's way to the one door."""

    def __init__(self, streams: Streams, trace: AccessTrace) -> None:
        self._streams = streams
        self._trace = trace

    @operation(
        "POST",
        f"{API}/streams",
        summary="Ask for a stream: takes a slot and gives a ticket",
        roles={Role.OPERATOR, Role.MACHINE},
        status=201,
        errors=(
            AssertionInvalid,
            CameraNotAuthorised,
            CameraUnreachable,
            BandwidthReached,
            CapReached,
            ConventionNotInForce,
            InterconnectionCut,
            NoRecording,
            StateStoreUnavailable,
            Throttled,
            TraceUnavailable,
            UnknownCamera,
        ),
        traces=(
            Kind.ASSERTION_ACCEPTED,
            Kind.ASSERTION_REFUSED,
            Kind.STREAM_REQUESTED,
            Kind.STREAM_GRANTED,
            Kind.STREAM_REFUSED,
        ),
    )
    async def open_stream(self, call: Call, principal: Principal, body: StreamRequest) -> Ticket:
        """Pass the wish to the door."""
        return await self._streams.open(principal, body, source=call.source, certificate_der=call.certificate_der)

    @operation(
        "GET",
        f"{API}/streams",
        summary="List the open streams, masked as the caller's role demands",
        roles={Role.OPERATOR, Role.SUPERVISOR, *MASKED_ROLES},
        errors=(TraceUnavailable,),
        traces=(Kind.STREAM_UNMASKED,),
    )
    async def list_streams(self, call: Call, principal: Principal, query: StreamsQuery) -> StreamList:
        """List, newest first; unmasking is durable in the trace before anything is shown."""
        streams = await self._streams.list_open()
        if principal.role is Role.OPERATOR:
            streams = [stream for stream in streams if _owns(principal, stream)]
        page = page_of(streams, key=lambda stream: (stream.since, stream.id), limit=query.limit, cursor=query.cursor)
        shown = tuple(page.items)
        if query.unmask is not None:
            await self._trace_unmasking(call, principal, query.unmask, shown)
        elif principal.role in MASKED_ROLES:
            shown = tuple(_masked(stream) for stream in shown)
        return StreamList(items=shown, next=page.next)

    @operation(
        "DELETE",
        f"{API}/streams/{{id}}",
        summary="Close a stream: its owner, the supervisor, SYN's operations or its security officer",
        roles={Role.OPERATOR, Role.MACHINE, Role.SUPERVISOR, Role.OPS, Role.OFFICER},
        status=204,
        errors=(UnknownStream, StateStoreUnavailable, TraceUnavailable),
        traces=(Kind.STREAM_STOPPED,),
    )
    async def close_stream(self, call: Call, principal: Principal, path: ById, query: CloseQuery) -> None:
        """Close it, whoever serves it."""
        stream = await self._streams.find(path.id)
        if stream is None:
            raise UnknownStream("Ce Flux n'est pas ouvert.")
        if principal.role in {Role.OPERATOR, Role.MACHINE} and not _owns(principal, stream):
            raise Forbidden("Ce Flux a été ouvert par un autre agent.")
        await self._streams.close(path.id, by=principal, reason=query.reason, source=call.source)

    @operation(
        "POST",
        f"{API}/streams/{{id}}/handover",
        summary="Hand a stream over to the relief: the picture goes on",
        roles={Role.OPERATOR, Role.MACHINE},
        status=204,
        errors=(
            UnknownStream,
            AssertionInvalid,
            CameraNotAuthorised,
            ConventionNotInForce,
            InterconnectionCut,
            StateStoreUnavailable,
            TraceUnavailable,
        ),
        traces=(
            Kind.ASSERTION_ACCEPTED,
            Kind.ASSERTION_REFUSED,
            Kind.STREAM_HANDED_OVER,
            Kind.STREAM_REFUSED,
        ),
    )
    async def hand_over(self, call: Call, principal: Principal, path: ById, body: HandoverRequest) -> None:
        """The agent asserted by the stream's machine, or the operator who asks, answers for it from now on."""
        if principal.role is Role.MACHINE and body.assertion is None:
            raise Forbidden("Une machine joint l'attestation de l'agent qui prend la relève.")
        handed_over = await self._streams.hand_over(
            path.id,
            by=principal,
            assertion=body.assertion,
            source=call.source,
            certificate_der=call.certificate_der,
        )
        if not handed_over:
            raise UnknownStream("Ce Flux n'est pas ouvert.")

    async def _trace_unmasking(
        self, call: Call, principal: Principal, motive: str, shown: tuple[StreamView, ...]
    ) -> None:
        if principal.role not in UNMASKING_ROLES:
            raise Forbidden("Ce rôle ne permet pas de lever le masquage.")
        unmasked = {"motive": motive, "streams": [stream.id for stream in shown]}
        await self._trace.durable(call.entry(Kind.STREAM_UNMASKED, principal, unmasked))


def _owns(principal: Principal, stream: StreamView) -> bool:
    same_agent = principal.agent is not None and stream.agent == principal.agent
    return stream.account == principal.account or same_agent


def _masked(stream: StreamView) -> StreamView:
    """Hide who watches, for whom and why; a personal account names its agent, so it is hidden too."""
    hidden = dict.fromkeys(("agent", "service", "reason", "reference"))
    if stream.attribution is Attribution.AGENT_AUTHENTICATED:
        hidden["account"] = None
    return stream.model_copy(update=hidden)
