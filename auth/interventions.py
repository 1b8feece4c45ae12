"""Who works on the equipment: the register of interventions (article 5; C21)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from auth.credential_tables import InterventionRow
from auth.errors import AuthError
from auth.records import SessionMaker, transaction
from camera_registry.clock import Clock

Traced = Callable[[int], Awaitable[object]]
"""Writes the entry of a change to the intervention of this number, within the change."""

MAX_LISTED = 500
"""Interventions that a list shows; older ones are in the trace."""


class InterventionError(AuthError):
    """No such intervention is under way; the text says so in French."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """``person`` is an opaque identifier or a function, never a name; ``contractor`` their employer, if not SYN."""

    number: int
    person: str
    contractor: str | None
    reason: str
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    ended_by: str | None


class InterventionRegister:
    """The register in SQL; every method raises RecordsUnavailableError while the database does not answer."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def start(self, *, person: str, contractor: str | None, reason: str, by: str, traced: Traced) -> Intervention:
        """Declare an intervention that begins now."""
        row = InterventionRow(
            person=person, contractor=contractor, reason=reason, started_at=self._clock.now(), started_by=by
        )
        async with transaction(self._sessions) as session:
            session.add(row)
            await session.flush()
            await traced(row.number)
            return _record(row)

    async def end(self, number: int, *, by: str, traced: Traced) -> Intervention:
        """Declare its end.

        Raises:
            InterventionError: it is not under way.
        """
        async with transaction(self._sessions) as session:
            row = await session.get(InterventionRow, number)
            if row is None or row.ended_at is not None:
                raise InterventionError(f"L'intervention n° {number} n'est pas en cours.")
            row.ended_at, row.ended_by = self._clock.now(), by
            await session.flush()
            await traced(number)
            return _record(row)

    async def list_all(self) -> list[Intervention]:
        """Return the newest ones first."""
        newest_first = select(InterventionRow).order_by(InterventionRow.number.desc()).limit(MAX_LISTED)
        async with transaction(self._sessions) as session:
            return [_record(row) for row in await session.scalars(newest_first)]

    async def under_way(self) -> list[int]:
        """Return the numbers of those that have begun and not ended, oldest first."""
        open_ones = select(InterventionRow.number).where(InterventionRow.ended_at.is_(None))
        async with transaction(self._sessions) as session:
            return list(await session.scalars(open_ones.order_by(InterventionRow.number)))


def _record(row: InterventionRow) -> Intervention:
    return Intervention(
        number=row.number,
        person=row.person,
        contractor=row.contractor,
        reason=row.reason,
        started_at=row.started_at,
        started_by=row.started_by,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
    )
