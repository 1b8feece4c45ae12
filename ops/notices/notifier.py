"""The notifier: what the books owe leaves by mail, and what comes back is written into them (decision 11, N01).

It lives in a process of its own and needs a folder on disk: the local record, the books, and nothing that a gateway's
death, an empty Valkey or a lost database takes away. :meth:`Notifier.once` goes round once and begins what is due;
conversations go on meanwhile, one for a notice at a time, so that a mail server that swallows everything holds up
nobody else's notice. What a conversation came to is kept in memory until the book takes it: a full disk does not
send a mail twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from camera_registry.clock import Clock
from ops.errors import OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.continuing import carry_on
from ops.incidents.duties import Rules
from ops.incidents.events import Said
from ops.incidents.following import RecordFollower
from ops.incidents.incident import Incident
from ops.local_record import LocalRecord
from ops.notices.conversation import Letter, Route
from ops.notices.escalation import EscalationPlan, NextStep, is_red, next_step
from ops.notices.message import envelope_id
from ops.notices.queueing import WHO, Queue
from ops.notices.returns import Mailbox, take_in
from ops.notices.sending import Pace, Sending, deadline_of, next_sending
from ops.notices.shelf import Shelf
from ops.notices.shouting import Alarm, AlarmKind, Alarms, Pulse, Voice, heard

log = logging.getLogger(__name__)

ROUND_S: Final = 1.0
"""Seconds between two rounds, where nothing has changed."""

LOOK_S: Final = 0.1
"""Seconds between two looks at whether the record or a book has changed."""

MAX_CONVERSATIONS: Final = 8
"""Conversations at a time. A site has one or two incidents open; past this the next round begins the others."""

CLOSE_LIMIT_S: Final = 3.0
"""Seconds that a notifier that is told to end gives to what it has begun; it is killed after five."""

CALL_AGAIN: Final = timedelta(minutes=1)
"""How long after a call that nobody heard it is made again."""

SILENT_AFTER: Final = timedelta(minutes=2)
"""How old the watchdog's last sign of life may be."""


@dataclass(frozen=True, slots=True)
class Post:
    """How mail leaves: the sender of its envelope, and the ways, the preferred one first; at least one."""

    sender: str
    routes: tuple[Route, ...]
    pace: Pace = field(default_factory=Pace)

    def route(self, name: str) -> Route:
        """The way of that name."""
        return next(route for route in self.routes if route.name == name)


