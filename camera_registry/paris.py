"""Days as orders and designations count them: in Europe/Paris, whatever the machine's own zone."""

from __future__ import annotations

from calendar import monthrange
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


def months_after(day: date, months: int) -> date:
    """The day so many months after (before, if negative): the same number, or the month's last where it has none.

    Raises ValueError past the years that a date can tell.
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not date.min.year <= year <= date.max.year:
        raise ValueError(f"{months} months from {day} is no date")
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
