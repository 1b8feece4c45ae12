"""The judicial holds on record; each act with its entry, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from camera_registry import holds
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from camera_registry.errors import UnknownCamera, UnknownHold
from camera_registry.holds import Extraction, Hold
from camera_registry.keeping_tables import HoldRow
from camera_registry.order_store import recorded_orders
from camera_registry.records import SessionMaker, settle, transaction
from camera_registry.retention import keeping_order, terms_of
from camera_registry.tables import CameraRow

TracedHold = Callable[[Hold], Awaitable[object]]
"""Makes the entry of an act durable, awaited last within its transaction."""


class HoldStore:
    """Holds in SQL. Every method raises StoreUnavailable, and what its ``traced`` raises: then nothing is done."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def place(
        self,
        *,
        camera: str,
        start: datetime,
        end: datetime,
        reference: str,
        until: datetime | None,
        by: str,
        traced: TracedHold,
    ) -> Hold:
        """Hold a camera's footage of an interval. Raises HoldRefused, UnknownCamera."""
        now = self._clock.now()
        wanted = Hold(
            number=0,
            camera=camera,
            start=start,
            end=end,
            reference=reference,
            until=until,
            placed_at=now,
            placed_by=by,
        )
        async with transaction(self._sessions) as session:
            known = await session.get(CameraRow, camera)
            if known is None:
                raise UnknownCamera(camera)
            orders = [each.order for each in await recorded_orders(session)]
            order = keeping_order((each for each in orders if each.perimeter.names(_camera(known))), now)
            others = [_hold(row) for row in await session.scalars(select(HoldRow).where(HoldRow.camera == camera))]
            holds.place(wanted, others, terms_of(order, now).destroyed_before)
            row = HoldRow(
                camera=camera, start=start, end=end, reference=reference, until=until, placed_at=now, placed_by=by
            )
            session.add(row)
            await session.flush()
            placed = replace(wanted, number=row.number)
            await settle(session, lambda: traced(placed))
        return placed

    async def release(self, number: int, *, reason: str, by: str, traced: TracedHold) -> Hold:
        """End a hold: what it held is destroyed when its term has passed. Raises UnknownHold, HoldRefused."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            row = await _row(session, number)
            holds.released(_hold(row), now)
            row.released_at, row.released_by, row.release = now, by, reason
            ended = _hold(row)
            await settle(session, lambda: traced(ended))
        return ended

    async def extracted(self, number: int, *, medium: str, sha256: str, by: str, traced: TracedHold) -> Hold:
        """Record that the interval lies on a sealed medium. Raises UnknownHold, HoldRefused."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            row = await _row(session, number)
            holds.extracted(_hold(row), now)
            row.medium, row.manifest_sha256, row.extracted_at, row.extracted_by = medium, sha256, now, by
            sealed = _hold(row)
            await settle(session, lambda: traced(sealed))
        return sealed

    async def extracting(self, number: int, traced: TracedHold) -> Hold:
        """Have the trace told that the interval is about to be copied. Raises UnknownHold, HoldRefused."""
        async with transaction(self._sessions) as session:
            hold = _hold(await _row(session, number))
            holds.extracted(hold, self._clock.now())
            await settle(session, lambda: traced(hold))
        return hold

    async def remind(self, number: int, day: date, traced: TracedHold) -> bool:
        """Have the trace told that a hold is to be extracted, once a day over all nodes; whether it was now."""
        async with transaction(self._sessions) as session:
            row = await _row(session, number)
            if row.reminded_on is not None and row.reminded_on >= day:
                return False
            row.reminded_on = day
            told = _hold(row)
            await settle(session, lambda: traced(told))
        return True

    async def in_force(self) -> list[Hold]:
        """The holds that a recorder obeys now, in their order. Whoever cannot learn them destroys nothing."""
        async with transaction(self._sessions) as session:
            return await holds_in_force(session, self._clock.now())

    async def list_all(self) -> list[Hold]:
        """Every hold, the newest first."""
        async with transaction(self._sessions) as session:
            return [_hold(row) for row in await session.scalars(select(HoldRow).order_by(HoldRow.number.desc()))]


async def holds_in_force(session: AsyncSession, now: datetime) -> list[Hold]:
    """The holds in force, as of this transaction."""
    in_force = select(HoldRow).where(HoldRow.released_at.is_(None), or_(HoldRow.until.is_(None), HoldRow.until > now))
    return [_hold(row) for row in await session.scalars(in_force.order_by(HoldRow.number))]


async def _row(session: AsyncSession, number: int) -> HoldRow:
    row = await session.get(HoldRow, number, with_for_update=True)
    if row is None:
        raise UnknownHold(str(number))
    return row


def _camera(row: CameraRow) -> Camera:
    """The camera as an order's perimeter sees it."""
    return Camera(
        id=row.id,
        name=row.name,
        site=row.site,
        commune=row.commune,
        latitude=row.latitude,
        longitude=row.longitude,
    )


def _hold(row: HoldRow) -> Hold:
    return Hold(
        number=row.number,
        camera=row.camera,
        start=row.start,
        end=row.end,
        reference=row.reference,
        until=row.until,
        placed_at=row.placed_at,
        placed_by=row.placed_by,
        extraction=_extraction(row),
        released_at=row.released_at,
        released_by=row.released_by,
        release=row.release,
    )


def _extraction(row: HoldRow) -> Extraction | None:
    if row.extracted_at is None:
        return None
    return Extraction(
        medium=row.medium or "",
        sha256=row.manifest_sha256 or "",
        at=row.extracted_at,
        by=row.extracted_by or "",
    )
