"""Prefectoral orders: the security officer records them, operations and the auditor read them (L06)."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.rights_ports import Orders
from halfgateway.api.rights_shapes import (
    MAX_LIST_BODY_BYTES,
    OrderList,
    OrderRequest,
    OrderShape,
    OrdersRequest,
    ReasonRequest,
)
from halfgateway.api.shapes import ById, Paging
from halfgateway.errors import TraceUnavailable

WRITERS = frozenset({Role.OFFICER})
READERS = frozenset({Role.OFFICER, Role.AUDITOR, Role.OPS})


class OrderRoutes:
    """Keeps the orders; each change is traced behind the port."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    @operation(
        "GET",
        f"{API}/orders",
        summary="List the prefectoral orders",
        roles=READERS,
        untraced="reads administrative acts: no person, no stream",
    )
    async def list_orders(self, call: Call, principal: Principal, query: Paging) -> OrderList:
        """List, newest first."""
        orders = await self._orders.orders()
        page = page_of(
            orders, key=lambda each: (each.recorded_at, each.reference), limit=query.limit, cursor=query.cursor
        )
        return OrderList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/orders",
        summary="Record a prefectoral order",
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.ORDER_RECORDED,),
    )
    async def add_order(self, call: Call, principal: Principal, body: OrderRequest) -> OrderShape:
        """Record it."""
        (added,) = await self._orders.add([body], by=call.actor(principal))
        return added

    @operation(
        "POST",
        f"{API}/orders/import",
        summary="Record several prefectoral orders, all or none",
        max_body_bytes=MAX_LIST_BODY_BYTES,
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.ORDER_RECORDED,),
    )
    async def import_orders(self, call: Call, principal: Principal, body: OrdersRequest) -> OrderList:
        """Record them."""
        return OrderList(items=tuple(await self._orders.add(body.orders, by=call.actor(principal))), next=None)

    @operation(
        "POST",
        f"{API}/orders/{{id}}/suspend",
        summary="Suspend an order: its cameras' streams close",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.ORDER_SUSPENDED,),
    )
    async def suspend_order(self, call: Call, principal: Principal, path: ById, body: ReasonRequest) -> OrderShape:
        """Suspend it."""
        return await self._orders.suspend(path.id, reason=body.reason, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/orders/{{id}}/resume",
        summary="End an order's suspension",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.ORDER_RESUMED,),
    )
    async def resume_order(self, call: Call, principal: Principal, path: ById, body: ReasonRequest) -> OrderShape:
        """Resume it."""
        return await self._orders.resume(path.id, reason=body.reason, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/orders/{{id}}/withdraw",
        summary="Withdraw an order for good: its cameras' streams close",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.ORDER_WITHDRAWN,),
    )
    async def withdraw_order(self, call: Call, principal: Principal, path: ById, body: ReasonRequest) -> OrderShape:
        """Withdraw it."""
        return await self._orders.withdraw(path.id, reason=body.reason, by=call.actor(principal))
