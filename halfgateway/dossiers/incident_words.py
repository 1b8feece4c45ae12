"""An incident's events in French, for its dossier: each kind's name, each field's, and values as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from camera_registry.paris import PARIS
from ops.incidents.events import Said
from ops.notices.discretion import discreet

KINDS: Final[Mapping[str, str]] = {
    "incident.opened": "Ouverture",
    "incident.revised": "Révision de la survenance",
    "incident.classified": "Qualification",
    "incident.interrupted": "Interruption",
    "incident.noted": "Note",
    "incident.step-told": "Point d'étape",
    "incident.escalated": "Escalade",
    "incident.acknowledged": "Accusé de réception de l'incident",
    "incident.clock-started": "Délai ouvert",
    "incident.clock-stopped": "Délai satisfait",
    "incident.recovered": "Rétablissement",
    "incident.relapsed": "Rechute",
    "incident.resolved": "Résolution",
    "incident.deadline-missed": "Échéance manquée",
    "notice.queued": "Courriel à envoyer",
    "notice.withdrawn": "Courriel retiré",
    "notice.attempted": "Tentative d'envoi",
    "notice.submitted": "Remis au serveur",
    "notice.relayed": "Relayé",
    "notice.delivered": "Distribué",
    "notice.acknowledged": "Accusé de réception",
    "notice.failed": "Échec",
}

_FIELDS: Final[Mapping[str, str]] = {
    "t0": "survenance",
    "t0_source": "établie d'après",
    "critical": "critique",
    "by": "par",
    "reason": "motif",
    "ground": "fondement",
    "interrupted_at": "interruption",
    "streams_closed": "Flux interrompus",
    "scope": "périmètre",
    "reported_by": "signalé par",
    "at": "instant",
    "about": "sujet",
    "text": "texte",
    "next_by": "prochain point au plus tard",
    "level": "niveau",
    "contact": "contact",
    "means": "moyen",
    "by_party": "à l'initiative de",
    "clock": "délai",
    "start": "début",
    "deadline": "échéance",
    "done": "fait",
    "notice": "courriel",
    "tells": "objet",
    "message_id": "Message-ID",
    "sha256": "SHA-256",
    "recipients": "destinataires",
    "late": "tardif",
    "in_copy": "en copie",
    "route": "route",
    "server": "serveur",
    "tls": "TLS",
    "dialogue": "dialogue",
    "outcome": "issue",
    "recipient": "destinataire",
    "evidence": "preuve",
}

_VALUES: Final[Mapping[str, str]] = {
    "declared": "déclaration",
    "heartbeat": "dernier fonctionnement normal constaté",
    "ops": "service d'exploitation et de maintenance",
    "officer": "responsable de la sécurité (RSSI)",
    "detection": "détection",
    "calendar": "calendrier",
    "critical-incident": "incident critique",
    "security": "mesure de sécurité",
    "maintenance": "maintenance annoncée",
    "end": "fin ou suspension de la convention",
    "drill": "exercice",
    "cut": "interruption",
    "update": "point d'étape",
    "restored": "rétablissement",
    "cut-and-restored": "interruption et rétablissement",
    "received": "accusé de réception du signalement",
    "letter": "courriel hors incident",
    "queued": "à envoyer",
    "submitted": "remis au serveur",
    "relayed": "relayé",
    "delivered": "distribué",
    "acknowledged": "accusé de réception",
    "failed": "échec",
    "taken": "pris en charge",
    "partly-taken": "pris en charge en partie",
    "deferred": "différé",
    "refused": "refusé",
    "unreachable": "injoignable",
    "timeline": "chronologie",
    "nature": "nature",
    "cause": "cause",
    "recordings": "enregistrements",
    "lessons": "enseignements",
    "report": "compte rendu",
    "mail": "courriel",
    "phone": "téléphone",
    "on-call": "astreinte",
    "webhook": "alerte automatique",
    "reply": "réponse",
    "telephone": "téléphone",
    "local": "sur place",
}

_CODED: Final = frozenset({"t0_source", "by", "ground", "tells", "outcome", "about", "means"})
"""The fields whose values are of a closed list; what others say stands as it was written."""

_WRITTEN: Final = frozenset({"reason", "scope", "reported_by", "text", "contact", "done"})
"""The fields that a person wrote: no address of SYN's half is printed out of them (C16)."""


def instant(at: datetime) -> str:
    """Write an aware instant to the second: ``21/11/2026 03:12:05 (02:12:05 UTC)``."""
    return f"{at.astimezone(PARIS):%d/%m/%Y %H:%M:%S} ({at.astimezone(UTC):%H:%M:%S} UTC)"


def word(value: str) -> str:
    """Return the French of a value of a closed list."""
    return _VALUES[value]


def written(said: Said) -> list[str]:
    """Return what people wrote in an event, and nothing else of it."""
    told = {name: getattr(said, name) for name in type(said).model_fields if name in _WRITTEN}
    return [_shown(name, value) for name, value in told.items() if value is not None]


def fields(said: Said) -> list[tuple[str, str]]:
    """Return what an event says, field by field, without what it leaves out."""
    told = [(name, getattr(said, name)) for name in type(said).model_fields if name != "kind"]
    return [(_FIELDS[name], _shown(name, value)) for name, value in told if value not in (None, ())]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, bool):
        return "oui" if value else "non"
    if isinstance(value, tuple):
        return ", ".join(value)
    text = str(value.value if isinstance(value, Enum) else value)
    if name in _CODED:
        return word(text)
    return discreet(text) if name in _WRITTEN else text
