"""The API's prefectoral orders, filled by :mod:`camera_registry.order_store`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from auth.register import Actor
from auth.trace import Draft, Kind
from camera_registry.clock import Clock
from camera_registry.errors import OrderConflict, UnknownOrder
from camera_registry.order_store import OrderStore
from camera_registry.orders import Order
from camera_registry.paris import day_of
from camera_registry.records import Witness
from halfgateway.api.personnel import see_change
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
from halfgateway.api.rights_shapes import OrderRequest, OrderShape


class OrderService:
    """Fills :class:`~halfgateway.api.rights_ports.Orders`.

    ``record`` writes an entry that is durable when it returns; ``changed`` has this node read the records again.
    """

    def __init__(
        self,
        *,
        store: OrderStore,
        clock: Clock,
        record: Callable[[Draft], Awaitable[object]],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._record = record
        self._changed = changed

    async def orders(self) -> Sequence[OrderShape]:
        """See the port."""
        now = self._clock.now()
        return [OrderShape.of(each, now, day_of(now)) for each in await self._store.list_all()]

    async def add(self, wishes: Sequence[OrderRequest], *, by: Actor) -> Sequence[OrderShape]:
        """See the port."""
        orders = [wish.order() for wish in wishes]
        drafts = [_draft(Kind.ORDER_RECORDED, order.reference, by, _told(order)) for order in orders]

        async def witness() -> None:
            await asyncio.gather(*map(self._record, drafts))

        async with self._change():
            await self._store.add(orders, by=by.account, witness=witness)
        newest = {each.reference: each for each in reversed(await self.orders())}
        return [newest[order.reference] for order in orders]

    async def suspend(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        """See the port."""
        witness = self._witness(Kind.ORDER_SUSPENDED, reference, by, reason)
        async with self._change():
            await self._store.suspend(reference, reason=reason, by=by.account, witness=witness)
        return await self._order(reference)

    async def resume(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        """See the port."""
        witness = self._witness(Kind.ORDER_RESUMED, reference, by, reason)
        async with self._change():
            await self._store.resume(reference, by=by.account, witness=witness)
        return await self._order(reference)

    async def withdraw(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        """See the port."""
        witness = self._witness(Kind.ORDER_WITHDRAWN, reference, by, reason)
        async with self._change():
            await self._store.withdraw(reference, reason=reason, by=by.account, witness=witness)
        return await self._order(reference)

    async def _order(self, reference: str) -> OrderShape:
        """The latest order of this reference: one that was withdrawn stays behind the one that took its place."""
        found = [each for each in await self.orders() if each.reference == reference]
        return min(found, key=lambda each: each.withdrawn_at is not None)

    def _witness(self, act: Kind, reference: str, by: Actor, reason: str) -> Witness:
        return lambda: self._record(_draft(act, reference, by, {"reason": reason}))

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        try:
            yield
        except OrderConflict as error:
            message = "L'arrêté est déjà enregistré, ou son état ne le permet pas."
            raise InvalidCall([Fault(where="body", message=message)]) from error
        except UnknownOrder as error:
            raise UnknownRecord(f"Aucun arrêté {error} n'est enregistré.") from error
        await see_change(self._changed)


def _draft(act: Kind, reference: str, by: Actor, detail: dict[str, Any]) -> Draft:
    about = {"order": reference, **detail}
    return Draft(kind=act, agent=by.agent, account=by.account, source=by.source, detail=about)


def _told(order: Order) -> dict[str, Any]:
    return {
        "type": order.type.value,
        "communes": sorted(order.perimeter.communes),
        "sites": sorted(order.perimeter.sites),
        "cameras": sorted(order.perimeter.cameras),
        "recipients": sorted(order.recipients),
        "live": order.live,
        "recorded": order.recorded,
        "retention_days": [order.retention_min_days, order.retention_max_days],
        "signed_on": order.signed_on.isoformat(),
        "last_day": order.last_day.isoformat(),
    }
