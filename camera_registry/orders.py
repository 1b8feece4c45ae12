"""Prefectoral orders: which cameras may be shown to whom, how, and until when (CSI L252-1 to L252-7, R253-2; L06).

An order is valid from the day it is signed to the end of its last day, in Europe/Paris.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from camera_registry.cameras import Camera
from camera_registry.paris import end_of_day, start_of_day

LONGEST_RETENTION_DAYS: Final = 31
"""Days for which recordings may be kept at most: one month (CSI L252-5, L02)."""

CONVENTION_RETENTION_DAYS: Final = 10
"""Days during which the convention lets recorded footage be reached (article 6)."""

WARNING_DAYS: Final = (180, 90, 30)
"""How many days before its last an order is called to mind, each time louder (L06)."""


class OrderType(StrEnum):
    """Kinds of order: five years, four months while a file is examined, the time of an event."""

    NORMAL = "normal"
    PROVISIONAL = "provisional"
    EVENT = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Perimeter:
    """Which cameras are meant: those named, those of a site, those of a commune. Empty means none here."""

    communes: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    cameras: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is named."""
        return not (self.communes or self.sites or self.cameras)

    def names(self, camera: Camera) -> bool:
        """Whether the camera is in it."""
        return camera.id in self.cameras or camera.site in self.sites or camera.commune in self.communes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as it stands. ``recipients`` are the services that it lets see the images (L01).

    ``live`` and ``recorded`` are what it allows; recordings are kept ``retention_min_days`` at least and destroyed
    after ``retention_max_days``. ``suspended_since`` is None where it is not suspended; ``withdrawn_at`` where it was
    not withdrawn.

    Raises ValueError for what no order can be.
    """

    reference: str
    type: OrderType
    perimeter: Perimeter
    place: str
    recipients: frozenset[str]
    live: bool
    recorded: bool
    retention_min_days: int
    retention_max_days: int
    signed_on: date
    last_day: date
    suspended_since: datetime | None = None
    withdrawn_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.perimeter.is_empty:
            raise ValueError("an order names cameras, sites or communes")
        if self.last_day < self.signed_on:
            raise ValueError("the last day is before the day of signature")
        if not 0 <= self.retention_min_days <= self.retention_max_days <= LONGEST_RETENTION_DAYS:
            raise ValueError(f"retention is at least 0, at most {LONGEST_RETENTION_DAYS} days, its minimum first")

    @property
    def begins_at(self) -> datetime:
        """The first instant at which it is valid."""
        return start_of_day(self.signed_on)

    def state(self, now: datetime) -> str:
        """How it stands: ``withdrawn``, ``suspended``, ``expired``, ``not-begun`` or ``in-force``."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        if now >= self.expires_at:
            return "expired"
        if self.suspended_since is not None:
            return "suspended"
        return "in-force" if self.begins_at <= now else "not-begun"

    @property
    def expires_at(self) -> datetime:
        """The first instant at which it is not valid any more: the end of its last day in Paris."""
        return end_of_day(self.last_day)


def warnings_of(order: Order, today: date) -> list[str]:
    """What is to be said of an order ahead of time, in French: its end nears (L06), or it keeps too little (C04)."""
    said = []
    left = (order.last_day - today).days
    if left < 0:
        said.append(f"arrêté {order.reference} : expiré depuis le {order.last_day:%d/%m/%Y}")
    elif near := [days for days in WARNING_DAYS if left <= days]:
        said.append(
            f"arrêté {order.reference} : expire le {order.last_day:%d/%m/%Y}, dans {left} jours "
            f"(rappel à {min(near)} jours)"
        )
    if order.recorded and order.retention_max_days < CONVENTION_RETENTION_DAYS:
        said.append(
            f"arrêté {order.reference} : conservation maximale de {order.retention_max_days} jours, "
            f"inférieure aux {CONVENTION_RETENTION_DAYS} jours de la convention (article 6)"
        )
    return said
