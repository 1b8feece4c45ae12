"""A total abnormal stop, found by detection: its incident, its recovery, its relapses (article 8, N02, N03, C12).

Whoever watches says at each look why everything has stopped, or that nothing has. T0 is the last look at which all was
well. A stop that comes back before its recovery has held is the same incident: a flapping link is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from camera_registry.clock import Clock
from ops.incidents.book import IncidentBooks
from ops.incidents.duties import Rules, over, relapses
from ops.incidents.events import Opened, Recovered, Relapsed, Resolved, Said, Source
from ops.incidents.incident import Incident, State
from ops.interconnection import MAX_REASON_CHARS, Author, new_incident

DETECTOR = "detection"
"""Who says what was found."""

LASTING = timedelta(seconds=10)
"""How long a stop lasts before its incident is opened: a restart of Valkey is none. T0 is not moved by it."""


class StopDetector:
    """Looks for one process. Its methods block for the disk and raise BookError; the next look goes on.

    ``all_well_at`` is the last instant, before this process began, at which all is proven to have been well.
    """

    def __init__(
        self,
        books: IncidentBooks,
        rules: Rules,
        clock: Clock,
        *,
        all_well_at: datetime | None = None,
        lasting: timedelta = LASTING,
    ) -> None:
        self._books = books
        self._rules = rules
        self._clock = clock
        self._lasting = lasting
        self._well_at = all_well_at or clock.now()
        self._incident = self._left_open()

    @property
    def running(self) -> bool:
        """Whether a stop that was found goes on, or its recovery has not held yet."""
        return self._incident is not None

    def look(self, causes: Sequence[str]) -> None:
        """Everything has stopped because of these, in French; none: all is well."""
        now = self._clock.now()
        if not causes:
            self._well(now)
        elif now - self._well_at >= self._lasting:
            self._stopped(now, " ; ".join(causes)[:MAX_REASON_CHARS])

    def _well(self, now: datetime) -> None:
        self._well_at = now
        if self._incident is None:
            return
        incident = self._books.update(self._incident, DETECTOR, lambda found: _end(found, self._rules, now))
        if incident.state is State.RESOLVED or not relapses(incident, self._rules, now):
            self._incident = None

    def _stopped(self, now: datetime, why: str) -> None:
        if self._incident is None:
            opened = Opened(
                t0=self._well_at,
                t0_source=Source.HEARTBEAT,
                critical=True,
                by=Author.DETECTION,
                reason=why,
                interrupted_at=self._well_at,
            )
            self._incident = self._books.update(new_incident(now), DETECTOR, lambda _: (opened,)).id
            return
        self._books.update(self._incident, DETECTOR, lambda found: _relapse(found, now, why))

    def _left_open(self) -> str | None:
        """The incident that this process, before it was restarted, had found and not seen the end of."""
        found = [each for each in self._books.all() if each.opened.by is Author.DETECTION]
        running = [each for each in found if relapses(each, self._rules, self._clock.now())]
        return running[-1].id if running else None


def _end(incident: Incident | None, rules: Rules, now: datetime) -> Sequence[Said]:
    if incident is None:
        return ()
    if incident.recovered_at is None:
        return (Recovered(at=now, reason="fonctionnement normal constaté"),)
    return (Resolved(reason="rétabli sans avoir à être signalé"),) if over(incident, rules, now) else ()


def _relapse(incident: Incident | None, now: datetime, why: str) -> Sequence[Said]:
    if incident is None or incident.recovered_at is None:
        return ()
    return (Relapsed(at=now, reason=why),)
