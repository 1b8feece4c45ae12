"""The shapes of judicial holds, of requests made outside the link, and of the retention probe (C04, C05, L26)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import StringConstraints

from camera_registry.holds import Hold
from camera_registry.retention import Breach
from camera_registry.retention_store import Finding
from halfgateway.api.rights_shapes import Line
from halfgateway.api.shapes import Identifier, Instant, Sentence, Shape
from ops.requests import Cause, Channel, Outcome, OutsideRequest, Sort

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class HoldState(StrEnum):
    """How a hold stands."""

    IN_FORCE = "in-force"
    RELEASED = "released"
    OVER = "over"


class HoldRequest(Shape):
    """The footage of a camera to be held: ``reference`` is the requisition's, ``until`` its term if it has one."""

    camera: Identifier
    start: Instant
    end: Instant
    reference: Line
    until: Instant | None = None


class SealRequest(Shape):
    """On which sealed medium a hold's interval lies, by its label and its manifest's SHA-256."""

    medium: Line
    manifest_sha256: Sha256


class HoldShape(Shape):
    """A hold. ``alarm``: its recorder does not obey it, and it was not extracted yet."""

    number: int
    camera: str
    start: Instant
    end: Instant
    reference: str
    until: Instant | None
    state: HoldState
    alarm: bool
    placed_at: Instant
    placed_by: str
    medium: str | None
    manifest_sha256: str | None
    extracted_at: Instant | None
    extracted_by: str | None
    released_at: Instant | None
    released_by: str | None
    release: str | None

    @classmethod
    def of(cls, hold: Hold, now: datetime, *, alarm: bool) -> Self:
        """Show a hold."""
        ended = HoldState.OVER if hold.released_at is None else HoldState.RELEASED
        sealed = hold.extraction
        return cls(
            number=hold.number,
            camera=hold.camera,
            start=hold.start,
            end=hold.end,
            reference=hold.reference,
            until=hold.until,
            state=HoldState.IN_FORCE if hold.in_force(now) else ended,
            alarm=alarm,
            placed_at=hold.placed_at,
            placed_by=hold.placed_by,
            medium=sealed.medium if sealed is not None else None,
            manifest_sha256=sealed.sha256 if sealed is not None else None,
            extracted_at=sealed.at if sealed is not None else None,
            extracted_by=sealed.by if sealed is not None else None,
            released_at=hold.released_at,
            released_by=hold.released_by,
            release=hold.release,
        )


class HoldList(Shape):
    """Holds, newest first."""

    items: tuple[HoldShape, ...]
    next: str | None


class OutsideRequestRequest(Shape):
    """A request that came outside the link; received now, unless it says when."""

    sort: Sort
    channel: Channel
    service: Line
    reference: Line | None = None
    camera: Identifier | None = None
    start: Instant | None = None
    end: Instant | None = None
    received_at: Instant | None = None


class AnswerRequest(Shape):
    """What was answered; a ``cause`` where less was served than was asked for."""

    outcome: Outcome
    cause: Cause | None = None
    text: Sentence
    answered_at: Instant | None = None


class OutsideRequestShape(Shape):
    """A request. ``delay_s`` is how long its answer took, or how long it waits so far."""

    number: int
    sort: Sort
    channel: Channel
    service: str
    reference: str | None
    camera: str | None
    start: Instant | None
    end: Instant | None
    received_at: Instant
    recorded_at: Instant
    recorded_by: str
    outcome: Outcome | None
    cause: Cause | None
    text: str | None
    answered_at: Instant | None
    answered_by: str | None
    delay_s: int

    @classmethod
    def of(cls, request: OutsideRequest, now: datetime) -> Self:
        """Show a request."""
        given = request.answer
        return cls(
            number=request.number,
            sort=request.sort,
            channel=request.channel,
            service=request.service,
            reference=request.reference,
            camera=request.camera,
            start=request.start,
            end=request.end,
            received_at=request.received_at,
            recorded_at=request.recorded_at,
            recorded_by=request.recorded_by,
            outcome=given.outcome if given is not None else None,
            cause=given.cause if given is not None else None,
            text=given.text if given is not None else None,
            answered_at=given.at if given is not None else None,
            answered_by=given.by if given is not None else None,
            delay_s=round(request.delay(now).total_seconds()),
        )


class OutsideRequestList(Shape):
    """Requests, newest first."""

    items: tuple[OutsideRequestShape, ...]
    next: str | None


class GapShape(Shape):
    """Where nothing is recorded."""

    start: Instant
    end: Instant


class FindingShape(Shape):
    """What was last found of one camera, against its three instants; ``gaps`` are the newest of ``gap_count``.

    ``reached``: its recorder answered in the last round. All is null where it never did.
    """

    camera: str
    probed_at: Instant
    reached: bool
    verified: bool | None
    oldest: Instant | None
    newest: Instant | None
    destroyed_before: Instant | None
    kept_from: Instant | None
    accessible_from: Instant | None
    gaps: tuple[GapShape, ...]
    gap_count: int
    breaches: tuple[Breach, ...]

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Show a finding."""
        found = finding.verdict
        return cls(
            camera=finding.camera,
            probed_at=finding.probed_at,
            reached=finding.reached,
            verified=found.verified if found is not None else None,
            oldest=found.oldest if found is not None else None,
            newest=found.newest if found is not None else None,
            destroyed_before=found.terms.destroyed_before if found is not None else None,
            kept_from=found.terms.kept_from if found is not None else None,
            accessible_from=found.terms.accessible_from if found is not None else None,
            gaps=tuple(GapShape(start=gap.start, end=gap.end) for gap in found.gaps) if found is not None else (),
            gap_count=found.gap_count if found is not None else 0,
            breaches=tuple(sorted(finding.breaches)),
        )


class RetentionShape(Shape):
    """What the retention probe last found; ``probed_at`` is null where it never ran."""

    probed_at: Instant | None
    items: tuple[FindingShape, ...]
    next: str | None
