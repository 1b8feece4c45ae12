"""Planned changes and maintenance windows on record; each act with its entry and its announcement, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from types import MappingProxyType

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from camera_registry.clock import Clock
from camera_registry.records import SessionMaker, count_change, settle, transaction
from ops import announcement_texts as texts
from ops import changes, windows
from ops.changes import Agreement, Change, ChangeState, Classification
from ops.convention_store import announce
from ops.errors import UnknownItem
from ops.interconnection import Author
from ops.life_tables import AgreementRow, ChangeRow, WindowRow
from ops.parties import Party
from ops.windows import MaintenanceWindow

TracedChange = Callable[[Change], Awaitable[object]]
TracedWindow = Callable[[MaintenanceWindow], Awaitable[object]]
"""Makes the entry of an act durable, awaited last within its transaction."""

KEPT_IN_MIND = timedelta(days=8)
"""How long past its end a window is still looked at: a node that was down reopens, or holds, what it had cut."""


class ChangeStore:
    """Changes in SQL. Every method raises StoreUnavailable, and what its ``traced`` raises: then nothing is done."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def announce(
        self,
        *,
        party: Party,
        title: str,
        description: str,
        reference: str | None,
        announced_at: datetime | None,
        wished_on: date,
        by: str,
        traced: TracedChange,
    ) -> Change:
        """Record a change that a party announces; ``announced_at`` where it was announced before, by mail."""
        row = ChangeRow(
            party=party.value,
            title=title,
            description=description,
            reference=reference,
            announced_at=announced_at or self._clock.now(),
            announced_by=by,
            wished_on=wished_on,
        )
        async with transaction(self._sessions) as session:
            await count_change(session)
            session.add(row)
            await session.flush()
            change = _change(row, ())
            announce(session, texts.change_announced(change))
            await settle(session, lambda: traced(change))
        return change

    async def classify(self, number: int, classification: Classification, traced: TracedChange) -> Change:
        """Record a decision. Raises UnknownItem, ChangeRefused."""
        return await self._step(number, lambda change: changes.classify(change, classification), traced)

    async def agree(self, number: int, party: Party, agreement: Agreement, traced: TracedChange) -> Change:
        """Record a party's agreement. Raises UnknownItem, ChangeRefused."""
        return await self._step(number, lambda change: changes.agree(change, party, agreement), traced)

    async def schedule(self, number: int, day: date, traced: TracedChange) -> Change:
        """Set its day. Raises UnknownItem, ChangeRefused."""
        return await self._step(number, lambda change: changes.schedule(change, day), traced)

    async def go_live(self, number: int, traced: TracedChange) -> Change:
        """Record that it went live now. Raises UnknownItem, ChangeRefused."""
        return await self._step(number, lambda change: changes.go_live(change, self._clock.now()), traced)

    async def withdraw(self, number: int, reason: str, traced: TracedChange) -> Change:
        """Give it up. Raises UnknownItem, ChangeRefused."""
        return await self._step(number, lambda change: changes.withdraw(change, self._clock.now(), reason), traced)

    async def list_all(self) -> list[Change]:
        """Every change, the newest first."""
        async with transaction(self._sessions) as session:
            rows = (await session.scalars(select(ChangeRow).order_by(ChangeRow.number.desc()))).all()
            agreements = (await session.scalars(select(AgreementRow))).all()
        return [_change(row, [each for each in agreements if each.change == row.number]) for row in rows]

    async def _step(self, number: int, step: Callable[[Change], Change], traced: TracedChange) -> Change:
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await session.get(ChangeRow, number)
            if row is None:
                raise UnknownItem(str(number))
            agreements = (await session.scalars(select(AgreementRow).where(AgreementRow.change == number))).all()
            before = _change(row, agreements)
            after = step(before)
            await _write(session, row, after)
            if after.state is ChangeState.SCHEDULED and after.scheduled_on is not None:
                announce(session, texts.change_scheduled(after, after.scheduled_on, self._clock.now()))
            await settle(session, lambda: traced(after))
        return after


