"""What the other mails say: a report that arrived, the monthly test, a narrower measure, an announcement, an alarm.

Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from camera_registry import french
from camera_registry.paris import day_of
from ops.contacts import Contact, ContactRole
from ops.correspondence.matters import (
    Act,
    AlarmRaised,
    Anchoring,
    Announced,
    BreakGlass,
    Condition,
    Measure,
    Narrowed,
)
from ops.errors import WordingError
from ops.incidents.incident import Incident
from ops.notices.discretion import discreet
from ops.notices.rendering import Wording, render
from ops.notices.wording import DECIDED, Terms, common

_QUALITIES: Final = {
    ContactRole.SINGLE_POINT: "point de contact unique",
    ContactRole.FUNCTIONAL_MAILBOX: "boîte fonctionnelle",
    ContactRole.ESCALATION: "niveau d'escalade {level}",
    ContactRole.CONTRACTOR: "prestataire",
    ContactRole.KEY_CUSTODIAN: "dépositaire des clés",
    ContactRole.SECURITY_OFFICER: "responsable de la sécurité (RSSI)",
}


_OBJECTS: Final = {
    Narrowed.AGENT: ("d'un agent", "agent"),
    Narrowed.SERVICE: ("d'un service", "service"),
    Narrowed.CAMERA: ("d'une caméra", "caméra"),
    Narrowed.SITE: ("d'un site", "site"),
    Narrowed.STREAM: ("d'un Flux", "Flux"),
}
_ACTS: Final = {Act.BLOCKED: "blocage", Act.UNBLOCKED: "levée du blocage", Act.CLOSED: "clôture"}


_CONDITIONS: Final = {
    Condition.TRACE_UNWRITABLE: (
        "journal des accès non inscriptible",
        "le journal ne peut plus être écrit ; aucun Flux n'est accordé, ceux en cours prennent fin",
    ),
    Condition.CRL_HALF_USED: (
        "liste de révocation à la moitié de sa durée",
        "une liste de révocation des certificats est à 50 % de sa durée de validité : la suivante est à demander",
    ),
    Condition.CRL_NEARLY_USED: (
        "liste de révocation proche de son terme",
        "une liste de révocation des certificats est à 80 % de sa durée de validité : passé son terme, aucun"
        " certificat de son autorité n'est plus admis",
    ),
    Condition.SIEM_LAGGING: (
        "retard de transmission au SIEM",
        "le collecteur ne reçoit plus le journal au rythme prévu ; rien n'est perdu tant que le journal est conservé",
    ),
    Condition.HOLD_WAITING: (
        "mise sous réserve à extraire",
        "des enregistrements mis sous réserve sont sur un enregistreur qui peut les détruire : ils sont à extraire sur"
        " un support scellé (halfgateway hold list)",
    ),
    Condition.PURGE_LATE: (
        "destruction d'enregistrements en retard",
        "un enregistreur conserve des enregistrements au-delà de la durée maximale de l'arrêté (article L. 252-5 du"
        " code de la sécurité intérieure) : ils sont à détruire (halfgateway retention)",
    ),
}
"""What each alarm is called, and what it means."""


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
        "ref": measure.reference,
        "intitule": f"{_ACTS[measure.act]} {of_what}",
        "objet_de_la_mesure": f"{what} {discreet(measure.name)}",
        "effet": measure.at,
        "decision": DECIDED[measure.by],
        "portee": "Flux en Temps réel et en Temps différé, en cours et à venir" if measure.act is Act.BLOCKED else None,
        "motif": discreet(measure.reason),
        "terme": _term(measure),
    }
    return render("mesure", facts)


def of_announcement(announced: Announced, terms: Terms, now: datetime) -> Wording:
    """Return an announcement as a letter: a window, a change, an annex, a term of the convention (P07, C15, C18)."""
    lines = announced.text.split("\n")
    facts = common(terms, now) | {
        "sujet": discreet(announced.subject),
        "texte": "\n".join(discreet(line) for line in lines),
    }
    return render("annonce", facts)


def of_anchoring(matter: Anchoring, terms: Terms, now: datetime) -> Wording:
    """Return the daily mail with the checkpoint of a node's trace (T04). Raises WordingError where there is none."""
    if terms.checkpoint is None:
        raise WordingError(f"{matter.node} has no checkpoint yet")
    return render("ancrage", common(terms, now) | {"noeud": matter.node, "jour": french.day(day_of(now))})


def of_alarm(alarm: AlarmRaised, terms: Terms, now: datetime) -> Wording:
    """Return what SYN's own are told of a node that is not well; nobody else is (C16)."""
    title, meaning = _CONDITIONS[alarm.condition]
    facts = common(terms, now) | {"noeud": alarm.node, "intitule": title, "constat": meaning, "depuis": alarm.since}
    return render("alarme", facts)


def of_break_glass(used: BreakGlass, terms: Terms, now: datetime) -> Wording:
    """Return the word that a sealed credential was opened (C21)."""
    return render("bris-de-glace", common(terms, now) | {"ref": used.number, "effet": used.at, "terme": used.until})


def _term(measure: Measure) -> str | None:
    if measure.act is not Act.BLOCKED:
        return None
    return "jusqu'à nouvel avis" if measure.until is None else french.le(measure.until)
