"""PP arbitrates its slots: its supervisor reserves, passes on and frees them; SYN sees how many, and chooses none."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.ports import Reservations
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.shapes import ById, Paging
from halfgateway.api.stream_shapes import CloseQuery, PassRequest, ReservationList, ReservationRequest, ReservationShape
from halfgateway.errors import TraceUnavailable

ARBITER = frozenset({Role.SUPERVISOR})
COUNTING = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})
"""SYN's side sees that slots are kept free, and not for whom (L19)."""


class ReservationRoutes:
    """Keeps the reservations; each change is traced behind the port."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    @operation(
        "GET",
        f"{API}/reservations",
        summary="List the slots that PP keeps free for its services",
        roles=ARBITER | COUNTING,
        untraced="shows SYN numbers alone, and PP's supervisor PP's own services",
    )
    async def list_reservations(self, call: Call, principal: Principal, query: Paging) -> ReservationList:
        """List those in force, newest first, masked as the caller's role demands."""
        reservations = await self._reservations.list_open()
        page = page_of(reservations, key=lambda each: (each.made_at, each.id), limit=query.limit, cursor=query.cursor)
        shown = tuple(page.items)
        if principal.role in COUNTING:
            shown = tuple(each.model_copy(update={"service": None}) for each in shown)
        return ReservationList(items=shown, next=page.next)

    @operation(
        "POST",
        f"{API}/reservations",
        summary="Keep slots free for a service, until an instant",
        roles=ARBITER,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.RESERVATION_MADE,),
    )
    async def make_reservation(self, call: Call, principal: Principal, body: ReservationRequest) -> ReservationShape:
        """Reserve; streams that run are not touched."""
        return await self._reservations.make(body, by=principal, source=call.source)

    @operation(
        "POST",
        f"{API}/reservations/{{id}}/pass",
        summary="Let another service have a reservation, or part of it",
        roles=ARBITER,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.RESERVATION_PASSED,),
    )
    async def pass_reservation(
        self, call: Call, principal: Principal, path: ById, body: PassRequest
    ) -> ReservationShape:
        """Pass on; what the other service has is answered."""
        return await self._reservations.pass_on(path.id, body, by=principal, source=call.source)

    @operation(
        "DELETE",
        f"{API}/reservations/{{id}}",
        summary="Free what a reservation keeps",
        roles=ARBITER,
        status=204,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.RESERVATION_ENDED,),
    )
    async def end_reservation(self, call: Call, principal: Principal, path: ById, query: CloseQuery) -> None:
        """End it."""
        await self._reservations.end(path.id, reason=query.reason, by=principal, source=call.source)
