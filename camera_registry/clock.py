"""The clock, passed in wherever time matters, so that a test can hold it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; comparable only within this machine's uptime."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()


def rfc3339(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC with microseconds, for example ``2026-11-21T10:15:00.000000Z``."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
