"""The API's reservations, filled by :mod:`auth.reservations`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from auth.errors import RegisterRuleError, UnknownRecordError
from auth.principals import Principal
from auth.reservations import Arbiter, Reservations
from halfgateway.api.personnel import see_change
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
from halfgateway.api.stream_shapes import PassRequest, ReservationRequest, ReservationShape
from halfgateway.control.terms import Terms


class ReservationService:
    """Fills :class:`~halfgateway.api.ports.Reservations`.

    ``changed`` has this node read the records again, and tell the slot table.
    """

    def __init__(self, *, reservations: Reservations, terms: Terms, changed: Callable[[], Awaitable[None]]) -> None:
        self._reservations = reservations
        self._terms = terms
        self._changed = changed

    async def list_open(self) -> Sequence[ReservationShape]:
        """See the port."""
        return [ReservationShape.of(each) for each in await self._reservations.list_open()]

    async def make(self, wish: ReservationRequest, *, by: Principal, source: str) -> ReservationShape:
        """See the port."""
        async with self._change():
            made = await self._reservations.make(
                service=wish.service,
                slots=wish.slots,
                until=wish.until,
                reason=wish.reason,
                cap=self._terms.convention.cap,
                by=Arbiter(by, source),
            )
        return ReservationShape.of(made)

    async def pass_on(self, reservation_id: str, wish: PassRequest, *, by: Principal, source: str) -> ReservationShape:
        """See the port."""
        async with self._change():
            passed = await self._reservations.pass_on(
                reservation_id, service=wish.service, slots=wish.slots, reason=wish.reason, by=Arbiter(by, source)
            )
        return ReservationShape.of(passed)

    async def end(self, reservation_id: str, *, reason: str | None, by: Principal, source: str) -> None:
        """See the port."""
        async with self._change():
            await self._reservations.end(reservation_id, reason=reason, by=Arbiter(by, source))

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        try:
            yield
        except RegisterRuleError as error:
            raise InvalidCall([Fault(where="body", message=str(error))]) from error
        except UnknownRecordError as error:
            raise UnknownRecord(f"Aucune réservation {error} n'est en vigueur.") from error
        await see_change(self._changed)
