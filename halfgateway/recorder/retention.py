"""What is to be destroyed, and when: pure decisions over what lies on the disk (C04, L02, L26).

Three numbers. Footage is **kept** for at least the convention's ten days, or longer where it is configured or the
camera's order says so: until no instant to come can reach back to it (C03), which where summer time ends is an hour
further than the clock shows. It is **destroyed** by the order's maximum, one month at most, whatever else asks for it
to be kept; only a judicial hold stands above that.

Where the disk is full, what is past the order's minimum goes early, oldest first, also below the ten days: never
without an alarm before. What the order's minimum or a hold keeps does not go: then nothing new is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from camera_registry.orders import CONVENTION_RETENTION_DAYS, LONGEST_RETENTION_DAYS
from camera_registry.paris import days_before

CLOCK_OFFSET: Final = timedelta(seconds=5)
"""By how much a camera's clock may differ from ours and still date its footage."""

SUMMER_TIME: Final = timedelta(hours=1)
"""By how much a time of day ten days ago goes back when summer time ends."""

AHEAD: Final = timedelta(minutes=5)
"""How long before an order's maximum its footage goes: several rounds, so that none is late for one that failed."""


class Cause(StrEnum):
    """Why footage was destroyed."""

    RETENTION = "retention"
    ORDER_MAXIMUM = "order-maximum"
    DISK_FULL = "disk-full"
    HOLD_ENDED = "hold-ended"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A file of one camera's footage, from ``start`` to ``end`` (aware, UTC)."""

    start: datetime
    end: datetime
    camera: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A judicial hold in force: of this camera, nothing between two instants (aware, UTC) is destroyed (L26)."""

    camera: str
    start: datetime
    end: datetime

    def covers(self, segment: Segment) -> bool:
        """Whether any picture of the segment is held."""
        return self.camera == segment.camera and self.start <= segment.end and segment.start <= self.end


@dataclass(frozen=True, slots=True)
class Rule:
    """Days for which a camera's footage is kept at least, and at most, by the order that covers it."""

    min_days: int = CONVENTION_RETENTION_DAYS
    max_days: int = LONGEST_RETENTION_DAYS


@dataclass(frozen=True, slots=True)
class Retention:
    """How long footage is kept: ``keep_days`` are the convention's or more; ``segment_s`` is how long a segment is."""

    keep_days: int
    segment_s: float

    def __post_init__(self) -> None:
        if not CONVENTION_RETENTION_DAYS <= self.keep_days <= LONGEST_RETENTION_DAYS:
            raise ValueError(f"footage is kept for {CONVENTION_RETENTION_DAYS} to {LONGEST_RETENTION_DAYS} days")

    def keeps_from(self, rule: Rule, now: datetime, days: int | None = None) -> datetime:
        """Footage that ends at this instant or after is kept, but for the order's maximum.

        ``days`` are those of the order's minimum where the disk is full, and else those that are configured.
        """
        wanted = max(self.keep_days, rule.min_days) if days is None else days
        return days_before(now, wanted) - SUMMER_TIME - timedelta(seconds=self.segment_s) - CLOCK_OFFSET

    def destroys_before(self, rule: Rule, now: datetime) -> datetime:
        """Footage that begins before this instant is destroyed: by the calendar or by the hours, whichever is first."""
        days, soon = min(rule.max_days, LONGEST_RETENTION_DAYS), now + AHEAD
        return max(days_before(soon, days), soon - timedelta(days=days))

    def looks_back_to(self, rule: Rule, now: datetime) -> datetime:
        """Nothing that begins at this instant or after is to be destroyed, unless the disk is full."""
        return max(self.keeps_from(rule, now), self.destroys_before(rule, now))

    def due(self, segment: Segment, rule: Rule, now: datetime) -> Cause | None:
        """Why a segment is to be destroyed now, None where it is not; holds apart."""
        if segment.start < self.destroys_before(rule, now):
            is_early = segment.end >= self.keeps_from(rule, now)
            return Cause.ORDER_MAXIMUM if is_early else Cause.RETENTION
        return Cause.RETENTION if segment.end < self.keeps_from(rule, now) else None

    def is_spare(self, segment: Segment, rule: Rule, now: datetime) -> bool:
        """Whether a segment may go early where the disk is full: past the order's minimum."""
        return segment.end < self.keeps_from(rule, now, rule.min_days)

    def is_below_the_convention(self, segment: Segment, now: datetime) -> bool:
        """Whether a segment may still be asked for by PP (C03)."""
        return segment.end >= self.keeps_from(Rule(), now, CONVENTION_RETENTION_DAYS)


@dataclass(frozen=True, slots=True)
class Destruction:
    """Segments of one camera that go for one reason, one after the other in time."""

    camera: str
    cause: Cause
    segments: tuple[Segment, ...]

    @property
    def size_bytes(self) -> int:
        """What they take on the disk."""
        return sum(segment.size_bytes for segment in self.segments)


def unheld(segments: Iterable[Segment], holds: Sequence[Hold]) -> Iterator[Segment]:
    """Those that no hold keeps."""
    return (segment for segment in segments if not any(hold.covers(segment) for hold in holds))


def runs_of(segments: Iterable[tuple[Segment, Cause]]) -> list[Destruction]:
    """The segments of one camera, oldest first, as one destruction for each run that goes for one reason."""
    runs: list[list[Segment]] = []
    causes: list[Cause] = []
    for segment, cause in segments:
        joins = runs and causes[-1] is cause and segment.start - runs[-1][-1].end <= CLOCK_OFFSET
        if joins:
            runs[-1].append(segment)
        else:
            runs.append([segment])
            causes.append(cause)
    return [Destruction(run[0].camera, cause, tuple(run)) for run, cause in zip(runs, causes, strict=True)]
