"""The API's changes and maintenance windows, filled by :mod:`ops.change_store`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from auth.register import Actor
from auth.trace import Kind
from camera_registry.clock import Clock
from halfgateway.api.acts import Acts
from halfgateway.api.change_shapes import (
    AgreementRequest,
    ChangeRequest,
    ChangeShape,
    ClassificationRequest,
    ScheduleRequest,
    WindowRequest,
    WindowShape,
)
from halfgateway.api.problems import Fault, InvalidCall
from halfgateway.control.life_entries import change_entry, window_entry
from ops.change_store import ChangeStore, WindowStore
from ops.changes import Agreement, Change, Classification
from ops.interconnection import Author
from ops.windows import MaintenanceWindow


class ChangeService:
    """Fills :class:`~halfgateway.api.life_ports.Changes`."""

    def __init__(self, *, changes: ChangeStore, windows: WindowStore, acts: Acts, clock: Clock) -> None:
        self._changes = changes
        self._windows = windows
        self._acts = acts
        self._clock = clock

    async def changes(self) -> Sequence[ChangeShape]:
        """See the port."""
        return [ChangeShape.of(change) for change in await self._changes.list_all()]

    async def announce(self, wish: ChangeRequest, *, by: Actor) -> ChangeShape:
        """See the port."""
        if wish.announced_at is not None and wish.announced_at > self._clock.now():
            raise InvalidCall([Fault(where="body.announced_at", message="in the future")])
        async with self._acts.act():
            change = await self._changes.announce(
                party=wish.party,
                title=wish.title,
                description=wish.description,
                reference=wish.reference,
                announced_at=wish.announced_at,
                wished_on=wish.wished_on,
                by=by.account,
                traced=self._traced(Kind.CHANGE_ANNOUNCED, by),
            )
        return ChangeShape.of(change)

    async def classify(self, number: int, wish: ClassificationRequest, *, by: Actor) -> ChangeShape:
        """See the port."""
        decided = Classification(wish.major, wish.project_structure, wish.decided_by, wish.reference, self._clock.now())
        async with self._acts.act():
            change = await self._changes.classify(number, decided, self._traced(Kind.CHANGE_CLASSIFIED, by))
        return ChangeShape.of(change)

    async def agree(self, number: int, wish: AgreementRequest, *, by: Actor) -> ChangeShape:
        """See the port."""
        agreement = Agreement(wish.not_before, wish.reference, self._clock.now())
        async with self._acts.act():
            change = await self._changes.agree(number, wish.party, agreement, self._traced(Kind.CHANGE_AGREED, by))
        return ChangeShape.of(change)

    async def schedule(self, number: int, wish: ScheduleRequest, *, by: Actor) -> ChangeShape:
        """See the port."""
        async with self._acts.act():
            change = await self._changes.schedule(number, wish.day, self._traced(Kind.CHANGE_SCHEDULED, by))
        return ChangeShape.of(change)

    async def go_live(self, number: int, *, by: Actor) -> ChangeShape:
        """See the port."""
        async with self._acts.act():
            change = await self._changes.go_live(number, self._traced(Kind.CHANGE_WENT_LIVE, by))
        return ChangeShape.of(change)

    async def withdraw(self, number: int, *, reason: str, by: Actor) -> ChangeShape:
        """See the port."""
        async with self._acts.act():
            change = await self._changes.withdraw(number, reason, self._traced(Kind.CHANGE_WITHDRAWN, by))
        return ChangeShape.of(change)

    async def windows(self) -> Sequence[WindowShape]:
        """See the port."""
        now = self._clock.now()
        return [WindowShape.of(window, now) for window in await self._windows.list_all()]

    async def plan(self, wish: WindowRequest, *, author: Author, by: Actor) -> WindowShape:
        """See the port."""
        async with self._acts.act():
            window = await self._windows.plan(
                starts_at=wish.start,
                ends_at=wish.end,
                drain=wish.drain,
                reason=wish.reason,
                change=wish.change,
                by=by.account,
                author=author,
                traced=self._traced_window("window-planned", by),
            )
        return WindowShape.of(window, self._clock.now())

    async def withdraw_window(self, number: int, *, reason: str, by: Actor) -> WindowShape:
        """See the port."""
        async with self._acts.act():
            window = await self._windows.withdraw(number, reason, self._traced_window("window-withdrawn", by))
        return WindowShape.of(window, self._clock.now())

    def _traced(self, kind: Kind, by: Actor) -> Callable[[Change], Awaitable[None]]:
        return lambda change: self._acts.tell(change_entry(kind, change), by)

    def _traced_window(self, what: str, by: Actor) -> Callable[[MaintenanceWindow], Awaitable[None]]:
        return lambda window: self._acts.tell(window_entry(window, what), by)
