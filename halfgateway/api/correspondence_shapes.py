"""The shapes of what is mailed outside incidents: what it is about, and how far it came."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from halfgateway.api.incident_shapes import EventShape, NoticeShape, RecipientShape, event_shape, notice_shape
from halfgateway.api.shapes import Instant, Paging, Shape
from ops.correspondence.correspondence import Answer, Correspondence, answer
from ops.incidents.incident import Notice


class TestedRecipientShape(RecipientShape):
    """A recipient; ``answer`` is a tested contact's: awaited, overdue, in-time, late, unreachable."""

    answer: Answer | None


class LetterShape(NoticeShape):
    """One mail of a correspondence, under one Message-ID."""

    recipients: tuple[TestedRecipientShape, ...]


class CorrespondenceShape(Shape):
    """One correspondence; ``owed``: something of it has yet to leave. ``matter`` says what it is about."""

    id: str
    matter: dict[str, Any]
    opened_at: Instant
    owed: bool
    internal: bool
    damaged: bool
    notices: tuple[LetterShape, ...]


class CorrespondenceDetail(CorrespondenceShape):
    """A correspondence and everything that became of it."""

    timeline: tuple[EventShape, ...]


class CorrespondenceList(Shape):
    """A page of correspondences."""

    items: tuple[CorrespondenceShape, ...]
    next: str | None


class CorrespondenceQuery(Paging):
    """Which correspondences are wanted."""

    owed: bool | None = None


def correspondence_shape(correspondence: Correspondence, now: datetime) -> CorrespondenceShape:
    """The shape of a correspondence as it stands now."""
    return CorrespondenceShape(**_members(correspondence, now))


def correspondence_detail(correspondence: Correspondence, now: datetime) -> CorrespondenceDetail:
    """The same with its timeline."""
    timeline = tuple(map(event_shape, correspondence.timeline))
    return CorrespondenceDetail(**_members(correspondence, now), timeline=timeline)


def _members(correspondence: Correspondence, now: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(correspondence, name) for name in ("id", "opened_at", "owed", "internal", "damaged")},
        "matter": correspondence.matter.model_dump(mode="json", exclude_none=True),
        "notices": tuple(_letter_shape(correspondence, notice, now) for notice in correspondence.notices),
    }


def _letter_shape(correspondence: Correspondence, notice: Notice, now: datetime) -> LetterShape:
    plain = notice_shape(notice)
    recipients = tuple(
        TestedRecipientShape(**dict(shown), answer=answer(correspondence, notice, known, now))
        for shown, known in zip(plain.recipients, notice.recipients, strict=True)
    )
    return LetterShape(**{**dict(plain), "recipients": recipients})
