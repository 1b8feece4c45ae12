"""What a person does to an incident: declare, report, revise, note, tell, acknowledge, classify, resolve.

The same by the command line, which needs the books alone, and by the API. ``who`` is the account that acts. Every
method blocks for the disk and raises BookError, UnknownIncident, and IncidentRefused in French.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from camera_registry.clock import Clock
from ops.errors import IncidentRefused
from ops.incidents.book import IncidentBooks
from ops.incidents.clocks import ClockStart, LegalClock
from ops.incidents.events import (
    Acknowledged,
    Classified,
    ClockStarted,
    ClockStopped,
    Escalated,
    Noted,
    NoticeAcknowledged,
    Opened,
    Recovered,
    Resolved,
    Revised,
    Said,
    Source,
    StepTold,
)
from ops.incidents.incident import Incident, State
from ops.interconnection import Author, new_incident

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far ahead of ours the clock of whoever tells an instant may be."""

MAX_UNRESOLVED_REPORTS = 50
"""Reports of PP's that nobody has resolved yet: weeks of them. Past it another is refused, and said by telephone: a
faulty client of PP's fills no disk of SYN's."""

About = Literal["timeline", "nature", "cause", "recordings", "lessons", "report"]
Means = Literal["mail", "phone", "on-call", "webhook"]


