"""How what is queued in books leaves: one conversation for a notice at a time, and its outcome written into the book.

What a conversation came to is kept in memory until the book takes it: a full disk does not send a mail twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic

from camera_registry.clock import Clock
from ops.errors import OpsError
from ops.incidents.book import Books, Subject, Told
from ops.incidents.events import NoticeQueued, Said
from ops.incidents.incident import Notice
from ops.notices.conversation import Letter, Route
from ops.notices.message import envelope_id
from ops.notices.queueing import NEIGHBOUR, WHO
from ops.notices.sending import Pace, Sending, next_sending

log = logging.getLogger(__name__)

MAX_CONVERSATIONS: Final = 8
"""Conversations at a time. A site has one or two incidents open; past this the next round begins the others."""

CLOSE_LIMIT_S: Final = 3.0
"""Seconds that a notifier that is told to end gives to what it has begun; it is killed after five."""

LEFT_TO_A_NEIGHBOUR: Final = timedelta(minutes=5)
"""How much longer than its own pace a notice that another node has queued is left to that node."""


@dataclass(frozen=True, slots=True)
class Post:
    """How mail leaves: the sender of its envelope, and the ways, the preferred one first; at least one."""

    sender: str
    routes: tuple[Route, ...]
    pace: Pace = field(default_factory=Pace)

    def route(self, name: str) -> Route:
        """The way of that name."""
        return next(route for route in self.routes if route.name == name)


class Errands:
    """What is under way, each by its name, so that nothing is begun twice."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, ...], asyncio.Task[None]] = {}

    def begin(self, key: tuple[str, ...], work: Coroutine[Any, Any, None]) -> None:
        """Begin what is not under way already."""
        if key in self._under_way or len(self._under_way) >= MAX_CONVERSATIONS:
            work.close()
            return
        task = self._under_way[key] = asyncio.create_task(work, name=" ".join(key))
        task.add_done_callback(lambda done: self._ended(key, done))

    def below(self, *names: str) -> set[str]:
        """The last names of what is under way below these."""
        return {key[-1] for key in self._under_way if key[:-1] == names}

    async def settle(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way.values()))

    async def close(self) -> None:
        """Let what is under way end within ``CLOSE_LIMIT_S``, and break off the rest.

        A letter that was being handed over then is sent again by whoever comes next, by the same Message-ID.
        """
        tasks = set(self._under_way.values())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_LIMIT_S)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, key: tuple[str, ...], task: asyncio.Task[None]) -> None:
        del self._under_way[key]
        if not task.cancelled() and task.exception() is not None:
            log.critical("notifier.task_died task=%s", task.get_name(), exc_info=task.exception())


class Dispatch(Generic[Subject]):
    """Sends the notices of one sort of books. ``of`` is what these are: ``incident``, ``correspondence``.

    ``deadline`` is by when a notice must have left, where it has one; ``stand_in_after`` is how long this node leaves
    notices to others.
    """

    def __init__(
        self,
        of: str,
        books: Books[Subject],
        post: Post,
        errands: Errands,
        clock: Clock,
        *,
        deadline: Callable[[Subject, Notice], datetime | None],
        stand_in_after: timedelta = timedelta(0),
    ) -> None:
        self._of = of
        self._books = books
        self._post = post
        self._errands = errands
        self._clock = clock
        self._deadline = deadline
        self._neighbours_wait = max(stand_in_after, LEFT_TO_A_NEIGHBOUR)
        self._unwritten: dict[str, list[Said]] = {}

    def busy(self, subject_id: str) -> Collection[str]:
        """The notices of one book that are being sent."""
        return self._errands.below(self._of, subject_id)

    def begin_due(self, subject: Subject) -> None:
        """Begin what is due of one book."""
        for sending in self._due(subject):
            self._errands.begin((self._of, subject.id, sending.notice.id), self._send(subject.id, sending.notice.id))

    def remember(self, subject_id: str, said: Said) -> None:
        """Have something written that has happened already, once the book takes it: see :meth:`written`."""
        self._unwritten.setdefault(subject_id, []).append(said)

    async def written(self, subject_id: str) -> bool:
        """Write what conversations came to; return whether nothing of it is left in memory only."""
        said = self._unwritten.pop(subject_id, None)
        if said is None:
            return True
        try:
            await asyncio.to_thread(self._books.say, subject_id, WHO, *said)
        except OpsError as error:
            log.critical("notifier.not_written %s=%s error=%s", self._of, subject_id, error)
            self._unwritten[subject_id] = said + self._unwritten.get(subject_id, [])
            return False
        return True

    def _due(self, subject: Subject) -> list[Sending]:
        now, names = self._clock.now(), [route.name for route in self._post.routes]
        neighbours = _queued_by_neighbours(subject)
        due = []
        for notice in subject.notices:
            deadline = self._deadline(subject, notice)
            sending = next_sending(notice, deadline=deadline, routes=names, pace=self._post.pace, now=now)
            wait = self._neighbours_wait if notice.id in neighbours else timedelta(0)
            if sending is not None and sending.at + wait <= now:
                due.append(sending)
        return due

    async def _send(self, subject_id: str, notice_id: str) -> None:
        """Make an attempt that is due: by the book as it is now, for the last one may have ended meanwhile."""
        try:
            subject = await asyncio.to_thread(self._books.read, subject_id)
            sending = next((one for one in self._due(subject) if one.notice.id == notice_id), None)
            if sending is None:
                return
            content = await asyncio.to_thread(self._books.message, subject_id, sending.notice.sha256)
        except OpsError as error:
            log.error("notifier.not_sent %s=%s notice=%s error=%s", self._of, subject_id, notice_id, error)
            return
        notice, envelope = sending.notice, envelope_id(sending.notice.message_id)
        letter = Letter(self._post.sender, sending.recipients, content, envelope)
        spoken = await self._post.route(sending.route).converse(letter, limit_s=sending.limit_s)
        told = (self._of, subject_id, notice_id, sending.route, spoken.outcome)
        log.info("notifier.attempted %s=%s notice=%s route=%s outcome=%s", *told)
        for said in spoken.said(notice_id, sending.route, notice.sha256):
            self.remember(subject_id, said)
        await self.written(subject_id)


def _queued_by_neighbours(subject: Told) -> set[str]:
    """The notices of a book that other nodes have queued, and this one never has."""
    queued = [(event.said.notice, event.who) for event in subject.timeline if isinstance(event.said, NoticeQueued)]
    return {notice for notice, who in queued if who == NEIGHBOUR} - {notice for notice, who in queued if who == WHO}
