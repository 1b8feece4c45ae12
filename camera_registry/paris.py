"""Days as orders and designations count them: in Europe/Paris, whatever the machine's own zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")


def start_of_day(day: date) -> datetime:
    """The instant, in UTC, at which a day begins in Paris."""
    return datetime.combine(day, time(), PARIS).astimezone(UTC)


def end_of_day(day: date) -> datetime:
    """The instant, in UTC, at which a day is over in Paris: what is valid to its end is not valid any more (L06)."""
    return start_of_day(day + timedelta(days=1))


def day_of(instant: datetime) -> date:
    """The day that an aware instant falls on in Paris."""
    return instant.astimezone(PARIS).date()


def days_before(instant: datetime, days: int) -> datetime:
    """The same wall-clock time in Paris so many days before, in UTC (C03).

    A time that the clock skips or strikes twice on that day is taken at its first occurrence.
    """
    wall = instant.astimezone(PARIS).replace(tzinfo=None) - timedelta(days=days)
    return wall.replace(tzinfo=PARIS).astimezone(UTC)
