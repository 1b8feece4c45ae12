"""How long entries are kept, by class (L17): which kinds a class has, and from which instant back it may be purged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from auth.errors import PurgeRefused
from auth.trace.kinds import Kind

LONGEST_ACCESS_DAYS = 1096
"""Access entries are kept three years at most (L17)."""


class RetentionClass(StrEnum):
    """What an entry is kept for; ``wording`` is what people read."""

    wording: str

    def __new__(cls, name: str, wording: str = "") -> RetentionClass:
        """Build a member from its name and wording; ``RetentionClass(name)`` alone looks one up."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.wording = wording
        return member

    ACCESS = "access", "consultations et authentifications"
    RIGHTS = "rights", "désignations et habilitations"
    TECHNICAL = "technical", "fonctionnement du nœud"
    EVIDENCE = "evidence", "preuves contractuelles"


_CLASS_OF_SUBJECT = {
    "auth": RetentionClass.ACCESS,
    "session": RetentionClass.ACCESS,
    "assertion": RetentionClass.ACCESS,
    "stream": RetentionClass.ACCESS,
    "reservation": RetentionClass.ACCESS,
    "export": RetentionClass.ACCESS,
    "action": RetentionClass.ACCESS,
    "agent": RetentionClass.RIGHTS,
    "habilitation": RetentionClass.RIGHTS,
    "node": RetentionClass.TECHNICAL,
    "heartbeat": RetentionClass.TECHNICAL,
    "clock": RetentionClass.TECHNICAL,
    "siem": RetentionClass.TECHNICAL,
}
_READINGS = frozenset({Kind.TRACE_READ, Kind.TRACE_EXPORTED, Kind.RECORDING_SEARCHED})
_NEVER_ERASED = frozenset({Kind.TRACE_PURGED, Kind.TRACE_KEY_ROTATED, Kind.TRACE_CONTINUED})


def class_of(kind: Kind) -> RetentionClass:
    """Return a kind's class; what is of no other is evidence, which is kept longest."""
    if kind in _READINGS:
        return RetentionClass.ACCESS
    return _CLASS_OF_SUBJECT.get(kind.value.partition(".")[0], RetentionClass.EVIDENCE)


def kinds_of(wanted: RetentionClass) -> frozenset[Kind]:
    """Return the kinds of a class that a purge may erase: never those that tell how the journal is to be read."""
    return frozenset(kind for kind in Kind if class_of(kind) is wanted) - _NEVER_ERASED


@dataclass(frozen=True, slots=True)
class Retention:
    """The durations that were decided, and the reference of the decision (None while none is recorded).

    ``limitation`` is what is added to the convention's end, ``convention_end`` the end that a person recorded
    (C18); without one, evidence is kept.
    """

    access: timedelta
    rights: timedelta
    technical: timedelta
    limitation: timedelta
    decision: str | None
    convention_end: datetime | None

    def latest_cutoff(self, wanted: RetentionClass, now: datetime) -> datetime:
        """Return the instant before which entries of a class may be erased now.

        Raises PurgeRefused where the durations were not decided, or evidence is still to be kept.
        """
        if self.decision is None:
            raise PurgeRefused(
                "Aucune décision sur les durées de conservation n'est enregistrée ([retention] decision)."
            )
        if wanted is RetentionClass.EVIDENCE:
            if self.convention_end is None or now < self.convention_end + self.limitation:
                raise PurgeRefused(
                    "Les preuves contractuelles sont conservées jusqu'au terme de la convention et de la prescription."
                )
            return now
        kept = {
            RetentionClass.ACCESS: self.access,
            RetentionClass.RIGHTS: self.rights,
            RetentionClass.TECHNICAL: self.technical,
        }
        return now - kept[wanted]

    def check(self, wanted: RetentionClass, before: datetime, now: datetime) -> None:
        """Check that entries of a class before an instant may be erased now. Raises PurgeRefused."""
        latest = self.latest_cutoff(wanted, now)
        if before > latest:
            raise PurgeRefused(
                f"La durée de conservation décidée pour la classe {wanted} n'est pas échue :"
                f" rien de postérieur au {latest:%d/%m/%Y à %H:%M} (UTC) ne peut être éliminé."
            )
