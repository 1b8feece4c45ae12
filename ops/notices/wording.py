"""What each mail about an incident says: the facts of its book, put into the text of its ground (N12). Pure.

Texts name functions, never persons. What somebody wrote is put on one line and loses every address of SYN's half
(C16). A note about ``recordings`` that is an instant says since when they may have a gap; any other stands as written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from camera_registry import french
from ops.contacts import Contact
from ops.errors import WordingError
from ops.incidents.duties import has_deadline
from ops.incidents.events import DeadlineMissed, Noted, NoticeKind, Recovered, Source, StepTold
from ops.incidents.incident import Incident
from ops.interconnection import Author, Ground
from ops.notices.discretion import discreet
from ops.notices.rendering import VERBATIM, Wording, render

CONVENTION: Final = (
    "convention de mise à disposition et d'emploi des images issues des caméras du système de vidéoprotection de"
    " Seine-et-Yvelines au profit de la Préfecture de police"
)

DRILL_PREFIX: Final = "[EXERCICE] "
"""Before the subject of everything that a drill sends (N14)."""

DECIDED: Final = {
    Author.OPS: "décidée par le service d'exploitation et de maintenance",
    Author.OFFICER: "décidée par le responsable de la sécurité (RSSI)",
    Author.DETECTION: "constatée sans intervention",
    Author.CALENDAR: "à l'échéance convenue",
}
"""Whose hand it was; none has a name here."""

_ESTABLISHED = {
    Source.DECLARED: "la déclaration du service d'exploitation",
    Source.HEARTBEAT: "le dernier fonctionnement normal constaté",
}


@dataclass(frozen=True, slots=True)
class _Ground:
    """How the texts speak of one ground: see the templates for where each part stands."""

    template: str
    label: str
    article: str
    consequence: str
    over: str


_CRITICAL = _Ground(
    "incident",
    "Incident critique",
    "l'article 8",
    "consécutive à un Incident critique survenu sur son système",
    "que l'incident n° {ref} est résolu, que son système a retrouvé un fonctionnement normal",
)

_GROUNDS = {
    Ground.SECURITY: _Ground(
        "securite",
        "Mesure de sécurité",
        "l'article 5",
        "par mesure de sécurité",
        "que la mesure de sécurité n° {ref} a pris fin, que son système fonctionne normalement",
    ),
    Ground.MAINTENANCE: _Ground(
        "maintenance",
        "Maintenance annoncée",
        "l'article 8",
        "pour une opération de maintenance annoncée",
        "que l'opération de maintenance n° {ref} est achevée, que son système fonctionne normalement",
    ),
    Ground.END: _Ground(
        "fin",
        "Décision de fin ou de suspension",
        "l'article 11",
        "consécutive à la fin ou à la suspension de la convention",
        "que la décision n° {ref} a été levée, que son système fonctionne normalement",
    ),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What the texts say beside the incident's own facts.

    ``single_point`` is SYN's (annex 3); ``cap`` is how many streams PP may have at once; ``checkpoint`` is the trace's
    newest signed one, where there is one to send (T04). The two durations are what a mail promises where nobody has
    promised anything else: the next point d'étape, and the cause of what is over.
    """

    single_point: Contact
    cap: int
    checkpoint: str | None = None
    next_step_within: timedelta = timedelta(hours=2)
    cause_within: timedelta = timedelta(days=5)


def wording_of(
    incident: Incident, tells: NoticeKind, terms: Terms, now: datetime, *, nth: int = 1, answers: bool = False
) -> Wording:
    """Return what a notice says when it is written at ``now``.

    ``nth`` is which point d'étape an update tells, from 1. ``answers``: it goes on in the thread of an earlier notice.
    Raises WordingError for a restoration of what has not recovered, and a point d'étape that nobody wrote.
    """
    facts = _facts(incident, terms, now) | {"re": "Re : " if answers else ""}
    if tells in {NoticeKind.RESTORED, NoticeKind.CUT_AND_RESTORED}:
        facts |= _recovery(incident, terms, now)
    if tells is NoticeKind.UPDATE:
        facts |= _step(incident, nth)
    template = {
        NoticeKind.CUT: _ground(incident).template,
        NoticeKind.UPDATE: "point-etape",
        NoticeKind.RESTORED: "retablissement",
        NoticeKind.CUT_AND_RESTORED: "interruption-retablissement",
    }[tells]
    return render(template, facts, prefix=DRILL_PREFIX if incident.drill else "")


def common(terms: Terms, now: datetime) -> dict[str, Any]:
    """Return the facts that every letter has."""
    point = terms.single_point
    return {
        "convention": CONVENTION,
        "contact": f"{point.phone} – {point.email}" if point.phone else point.email,
        "maintenant": now,
        "exercice": False,
        "point_de_controle": None if terms.checkpoint is None else _verbatim(terms.checkpoint),
    }


def interrupted_at(incident: Incident) -> datetime | None:
    """Return when the interconnection stopped, or would have in a drill; None where it did not.

    What stopped by itself stopped at T0 at the earliest, whatever was written of it since.
    """
    if incident.interrupted_at is not None:
        return incident.interrupted_at
    if incident.drill:
        return incident.opened_at
    return incident.t0 if incident.opened.by is Author.DETECTION else None


def promised_step(incident: Incident, terms: Terms, now: datetime) -> datetime:
    """Return by when the next point d'étape is due: as a person promised, where that is still to come."""
    if incident.next_step_by is not None and incident.next_step_by > now:
        return incident.next_step_by
    return now + terms.next_step_within


