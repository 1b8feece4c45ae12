"""An incident as its book tells it: T0 and its deadline, its state, its notices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from types import MappingProxyType
from typing import Any

from ops.incidents.events import (
    Acknowledged,
    Classified,
    ClockStarted,
    ClockStopped,
    DeadlineMissed,
    Event,
    Interrupted,
    Level,
    NoticeAcknowledged,
    NoticeAttempted,
    NoticeDelivered,
    NoticeFailed,
    NoticeKind,
    NoticeQueued,
    NoticeRelayed,
    NoticeSubmitted,
    NoticeWithdrawn,
    Opened,
    Recovered,
    Relapsed,
    Resolved,
    Revised,
    Said,
    Source,
    StepTold,
    earliest,
)

NOTICE_WITHIN = timedelta(hours=8)
"""From the incident, not from its discovery, to the mail at the latest (article 8, C11)."""


class State(StrEnum):
    """Where it stands, as `GET /incidents` tells it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


_PROVEN = (Level.QUEUED, Level.SUBMITTED, Level.RELAYED, Level.DELIVERED, Level.ACKNOWLEDGED)
"""From nothing to everything. A failure is below what was proven later, and above what was only submitted."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """How far a notice came to one address, when, and by what evidence."""

    address: str
    level: Level
    at: datetime
    evidence: str = ""

    def reached(self, level: Level) -> bool:
        """Whether at least this is proven."""
        return self.level is not Level.FAILED and _PROVEN.index(self.level) >= _PROVEN.index(level)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One conversation with a mail server."""

    at: datetime
    said: NoticeAttempted


@dataclass(frozen=True, slots=True)
class Notice:
    """One logical notice: one Message-ID, however often it is sent.

    ``first_recipients`` are those it was written for; others may have taken a failed one's place since (N04).
    ``in_copy`` are our own: that they have it tells PP nothing.
    """

    id: str
    tells: NoticeKind
    message_id: str
    sha256: str
    queued_at: datetime
    late: bool
    recipients: tuple[Recipient, ...]
    attempts: tuple[Attempt, ...] = ()
    withdrawn: bool = False
    first_recipients: tuple[str, ...] = ()
    in_copy: tuple[str, ...] = ()

    @property
    def submitted_at(self) -> datetime | None:
        """When a server first took it for anybody who is told by it, and whom it has not failed since."""
        told = [recipient for recipient in self.recipients if recipient.address not in self.in_copy]
        taken = [recipient.at for recipient in told if recipient.reached(Level.SUBMITTED)]
        return min(taken, default=None)

    @property
    def unsent(self) -> tuple[str, ...]:
        """The addresses that no server has taken it for, and that have not failed for good."""
        if self.withdrawn:
            return ()
        return tuple(recipient.address for recipient in self.recipients if recipient.level is Level.QUEUED)


@dataclass(frozen=True, slots=True)
class RunningClock:
    """A legal clock beside article 8's (L22, L23)."""

    name: str
    start: datetime
    deadline: datetime
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident, as of its newest event.

    ``critical``: article 8 asks for the mail within eight hours; ``critical_at`` is when that was decided.
    ``damaged``: some line of its book is not as it was written, and what follows it is not told here.
    """

    id: str
    opened: Opened
    opened_at: datetime
    t0: datetime
    critical: bool
    interrupted_at: datetime | None = None
    critical_at: datetime | None = None
    streams_closed: int | None = None
    acknowledged_at: datetime | None = None
    recovered_at: datetime | None = None
    resolved_at: datetime | None = None
    missed_at: datetime | None = None
    next_step_by: datetime | None = None
    notices: tuple[Notice, ...] = ()
    clocks: Mapping[str, RunningClock] = field(default_factory=lambda: MappingProxyType({}))
    timeline: tuple[Event, ...] = ()
    damaged: bool = False

    @property
    def drill(self) -> bool:
        """Whether it is an exercise (N14)."""
        return self.opened.drill

    @property
    def t0_source(self) -> Source:
        """How the earliest T0 was found: an earlier one than the first is always a person's."""
        return Source.DECLARED if self.t0 < self.opened.t0 else self.opened.t0_source

    @property
    def deadline(self) -> datetime:
        """The earliest T0, and eight hours (C11, N02); of legal weight where it is critical."""
        return self.t0 + NOTICE_WITHIN

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.resolved_at is not None:
            return State.RESOLVED
        return State.OPEN if self.acknowledged_at is None else State.ACKNOWLEDGED

    @property
    def informed_at(self) -> datetime | None:
        """When a server first took a notice that tells of the stop; None while nobody has been told."""
        first = (notice.submitted_at for notice in self.notices if notice.tells in TELL_OF_THE_STOP)
        return min((instant for instant in first if instant is not None), default=None)

    def notice(self, notice_id: str) -> Notice:
        """Return one notice. Raises KeyError."""
        for notice in self.notices:
            if notice.id == notice_id:
                return notice
        raise KeyError(notice_id)


TELL_OF_THE_STOP = frozenset({NoticeKind.CUT, NoticeKind.CUT_AND_RESTORED})
TELL_OF_THE_RECOVERY = frozenset({NoticeKind.RESTORED, NoticeKind.CUT_AND_RESTORED})


