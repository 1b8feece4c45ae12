"""The legal clocks that run beside article 8's, each from its own start (L22, L23). Pure.

Article 8's eight hours are the convention's own: they run from the incident, of themselves, and nothing configures
them. These begin when a person says so: from the awareness that the person states, or from T0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from camera_registry.paris import PARIS, months_after


class ClockStart(StrEnum):
    """From when a clock runs."""

    AWARENESS = "awareness"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True)
class LegalClock:
    """A clock of ``hours``, or of calendar ``months``: one of the two."""

    name: str
    starts: ClockStart = ClockStart.AWARENESS
    hours: int | None = None
    months: int | None = None

    def __post_init__(self) -> None:
        if (self.hours is None) == (self.months is None):
            raise ValueError("a clock runs for hours or for months: one of the two")

    def deadline(self, start: datetime) -> datetime:
        """Return when a clock that began at ``start``, aware, has run out.

        Months end at the same time of day in Paris, on the day of the same number or the month's last.
        """
        if self.hours is not None:
            return start + timedelta(hours=self.hours)
        began = start.astimezone(PARIS)
        day = months_after(began.date(), self.months or 0)
        return datetime.combine(day, began.time(), PARIS).astimezone(UTC)


USUAL_CLOCKS = (
    LegalClock("cnil-72h", hours=72),
    LegalClock("nis2-24h", hours=24),
    LegalClock("nis2-72h", hours=72),
    LegalClock("nis2-1m", months=1),
)
"""GDPR article 33; NIS2 article 23 (4): early warning, notification, final report."""
