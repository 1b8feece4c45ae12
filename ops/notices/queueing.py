"""What is owed, written into the books: each notice is queued once, whoever crashes in between (N01).

The bytes are durable before the event that names them, and the event is only written where the incident, looked at
again under its lock, still asks for it. So there is one logical notice, one Message-ID, after any crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from ops.incidents.book import Books, IncidentBooks, Subject
from ops.incidents.duties import Duty, Rules, deadline_missed, next_duty, over
from ops.incidents.events import (
    DeadlineMissed,
    Level,
    NoticeFailed,
    NoticeKind,
    NoticeQueued,
    NoticeWithdrawn,
    Resolved,
    Said,
    StepTold,
)
from ops.incidents.incident import TELL_OF_THE_STOP, Incident, Notice
from ops.notices.sending import Pace, given_up, next_contacts, to_be_told_late

log = logging.getLogger(__name__)

WHO = "notifier"

NEIGHBOUR = "neighbour"
"""Who says in a book what was heard of another node's notifier: it is not told on."""

_NAMES = {
    NoticeKind.CUT: "cut",
    NoticeKind.UPDATE: "update",
    NoticeKind.RESTORED: "restored",
    NoticeKind.CUT_AND_RESTORED: "both",
    NoticeKind.RECEIVED: "received",
}


class Composed(Protocol):
    """A notice as it is sent: its exact bytes, and who gets it; ``in_copy`` are those recipients who are ours."""

    @property
    def content(self) -> bytes: ...

    @property
    def message_id(self) -> str: ...

    @property
    def recipients(self) -> tuple[str, ...]: ...

    @property
    def in_copy(self) -> tuple[str, ...]: ...


Compose = Callable[[Incident, Duty, str, datetime], Composed]
"""Writes a notice of an incident: what it tells, its id, and now. Raises OpsError where it cannot be written."""


def _nothing_heard(_incident_id: str) -> Sequence[Said]:
    return ()


@dataclass(frozen=True, slots=True)
class StandIn:
    """How long this node leaves each notice to others, and what their books say of an incident's notices.

    The first node of a data centre waits for nobody; another one takes over where it has not heard, within ``after``,
    that a server took the notice. It hears nothing where what the nodes share is down: then PP is told twice, by the
    same Message-ID, rather than not at all.
    """

    after: timedelta = timedelta(0)
    heard: Callable[[str], Sequence[Said]] = field(default=_nothing_heard)


class Queue:
    """Keeps one node's books up with what is owed. The methods block on the disk."""

    def __init__(
        self,
        books: IncidentBooks,
        compose: Compose,
        *,
        rules: Rules,
        escalation: Callable[[datetime], Sequence[str]],
        pace: Pace | None = None,
        stand_in: StandIn | None = None,
    ) -> None:
        """``escalation`` gives the addresses of PP's escalation list on a day, the first level first."""
        self._books = books
        self._compose = compose
        self._rules = rules
        self._pace = pace or Pace()
        self._escalation = escalation
        self._stand_in = stand_in or StandIn()

    @property
    def stand_in_after(self) -> timedelta:
        """How long this node leaves each notice to others."""
        return self._stand_in.after

    def keep_up(self, incident: Incident, now: datetime, under_way: Collection[str]) -> Incident:
        """Write what an incident owes now; return it then. ``under_way`` are its notices that are being sent.

        Raises OpsError: what was written stays, and the next call goes on.
        """
        incident = self._hear(incident)
        if deadline_missed(incident, self._rules, now):
            incident = self._say(incident, lambda current: self._missed(current, now))
        if not under_way:
            incident = self._queue_due(incident, now)
            for late in to_be_told_late(incident, now):
                duty = Duty(late.tells, now, incident.deadline)
                incident = self._queue(incident, duty, late.id, now, lambda current: to_be_told_late(current, now))
        for tells, is_owed in ((NoticeKind.UPDATE, _untold_steps), (NoticeKind.RECEIVED, _unanswered_report)):
            if is_owed(incident):
                notice = _notice_id(incident, tells)
                incident = self._queue(incident, Duty(tells, now, None), notice, now, is_owed)
        incident = self._say(incident, lambda current: self._made_good(current, now))
        if over(incident, self._rules, now) and not any(notice.unsent for notice in incident.notices):
            incident = self._say(incident, lambda current: self._over(current, now))
        return incident

    def is_settled(self, incident: Incident, now: datetime) -> bool:
        """Whether nothing will ever be written of an incident here: cheap, for there are years of them."""
        if incident.resolved_at is None or _untold_steps(incident):
            return False
        levels = {one.level for notice in incident.notices if not notice.withdrawn for one in notice.recipients}
        return not levels & {Level.QUEUED, Level.FAILED} and next_duty(incident, self._rules, now) is None

    def add_next_contact(self, incident: Incident, now: datetime) -> Incident:
        """Send the notice of the stop to PP's next level too: nobody has answered (C13)."""

        def change(current: Incident) -> Sequence[Said]:
            notice = next((one for one in current.notices if one.tells in TELL_OF_THE_STOP and not one.withdrawn), None)
            known = set() if notice is None else {recipient.address.lower() for recipient in notice.recipients}
            further = [address for address in self._escalation(now) if address.lower() not in known]
            return () if notice is None else [_requeued(notice, further[:1])] if further else ()

        return self._say(incident, change)

    def _hear(self, incident: Incident) -> Incident:
        return hear(self._books, incident, self._stand_in)

    def _queue_due(self, incident: Incident, now: datetime) -> Incident:
        duty = self._due(incident, now)
        if duty is None:
            return incident
        notice = _notice_id(incident, duty.tells)
        return self._queue(incident, duty, notice, now, lambda current: self._due(current, now) == duty)

    def _due(self, incident: Incident, now: datetime) -> Duty | None:
        duty = next_duty(incident, self._rules, now)
        return duty if duty is not None and duty.due + self._stand_in.after <= now else None

    def _queue(
        self,
        incident: Incident,
        duty: Duty,
        notice: str,
        now: datetime,
        still_owed: Callable[[Incident], object],
    ) -> Incident:
        composed = self._compose(incident, duty, notice, now)
        digest = self._books.keep_message(incident.id, composed.content)
        queued = NoticeQueued(
            notice=notice,
            tells=duty.tells,
            message_id=composed.message_id,
            sha256=digest,
            recipients=composed.recipients,
            in_copy=composed.in_copy,
            late=duty.deadline is not None and now > duty.deadline,
        )
        withdrawn = [NoticeWithdrawn(notice=one, reason=f"remplacé par {notice}") for one in duty.replaces]
        return self._say(incident, lambda current: [*withdrawn, queued] if still_owed(current) else ())

    def _missed(self, incident: Incident, now: datetime) -> Sequence[Said]:
        if not deadline_missed(incident, self._rules, now):
            return ()
        attempts = sum(len(notice.attempts) for notice in incident.notices)
        reason = f"aucun serveur de messagerie n'a pris le courriel dans le délai ; tentatives : {attempts}"
        return (DeadlineMissed(deadline=incident.deadline, reason=reason),)

    def _made_good(self, incident: Incident, now: datetime) -> Sequence[Said]:
        return made_good(incident.notices, self._pace, self._escalation(now), now)

    def _over(self, incident: Incident, now: datetime) -> Sequence[Said]:
        if not over(incident, self._rules, now):
            return ()
        return (Resolved(reason="rétabli sans intervention, rien ne restant à signaler"),)

    def _say(self, incident: Incident, change: Callable[[Incident], Sequence[Said]]) -> Incident:
        """Write what is to be said of an incident, if anything: the lock is only taken where something is."""
        if not change(incident):
            return incident
        return self._books.update(incident.id, WHO, lambda current: () if current is None else change(current))


