"""A clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class HeldClock:
    """A clock that moves only when a test says so."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, duration: timedelta) -> None:
        self._now += duration
        self._monotonic += duration.total_seconds()