@dataclass(frozen=True, slots=True)
class OnCall:
    """SYN's own who are called, by every voice, when a step of the plan is due."""

    plan: EscalationPlan = field(default_factory=EscalationPlan)
    voices: tuple[Voice, ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Signs of life: ours, and the watchdog's, whose silence is shouted."""

    pulse: Pulse | None = None
    watchdog: Pulse | None = None
    alarms: Alarms = field(default_factory=lambda: Alarms(()))


class Notifier:
    """One node's notifier; see the module."""

    def __init__(
        self,
        books: IncidentBooks,
        record: LocalRecord | None,
        queue: Queue,
        post: Post,
        *,
        rules: Rules,
        clock: Clock,
        mailbox: Mailbox | None = None,
        on_call: OnCall | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._books = books
        self._follower = None if record is None else RecordFollower(books, record)
        self._queue = queue
        self._post = post
        self._rules = rules
        self._clock = clock
        self._mailbox = mailbox
        self._on_call = on_call or OnCall()
        self._neighbours = neighbours or Neighbours()
        self._shelf = Shelf(books)
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._unwritten: dict[str, list[Said]] = {}
        self._called_at: dict[str, float] = {}
        self._stuck: dict[str, str] = {}
        self._began = clock.now()

    async def run(self, changing: Iterable[Path] = ()) -> NoReturn:
        """Go round for ever, each second and whenever one of the paths ``changing`` has."""
        paths = tuple(changing)
        while True:
            before = _stamps(paths)
            await self.once()
            for _ in range(round(ROUND_S / LOOK_S)):
                await asyncio.sleep(LOOK_S)
                if _stamps(paths) != before:
                    break

    async def once(self) -> None:
        """Go round once: follow, take in what came back, queue what is owed, begin what is due. Never raises OpsError.

        What it begins goes on after it: see :meth:`settle`.
        """
        now = self._clock.now()
        if self._follower is not None:
            await self._attempted("follow", self._follower.follow)
        incidents = await asyncio.to_thread(self._shelf.look)
        if self._mailbox is not None:
            self._begin(("", "returns"), self._take_in(self._mailbox, incidents))
        for incident in incidents:
            if not self._queue.is_settled(incident, now):
                await self._attend(incident)
        await self._neighbours.alarms.stand(self._alarms(incidents), now)
        pulse = self._neighbours.pulse
        if pulse is not None:
            await self._attempted("pulse", partial(pulse.beat, now))

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

    async def _take_in(self, mailbox: Mailbox, incidents: Sequence[Incident]) -> None:
        await self._attempted("returns", lambda: take_in(mailbox, self._books, incidents))

    async def _attend(self, incident: Incident) -> None:
        """Do what one incident asks for; its trouble is not another's."""
        if incident.damaged:
            await self._attempted("carry on", partial(carry_on, self._books, incident, WHO))
            return
        if not await self._written(incident.id):
            return
        busy = {notice for name, notice in self._under_way if name == incident.id}
        now = self._clock.now()
        try:
            incident = await asyncio.to_thread(self._queue.keep_up, incident, now, busy)
            self._stuck.pop(incident.id, None)
        except OpsError as error:
            log.error("notifier.not_queued incident=%s error=%s", incident.id, error)
            self._stuck[incident.id] = f"{type(error).__name__}: {error}"
        for sending in self._due(incident):
            self._begin((incident.id, sending.notice.id), self._send(incident.id, sending.notice.id))
        if self._step(incident) is not None and self._may_call(incident.id):
            self._begin((incident.id, "escalation"), self._escalate(incident.id))

    def _due(self, incident: Incident) -> list[Sending]:
        now, names = self._clock.now(), [route.name for route in self._post.routes]
        planned = (
            next_sending(notice, deadline=deadline_of(incident, notice), routes=names, pace=self._post.pace, now=now)
            for notice in incident.notices
        )
        return [sending for sending in planned if sending is not None and sending.at <= now]

    async def _send(self, incident_id: str, notice_id: str) -> None:
        """Make an attempt that is due: by the book as it is now, for the last one may have ended meanwhile."""
        try:
            incident = await asyncio.to_thread(self._books.read, incident_id)
            sending = next((one for one in self._due(incident) if one.notice.id == notice_id), None)
            if sending is None:
                return
            content = await asyncio.to_thread(self._books.message, incident_id, sending.notice.sha256)
        except OpsError as error:
            log.error("notifier.not_sent incident=%s notice=%s error=%s", incident_id, notice_id, error)
            return
        notice, envelope = sending.notice, envelope_id(sending.notice.message_id)
        letter = Letter(self._post.sender, sending.recipients, content, envelope)
        spoken = await self._post.route(sending.route).converse(letter, limit_s=sending.limit_s)
        told = (incident_id, notice_id, sending.route, spoken.outcome)
        log.info("notifier.attempted incident=%s notice=%s route=%s outcome=%s", *told)
        self._unwritten.setdefault(incident_id, []).extend(spoken.said(notice_id, sending.route, notice.sha256))
        await self._written(incident_id)

    async def _escalate(self, incident_id: str) -> None:
        """Take the step that is due: the call comes before the book's word of it; twice is better than never."""
        now = self._clock.now()
        try:
            incident = await asyncio.to_thread(self._books.read, incident_id)
        except OpsError as error:
            log.error("notifier.not_escalated incident=%s error=%s", incident_id, error)
            return
        due = self._step(incident)
        if due is None:
            return
        self._called_at[incident_id] = self._clock.monotonic()
        if due.step.means == "mail":
            await self._attempted("next contact", lambda: self._queue.add_next_contact(incident, now))
        elif not await heard(self._on_call.voices, self._telephone(incident, due), now):
            return
        self._unwritten.setdefault(incident_id, []).append(due.said())
        if await self._written(incident_id):
            del self._called_at[incident_id]

    def _step(self, incident: Incident) -> NextStep | None:
        """The step of the escalation that is due now."""
        now = self._clock.now()
        step = next_step(incident, self._on_call.plan, self._rules, now)
        return step if step is not None and step.at <= now else None

    def _may_call(self, incident_id: str) -> bool:
        """Whether nobody has been called in vain just now."""
        before = self._called_at.get(incident_id)
        return before is None or self._clock.monotonic() >= before + CALL_AGAIN.total_seconds()

    def _telephone(self, incident: Incident, due: NextStep) -> Alarm:
        red = "ROUGE – " if is_red(incident, self._on_call.plan, self._rules, self._clock.now()) else ""
        drill = "[EXERCICE] " if incident.drill else ""
        told = "remis au serveur" if incident.informed_at is not None else "NON REMIS"
        text = (
            f"{drill}{red}Incident {incident.id} : courriel {told}, sans accusé de réception. "
            f"Joindre par téléphone {due.step.contact}, puis le consigner (halfgateway incident acknowledge)."
        )
        return Alarm(AlarmKind.TELEPHONE, incident.id, text, incident.deadline)

    async def _written(self, incident_id: str) -> bool:
        """Write what conversations came to; return whether nothing of it is left in memory only."""
        said = self._unwritten.pop(incident_id, None)
        if said is None:
            return True
        try:
            await asyncio.to_thread(self._books.say, incident_id, WHO, *said)
        except OpsError as error:
            log.critical("notifier.not_written incident=%s error=%s", incident_id, error)
            self._unwritten[incident_id] = said + self._unwritten.get(incident_id, [])
            return False
        return True

    def _alarms(self, incidents: Sequence[Incident]) -> list[Alarm]:
        """What the notifier itself has to shout: that it cannot write a notice, that the watchdog is silent."""
        watchdog, now = self._neighbours.watchdog, self._clock.now()
        alarms = [
            Alarm(AlarmKind.NOT_WRITTEN, name, f"Le courriel d'information ne peut être établi : {why}")
            for name, why in self._stuck.items()
        ]
        if watchdog is not None and now >= max(self._began, watchdog.last() or self._began) + SILENT_AFTER:
            open_ones = sum(incident.resolved_at is None for incident in incidents)
            text = f"La surveillance des courriels ne répond plus ; incidents ouverts : {open_ones}"
            alarms.append(Alarm(AlarmKind.WATCHDOG_SILENT, "watchdog", text))
        return alarms

    def _begin(self, key: tuple[str, str], work: Coroutine[Any, Any, None]) -> None:
        """Begin what is not under way already."""
        if key in self._under_way or len(self._under_way) >= MAX_CONVERSATIONS:
            work.close()
            return
        task = self._under_way[key] = asyncio.create_task(work, name=" ".join(key))
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._under_way[key]
        if not task.cancelled() and task.exception() is not None:
            log.critical("notifier.task_died task=%s", task.get_name(), exc_info=task.exception())

    async def _attempted(self, what: str, work: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(work)
        except OpsError as error:
            log.warning("notifier.failed step=%s error=%s", what, error)


def _stamps(paths: Sequence[Path]) -> list[int]:
    """What changes when one of these does."""
    stamps = []
    for path in paths:
        try:
            stamps.append(path.stat().st_mtime_ns)
        except OSError:
            stamps.append(0)
    return stamps
