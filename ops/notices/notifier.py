"""The notifier: what the books owe leaves by mail, and what comes back is written into them (ADR 10, N01).

It lives in a process of its own and needs a folder on disk: the local record, the books, and nothing that a gateway's
death, an empty Valkey or a lost database takes away. :meth:`Notifier.once` goes round once and begins what is due;
conversations go on meanwhile (:mod:`ops.notices.dispatch`), one for a notice at a time, so that a mail server that
swallows everything holds up nobody else's notice. What is no incident's notice leaves by the clerk
(:mod:`ops.correspondence.clerk`), whose letters never stand before an incident's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from camera_registry.clock import Clock
from ops.correspondence.clerk import Clerk
from ops.errors import OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.continuing import carry_on
from ops.incidents.duties import Rules
from ops.incidents.following import RecordFollower
from ops.incidents.incident import Incident
from ops.local_record import LocalRecord
from ops.notices.dispatch import Dispatch, Errands, Post
from ops.notices.escalation import EscalationPlan, NextStep, is_red, next_step
from ops.notices.queueing import WHO, Queue
from ops.notices.returns import Mailbox, Sent, take_in
from ops.notices.sending import deadline_of
from ops.notices.shelf import Shelf
from ops.notices.shouting import Alarm, AlarmKind, Alarms, Pulse, Voice, heard

log = logging.getLogger(__name__)

ROUND_S: Final = 1.0
"""Seconds between two rounds, where nothing has changed."""

LOOK_S: Final = 0.1
"""Seconds between two looks at whether the record or a book has changed."""

CALL_AGAIN: Final = timedelta(minutes=1)
"""How long after a call that nobody heard it is made again."""

SILENT_AFTER: Final = timedelta(minutes=2)
"""How old the watchdog's last sign of life may be."""

_INCIDENT: Final = "incident"


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
    alarms: Alarms = field(default_factory=lambda: Alarms(tuple))


async def alone() -> None:
    """There is no other node."""


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
        on_call: Callable[[], OnCall] = OnCall,
        neighbours: Neighbours | None = None,
        clerk: Clerk | None = None,
        share: Callable[[], Awaitable[None]] = alone,
    ) -> None:
        """``on_call`` is asked for each call; ``clerk`` sends what is no incident's notice; ``share`` tells other nodes
        of ours and hears of theirs."""
        self._books = books
        self._follower = None if record is None else RecordFollower(books, record)
        self._queue = queue
        self._rules = rules
        self._clock = clock
        self._mailbox = mailbox
        self._on_call = on_call
        self._neighbours = neighbours or Neighbours()
        self._clerk = clerk
        self._share = share
        self._shelf = Shelf(books)
        self._errands = Errands()
        self._dispatch = Dispatch(
            _INCIDENT, books, post, self._errands, clock, deadline=deadline_of, stand_in_after=queue.stand_in_after
        )
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
        await self._share()
        incidents = await asyncio.to_thread(self._shelf.look)
        if self._mailbox is not None:
            self._errands.begin(("returns",), self._take_in(self._mailbox, incidents))
        for incident in incidents:
            if not self._queue.is_settled(incident, now):
                await self._attend(incident)
        if self._clerk is not None:
            await self._clerk.once(now)
        await self._neighbours.alarms.stand(self._alarms(incidents), now)
        pulse = self._neighbours.pulse
        if pulse is not None:
            await self._attempted("pulse", partial(pulse.beat, now))

    async def settle(self) -> None:
        """Wait for what is under way."""
        await self._errands.settle()
        if self._clerk is not None:
            await self._clerk.errands.settle()

    async def close(self) -> None:
        """Let what is under way end soon, and break off the rest; see :meth:`~ops.notices.dispatch.Errands.close`."""
        await self._errands.close()
        if self._clerk is not None:
            await self._clerk.errands.close()

    async def _take_in(self, mailbox: Mailbox, incidents: Sequence[Incident]) -> None:
        letters = () if self._clerk is None else (self._clerk.sent(),)
        await self._attempted("returns", lambda: take_in(mailbox, Sent(self._books, incidents), *letters))

    async def _attend(self, incident: Incident) -> None:
        """Do what one incident asks for; its trouble is not another's."""
        if incident.damaged:
            await self._attempted("carry on", partial(carry_on, self._books, incident, WHO))
            return
        if not await self._dispatch.written(incident.id):
            return
        busy, now = self._dispatch.busy(incident.id), self._clock.now()
        try:
            incident = await asyncio.to_thread(self._queue.keep_up, incident, now, busy)
            self._stuck.pop(incident.id, None)
        except OpsError as error:
            log.error("notifier.not_queued incident=%s error=%s", incident.id, error)
            self._stuck[incident.id] = f"{type(error).__name__}: {error}"
        self._dispatch.begin_due(incident)
        if self._step(incident) is not None and self._may_call(incident.id):
            self._errands.begin((_INCIDENT, incident.id, "escalation"), self._escalate(incident.id))

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
        elif not await heard(self._on_call().voices, self._telephone(incident, due), now):
            return
        self._dispatch.remember(incident_id, due.said())
        if await self._dispatch.written(incident_id):
            del self._called_at[incident_id]

    def _step(self, incident: Incident) -> NextStep | None:
        """The step of the escalation that is due now."""
        now = self._clock.now()
        step = next_step(incident, self._on_call().plan, self._rules, now)
        return step if step is not None and step.at <= now else None

    def _may_call(self, incident_id: str) -> bool:
        """Whether nobody has been called in vain just now."""
        before = self._called_at.get(incident_id)
        return before is None or self._clock.monotonic() >= before + CALL_AGAIN.total_seconds()

    def _telephone(self, incident: Incident, due: NextStep) -> Alarm:
        red = "ROUGE – " if is_red(incident, self._on_call().plan, self._rules, self._clock.now()) else ""
        drill = "[EXERCICE] " if incident.drill else ""
        told = "remis au serveur" if incident.informed_at is not None else "NON REMIS"
        text = (
            f"{drill}{red}Incident {incident.id} : courriel {told}, sans accusé de réception. "
            f"Joindre par téléphone {due.step.contact}, puis le consigner (halfgateway incident acknowledge)."
        )
        return Alarm(AlarmKind.TELEPHONE, incident.id, text, incident.deadline)

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
        return alarms if self._clerk is None else [*alarms, *self._clerk.alarms()]

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
