"""When a notice is sent to whom, and by which way: the plan of attempts. Pure.

What was attempted is in the incident's book; this says what comes next. Three rules:

1. The wait grows with each failure up to a limit, shrinks towards the deadline, and is never a wait past it: in the
   last ``near`` before it an attempt begins at least once a minute (C11, N03).
2. After ``second_route_after`` failures the ways take turns, so that either one's return is used.
3. A recipient whom a server refuses for good gives its place to the next contact of the escalation list (N04).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.incidents.duties import has_deadline
from ops.incidents.events import Level
from ops.incidents.incident import TELL_OF_THE_STOP, Incident, Notice

_GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently a notice is tried. ``limit_s`` bounds one conversation, in seconds; ``near_limit_s`` near the end.

    ``near_wait`` and ``near_limit_s`` together are a minute.
    """

    first_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(minutes=15)
    late_wait: timedelta = timedelta(minutes=5)
    near: timedelta = timedelta(minutes=15)
    near_wait: timedelta = timedelta(seconds=30)
    limit_s: float = 120.0
    near_limit_s: float = 30.0
    second_route_after: int = 3
    give_up_after: timedelta = timedelta(days=5)
    """RFC 5321 section 4.5.4.1: four to five days."""


@dataclass(frozen=True, slots=True)
class Sending:
    """The next attempt of a notice: to these recipients, by this way, from ``at`` on."""

    notice: Notice
    recipients: tuple[str, ...]
    route: str
    at: datetime
    limit_s: float


def deadline_of(incident: Incident, notice: Notice) -> datetime | None:
    """Return by when a notice must have left: article 8's instant, for what tells of the stop while nobody knows."""
    if notice.tells not in TELL_OF_THE_STOP or not has_deadline(incident) or incident.informed_at is not None:
        return None
    return incident.deadline


def next_sending(
    notice: Notice, *, deadline: datetime | None, routes: Sequence[str], pace: Pace, now: datetime
) -> Sending | None:
    """Return a notice's next attempt, due now or later; None where nothing of it is left to be sent.

    ``routes`` are the ways by their names, the preferred one first; at least one.
    """
    unsent = notice.unsent
    if not unsent:
        return None
    newest = max(recipient.at for recipient in notice.recipients if recipient.address in unsent)
    failures = [attempt.at for attempt in notice.attempts if attempt.at >= newest]
    near = deadline is not None and deadline - pace.near <= now < deadline
    return Sending(
        notice=notice,
        recipients=unsent,
        route=_route(len(notice.attempts), routes, pace),
        at=_due(failures, deadline, pace, now) if failures else newest,
        limit_s=min(pace.near_limit_s, pace.limit_s) if near else pace.limit_s,
    )


def given_up(notice: Notice, pace: Pace, now: datetime) -> tuple[str, ...]:
    """Return the recipients that were tried long enough."""
    return notice.unsent if notice.attempts and now >= notice.queued_at + pace.give_up_after else ()


def next_contacts(notice: Notice, escalation: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses that take the place of the recipients who failed, in the escalation list's order (N04).

    Each failure is made good once: who was added for it, and failed too, counts as a failure again.
    """
    if notice.withdrawn:
        return ()
    told = [recipient for recipient in notice.recipients if recipient.address not in notice.in_copy]
    failed = sum(recipient.level is Level.FAILED for recipient in told)
    added = sum(recipient.address not in notice.first_recipients for recipient in notice.recipients)
    known = {recipient.address.lower() for recipient in notice.recipients}
    left = [address for address in dict.fromkeys(escalation) if address.lower() not in known]
    return tuple(left[: max(0, failed - added)])


def to_be_told_late(incident: Incident, now: datetime) -> tuple[Notice, ...]:
    """Return the notices whose text must now say that it comes after the eight hours (C11, N10)."""
    return tuple(
        notice
        for notice in incident.notices
        if not notice.late and not notice.withdrawn and notice.unsent and _is_past(deadline_of(incident, notice), now)
    )


def _is_past(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and now > deadline


def _due(failures: Sequence[datetime], deadline: datetime | None, pace: Pace, now: datetime) -> datetime:
    last = failures[-1]
    wait = min(pace.longest_wait, pace.first_wait * _GROWTH ** min(len(failures) - 1, 16))
    if deadline is None:
        at = last + wait
    elif last >= deadline:
        at = last + min(wait, pace.late_wait)
    elif last >= deadline - pace.near:
        at = min(last + pace.near_wait, deadline)
    else:
        at = min(last + wait, deadline - pace.near)
    # A clock that was set back must not turn a wait of minutes into one of hours.
    return min(at, now + pace.longest_wait)


def _route(attempts: int, routes: Sequence[str], pace: Pace) -> str:
    if attempts < pace.second_route_after:
        return routes[0]
    return routes[(attempts - pace.second_route_after + 1) % len(routes)]
