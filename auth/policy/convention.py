"""The convention as configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from camera_registry.orders import CONVENTION_RETENTION_DAYS, Order, Perimeter
from camera_registry.paris import day_of, days_before, months_after, start_of_day

CONVENTION_CAP = 10
"""Streams that PP may have open at once (article 4); more takes an avenant (article 11)."""

TERM_MONTHS = 60
"""Months that the convention is concluded for, and tacitly renewed for, once (article 11)."""


@dataclass(frozen=True, slots=True)
class DegradedMode:
    """A way of going on with less, that PP has agreed to (P01); ``agreement`` is the reference.

    ``cap`` is the lower number of streams, None the convention's. ``perimeter`` is what remains to be seen, None all.
    """

    name: str
    agreement: str
    cap: int | None = None
    live_only: bool = False
    perimeter: Perimeter | None = None

    @classmethod
    def unknown(cls, name: str) -> DegradedMode:
        """Return a mode of which nothing is agreed here: nothing is to be seen."""
        return cls(name, agreement="", live_only=True, perimeter=Perimeter())

    def cap_of(self, convention: Convention) -> int:
        """Streams that may be open at once."""
        return convention.cap if self.cap is None else min(self.cap, convention.cap)


@dataclass(frozen=True, slots=True)
class Convention:
    """One convention, as read at start.

    ``cap`` above ten carries the reference of the avenant that raised it (C01). ``machine_only_agreement``
    is the reference of both parties' agreement that a machine may watch without naming an agent (C08).
    ``ended_at`` is the instant that a person recorded, never one computed (C18).
    """

    id: str
    in_force_from: datetime
    cap: int = CONVENTION_CAP
    avenant: str | None = None
    retention_days: int = CONVENTION_RETENTION_DAYS
    machine_only_agreement: str | None = None
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what the convention does not allow. Raises ValueError."""
        if self.cap < 1:
            raise ValueError("convention.cap must be at least 1")
        if self.cap > CONVENTION_CAP and not self.avenant:
            raise ValueError(f"convention.cap above {CONVENTION_CAP} takes convention.avenant (articles 4 and 11)")
        if not 1 <= self.retention_days <= CONVENTION_RETENTION_DAYS:
            raise ValueError(f"convention.retention_days must be between 1 and {CONVENTION_RETENTION_DAYS} (article 6)")

    @property
    def first_term(self) -> datetime:
        """The instant at which five years are full, in Paris: renewed, unless it was denounced (article 11)."""
        return _full(self.in_force_from, TERM_MONTHS)

    @property
    def last_term(self) -> datetime:
        """The instant at which ten years are full, in Paris: no renewal goes past it (article 11)."""
        return _full(self.in_force_from, 2 * TERM_MONTHS)

    def in_force(self, now: datetime) -> bool:
        """Whether the convention has begun, no one has recorded its end, and ten years are not full."""
        return self.in_force_from <= now < self.last_term and (self.ended_at is None or now < self.ended_at)

    def accessible_from(self, now: datetime, order: Order | None = None) -> datetime:
        """The oldest instant whose footage may be reached: ten days back, or the order's maximum if shorter (C03)."""
        days = self.retention_days if order is None else min(self.retention_days, order.retention_max_days)
        return days_before(now, days)


@lru_cache(maxsize=8)
def _full(begun: datetime, months: int) -> datetime:
    """The instant in Paris at which so many months are full; kept, for each decision asks."""
    return start_of_day(months_after(day_of(begun), months))
