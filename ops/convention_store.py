"""The convention's own acts, its acceptance, and what is to be announced; each with its entry, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.policy import Convention
from camera_registry.clock import Clock
from camera_registry.paris import day_of
from camera_registry.records import SessionMaker, count_change, settle, transaction
from ops import announcement_texts as texts
from ops import calendar
from ops.acceptance import SignedAcceptance
from ops.announcements import Announcement
from ops.calendar import Act, ActKind, EndGround, Reminder
from ops.errors import UnknownItem
from ops.life_tables import AcceptanceRow, ActRow, AnnouncementRow
from ops.parties import Party

TracedAct = Callable[[Act], Awaitable[object]]
TracedAcceptance = Callable[[SignedAcceptance], Awaitable[object]]
TracedReminder = Callable[[Reminder], Awaitable[object]]
"""Makes the entry of an act durable, awaited last within its transaction."""

BY_SILENCE, BY_CALENDAR = "tacite reconduction (article 11)", "calendar"
"""The reference and the author of a renewal: nobody's hand."""

_REMINDER = "reminder-"


def announce(session: AsyncSession, announcement: Announcement) -> None:
    """Have an announcement made if, and only if, this transaction is."""
    session.add(
        AnnouncementRow(
            id=announcement.id, document=announcement.model_dump_json(), made_at=announcement.made_at, filed_by=None
        )
    )


class ConventionStore:
    """In SQL. Every method raises StoreUnavailable, and what its ``traced`` raises: then nothing is done."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def record(self, convention: Convention, act: Act, traced: TracedAct) -> Act:
        """Record an act; its number is given here. Raises ActRefused."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            calendar.check(convention, await acts_on_record(session), act)
            recorded = await _add(session, act)
            await settle(session, lambda: traced(recorded))
        return recorded

    async def renew_if_due(self, convention: Convention, traced: TracedAct) -> Act | None:
        """Record the tacit renewal once five years are full in silence; None where it is not the time."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            if not calendar.is_due_for_renewal(convention, await acts_on_record(session), now):
                return None
        async with transaction(self._sessions) as session:
            await count_change(session)
            if not calendar.is_due_for_renewal(convention, await acts_on_record(session), now):
                return None
            renewal = Act(
                number=0,
                kind=ActKind.RENEWED,
                party=Party.SYN,
                reference=BY_SILENCE,
                day=day_of(convention.first_term),
                recorded_at=now,
                recorded_by=BY_CALENDAR,
                effect=convention.first_term,
            )
            recorded = await _add(session, renewal)
            await settle(session, lambda: traced(recorded))
        return recorded

    async def remind(self, convention: Convention, traced: TracedReminder) -> list[Reminder]:
        """Have the reminders made that are due, each once over all nodes."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            due = await _due(session, convention, now)
        if not due:
            return []
        async with transaction(self._sessions) as session:
            await count_change(session)
            due = await _due(session, convention, now)
            for reminder in due:
                announce(session, texts.reminded(reminder, now))
                await session.flush()
                await traced(reminder)
        return due

    async def acts(self) -> list[Act]:
        """Every act, in the order in which they were recorded."""
        async with transaction(self._sessions) as session:
            return await acts_on_record(session)

    async def accept(self, signed: SignedAcceptance, traced: TracedAcceptance) -> SignedAcceptance:
        """Keep an acceptance record; its number is given here."""
        row = AcceptanceRow(
            accepted=signed.accepted,
            held_at=signed.held_at,
            recorded_by=signed.recorded_by,
            document=signed.document,
            signature=signed.signature,
            public_key_pem=signed.public_key_pem,
        )
        async with transaction(self._sessions) as session:
            await count_change(session)
            session.add(row)
            await session.flush()
            kept = replace(signed, number=row.number)
            await settle(session, lambda: traced(kept))
        return kept

    async def acceptances(self) -> list[SignedAcceptance]:
        """Every acceptance record, the newest first."""
        async with transaction(self._sessions) as session:
            rows = await session.scalars(select(AcceptanceRow).order_by(AcceptanceRow.number.desc()))
            return [_acceptance(row) for row in rows]

    async def acceptance(self, number: int) -> SignedAcceptance:
        """One of them. Raises UnknownItem."""
        async with transaction(self._sessions) as session:
            row = await session.get(AcceptanceRow, number)
        if row is None:
            raise UnknownItem(str(number))
        return _acceptance(row)

    async def unfiled(self) -> list[Announcement]:
        """The announcements that no node has laid in a file yet, the oldest first."""
        waiting = (
            select(AnnouncementRow)
            .where(AnnouncementRow.filed_by.is_(None))
            .order_by(AnnouncementRow.made_at, AnnouncementRow.id)
        )
        async with transaction(self._sessions) as session:
            return [Announcement.model_validate_json(row.document) for row in await session.scalars(waiting)]

    async def filed(self, announcement_id: str, node: str) -> None:
        """Note which node holds an announcement's file, and so sends it."""
        this = update(AnnouncementRow).where(AnnouncementRow.id == announcement_id, AnnouncementRow.filed_by.is_(None))
        async with transaction(self._sessions) as session:
            await session.execute(this.values(filed_by=node))


async def acts_on_record(session: AsyncSession) -> list[Act]:
    """Every act of this transaction's view, in their order."""
    return [_act(row) for row in await session.scalars(select(ActRow).order_by(ActRow.number))]


async def is_accepted(session: AsyncSession) -> bool:
    """Whether an acceptance record opens the access (C23)."""
    opening = select(AcceptanceRow.number).where(AcceptanceRow.accepted.is_(True)).limit(1)
    return await session.scalar(opening) is not None


async def _due(session: AsyncSession, convention: Convention, now: datetime) -> list[Reminder]:
    made = await session.scalars(select(AnnouncementRow.id).where(AnnouncementRow.id.startswith(_REMINDER)))
    told = {each.removeprefix(_REMINDER) for each in made}
    return calendar.reminders_due(convention, await acts_on_record(session), now, told)


async def _add(session: AsyncSession, act: Act) -> Act:
    row = ActRow(
        kind=act.kind.value,
        party=act.party.value,
        reference=act.reference,
        day=act.day,
        recorded_at=act.recorded_at,
        recorded_by=act.recorded_by,
        ground=act.ground.value if act.ground is not None else None,
        effect=act.effect,
        answers=act.answers,
    )
    session.add(row)
    await session.flush()
    recorded = replace(act, number=row.number)
    announce(session, texts.act_recorded(recorded))
    return recorded


def _act(row: ActRow) -> Act:
    return Act(
        number=row.number,
        kind=ActKind(row.kind),
        party=Party(row.party),
        reference=row.reference,
        day=row.day,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        ground=EndGround(row.ground) if row.ground is not None else None,
        effect=row.effect,
        answers=row.answers,
    )


def _acceptance(row: AcceptanceRow) -> SignedAcceptance:
    return SignedAcceptance(
        number=row.number,
        accepted=row.accepted,
        held_at=row.held_at,
        recorded_by=row.recorded_by,
        document=row.document,
        signature=row.signature,
        public_key_pem=row.public_key_pem,
    )
