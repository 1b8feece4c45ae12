"""When something that the door relies on was last seen to be well."""

from __future__ import annotations

from collections.abc import Callable

MAX_AGE_S = 15.0
"""How old a view may be before nothing new is granted on it (ADR 2, Numbers)."""


class Freshness:
    """The age of one view. ``now`` is the monotonic clock in seconds."""

    def __init__(self, *, now: Callable[[], float], max_age_s: float = MAX_AGE_S) -> None:
        self._now = now
        self._max_age_s = max_age_s
        self._seen_at_s: float | None = None

    def seen(self) -> None:
        """It was well just now."""
        self._seen_at_s = self._now()

    @property
    def holds(self) -> bool:
        """Whether it was seen recently enough to grant on."""
        return self._seen_at_s is not None and self._now() - self._seen_at_s <= self._max_age_s