class IncidentDesk:
    """The desk over the books of one node; ``clocks`` are the legal clocks that are agreed, by name."""

    def __init__(self, books: IncidentBooks, clock: Clock, *, clocks: Mapping[str, LegalClock] | None = None) -> None:
        self._books = books
        self._clock = clock
        self._clocks = clocks or {}

    def all(self) -> list[Incident]:
        """Every incident that can be read, the newest first."""
        return sorted(self._books.all(), key=lambda incident: (incident.opened_at, incident.id), reverse=True)

    def find(self, incident_id: str) -> Incident:
        """One incident."""
        return self._books.read(incident_id)

    def declare(
        self,
        who: str,
        *,
        by: Author,
        reason: str,
        critical: bool,
        occurred_at: datetime | None = None,
        scope: str | None = None,
    ) -> Incident:
        """An incident on SYN's system that has cut nothing: what stopped, stopped by itself."""
        return self._open(who, by=by, reason=reason, critical=critical, occurred_at=occurred_at, scope=scope)

    def report(self, who: str, *, reported_by: str, reason: str, occurred_at: datetime | None = None) -> Incident:
        """What PP reported (C13): its id is the reference that PP is given; a person finds whether it is critical."""
        waiting = sum(
            each.opened.reported_by is not None and each.state is not State.RESOLVED for each in self._books.all()
        )
        if waiting >= MAX_UNRESOLVED_REPORTS:
            raise IncidentRefused("Trop de signalements sont en cours : adressez-vous au point de contact unique.")
        return self._open(
            who, by=Author.OPS, reason=reason, critical=False, occurred_at=occurred_at, reported_by=reported_by
        )

    def revise(self, incident_id: str, who: str, *, t0: datetime, reason: str) -> Incident:
        """Another T0 was found (N02): an earlier one moves the deadline, a later one does not."""
        self._require_past(t0)
        return self._say(incident_id, who, Revised(t0=t0, reason=reason))

    def note(self, incident_id: str, who: str, *, about: About, text: str) -> Incident:
        """A line of the timeline."""
        return self._say(incident_id, who, Noted(about=about, text=text))

    def tell_step(self, incident_id: str, who: str, *, text: str, next_by: datetime) -> Incident:
        """A point d'étape for PP, which the notifier sends."""
        if next_by <= self._clock.now():
            raise IncidentRefused("Le prochain point d'étape est à venir.")
        return self._say(incident_id, who, StepTold(text=text, next_by=next_by))

    def classify(self, incident_id: str, who: str, *, critical: bool, reason: str) -> Incident:
        """Whether it is critical, as a person has found."""

        def change(incident: Incident) -> Sequence[Said]:
            if incident.critical and not critical and incident.informed_at is not None:
                raise IncidentRefused("La Préfecture de police a été informée d'un Incident critique : il le reste.")
            return (Classified(critical=critical, reason=reason),) if critical != incident.critical else ()

        return self._change(incident_id, who, change)

    def acknowledge(
        self,
        incident_id: str,
        who: str,
        *,
        means: Literal["reply", "telephone", "local"],
        contact: str | None = None,
        recipient: str | None = None,
    ) -> Incident:
        """PP has it, by telephone say; ``recipient`` is the address whose notices that acknowledges (N08)."""

        def change(incident: Incident) -> Sequence[Said]:
            heard = f"{means} : {contact or 'sans précision'}"
            notices = [
                NoticeAcknowledged(notice=notice.id, recipient=recipient, evidence=heard)
                for notice in incident.notices
                if recipient is not None and recipient in {known.address for known in notice.recipients}
            ]
            if recipient is not None and not notices:
                raise IncidentRefused("Aucun courriel d'information n'a été adressé à ce destinataire.")
            return (Acknowledged(means=means, contact=contact), *notices)

        return self._change(incident_id, who, change)

    def escalate(
        self, incident_id: str, who: str, *, level: int, contact: str, means: Means, by_party: Literal["SYN", "PP"]
    ) -> Incident:
        """Either party calls upon the next level (C13)."""
        return self._say(incident_id, who, Escalated(level=level, contact=contact, means=means, by_party=by_party))

    def start_clock(
        self, incident_id: str, who: str, *, clock: str, start: datetime | None = None, within: timedelta | None = None
    ) -> Incident:
        """Another legal clock, from the awareness that a person states, or from T0 (L22, L23).

        One that is agreed runs for as long as that says; another for ``within``. One that runs already takes an earlier
        start, as T0 does (N02), and no later one.
        """
        if start is not None:
            self._require_past(start)

        def change(incident: Incident) -> Sequence[Said]:
            began, deadline = self._terms_of(clock, incident, start, within)
            running = incident.clocks.get(clock)
            if running is not None and began >= running.start:
                raise IncidentRefused("Ce délai court déjà : seul un début antérieur est retenu.")
            return (ClockStarted(clock=clock, start=began, deadline=deadline),)

        return self._change(incident_id, who, change)

    def stop_clock(self, incident_id: str, who: str, *, clock: str, done: str) -> Incident:
        """What that clock asked for was done."""

        def change(incident: Incident) -> Sequence[Said]:
            if clock not in incident.clocks:
                raise IncidentRefused("Ce délai n'a pas été ouvert pour cet incident.")
            return (ClockStopped(clock=clock, done=done),)

        return self._change(incident_id, who, change)

    def resolve(self, incident_id: str, who: str, *, reason: str) -> Incident:
        """It is over. What is still owed of it, a notice say, stays owed."""

        def change(incident: Incident) -> Sequence[Said]:
            if incident.state is State.RESOLVED:
                raise IncidentRefused("Cet incident est déjà résolu.")
            if incident.recovered_at is not None:
                return (Resolved(reason=reason),)
            if incident.interrupted_at is not None or incident.drill:
                raise IncidentRefused("L'Interconnexion est à rétablir d'abord.")
            return (Recovered(at=self._clock.now(), reason=reason), Resolved(reason=reason))

        return self._change(incident_id, who, change)

    def _open(
        self,
        who: str,
        *,
        by: Author,
        reason: str,
        critical: bool,
        occurred_at: datetime | None,
        scope: str | None = None,
        reported_by: str | None = None,
    ) -> Incident:
        now = self._clock.now()
        if occurred_at is not None:
            self._require_past(occurred_at)
        opened = Opened(
            t0=min(now, occurred_at or now),
            t0_source=Source.DECLARED,
            critical=critical,
            by=by,
            reason=reason,
            scope=scope,
            reported_by=reported_by,
        )
        return self._books.update(new_incident(now), who, lambda _: (opened,))

    def _say(self, incident_id: str, who: str, said: Said) -> Incident:
        return self._books.say(incident_id, who, said)

    def _change(self, incident_id: str, who: str, change: Callable[[Incident], Sequence[Said]]) -> Incident:
        def of_known(incident: Incident | None) -> Sequence[Said]:
            return () if incident is None else change(incident)

        return self._books.update(incident_id, who, of_known)

    def _terms_of(
        self, clock: str, incident: Incident, start: datetime | None, within: timedelta | None
    ) -> tuple[datetime, datetime]:
        """From when until when a clock runs."""
        agreed = self._clocks.get(clock)
        if agreed is not None and agreed.starts is ClockStart.INCIDENT:
            if start not in {None, incident.t0}:
                raise IncidentRefused("Ce délai court de la survenance de l'incident.")
            start = incident.t0
        if start is None:
            raise IncidentRefused("Ce délai court de la prise de connaissance : son instant est à indiquer.")
        if agreed is None and within is None:
            raise IncidentRefused("Ce délai n'est pas de ceux de la configuration : sa durée est à indiquer.")
        deadline = agreed.deadline(start) if agreed is not None else start + (within or timedelta(0))
        if within is not None and deadline != start + within:
            raise IncidentRefused("La durée de ce délai est fixée par la configuration.")
        return start, deadline

    def _require_past(self, instant: datetime) -> None:
        if instant > self._clock.now() + CLOCK_TOLERANCE:
            raise IncidentRefused("Cet instant est à venir.")
