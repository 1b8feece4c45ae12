"""What a node does because a time has come: maintenance windows, the convention's end, annexes, reminders.

Two halves. What stops or starts streams is decided from memory and the node's own record alone, once a second, so that
it needs neither SQL nor Valkey (:meth:`ConventionCalendar.keep_time`). What only has to be put on record waits for
SQL, is tried again, and is done once over all nodes (:meth:`ConventionCalendar.keep_records`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from auth.errors import RecordsUnavailableError
from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from camera_registry.errors import StoreUnavailable
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.life_entries import act_entry, annex_entry, reminder_entry, window_entry
from halfgateway.control.restoration import Look
from halfgateway.control.rights_view import RightsView
from halfgateway.control.terms import Terms
from halfgateway.errors import HalfGatewayError
from ops.annex_store import AnnexStore
from ops.announcements import Announcements
from ops.change_store import WindowStore
from ops.convention_store import ConventionStore
from ops.errors import AnnouncementError, LocalRecordError, TransitionRefused
from ops.interconnection import Author, Ground, Status
from ops.windows import MaintenanceWindow, Step, next_step

LOOK_EVERY_S = 1.0
"""How often the clock is looked at: the precision of a window's begin and end, and of the convention's end."""

RECORDS_EVERY_S = 15.0
"""How often it is looked whether something is to be put on record; nothing there is due to the second."""

CALENDAR = "calendar"
"""The account and the source of what nobody asked for at that moment."""

log = logging.getLogger(__name__)


class ConventionCalendar:
    """Keeps the calendar on one node; ``record`` makes an entry durable.

    ``held`` are the windows whose pre-flight failed at their end: they stay cut until a person restores.
    """

    def __init__(
        self,
        *,
        interconnection: Interconnection,
        view: RightsView,
        terms: Terms,
        conventions: ConventionStore,
        annexes: AnnexStore,
        windows: WindowStore,
        announcements: Announcements,
        preflight: Look,
        record: Callable[[Draft], Awaitable[object]],
        node: str,
        clock: Clock,
    ) -> None:
        self._interconnection = interconnection
        self._view = view
        self._terms = terms
        self._conventions = conventions
        self._annexes = annexes
        self._windows = windows
        self._announcements = announcements
        self._preflight = preflight
        self._record = record
        self._node = node
        self._clock = clock
        self.held: set[int] = set()

    async def run(self) -> NoReturn:
        """Keep time until cancelled."""
        while True:
            await self.keep_time()
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_records(self) -> NoReturn:
        """Keep the records until cancelled."""
        while True:
            await self.keep_records()
            await asyncio.sleep(RECORDS_EVERY_S)

    async def keep_time(self) -> None:
        """Do what the clock asks for; what cannot be done now is tried again at the next look."""
        try:
            await self._end_what_has_ended()
            for window in self._view.life().windows:
                await self._follow(window)
        except (LocalRecordError, TransitionRefused) as error:
            log.critical("calendar.not_done error=%s: tried again", error)

    async def keep_records(self) -> None:
        """Put on record what is due, and file what is to be announced."""
        convention = self._terms.convention
        try:
            begun = await self._annexes.bring_into_force(lambda version: self._tell(annex_entry(version)))
            renewed = await self._conventions.renew_if_due(convention, lambda act: self._tell(act_entry(act)))
            if begun or renewed is not None:
                await self._view.refresh()
            await self._conventions.remind(convention, lambda reminder: self._tell(reminder_entry(reminder)))
            for number in sorted(self.held):
                await self._windows.hold(number, lambda window: self._tell(window_entry(window, "window-held")))
            await self._file_announcements()
        except (StoreUnavailable, RecordsUnavailableError, HalfGatewayError, AnnouncementError) as error:
            log.warning("calendar.not_recorded error=%s: tried again", error)

    async def _end_what_has_ended(self) -> None:
        """At the recorded end, or at ten years, the interconnection is out of convention (C18)."""
        convention, recorded = self._terms.convention, self._view.life().on_record.ended_at
        end = min(each for each in (convention.last_term, convention.ended_at, recorded) if each is not None)
        state, incident = self._interconnection.state, f"end-{end:%Y%m%dT%H%M%SZ}"
        if self._clock.now() < end or state.state is Status.OUT_OF_CONVENTION:
            return
        if incident in (state.incident, *state.settled):
            return
        await self._interconnection.cut(
            ground=Ground.END,
            reason="fin de la convention (article 11)",
            by=Author.CALENDAR,
            actor=CALENDAR,
            source=CALENDAR,
            incident=incident,
        )

    async def _follow(self, window: MaintenanceWindow) -> None:
        step = next_step(window, self._interconnection.state, self._clock.now())
        if step is Step.CUT:
            await self._interconnection.cut(
                ground=Ground.MAINTENANCE,
                reason=f"fenêtre de maintenance n° {window.number} : {window.reason}"[:500],
                by=Author.CALENDAR,
                actor=CALENDAR,
                source=CALENDAR,
                incident=window.incident,
            )
        elif step is Step.REOPEN and window.number not in self.held:
            await self._reopen(window)

    async def _reopen(self, window: MaintenanceWindow) -> None:
        """Restore by the decision of whoever planned the window, once all of the pre-flight is well (P07).

        Nobody is there to state a motive: whatever failed keeps it cut.
        """
        preflight = await self._preflight()
        missing = [finding.check for finding in preflight.failed]
        if self._interconnection.state.officer_only:
            missing.append("security-officer")
        if missing:
            self.held.add(window.number)
            log.critical("window.held number=%d missing=%s: a person restores", window.number, ",".join(missing))
            return
        await self._interconnection.restore(
            incident=window.incident,
            reason=f"fin de la fenêtre de maintenance n° {window.number}, planifiée par {window.planned_by} "
            f"le {rfc3339(window.announced_at)}",
            by=window.author,
            actor=window.planned_by,
            source=CALENDAR,
            evidence={"preflight": preflight.to_detail()},
        )

    async def _file_announcements(self) -> None:
        for announcement in await self._conventions.unfiled():
            await asyncio.to_thread(self._announcements.put, announcement)
            await self._conventions.filed(announcement.id, self._node)

    async def _tell(self, entry: tuple[Kind, dict[str, object]]) -> None:
        kind, detail = entry
        await self._record(Draft(kind=kind, detail={**detail, "by": CALENDAR}))
