"""What is looked at before a person restores the interconnection, and what keeps it cut (article 8). Pure.

A check that failed refuses the restoration. One that is essential admits no exception: without its trace or its slots
the door would grant nothing. Any other is passed over by a person who states a motive. What could not be known is
shown, and refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the pre-flight. ``essential``: no motive passes over it."""

    id: str
    title: str
    essential: bool = False


CHECKS = (
    Check("trace", "Le journal des accès est inscriptible", essential=True),
    Check("state-store", "Le décompte des Flux répond", essential=True),
    Check("records", "Les habilitations et le référentiel peuvent être lus"),
    Check("cameras", "Les caméras sont joignables"),
    Check("contacts", "Les contacts des annexes 2 et 3 sont en vigueur"),
    Check("clock", "L'horloge est à l'heure"),
    Check("notifier", "L'envoi des courriels d'information est en marche"),
    Check("watchdog", "La surveillance des courriels est en marche"),
)
"""The whole pre-flight, in its order."""

_BY_ID = {check.id: check for check in CHECKS}


class Outcome(StrEnum):
    """What a check gave."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check gave, and what was seen, in French."""

    check: str
    outcome: Outcome
    observation: str

    @property
    def title(self) -> str:
        """What was looked at."""
        return _BY_ID[self.check].title

    @property
    def essential(self) -> bool:
        """Whether no motive passes over it."""
        return _BY_ID[self.check].essential


@dataclass(frozen=True, slots=True)
class Preflight:
    """One look, whole; ``at`` is aware. Raises ValueError where a check is missing, unknown or twice."""

    at: datetime
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        if [finding.check for finding in self.findings] != [check.id for check in CHECKS]:
            raise ValueError("a pre-flight answers every check, once and in order")

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What is not well."""
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.FAILED)

    def blocking(self, *, passed_over: bool) -> tuple[Finding, ...]:
        """What keeps the interconnection cut; ``passed_over``: a person has stated a motive for the rest."""
        return tuple(finding for finding in self.failed if finding.essential or not passed_over)

    def to_detail(self) -> dict[str, Any]:
        """As an entry of the trace keeps it."""
        return {each.check: {"outcome": each.outcome.value, "observation": each.observation} for each in self.findings}

    def told(self) -> str:
        """In one French sentence, as an incident's book keeps it."""
        words = {Outcome.PASSED: "conforme", Outcome.FAILED: "EN DÉFAUT", Outcome.UNKNOWN: "non vérifié"}
        return " ; ".join(f"{each.title} : {words[each.outcome]} ({each.observation})" for each in self.findings)
