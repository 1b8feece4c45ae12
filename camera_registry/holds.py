"""Judicial holds (« mise sous réserve »): footage of a camera kept past its term (CSI L252-5, first words; L26).

A hold keeps, and opens nothing: no access past the window comes of it. It is placed, perhaps extracted to a sealed
medium, and ended by a person or at its term; nothing of it is ever edited. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from camera_registry.errors import HoldRefused
from camera_registry.orders import LONGEST_RETENTION_DAYS
from camera_registry.spans import Span, without

LONGEST_HELD: Final = timedelta(days=LONGEST_RETENTION_DAYS)
"""The longest interval of one hold: as much as may be recorded at all. A longer one is asked for by parts."""

_FRENCH_TIME = "%d/%m/%Y à %H:%M"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The interval was extracted to a sealed medium; ``sha256`` is the hash of the manifest, in hexadecimal."""

    medium: str
    sha256: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One hold. ``reference`` is the requisition's; ``until`` None where it holds until a person ends it."""

    number: int
    camera: str
    start: datetime
    end: datetime
    reference: str
    until: datetime | None
    placed_at: datetime
    placed_by: str
    extraction: Extraction | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    release: str | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether the footage is held."""
        return self.released_at is None and (self.until is None or now < self.until)

    def to_be_extracted(self, now: datetime) -> bool:
        """Whether footage that a recorder of others may purge is held by nothing but this line."""
        return self.in_force(now) and self.extraction is None and self.end <= now


def place(hold: Hold, others: Sequence[Hold], destroyed_before: datetime) -> Hold:
    """Let a hold be placed on footage that may still be there.

    ``destroyed_before`` is what the camera's order says now; ``others`` are the holds on the same camera, of which
    those in force have kept what is older.

    Raises HoldRefused, in French.
    """
    now = hold.placed_at
    if not timedelta() < hold.end - hold.start <= LONGEST_HELD:
        raise HoldRefused(f"La période se termine après son début, et au plus {LONGEST_RETENTION_DAYS} jours après.")
    if hold.until is not None and hold.until <= max(now, hold.end):
        raise HoldRefused("Le terme de la mise sous réserve est postérieur à aujourd'hui et à la période.")
    if hold.start < destroyed_before:
        past = Span(hold.start, min(hold.end, destroyed_before))
        if without([past], [Span(each.start, each.end) for each in others if each.in_force(now)]):
            raise HoldRefused(
                "La durée maximale de conservation fixée par l'arrêté est dépassée pour tout ou partie de la période"
                " (article L. 252-5 du code de la sécurité intérieure) : ces enregistrements doivent être détruits."
                f" Période possible : à compter du {destroyed_before:{_FRENCH_TIME}} (UTC)."
            )
    return hold


def released(hold: Hold, now: datetime) -> None:
    """Let a hold be ended by a person. Raises HoldRefused for one that is not in force."""
    if not hold.in_force(now):
        raise HoldRefused(f"La mise sous réserve n° {hold.number} n'est plus en vigueur.")


def extracted(hold: Hold, now: datetime) -> None:
    """Let a hold's interval be recorded as extracted. Raises HoldRefused for one that was, or holds nothing more."""
    released(hold, now)
    if hold.extraction is not None:
        raise HoldRefused(f"La mise sous réserve n° {hold.number} a déjà été extraite.")
    if hold.end > now:
        raise HoldRefused("La période n'est pas achevée : elle ne peut être extraite en entier.")
