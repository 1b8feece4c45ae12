"""The shapes of planned changes and maintenance windows (C15, P07)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from halfgateway.api.rights_shapes import Day, Line, Place
from halfgateway.api.shapes import Instant, Shape, after_start
from ops.changes import Change, ChangeState
from ops.parties import Party
from ops.windows import LONGEST_DRAIN, MaintenanceWindow, WindowState

MAX_TEXT_CHARS = 4000
"""Characters of a change's description: a page. A longer one belongs in a document of its own."""

DEFAULT_DRAIN_S = 300
"""How long into a window streams go on, where nobody says otherwise: time to be told and to hang up."""

Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")
]


class ChangeRequest(Shape):
    """A change that a party announces; ``announced_at`` where it was told before, by mail (never to come)."""

    party: Party
    title: Line
    description: Text
    wished_on: Day
    reference: Line | None = None
    announced_at: Instant | None = None


class ClassificationRequest(Shape):
    """What was decided of a change, by whom (a function), under which reference."""

    major: bool
    project_structure: bool
    decided_by: Line
    reference: Line


class AgreementRequest(Shape):
    """A party agrees that the change goes live from a day on."""

    party: Party
    not_before: Day
    reference: Line


class ScheduleRequest(Shape):
    """The day on which it goes live."""

    day: Day


class AgreementShape(Shape):
    """A party's agreement."""

    party: Party
    not_before: Day
    reference: str
    at: Instant


class ChangeShape(Shape):
    """A change as it stands; ``earliest`` is the first day on which it may go live (article 8)."""

    number: int
    party: Party
    title: str
    description: str
    reference: str | None
    announced_at: Instant
    wished_on: Day
    state: ChangeState
    earliest: Day
    major: bool | None
    project_structure: bool | None
    decided_by: str | None
    decision: str | None
    classified_at: Instant | None
    agreements: tuple[AgreementShape, ...]
    scheduled_on: Day | None
    went_live_at: Instant | None
    withdrawn_at: Instant | None
    withdrawal: str | None

    @classmethod
    def of(cls, change: Change) -> Self:
        """Show a change."""
        decided = change.classification
        return cls(
            number=change.number,
            party=change.party,
            title=change.title,
            description=change.description,
            reference=change.reference,
            announced_at=change.announced_at,
            wished_on=change.wished_on,
            state=change.state,
            earliest=change.earliest,
            major=decided.major if decided is not None else None,
            project_structure=decided.project_structure if decided is not None else None,
            decided_by=decided.decided_by if decided is not None else None,
            decision=decided.reference if decided is not None else None,
            classified_at=decided.at if decided is not None else None,
            agreements=tuple(
                AgreementShape(party=party, not_before=each.not_before, reference=each.reference, at=each.at)
                for party, each in sorted(change.agreements.items())
            ),
            scheduled_on=change.scheduled_on,
            went_live_at=change.went_live_at,
            withdrawn_at=change.withdrawn_at,
            withdrawal=change.withdrawal,
        )


class ChangeList(Shape):
    """Changes, newest first."""

    items: tuple[ChangeShape, ...]
    next: str | None


class WindowRequest(Shape):
    """An interruption to plan. ``drain_s``: no new stream from its start, and those that run are cut after so long."""

    start: Instant
    end: Instant
    reason: Place
    drain_s: Annotated[int, Field(ge=0, le=int(LONGEST_DRAIN.total_seconds()))] = DEFAULT_DRAIN_S
    change: Number | None = None

    @field_validator("end")
    @classmethod
    def _ends_after_its_start(cls, end: datetime, info: ValidationInfo) -> datetime:
        after_start(end, info)
        return end

    @property
    def drain(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.drain_s)


class WindowShape(Shape):
    """A maintenance window; its cut is the incident of that id. ``held_at``: its end failed, a person restores."""

    number: int
    start: Instant
    cut_at: Instant
    end: Instant
    reason: str
    change: int | None
    state: WindowState
    incident: str
    planned_by: str
    announced_at: Instant
    held_at: Instant | None
    withdrawn_at: Instant | None
    withdrawal: str | None

    @classmethod
    def of(cls, window: MaintenanceWindow, now: datetime) -> Self:
        """Show a window."""
        return cls(
            number=window.number,
            start=window.starts_at,
            cut_at=window.cut_at,
            end=window.ends_at,
            reason=window.reason,
            change=window.change,
            state=window.state(now),
            incident=window.incident,
            planned_by=window.planned_by,
            announced_at=window.announced_at,
            held_at=window.held_at,
            withdrawn_at=window.withdrawn_at,
            withdrawal=window.withdrawal,
        )


class WindowList(Shape):
    """Windows, newest first."""

    items: tuple[WindowShape, ...]
    next: str | None
