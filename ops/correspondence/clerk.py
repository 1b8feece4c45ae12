"""The clerk: whatever is to be mailed and is no incident's notice, from its source to its last recipient (ADR 0014).

Part of the notifier (:mod:`ops.notices.notifier`), on conversations of its own: a mail server that swallows twenty
contact tests holds up no incident's notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from camera_registry.clock import Clock
from ops.correspondence.correspondence import Correspondence, CorrespondenceBooks
from ops.correspondence.matters import AlarmRaised, Matter, correspondence_id
from ops.correspondence.owed import CorrespondenceQueue, Writing
from ops.correspondence.sources import Source
from ops.errors import OpsError
from ops.incidents.events import CorrespondenceOpened, Said
from ops.incidents.incident import Notice
from ops.notices.dispatch import Dispatch, Errands, Post
from ops.notices.queueing import WHO
from ops.notices.returns import Sent
from ops.notices.shelf import Shelf
from ops.notices.shouting import Alarm, AlarmKind

log = logging.getLogger(__name__)

_OF: Final = "correspondence"


class Clerk:
    """One node's clerk; see the module. ``errands`` are its conversations."""

    def __init__(
        self, books: CorrespondenceBooks, sources: Sequence[Source], writing: Writing, post: Post, clock: Clock
    ) -> None:
        self.errands = Errands()
        self._books = books
        self._sources = tuple(sources)
        self._queue = CorrespondenceQueue(books, writing)
        self._clock = clock
        self._dispatch = Dispatch(
            _OF, books, post, self.errands, clock, deadline=_none, stand_in_after=writing.stand_in.after
        )
        self._shelf = Shelf(books)
        self._seen: tuple[Correspondence, ...] = ()
        self._stuck: dict[str, str] = {}
        self._unopened: dict[str, str] = {}
        self._lost: set[str] = set()

    async def once(self, now: datetime) -> None:
        """Go round once: open what is due, queue what is owed, begin what is to leave. Never raises OpsError."""
        self._unopened = {}
        for source in self._sources:
            await self._followed(source, now)
        self._seen = await asyncio.to_thread(self._shelf.look)
        for correspondence in self._seen:
            if not correspondence.damaged:
                await self._attend(correspondence, now)

    def sent(self) -> Sent[Correspondence]:
        """What was sent, for whoever reads what comes back."""
        return Sent(self._books, self._seen)

    def alarms(self) -> list[Alarm]:
        """What the clerk has to shout: a mail that cannot be written, an alarm that could not be put in a book."""
        return [
            Alarm(AlarmKind.NOT_WRITTEN, name, f"Le courriel ne peut être établi : {why}")
            for name, why in (self._stuck | self._unopened).items()
        ]

    async def _followed(self, source: Source, now: datetime) -> None:
        """Follow one source; its trouble is logged when it begins, not each second."""
        name = type(source).__name__
        try:
            await asyncio.to_thread(self._follow, source, now)
            self._lost.discard(name)
        except OpsError as error:
            if name not in self._lost:
                log.error("clerk.not_followed source=%s error=%s: tried again", name, error)
            self._lost.add(name)

    def _follow(self, source: Source, now: datetime) -> None:
        """Open a book for whatever is due and has none; what is not durable is not taken."""
        matters = source.due(now)
        for matter in matters:
            name = correspondence_id(matter)
            if self._books.stamp(name) is not None:
                continue
            try:
                self._books.update(name, WHO, partial(_opening, matter))
            except OpsError as error:
                if isinstance(matter, AlarmRaised):
                    self._unopened[name] = f"{matter.condition} ({error})"
                raise
        source.taken(matters)

    async def _attend(self, correspondence: Correspondence, now: datetime) -> None:
        name = correspondence.id
        if not await self._dispatch.written(name):
            return
        try:
            busy = self._dispatch.busy(name)
            correspondence = await asyncio.to_thread(self._queue.keep_up, correspondence, now, busy)
            self._stuck.pop(name, None)
        except OpsError as error:
            if name not in self._stuck:
                log.error("clerk.not_queued correspondence=%s error=%s", name, error)
            self._stuck[name] = f"{type(error).__name__}: {error}"
        self._dispatch.begin_due(correspondence)


def _opening(matter: Matter, known: Correspondence | None) -> Sequence[Said]:
    return () if known is not None else (CorrespondenceOpened(matter=matter),)


def _none(_correspondence: Correspondence, _notice: Notice) -> None:
    """A correspondence has no legal deadline."""
