"""What the other mails say: a report that arrived, the monthly test, a narrower measure, a planned window. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from ops.contacts import Contact, ContactRole
from ops.incidents.incident import Incident
from ops.interconnection import Author
from ops.notices import french
from ops.notices.discretion import discreet
from ops.notices.rendering import Wording, render
from ops.notices.wording import DECIDED, Terms, common

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What stands in a Message-ID as it is."""

_QUALITIES: Final = {
    ContactRole.SINGLE_POINT: "point de contact unique",
    ContactRole.FUNCTIONAL_MAILBOX: "boîte fonctionnelle",
    ContactRole.ESCALATION: "niveau d'escalade {level}",
    ContactRole.CONTRACTOR: "prestataire",
    ContactRole.KEY_CUSTODIAN: "dépositaire des clés",
}


class Narrowed(StrEnum):
    """What a measure short of a cut touches."""

    AGENT = "agent"
    SERVICE = "service"
    CAMERA = "camera"
    SITE = "site"
    STREAM = "stream"


class Act(StrEnum):
    """What is done to it; a stream can only be closed, and nothing else is."""

    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    CLOSED = "closed"


_OBJECTS: Final = {
    Narrowed.AGENT: ("d'un agent", "agent"),
    Narrowed.SERVICE: ("d'un service", "service"),
    Narrowed.CAMERA: ("d'une caméra", "caméra"),
    Narrowed.SITE: ("d'un site", "site"),
    Narrowed.STREAM: ("d'un Flux", "Flux"),
}
_ACTS: Final = {Act.BLOCKED: "blocage", Act.UNBLOCKED: "levée du blocage", Act.CLOSED: "clôture"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure short of a cut. ``name`` is an opaque id, a service, a camera or a site; never a person's name.

    ``until`` is when a block ends by itself. Raises ValueError for a stream that is blocked, or another thing closed.
    """

    id: str
    act: Act
    touches: Narrowed
    name: str
    reason: str
    by: Author
    at: datetime
    until: datetime | None = None

    def __post_init__(self) -> None:
        if (self.touches is Narrowed.STREAM) != (self.act is Act.CLOSED):
            raise ValueError("a stream is closed, and nothing else is")
        _require_id(self.id)


@dataclass(frozen=True, slots=True)
class Window:
    """One planned interruption (P07). ``scope`` where that is not everything. Raises ValueError without duration."""

    id: str
    start: datetime
    end: datetime
    purpose: str
    scope: str | None = None
    cancelled: bool = False

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("a window ends after it begins")
        _require_id(self.id)


def of_report(incident: Incident, terms: Terms, now: datetime) -> Wording:
    """Return the acknowledgement of what PP reported, with its reference (C13)."""
    facts = common(terms, now) | {
        "ref": incident.id,
        "recu": incident.opened_at,
        "survenance": incident.t0,
        "motif": discreet(incident.opened.reason),
        "qualification": "Incident critique" if incident.critical else "en cours d'examen",
    }
    return render("signalement", facts)


def of_contact_test(contact: Contact, terms: Terms, now: datetime) -> Wording:
    """Return the monthly test of one contact: what the annex says of it, to be corrected (N13)."""
    facts = common(terms, now) | {
        "essai_du": now,
        "annexe": contact.party.annex,
        "fonction": contact.function,
        "qualite": _QUALITIES[contact.role].format(level=contact.level),
        "adresse": contact.email,
        "telephone": contact.phone,
    }
    return render("essai", facts)


def of_measure(measure: Measure, terms: Terms, now: datetime) -> Wording:
    """Return the word to PP of a measure that touches it and is no cut."""
    of_what, what = _OBJECTS[measure.touches]
    facts = common(terms, now) | {
        "ref": measure.id,
        "intitule": f"{_ACTS[measure.act]} {of_what}",
        "objet_de_la_mesure": f"{what} {discreet(measure.name)}",
        "effet": measure.at,
        "decision": DECIDED[measure.by],
        "portee": "Flux en Temps réel et en Temps différé, en cours et à venir" if measure.act is Act.BLOCKED else None,
        "motif": discreet(measure.reason),
        "terme": _term(measure),
    }
    return render("mesure", facts)


def of_window(window: Window, terms: Terms, now: datetime) -> Wording:
    """Return the announcement of a planned interruption, or that it will not take place (P07)."""
    facts = common(terms, now) | {
        "ref": window.id,
        "annulee": window.cancelled,
        "debut": window.start,
        "fin": window.end,
        "duree": window.end - window.start,
        "perimetre": discreet(window.scope or "totalité des Flux, en Temps réel et en Temps différé"),
        "motif": discreet(window.purpose),
    }
    return render("fenetre", facts)


def _term(measure: Measure) -> str | None:
    if measure.act is not Act.BLOCKED:
        return None
    return "jusqu'à nouvel avis" if measure.until is None else french.le(measure.until)


def _require_id(text: str) -> None:
    if not _ID.fullmatch(text):
        raise ValueError("an id has 1 to 64 letters, digits, dots, dashes and underscores")