def incident_of(incident_id: str, events: Iterable[Event], *, damaged: bool = False) -> Incident | None:
    """Return what the events say, in their order; None where the first does not open an incident."""
    told = iter(events)
    first = next(told, None)
    if first is None or not isinstance(first.said, Opened):
        return None
    said = first.said
    begun = Incident(
        id=incident_id,
        opened=said,
        opened_at=first.at,
        t0=said.t0,
        critical=said.critical,
        critical_at=first.at if said.critical else None,
        interrupted_at=said.interrupted_at,
        streams_closed=said.streams_closed,
        timeline=(first,),
        damaged=damaged,
    )
    return reduce(_after, told, begun)


def _after(incident: Incident, event: Event) -> Incident:
    return replace(incident, timeline=(*incident.timeline, event), **_changes(incident, event.at, event.said))


def _changes(incident: Incident, at: datetime, said: Said) -> dict[str, Any]:
    changes: dict[str, Any]
    match said:
        case Revised(t0=t0):
            changes = {"t0": earliest(incident.t0, t0)}
        case Classified(critical=critical):
            changes = {"critical": critical, "critical_at": (incident.critical_at or at) if critical else None}
        case Interrupted(at=stopped_at, streams_closed=closed):
            total = closed + (incident.streams_closed or 0)
            changes = {"interrupted_at": incident.interrupted_at or stopped_at, "streams_closed": total}
        case Acknowledged():
            changes = {"acknowledged_at": incident.acknowledged_at or at}
        case StepTold(next_by=next_by):
            changes = {"next_step_by": next_by}
        case Recovered(at=recovered_at):
            changes = {"recovered_at": recovered_at}
        case Relapsed():
            changes = {"recovered_at": None}
        case Resolved():
            changes = {"resolved_at": at}
        case DeadlineMissed():
            changes = {"missed_at": at}
        case ClockStarted(clock=name, start=start, deadline=deadline):
            changes = _with_clock(incident, RunningClock(name, start, deadline))
        case ClockStopped(clock=name) if name in incident.clocks:
            changes = _with_clock(incident, replace(incident.clocks[name], done_at=at))
        case _:
            changes = {"notices": notices_after(incident.notices, at, said)}
    return changes


def _with_clock(incident: Incident, clock: RunningClock) -> dict[str, Any]:
    return {"clocks": MappingProxyType({**incident.clocks, clock.name: clock})}


def notices_after(notices: tuple[Notice, ...], at: datetime, said: Said) -> tuple[Notice, ...]:
    """Return the notices of a book once this was said, at that instant."""
    match said:
        case NoticeQueued() if any(notice.id == said.notice for notice in notices):
            return tuple(_again(notice, at, said) if notice.id == said.notice else notice for notice in notices)
        case NoticeQueued():
            return (*notices, _queued(at, said))
        case NoticeWithdrawn():
            return _changed(notices, said.notice, withdrawn=True)
        case NoticeAttempted():
            return tuple(
                replace(notice, attempts=(*notice.attempts, Attempt(at, said))) if notice.id == said.notice else notice
                for notice in notices
            )
        case NoticeSubmitted() | NoticeRelayed() | NoticeDelivered() | NoticeAcknowledged() | NoticeFailed():
            level = Level(said.kind.removeprefix("notice."))
            return _levelled(notices, said.notice, Recipient(said.recipient, level, at, said.evidence))
    return notices


def _queued(at: datetime, said: NoticeQueued) -> Notice:
    recipients = tuple(Recipient(address, Level.QUEUED, at) for address in said.recipients)
    return Notice(
        said.notice,
        said.tells,
        said.message_id,
        said.sha256,
        at,
        said.late,
        recipients,
        first_recipients=said.recipients,
        in_copy=said.in_copy,
    )


def _again(notice: Notice, at: datetime, said: NoticeQueued) -> Notice:
    """One that is queued again, its text now late or for one more recipient, is the same: what is proven stays."""
    known = {recipient.address.lower() for recipient in notice.recipients}
    added = tuple(Recipient(one, Level.QUEUED, at) for one in said.recipients if one.lower() not in known)
    return replace(notice, sha256=said.sha256, late=notice.late or said.late, recipients=(*notice.recipients, *added))


def _changed(notices: tuple[Notice, ...], notice_id: str, *, withdrawn: bool) -> tuple[Notice, ...]:
    return tuple(replace(n, withdrawn=withdrawn) if n.id == notice_id else n for n in notices)


def _levelled(notices: tuple[Notice, ...], notice_id: str, news: Recipient) -> tuple[Notice, ...]:
    return tuple(
        replace(notice, recipients=tuple(_further(known, news) for known in notice.recipients))
        if notice.id == notice_id
        else notice
        for notice in notices
    )


def _further(known: Recipient, news: Recipient) -> Recipient:
    """What is proven is not unproven by an older report that comes late; a failure counts until more is proven."""
    if known.address.lower() != news.address.lower():
        return known
    if news.level is Level.FAILED:
        return known if known.reached(Level.DELIVERED) else news
    return news if known.level is Level.FAILED or not known.reached(news.level) else known
