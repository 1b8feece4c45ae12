"""The convention as configuration, and the pure decision over it.

One function says yes or no, and why; it reads no clock and asks no one. The reason codes are those of the
HTTP problems and of the trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from auth.principals import Attribution, Principal, Role
from camera_registry.cameras import Camera

CONVENTION_CAP = 10
"""Streams that PP may have open at once (article 4); more takes an avenant (article 11)."""

CONVENTION_RETENTION_DAYS = 10
"""Days during which recorded footage may be reached (article 6)."""


class Mode(StrEnum):
    """What is watched: *Temps réel* or *Temps différé* (article 2)."""

    LIVE = "live"
    RECORDED = "recorded"


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

    def in_force(self, now: datetime) -> bool:
        """Whether the convention has begun and no one has recorded its end."""
        return self.in_force_from <= now and (self.ended_at is None or now < self.ended_at)


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with the reason code and a sentence in French for the requester."""

    refusal: str | None = None
    detail: str = ""

    @property
    def allowed(self) -> bool:
        """Whether access is allowed."""
        return self.refusal is None


ALLOWED = Decision()

WATCHING_ROLES = frozenset({Role.OPERATOR, Role.MACHINE})
"""Who may ask for a stream (interface.md)."""


def decide(requester: Principal, camera: Camera | None, mode: Mode, now: datetime, convention: Convention) -> Decision:
    """Whether ``requester`` may watch ``camera`` in this mode at ``now``."""
    if not convention.in_force(now):
        return Decision("convention-not-in-force", "La convention n'est pas en vigueur (article 11).")
    if requester.role not in WATCHING_ROLES:
        return Decision("not-habilitated", "Ce rôle ne permet pas de visualiser un Flux (article 6).")
    if requester.attribution is Attribution.MACHINE_ONLY and convention.machine_only_agreement is None:
        return Decision(
            "not-habilitated",
            "L'accès d'un compte de service sans agent désigné n'a pas fait l'objet d'un accord (article 6).",
        )
    if camera is None:
        return Decision("unknown-camera", "Caméra inconnue.")
    if mode is Mode.RECORDED and not camera.recorded:
        return Decision(
            "no-recording", "Aucun enregistrement n'est disponible pour cette caméra sur la période demandée."
        )
    return ALLOWED
