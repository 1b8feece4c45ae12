"""The slots that PP's supervisor keeps free for its services, on record (S16).

They are PP's own choice among its slots: SYN makes none, ends none and passes none on. All nodes see them with their
next look at who may; the slot table holds every request against them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import RegisterRuleError, UnknownRecordError
from auth.principals import Principal
from auth.records import SessionMaker, transaction
from auth.register import Record
from auth.register_rows import open_reservations, reservation_from, reservation_row
from auth.reservation_tables import ReservationRow
from auth.rights import LOCAL, Reservation
from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from camera_registry.records import count_change, settle

CALENDAR = "calendar"
"""The account that ends what ends by its date."""


@dataclass(frozen=True, slots=True)
class Arbiter:
    """Who arbitrates PP's slots, and from where."""

    principal: Principal
    source: str

    def draft(self, kind: Kind, detail: dict[str, object]) -> Draft:
        """An entry of what they do."""
        principal = self.principal
        return Draft(
            kind=kind,
            agent=principal.agent,
            account=principal.account,
            attribution=principal.attribution,
            source=self.source,
            detail={name: value for name, value in detail.items() if value is not None},
        )


class Reservations:
    """The reservations in SQL; each change is one transaction, traced before it takes effect.

    Every method raises RecordsUnavailableError, and what ``record`` raises: then nothing has changed.
    """

    def __init__(self, sessions: SessionMaker, clock: Clock, *, record: Record) -> None:
        self._sessions = sessions
        self._clock = clock
        self._record = record

    async def list_open(self) -> list[Reservation]:
        """Return those in force, oldest first."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            return [each for each in await _not_ended(session) if each.holds(now)]

    async def make(
        self, *, service: str, slots: int, until: datetime, reason: str | None, cap: int, by: Arbiter
    ) -> Reservation:
        """Keep ``slots`` of the ``cap`` free for a service until an instant. Streams that run are not touched.

        Raises RegisterRuleError where as many are not left to reserve, or the instant has passed.
        """
        now = self._clock.now()
        if until <= now:
            raise RegisterRuleError("La fin de la réservation est déjà passée.")
        made = _new(service, slots, until, now, by.principal.account)
        async with transaction(self._sessions) as session:
            await count_change(session)
            reserved = sum(each.slots for each in await _not_ended(session) if each.holds(now))
            if reserved + slots > cap:
                raise RegisterRuleError(
                    f"{reserved} des {cap} places sont déjà réservées : il n'en reste que {max(0, cap - reserved)} à "
                    "réserver (article 4)."
                )
            session.add(reservation_row(made))
            await self._settle(session, [by.draft(Kind.RESERVATION_MADE, {**_told(made), "motive": reason})])
        return made

    async def pass_on(
        self, reservation_id: str, *, service: str, slots: int | None, reason: str | None, by: Arbiter
    ) -> Reservation:
        """Let another service have a reservation until the same instant, or ``slots`` of it; returns the other's.

        Raises UnknownRecordError, RegisterRuleError for more slots than it has, or for the service that has it.
        """
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await _in_force(session, reservation_id, now)
            passed_slots = row.slots if slots is None else slots
            if passed_slots > row.slots:
                raise RegisterRuleError(f"Cette réservation ne compte que {row.slots} places.")
            if service == row.service:
                raise RegisterRuleError("Ces places sont déjà réservées à ce service.")
            passed = _new(service, passed_slots, row.until, now, by.principal.account)
            passed = replace(passed, passed_from=row.id)
            if passed_slots == row.slots:
                row.ended_at = now
            else:
                row.slots -= passed_slots
            session.add(reservation_row(passed))
            detail = {**_told(passed), "from": row.id, "from_service": row.service, "motive": reason}
            await self._settle(session, [by.draft(Kind.RESERVATION_PASSED, detail)])
        return passed

    async def end(self, reservation_id: str, *, reason: str | None, by: Arbiter) -> None:
        """Free what a reservation keeps. Raises UnknownRecordError."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await _in_force(session, reservation_id, now)
            row.ended_at = now
            detail = {**_told(reservation_from(row)), "motive": reason}
            await self._settle(session, [by.draft(Kind.RESERVATION_ENDED, detail)])

    async def close_lapsed(self) -> None:
        """Note the end of those whose instant has passed, each once whatever node sees it first."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            rows = [row for row in await session.scalars(open_reservations()) if row.until <= now]
            for row in rows:
                row.ended_at = row.until
            await self._settle(session, [_lapsed(reservation_from(row)) for row in rows])

    async def _settle(self, session: AsyncSession, drafts: Iterable[Draft]) -> None:
        async def witness() -> None:
            for draft in drafts:
                await self._record(draft)

        await settle(session, witness)


async def _not_ended(session: AsyncSession) -> list[Reservation]:
    return list(map(reservation_from, await session.scalars(open_reservations())))


async def _in_force(session: AsyncSession, reservation_id: str, now: datetime) -> ReservationRow:
    row = await session.get(ReservationRow, reservation_id)
    if row is None or row.ended_at is not None or row.until <= now:
        raise UnknownRecordError(reservation_id)
    return row


def _new(service: str, slots: int, until: datetime, now: datetime, by: str) -> Reservation:
    drawn = f"r-{secrets.token_hex(5)}"
    return Reservation(id=drawn, service=service, slots=slots, until=until, made_at=now, made_by=by)


def _told(reservation: Reservation) -> dict[str, object]:
    return {
        "reservation": reservation.id,
        "service": reservation.service,
        "slots": reservation.slots,
        "until": rfc3339(reservation.until),
    }


def _lapsed(reservation: Reservation) -> Draft:
    detail = {**_told(reservation), "reason": "lapsed"}
    return Draft(kind=Kind.RESERVATION_ENDED, account=CALENDAR, source=LOCAL, detail=detail)
