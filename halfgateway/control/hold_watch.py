"""Holds on footage that a recorder of others may purge: an alarm stands until they are extracted (L26).

Our own recorder obeys a hold; nobody can tell another one to. So the interval is extracted to a sealed medium, and
until then the node shouts: on its log and its metrics at each look, in its trace once a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

from auth.trace import Draft, Kind
from camera_registry.clock import Clock
from camera_registry.errors import StoreUnavailable, UnknownHold
from camera_registry.hold_store import HoldStore
from camera_registry.holds import Hold
from camera_registry.paris import day_of
from halfgateway.control.safekeeping_entries import hold_entry
from halfgateway.errors import TraceUnavailable

LOOK_EVERY_S = 60.0
"""How often it is looked whether a hold waits: recorders purge by the hour."""

log = logging.getLogger(__name__)


class HoldWatch:
    """Watches over the holds. ``obeys`` tells the cameras whose recorder keeps what is held; ``record`` is durable.

    ``waiting`` is how many holds are to be extracted, as of the last look.
    """

    def __init__(
        self,
        *,
        holds: HoldStore,
        obeys: Callable[[str], bool],
        record: Callable[[Draft], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._holds = holds
        self._obeys = obeys
        self._record = record
        self._clock = clock
        self.waiting = 0

    def alarmed(self, holds: Iterable[Hold]) -> list[Hold]:
        """Those of these holds for which an alarm stands."""
        now = self._clock.now()
        return [hold for hold in holds if hold.to_be_extracted(now) and not self._obeys(hold.camera)]

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, TraceUnavailable) as error:
                log.warning("holds.not_looked_at error=%s: tried again", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once. Raises StoreUnavailable, TraceUnavailable."""
        waiting = self.alarmed(await self._holds.in_force())
        self.waiting = len(waiting)
        today = day_of(self._clock.now())
        for hold in waiting:
            log.critical("hold.to_be_extracted hold=%d camera=%s", hold.number, hold.camera)
            try:
                await self._holds.remind(
                    hold.number, today, lambda told: self._record(hold_entry(Kind.HOLD_ALARMED, told, None))
                )
            except UnknownHold as error:
                log.error("hold.gone hold=%s", error)
