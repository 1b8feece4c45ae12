"""The shapes of incidents, their deadlines and their notices (article 8)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from halfgateway.api.shapes import Identifier, Instant, Paging, Sentence, Shape
from ops.incidents.desk import About, Means
from ops.incidents.events import Event, Level, NoticeKind, Source
from ops.incidents.incident import Incident, Notice, State
from ops.interconnection import Ground

LONGEST_CLOCK_HOURS = 24 * 62
"""Hours of the longest legal clock: NIS2's month, and as much again."""

Paragraph = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$"),
]
"""A text of some lines."""

Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]{0,127}$")]
"""A function, such as a permanence; never a person's name (N12)."""

Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$")]


class RecipientShape(Shape):
    """How far a notice is proven to have come to one address (N07)."""

    address: str
    level: Level
    at: Instant
    evidence: str


class NoticeShape(Shape):
    """One logical notice, under one Message-ID."""

    id: str
    kind: NoticeKind
    message_id: str
    sha256: str
    queued_at: Instant
    late: bool
    withdrawn: bool
    attempts: int
    recipients: tuple[RecipientShape, ...]


class ClockShape(Shape):
    """A legal clock beside article 8's."""

    clock: str
    start: Instant
    deadline: Instant
    done_at: Instant | None


class EventShape(Shape):
    """One line of the timeline."""

    n: int
    at: Instant
    who: str
    kind: str
    detail: dict[str, Any]


class IncidentShape(Shape):
    """An incident; ``deadline`` is that of article 8, from the earliest T0."""

    id: str
    critical: bool
    drill: bool
    ground: Ground | None
    reason: str
    t0: Instant
    t0_source: Source
    deadline: Instant
    state: State
    opened_at: Instant
    interrupted_at: Instant | None
    streams_closed: int | None
    informed_at: Instant | None
    recovered_at: Instant | None
    resolved_at: Instant | None
    missed_at: Instant | None
    next_step_by: Instant | None
    damaged: bool
    notices: tuple[NoticeShape, ...]
    clocks: tuple[ClockShape, ...]


class IncidentDetail(IncidentShape):
    """An incident and everything that was done about it."""

    timeline: tuple[EventShape, ...]


class IncidentList(Shape):
    """A page of incidents."""

    items: tuple[IncidentShape, ...]
    next: str | None


class IncidentQuery(Paging):
    """Which incidents are wanted."""

    state: State | None = None


class DeclareRequest(Shape):
    """An incident on SYN's system, declared by a person."""

    reason: Sentence
    critical: bool = True
    occurred_at: Instant | None = None
    scope: Sentence | None = None


class ReportRequest(Shape):
    """What PP reports; the answer's id is its reference (C13)."""

    reported_by: Name
    reason: Sentence
    occurred_at: Instant | None = None


class ReviseRequest(Shape):
    """Another T0, and how it was found."""

    t0: Instant
    reason: Sentence


class NoteRequest(Shape):
    """A line of the timeline."""

    about: About = "timeline"
    text: Paragraph


class StepRequest(Shape):
    """A point d'étape for PP, and when the next one comes."""

    text: Paragraph
    next_by: Instant


class ClassifyRequest(Shape):
    """Whether the incident is critical."""

    critical: bool
    reason: Sentence


class AcknowledgeRequest(Shape):
    """Who acknowledged, and how; ``recipient`` is the address whose notices that acknowledges."""

    means: Literal["telephone", "reply", "local"] = "telephone"
    contact: Name | None = None
    recipient: Address | None = None


class EscalateRequest(Shape):
    """The next level, called upon by either party."""

    level: int = Field(ge=1, le=20)
    contact: Name
    means: Means = "phone"
    by_party: Literal["SYN", "PP"] = "SYN"


class StartClockRequest(Shape):
    """Another legal clock, from the awareness that a person states; one of the incident's own runs from T0.

    ``hours`` are for a clock that the configuration does not name.
    """

    clock: Identifier
    start: Instant | None = None
    hours: int | None = Field(None, ge=1, le=LONGEST_CLOCK_HOURS)

    @property
    def within(self) -> timedelta | None:
        """How long it runs, where the configuration does not say."""
        return None if self.hours is None else timedelta(hours=self.hours)


class StopClockRequest(Shape):
    """What that clock asked for was done."""

    clock: Identifier
    done: Sentence


def incident_shape(incident: Incident) -> IncidentShape:
    """The shape of an incident."""
    return IncidentShape(**_members(incident))


def incident_detail(incident: Incident) -> IncidentDetail:
    """The same with its timeline."""
    return IncidentDetail(**_members(incident), timeline=tuple(map(event_shape, incident.timeline)))


def event_shape(event: Event) -> EventShape:
    """The shape of one line of a book."""
    return EventShape(
        n=event.n,
        at=event.at,
        who=event.who,
        kind=event.said.kind,
        detail=event.said.model_dump(mode="json", exclude={"kind"}, exclude_none=True),
    )


def _members(incident: Incident) -> dict[str, Any]:
    opened = incident.opened
    plain = (
        *(
            "id",
            "critical",
            "drill",
            "t0",
            "t0_source",
            "deadline",
            "state",
            "opened_at",
            "interrupted_at",
            "streams_closed",
        ),
        *("informed_at", "recovered_at", "resolved_at", "missed_at", "next_step_by", "damaged"),
    )
    return {
        **{name: getattr(incident, name) for name in plain},
        "ground": opened.ground,
        "reason": opened.reason,
        "notices": tuple(notice_shape(notice) for notice in incident.notices),
        "clocks": tuple(
            ClockShape(clock=clock.name, start=clock.start, deadline=clock.deadline, done_at=clock.done_at)
            for clock in incident.clocks.values()
        ),
    }


def notice_shape(notice: Notice) -> NoticeShape:
    """The shape of a notice."""
    return NoticeShape(
        id=notice.id,
        kind=notice.tells,
        message_id=notice.message_id,
        sha256=notice.sha256,
        queued_at=notice.queued_at,
        late=notice.late,
        withdrawn=notice.withdrawn,
        attempts=len(notice.attempts),
        recipients=tuple(
            RecipientShape(address=known.address, level=known.level, at=known.at, evidence=known.evidence)
            for known in notice.recipients
        ),
    )