def hear(books: Books[Subject], subject: Subject, stand_in: StandIn) -> Subject:
    """Write into a book what other nodes' books say of its notices; return it then. Raises BookError."""
    heard = stand_in.heard(subject.id)

    def unknown(current: Subject | None) -> Sequence[Said]:
        known = [] if current is None else [event.said for event in current.timeline]
        new: list[Said] = []
        for one in heard:
            if one in known:
                known.remove(one)  # said twice, two attempts alike say, it is heard twice
            else:
                new.append(one)
        return new

    return books.update(subject.id, NEIGHBOUR, unknown) if unknown(subject) else subject


def made_good(notices: Iterable[Notice], pace: Pace, escalation: Sequence[str], now: datetime) -> Sequence[Said]:
    """Return what is given up, and who takes the place of whom (N04)."""
    said: list[Said] = []
    for notice in notices:
        reason = "abandon : délai d'acheminement dépassé"
        said += [
            NoticeFailed(notice=notice.id, recipient=recipient, evidence=reason)
            for recipient in given_up(notice, pace, now)
        ]
        further = next_contacts(notice, escalation)
        said += [_requeued(notice, further)] if further else []
    return said


def _unanswered_report(incident: Incident) -> bool:
    """Whether PP reported this, and has not been sent its reference (C13)."""
    reported = incident.opened.reported_by is not None and incident.resolved_at is None
    return reported and not any(notice.tells is NoticeKind.RECEIVED for notice in incident.notices)


def _untold_steps(incident: Incident) -> bool:
    """Whether a point d'étape was written that PP, which knows of the stop, has not been sent (P07)."""
    steps = sum(isinstance(event.said, StepTold) for event in incident.timeline)
    sent = sum(notice.tells is NoticeKind.UPDATE for notice in incident.notices)
    return steps > sent and any(one.tells in TELL_OF_THE_STOP and not one.withdrawn for one in incident.notices)


def _notice_id(incident: Incident, tells: NoticeKind) -> str:
    """The n-th of its kind: the same for every node, and for every attempt after a crash."""
    return f"{_NAMES[tells]}-{sum(notice.tells is tells for notice in incident.notices) + 1}"


def _requeued(notice: Notice, further: Sequence[str]) -> NoticeQueued:
    """The same notice, same bytes, for more recipients."""
    return NoticeQueued(
        notice=notice.id,
        tells=notice.tells,
        message_id=notice.message_id,
        sha256=notice.sha256,
        recipients=tuple(further),
        late=notice.late,
    )
