"""Who may, as this node knows it (C09, S12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from auth.records import SessionMaker, transaction
from auth.register_rows import read_rights
from auth.rights import Rights
from camera_registry.clock import Clock
from camera_registry.records import revision

log = logging.getLogger(__name__)


class RightsView:
    """The records of who may, in memory: one frozen value, replaced whole. ``sites`` are those declared now."""

    def __init__(self, sessions: SessionMaker, clock: Clock, *, sites: Callable[[], frozenset[str]]) -> None:
        self._sessions = sessions
        self._clock = clock
        self._sites = sites
        self._rights: Rights | None = None
        self._reading = asyncio.Lock()

    def current(self) -> Rights | None:
        """What was last read, with the sites declared now; None before the first time."""
        if self._rights is not None and self._rights.sites != (sites := self._sites()):
            self._rights = replace(self._rights, sites=sites)
        return self._rights

    async def refresh(self) -> None:
        """Read again what has changed since; one small question where nothing has. Raises RecordsUnavailableError."""
        async with self._reading, transaction(self._sessions) as session:
            known = self._rights
            if known is None or known.revision != await revision(session):
                self._rights = await read_rights(session, self._clock.now(), self._sites())
                log.info("rights.read revision=%d", self._rights.revision)
