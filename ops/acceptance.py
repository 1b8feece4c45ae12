"""The acceptance record (« procès-verbal de recette ») that precedes the first stream (article 4; C23). Pure.

A guided run takes both parties through :data:`CHECKS`. What the node can see for itself it tells itself, whatever the
run was told; the rest is answered by the persons who sign. The record opens the access if every check passed and each
party signed; another one is kept all the same, and opens nothing. Its bytes are canonical JSON, signed with the node's
trace key (Ed25519, RFC 8032), so that ``openssl pkeyutl -verify -rawin`` checks it with the key beside the journal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from camera_registry.clock import rfc3339
from ops.errors import AcceptanceRefused
from ops.parties import Party

MAX_SIGNATORIES = 12
"""Persons who sign; more are refused."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the run. ``automatic``: the node itself gives the result."""

    id: str
    title: str
    automatic: bool = False


CHECKS = (
    Check("trace", "Le journal des accès est inscriptible et sa chaîne est valide.", automatic=True),
    Check("state-store", "Le décompte des Flux répond (article 4 : dix Flux simultanés au plus).", automatic=True),
    Check("records", "Les habilitations et le référentiel peuvent être lus.", automatic=True),
    Check("cameras", "Des caméras déclarées ont été atteintes et décrites.", automatic=True),
    Check("orders", "Un arrêté préfectoral d'autorisation en vigueur couvre des caméras (annexe 8).", automatic=True),
    Check(
        "designations", "Des agents de la Préfecture de police sont désignés et habilités (article 6).", automatic=True
    ),
    Check("sites", "Des sites de visualisation sont déclarés (annexe 6).", automatic=True),
    Check("diagram", "L'installation est conforme au schéma d'Interconnexion (annexe 1)."),
    Check("link", "La Demi-Passerelle PP atteint les ports convenus, et eux seuls, avec authentification mutuelle."),
    Check(
        "attribution", "Une attestation d'agent (ou une carte à puce) valide est acceptée, une invalide est refusée."
    ),
    Check("no-sound", "La description d'une caméra ne comporte aucun son (CSI R. 253-1)."),
    Check("cut", "Une interruption d'exercice a été conduite et le rétablissement constaté (article 8)."),
    Check("notice", "Un courriel d'essai a été reçu à l'adresse de l'annexe 2, et son accusé à celle de l'annexe 3."),
    Check("trace-checked", "Le journal des accès a été vérifié hors ligne par l'auditeur de la Préfecture de police."),
)
"""The whole run, in its order."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check gave; ``observation`` is what was seen."""

    check: str
    passed: bool
    observation: str


@dataclass(frozen=True, slots=True)
class Signatory:
    """A person who signs for a party. Names stand in the record, and in no entry of the trace."""

    party: Party
    name: str
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRecord:
    """One run, whole. Raises AcceptanceRefused where a check is missing, unknown or twice, or nobody signs."""

    convention: str
    node: str
    held_at: datetime
    place: str
    reference: str
    results: tuple[Result, ...]
    signatories: tuple[Signatory, ...]

    def __post_init__(self) -> None:
        if [result.check for result in self.results] != [check.id for check in CHECKS]:
            raise AcceptanceRefused("La recette répond à chaque contrôle, une fois et dans l'ordre.")
        if not 1 <= len(self.signatories) <= MAX_SIGNATORIES:
            raise AcceptanceRefused(f"La recette est signée par une à {MAX_SIGNATORIES} personnes.")
        if {signatory.party for signatory in self.signatories} != set(Party):
            raise AcceptanceRefused("La recette est signée par une personne au moins de chaque partie.")

    @property
    def accepted(self) -> bool:
        """Whether it opens the access: every check passed."""
        return all(result.passed for result in self.results)

    def to_bytes(self) -> bytes:
        """Return the record in its one canonical form."""
        titles = {check.id: check.title for check in CHECKS}
        document = {
            "accepted": self.accepted,
            "convention": self.convention,
            "held_at": rfc3339(self.held_at),
            "node": self.node,
            "place": self.place,
            "reference": self.reference,
            "results": [
                {
                    "check": result.check,
                    "observation": result.observation,
                    "passed": result.passed,
                    "title": titles[result.check],
                }
                for result in self.results
            ],
            "signatories": [
                {"function": each.function, "name": each.name, "party": each.party.value} for each in self.signatories
            ],
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAcceptance:
    """A record as it is kept: its bytes, the node's signature of them (64 bytes) and the key that verifies it."""

    number: int
    accepted: bool
    held_at: datetime
    recorded_by: str
    document: bytes
    signature: bytes
    public_key_pem: str

    @property
    def sha256(self) -> str:
        """By which the trace names it."""
        return hashlib.sha256(self.document).hexdigest()


def completed(answers: Sequence[Result], seen: Sequence[Result]) -> tuple[Result, ...]:
    """Put a run's results in order: of an automatic check what the node has ``seen``, of the others the answers.

    Raises AcceptanceRefused for an answer to no check, or two to one.
    """
    given = {answer.check: answer for answer in answers}
    if len(given) != len(answers) or given.keys() - {check.id for check in CHECKS if not check.automatic}:
        raise AcceptanceRefused("Une réponse ne correspond à aucun contrôle à mener, ou est donnée deux fois.")
    measured = {result.check: result for result in seen}
    missing = [check for check in CHECKS if check.id not in (measured if check.automatic else given)]
    if missing:
        raise AcceptanceRefused(f"Contrôle sans réponse : {missing[0].id}.")
    return tuple((measured if check.automatic else given)[check.id] for check in CHECKS)