def _ground(incident: Incident) -> _Ground:
    ground = incident.opened.ground
    return _CRITICAL if incident.critical or ground is None else _GROUNDS.get(ground, _CRITICAL)


def _facts(incident: Incident, terms: Terms, now: datetime) -> dict[str, Any]:
    opened, ground = incident.opened, _ground(incident)
    stopped = interrupted_at(incident)
    revised = incident.t0 != opened.t0
    return common(terms, now) | {
        "exercice": incident.drill,
        "ref": incident.id,
        "libelle": ground.label,
        "article": ground.article,
        "consecutive": ground.consequence,
        "critique": ground is _CRITICAL,
        "survenance": incident.t0,
        "etablie": _ESTABLISHED[Source.DECLARED if revised else opened.t0_source],
        "interruption": stopped,
        "decision": DECIDED[opened.by],
        "perimetre": _scope(incident),
        "enregistrements": _recordings(incident, None),
        "nature": _noted(incident, "nature") or "en cours d'analyse",
        "motif": discreet(opened.reason),
        "prochain_point": promised_step(incident, terms, now),
        "echeance": incident.deadline,
        "retard": _why_late(incident, now),
        "etat": _state(incident, stopped),
    }


def _recovery(incident: Incident, terms: Terms, now: datetime) -> dict[str, Any]:
    recovered = incident.recovered_at
    if recovered is None:
        raise WordingError(f"{incident.id} has not recovered")
    begun = interrupted_at(incident) or incident.t0
    reasons = [event.said.reason for event in incident.timeline if isinstance(event.said, Recovered)]
    complement = incident.next_step_by if incident.next_step_by and incident.next_step_by > now else None
    complement = complement or now + terms.cause_within
    unknown = f"analyse en cours, complément transmis au plus tard {french.le(complement)}"
    return {
        "retablie": recovered,
        "duree": max(recovered - begun, timedelta()),
        "constat": _findings(incident),
        "cause": _noted(incident, "cause") or unknown,
        "motif_du_retablissement": discreet(reasons[-1]),
        "enregistrements_de_la_periode": _recordings(incident, recovered),
        "cap": terms.cap,
    }


def _findings(incident: Incident) -> str:
    """What is over, as the beginning of a list that ``et que …`` ends, or that ends by itself."""
    found = _ground(incident).over.format(ref=incident.id)
    if interrupted_at(incident) is not None:
        return found
    first, _, last = found.rpartition(", ")
    return f"{first} et {last}"


def _step(incident: Incident, nth: int) -> dict[str, Any]:
    told = [event.said for event in incident.timeline if isinstance(event.said, StepTold)]
    if not 1 <= nth <= len(told):
        raise WordingError(f"{incident.id} has no point d'étape {nth}")
    step = told[nth - 1]
    return {"etape": discreet(step.text), "prochain_point": step.next_by}


def _scope(incident: Incident) -> str:
    if incident.opened.scope is not None:
        return discreet(incident.opened.scope)
    if interrupted_at(incident) is None:
        return "en cours d'établissement"
    everything = "totalité des Flux, en Temps réel et en Temps différé"
    if incident.drill:
        return f"{everything} (exercice : aucun Flux n'est interrompu)"
    if incident.streams_closed is None:
        return f"{everything} ; le nombre de Flux interrompus est en cours d'établissement"
    return f"{everything} ; {_stopped(incident.streams_closed)}"


def _stopped(count: int) -> str:
    if count == 0:
        return "aucun Flux n'était en cours"
    return "1 Flux en cours a été interrompu" if count == 1 else f"{count} Flux en cours ont été interrompus"


def _recordings(incident: Incident, until: datetime | None) -> str:
    """The state of the recordings: of what is under way, or of the period that ended at ``until``."""
    noted = _noted(incident, "recordings")
    if noted is None:
        return "conservés sans lacune connue" if until is None else "disponibles"
    since = _instant(noted)
    if since is None:
        return noted
    gap = f"depuis {french.le(since)}" if until is None else f"du {french.moment(since)} au {french.moment(until)}"
    return f"susceptibles de présenter une lacune {gap}"


def _state(incident: Incident, stopped: datetime | None) -> str:
    if incident.drill:
        return "en service (exercice)"
    if incident.recovered_at is not None:
        return f"rétablie depuis {french.le(incident.recovered_at)}"
    return "en service" if stopped is None else f"interrompue depuis {french.le(stopped)}"


def _why_late(incident: Incident, now: datetime) -> str | None:
    """Why the eight hours have passed, without a full stop; None while they have not, or do not run."""
    if not has_deadline(incident) or now <= incident.deadline:
        return None
    missed = [event.said.reason for event in incident.timeline if isinstance(event.said, DeadlineMissed)]
    if missed:
        return discreet(missed[-1]).rstrip(".")
    if incident.opened_at > incident.deadline:
        return f"l'incident n'a été connu que {french.le(incident.opened_at)}"
    return "aucun serveur de messagerie n'a pu prendre en charge ce courriel dans ce délai"


def _noted(incident: Incident, about: str) -> str | None:
    notes = [e.said.text for e in incident.timeline if isinstance(e.said, Noted) and e.said.about == about]
    return discreet(notes[-1]) if notes else None


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


def _verbatim(checkpoint: str) -> str:
    return "\n".join(VERBATIM + line for line in checkpoint.rstrip("\n").split("\n"))
