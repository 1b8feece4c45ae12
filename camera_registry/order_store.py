"""The prefectoral orders on record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from camera_registry.clock import Clock
from camera_registry.errors import OrderConflict, UnknownOrder
from camera_registry.orders import Order, OrderType, Perimeter
from camera_registry.records import SessionMaker, Witness, count_change, settle, transaction
from camera_registry.tables import OrderRow, SuspensionRow


@dataclass(frozen=True, slots=True)
class RecordedOrder:
    """An order with the story of its record; ``suspension`` is why it is suspended, where it is."""

    order: Order
    recorded_at: datetime
    recorded_by: str
    suspension: str | None = None
    withdrawal: str | None = None


class OrderStore:
    """Orders in SQL; each method is one transaction.

    ``by`` is the account that makes a change, ``witness`` writes its entry. Every method raises StoreUnavailable, and
    what the witness raises: then nothing has changed.
    """

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def add(self, orders: Sequence[Order], *, by: str, witness: Witness) -> None:
        """Record new orders, all or none. Raises OrderConflict for a reference that is in use."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            session.add_all([_row(order, now, by) for order in orders])
            try:
                await session.flush()
            except IntegrityError as error:
                references = ", ".join(order.reference for order in orders)
                raise OrderConflict(f"already on record: one of {references}") from error
            await settle(session, witness)

    async def suspend(self, reference: str, *, reason: str, by: str, witness: Witness) -> None:
        """Suspend an order from now on. Raises UnknownOrder, OrderConflict for one that is suspended."""
        async with transaction(self._sessions) as session:
            row, suspension = await self._in_use(session, reference)
            if suspension is not None:
                raise OrderConflict(f"{reference} is suspended already")
            session.add(
                SuspensionRow(id=uuid4().hex, order_id=row.id, since=self._clock.now(), reason=reason, suspended_by=by)
            )
            await settle(session, witness)

    async def resume(self, reference: str, *, by: str, witness: Witness) -> None:
        """End an order's suspension. Raises UnknownOrder, OrderConflict for one that is not suspended."""
        async with transaction(self._sessions) as session:
            _, suspension = await self._in_use(session, reference)
            if suspension is None:
                raise OrderConflict(f"{reference} is not suspended")
            suspension.lifted_at, suspension.lifted_by = self._clock.now(), by
            await settle(session, witness)

    async def withdraw(self, reference: str, *, reason: str, by: str, witness: Witness) -> None:
        """Withdraw an order for good. Raises UnknownOrder."""
        async with transaction(self._sessions) as session:
            row, _ = await self._in_use(session, reference)
            row.withdrawn_at, row.withdrawn_by, row.withdrawal_reason = self._clock.now(), by, reason
            await settle(session, witness)

    async def list_all(self) -> list[RecordedOrder]:
        """Return every order, newest first, those that have expired or were withdrawn too."""
        async with transaction(self._sessions) as session:
            return await recorded_orders(session)

    async def _in_use(self, session: AsyncSession, reference: str) -> tuple[OrderRow, SuspensionRow | None]:
        await count_change(session)
        in_use = select(OrderRow).where(OrderRow.reference == reference, OrderRow.withdrawn_at.is_(None))
        row = await session.scalar(in_use)
        if row is None:
            raise UnknownOrder(reference)
        running = select(SuspensionRow).where(SuspensionRow.order_id == row.id, SuspensionRow.lifted_at.is_(None))
        return row, await session.scalar(running)


async def recorded_orders(session: AsyncSession) -> list[RecordedOrder]:
    """Every order of this transaction's view, newest first."""
    suspended = {
        row.order_id: row
        for row in await session.scalars(select(SuspensionRow).where(SuspensionRow.lifted_at.is_(None)))
    }
    rows = await session.scalars(select(OrderRow).order_by(OrderRow.recorded_at.desc(), OrderRow.id))
    return [_recorded(row, suspended.get(row.id)) for row in rows]


def _recorded(row: OrderRow, suspension: SuspensionRow | None) -> RecordedOrder:
    order = Order(
        reference=row.reference,
        type=OrderType(row.type),
        perimeter=perimeter_from(row.perimeter),
        place=row.place,
        recipients=frozenset(json.loads(row.recipients)),
        live=row.live,
        recorded=row.recorded,
        retention_min_days=row.retention_min_days,
        retention_max_days=row.retention_max_days,
        signed_on=row.signed_on,
        last_day=row.last_day,
        suspended_since=suspension.since if suspension is not None else None,
        withdrawn_at=row.withdrawn_at,
    )
    reason = suspension.reason if suspension is not None else None
    return RecordedOrder(order, row.recorded_at, row.recorded_by, reason, row.withdrawal_reason)


def _row(order: Order, recorded_at: datetime, recorded_by: str) -> OrderRow:
    return OrderRow(
        id=uuid4().hex,
        reference=order.reference,
        type=order.type.value,
        perimeter=perimeter_text(order.perimeter),
        place=order.place,
        recipients=json.dumps(sorted(order.recipients), ensure_ascii=False),
        live=order.live,
        recorded=order.recorded,
        retention_min_days=order.retention_min_days,
        retention_max_days=order.retention_max_days,
        signed_on=order.signed_on,
        last_day=order.last_day,
        recorded_at=recorded_at,
        recorded_by=recorded_by,
    )


def perimeter_text(perimeter: Perimeter) -> str:
    """Write a perimeter for a column; the same perimeter gives the same text."""
    parts = {"cameras": perimeter.cameras, "communes": perimeter.communes, "sites": perimeter.sites}
    return json.dumps({name: sorted(part) for name, part in parts.items()}, ensure_ascii=False)


def perimeter_from(text: str) -> Perimeter:
    """Read what :func:`perimeter_text` wrote."""
    return Perimeter(**{name: frozenset(part) for name, part in json.loads(text).items()})
