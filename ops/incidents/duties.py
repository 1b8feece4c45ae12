"""What an incident still asks for, and by when: article 8 and N03 as arithmetic. Pure.

======================  ============================================================  ==============================
notice                  due                                                           at the latest
======================  ============================================================  ==============================
``cut``                 at once for a person's cut or declaration, ``critical_after``  T0 + 8 h
                        T0 for an automatic stop that has not recovered by then
``restored``            once the recovery has held for ``hold_down``                  –
``cut-and-restored``    the same, where no server has taken the first notice          T0 + 8 h
``update``              when a person writes one                                      the instant last promised
======================  ============================================================  ==============================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.incidents.events import NoticeKind
from ops.incidents.incident import TELL_OF_THE_RECOVERY, TELL_OF_THE_STOP, Incident, State
from ops.interconnection import Author


@dataclass(frozen=True, slots=True)
class Rules:
    """What the parties agreed of an incident's course, within what article 8 says."""

    critical_after: timedelta = timedelta(minutes=5)
    """How long an automatic stop lasts before it is told (N03). T0 is not moved by it."""

    hold_down: timedelta = timedelta(minutes=5)
    """How long a recovery holds before it is announced (C12)."""

    shout_within: timedelta = timedelta(hours=2)
    """After T0 the watchdog shouts if no server has taken the notice (N09)."""


@dataclass(frozen=True, slots=True)
class Duty:
    """A notice that is to be written from ``due`` on; ``deadline`` is article 8's, where it has one."""

    tells: NoticeKind
    due: datetime
    deadline: datetime | None
    replaces: tuple[str, ...] = ()
    """The notices that no server has taken and that this one makes void."""


def next_duty(incident: Incident, rules: Rules, now: datetime) -> Duty | None:
    """Return the notice that has to be written next, due now or later; None while nothing is owed.

    A cut that is not critical is told too, by its own text and without the eight hours; a drill runs as what it plays.
    """
    if not to_be_told(incident, rules):
        return None
    deadline = incident.deadline if has_deadline(incident) else None
    recovered = incident.recovered_at
    announced = None if recovered is None else recovered + rules.hold_down
    if incident.informed_at is not None:
        untold = announced is not None and not _queued(incident, TELL_OF_THE_RECOVERY)
        return Duty(NoticeKind.RESTORED, announced, None) if untold and announced is not None else None
    if announced is not None and announced <= now and not _queued(incident, {NoticeKind.CUT_AND_RESTORED}):
        return Duty(NoticeKind.CUT_AND_RESTORED, announced, deadline, replaces=_waiting(incident))
    if not _queued(incident, TELL_OF_THE_STOP):
        return Duty(NoticeKind.CUT, told_from(incident, rules), deadline)
    return None


def has_deadline(incident: Incident) -> bool:
    """Whether the eight hours run: for a critical incident, and for a drill of one (N14)."""
    return incident.critical or incident.drill


def told_from(incident: Incident, rules: Rules) -> datetime:
    """Return from when PP is to be told: at once, or after ``critical_after`` of an automatic stop (N03)."""
    known_at = incident.critical_at or incident.opened_at
    if incident.opened.by is Author.DETECTION:
        return max(known_at, incident.t0 + rules.critical_after)
    return known_at


def to_be_told(incident: Incident, rules: Rules) -> bool:
    """Whether PP is owed a notice at all.

    Not of what PP reported and nobody found critical, nor of an automatic stop that was over within ``critical_after``.
    """
    if incident.opened.ground is None and not incident.critical:
        return False
    recovered = incident.recovered_at
    return incident.informed_at is not None or recovered is None or recovered >= told_from(incident, rules)


def relapses(incident: Incident, rules: Rules, now: datetime) -> bool:
    """Whether a stop that begins now belongs to this incident, whose recovery has not held yet (C12)."""
    if incident.state is State.RESOLVED or incident.drill:
        return False
    return incident.recovered_at is None or now < incident.recovered_at + rules.hold_down


def deadline_missed(incident: Incident, rules: Rules, now: datetime) -> bool:
    """Whether the eight hours have passed untold, and nobody has recorded it yet (N10)."""
    untold = incident.informed_at is None and incident.missed_at is None
    return untold and has_deadline(incident) and to_be_told(incident, rules) and now > incident.deadline


def to_be_shouted(incident: Incident, rules: Rules, now: datetime) -> bool:
    """Whether the watchdog must shout: no server has taken the notice, ``shout_within`` after T0 (N09)."""
    if incident.informed_at is not None or not has_deadline(incident) or not to_be_told(incident, rules):
        return False
    return now >= max(incident.t0 + rules.shout_within, told_from(incident, rules))


def over(incident: Incident, rules: Rules, now: datetime) -> bool:
    """Whether an incident that recovered by itself may be resolved without a person: nobody had to be told of it."""
    recovered = incident.recovered_at
    if recovered is None or incident.state is State.RESOLVED or incident.opened.by is not Author.DETECTION:
        return False
    return recovered + rules.hold_down <= now and next_duty(incident, rules, now) is None


def _queued(incident: Incident, kinds: frozenset[NoticeKind] | set[NoticeKind]) -> bool:
    return any(notice.tells in kinds and not notice.withdrawn for notice in incident.notices)


def _waiting(incident: Incident) -> tuple[str, ...]:
    return tuple(n.id for n in incident.notices if n.tells is NoticeKind.CUT and not n.withdrawn)