class WindowStore:
    """Maintenance windows in SQL; raises as :class:`ChangeStore` does."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def plan(
        self,
        *,
        starts_at: datetime,
        ends_at: datetime,
        drain: timedelta,
        reason: str,
        change: int | None,
        by: str,
        author: Author,
        traced: TracedWindow,
    ) -> MaintenanceWindow:
        """Plan a window and announce it. Raises WindowRefused, UnknownItem for a change that is not on record."""
        wanted = MaintenanceWindow(
            number=0,
            starts_at=starts_at,
            ends_at=ends_at,
            drain=drain,
            reason=reason,
            change=change,
            planned_by=by,
            author=author,
            announced_at=self._clock.now(),
        )
        async with transaction(self._sessions) as session:
            await count_change(session)
            if change is not None and await session.get(ChangeRow, change) is None:
                raise UnknownItem(str(change))
            windows.plan(wanted, await _windows(session, wanted.announced_at))
            row = _row(wanted)
            session.add(row)
            await session.flush()
            planned = replace(wanted, number=row.number)
            announce(session, texts.window_planned(planned))
            await settle(session, lambda: traced(planned))
        return planned

    async def withdraw(self, number: int, reason: str, traced: TracedWindow) -> MaintenanceWindow:
        """Give up a window that has not begun. Raises UnknownItem, WindowRefused."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await session.get(WindowRow, number)
            if row is None:
                raise UnknownItem(str(number))
            window = windows.withdraw(_window(row), now, reason)
            row.withdrawn_at, row.withdrawal = now, reason
            announce(session, texts.window_withdrawn(window, now))
            await settle(session, lambda: traced(window))
        return window

    async def hold(self, number: int, traced: TracedWindow) -> None:
        """Record that the pre-flight at its end failed; once, whichever nodes find so."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await session.get(WindowRow, number)
            if row is None or row.held_at is not None:
                return
            row.held_at = self._clock.now()
            window = _window(row)
            await settle(session, lambda: traced(window))

    async def list_all(self) -> list[MaintenanceWindow]:
        """Every window, the newest first."""
        async with transaction(self._sessions) as session:
            rows = await session.scalars(select(WindowRow).order_by(WindowRow.number.desc()))
            return [_window(row) for row in rows]


async def windows_to_watch(session: AsyncSession, now: datetime) -> tuple[MaintenanceWindow, ...]:
    """The windows that a node has something to do about, or may have."""
    return tuple(each for each in await _windows(session, now - KEPT_IN_MIND) if each.withdrawn_at is None)


async def _windows(session: AsyncSession, ending_after: datetime) -> tuple[MaintenanceWindow, ...]:
    rows = await session.scalars(select(WindowRow).where(WindowRow.ends_at > ending_after).order_by(WindowRow.number))
    return tuple(_window(row) for row in rows)


async def _write(session: AsyncSession, row: ChangeRow, change: Change) -> None:
    decided = change.classification
    if decided is not None:
        row.major, row.project_structure = decided.major, decided.project_structure
        row.decided_by, row.decision, row.classified_at = decided.decided_by, decided.reference, decided.at
    row.scheduled_on, row.went_live_at = change.scheduled_on, change.went_live_at
    row.withdrawn_at, row.withdrawal = change.withdrawn_at, change.withdrawal
    for party, agreement in change.agreements.items():
        await session.merge(
            AgreementRow(
                change=change.number,
                party=party.value,
                not_before=agreement.not_before,
                reference=agreement.reference,
                at=agreement.at,
            )
        )


def _change(row: ChangeRow, agreements: Sequence[AgreementRow]) -> Change:
    given = {Party(each.party): Agreement(each.not_before, each.reference, each.at) for each in agreements}
    return Change(
        number=row.number,
        party=Party(row.party),
        title=row.title,
        description=row.description,
        reference=row.reference,
        announced_at=row.announced_at,
        wished_on=row.wished_on,
        classification=_classification(row),
        agreements=MappingProxyType(given),
        scheduled_on=row.scheduled_on,
        went_live_at=row.went_live_at,
        withdrawn_at=row.withdrawn_at,
        withdrawal=row.withdrawal,
    )


def _classification(row: ChangeRow) -> Classification | None:
    if row.classified_at is None:
        return None
    return Classification(
        major=bool(row.major),
        project_structure=bool(row.project_structure),
        decided_by=row.decided_by or "",
        reference=row.decision or "",
        at=row.classified_at,
    )


def _row(window: MaintenanceWindow) -> WindowRow:
    return WindowRow(
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        drain_s=round(window.drain.total_seconds()),
        reason=window.reason,
        change=window.change,
        planned_by=window.planned_by,
        author=window.author.value,
        announced_at=window.announced_at,
    )


def _window(row: WindowRow) -> MaintenanceWindow:
    return MaintenanceWindow(
        number=row.number,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        drain=timedelta(seconds=row.drain_s),
        reason=row.reason,
        change=row.change,
        planned_by=row.planned_by,
        author=Author(row.author),
        announced_at=row.announced_at,
        held_at=row.held_at,
        withdrawn_at=row.withdrawn_at,
        withdrawal=row.withdrawal,
    )
