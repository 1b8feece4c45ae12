"""Who may, as this node knows it (C09, S12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NoReturn

from auth.errors import RecordsUnavailableError
from auth.records import SessionMaker, transaction
from auth.register import Register
from auth.register_rows import read_rights
from auth.reservations import Reservations
from auth.rights import Rights
from camera_registry.clock import Clock
from camera_registry.records import revision
from halfgateway.errors import TraceUnavailable
from ops.life import Life, read_life

log = logging.getLogger(__name__)

LOOK_FOR_EXPIRED_S = 1.0
"""How often it is looked whether a block or a reservation has expired; none counts past its date anyhow."""


class RightsView:
    """The records of who may, and of the convention's life, in memory: one frozen value each, replaced whole.

    ``sites`` are those that the configuration declares; a version of annex 6 that is in force takes their place (C20).
    """

    def __init__(self, sessions: SessionMaker, clock: Clock, *, sites: Callable[[], frozenset[str]]) -> None:
        self._sessions = sessions
        self._clock = clock
        self._sites = sites
        self._rights: Rights | None = None
        self._life = Life()
        self._reading = asyncio.Lock()

    def current(self) -> Rights | None:
        """What was last read, with the sites declared now; None before the first time."""
        if self._rights is not None and self._rights.sites != (sites := self._declared()):
            self._rights = replace(self._rights, sites=sites)
        return self._rights

    def life(self) -> Life:
        """What was last read of the convention's life; nothing before the first time."""
        return self._life

    async def refresh(self) -> None:
        """Read again what has changed since; one small question where nothing has. Raises RecordsUnavailableError."""
        async with self._reading, transaction(self._sessions) as session:
            known = self._rights
            if known is None or known.revision != await revision(session):
                rights = await read_rights(session, self._clock.now(), self._sites())
                self._life = await read_life(session, self._clock.now())
                self._rights = replace(rights, on_record=self._life.on_record, sites=self._declared())
                log.info("rights.read revision=%d", self._rights.revision)

    def _declared(self) -> frozenset[str]:
        return self._sites() if self._life.sites is None else self._life.sites


class RecordsWatch:
    """Sees what has changed in the records, whichever node changed it: who may, and the machines' secrets with it."""

    def __init__(self, view: RightsView) -> None:
        self._view = view
        self._read_machines: Callable[[], Awaitable[None]] | None = None
        self._machines_as_of: int | None = None

    def adopt(self, read_machines: Callable[[], Awaitable[None]]) -> None:
        """Let the machines be read again by this, from now on."""
        self._read_machines = read_machines

    async def look(self) -> None:
        """Read again what has changed since. Raises RecordsUnavailableError."""
        await self._view.refresh()
        rights = self._view.current()
        if rights is None or self._read_machines is None or rights.revision == self._machines_as_of:
            return
        await self._read_machines()
        self._machines_as_of = rights.revision


class BlockCalendar:
    """Records the end of blocks that have expired; the policy itself goes by their dates and does not wait for it."""

    def __init__(self, *, view: RightsView, register: Register, clock: Clock) -> None:
        self._view = view
        self._register = register
        self._clock = clock

    async def run(self) -> NoReturn:
        """Keep going until cancelled."""
        while True:
            await asyncio.sleep(LOOK_FOR_EXPIRED_S)
            await self.close_expired()

    async def close_expired(self) -> None:
        """Record what has expired of what this node knows; what cannot be recorded now is, a second later."""
        rights, now = self._view.current(), self._clock.now()
        if rights is None or all(block.holds(now) for block in rights.blocks):
            return
        try:
            await self._register.close_expired_blocks()
            await self._view.refresh()
        except (RecordsUnavailableError, TraceUnavailable) as error:
            log.warning("block.expiry_not_recorded error=%s", error)


class ReservationCalendar:
    """Records the end of reservations that have lapsed; the slot table goes by their dates and does not wait for it."""

    def __init__(self, *, view: RightsView, reservations: Reservations, clock: Clock) -> None:
        self._view = view
        self._reservations = reservations
        self._clock = clock

    async def run(self) -> NoReturn:
        """Keep going until cancelled."""
        while True:
            await asyncio.sleep(LOOK_FOR_EXPIRED_S)
            await self.close_lapsed()

    async def close_lapsed(self) -> None:
        """Record what has lapsed of what this node knows; what cannot be recorded now is, a second later."""
        rights, now = self._view.current(), self._clock.now()
        if rights is None or all(each.holds(now) for each in rights.reservations):
            return
        try:
            await self._reservations.close_lapsed()
            await self._view.refresh()
        except (RecordsUnavailableError, TraceUnavailable) as error:
            log.warning("reservation.lapse_not_recorded error=%s", error)
