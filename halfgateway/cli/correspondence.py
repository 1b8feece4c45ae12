"""``halfgateway correspondence``: what was mailed outside incidents, and what is still owed.

It needs the node's disk and nothing else that could be down.
"""

from __future__ import annotations

from typing import Annotated, Any, assert_never

import typer

from camera_registry.clock import SystemClock
from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, node_folder, say, stop
from halfgateway.cli.incident_text import paris
from ops.correspondence.correspondence import Answer, Correspondence, CorrespondenceBooks, answer
from ops.correspondence.matters import (
    Act,
    AlarmRaised,
    Anchoring,
    Announced,
    BreakGlass,
    ContactTest,
    Matter,
    Measure,
    Narrowed,
)
from ops.errors import OpsError, UnknownIncident
from ops.incidents.events import Level
from ops.incidents.incident import Notice

correspondence = typer.Typer(
    help="Courriels hors incident : mesures, annonces, essais des contacts, points de contrôle, alarmes.",
    no_args_is_help=True,
)

_LEVELS = {
    Level.QUEUED: "en attente",
    Level.SUBMITTED: "remis au serveur",
    Level.RELAYED: "relayé",
    Level.DELIVERED: "distribué",
    Level.ACKNOWLEDGED: "accusé de réception",
    Level.FAILED: "échec",
}
_ANSWERS = {
    Answer.AWAITED: "réponse attendue",
    Answer.OVERDUE: "SANS RÉPONSE dans le délai",
    Answer.IN_TIME: "a répondu",
    Answer.LATE: "a répondu hors délai",
    Answer.UNREACHABLE: "NON JOINT",
}
_ACTS = {Act.BLOCKED: "blocage", Act.UNBLOCKED: "levée du blocage", Act.CLOSED: "clôture"}
_TOUCHED = {
    Narrowed.AGENT: "agent",
    Narrowed.SERVICE: "service",
    Narrowed.CAMERA: "caméra",
    Narrowed.SITE: "site",
    Narrowed.STREAM: "Flux",
}


@correspondence.command("list")
def list_correspondence(
    owed: Annotated[bool, typer.Option("--owed", help="Seulement ce qui reste à envoyer.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lister les courriels hors incident, les plus récents d'abord (ceux d'un incident : incident show)."""
    books = CorrespondenceBooks(node_folder(config, data).correspondence, clock=SystemClock())
    found = sorted(books.all(), key=lambda each: (each.opened_at, each.id), reverse=True)
    shown = [each for each in found if each.owed or not owed]
    nothing = "Aucun courriel en attente." if owed else "Aucune correspondance."
    unreadable = [f"{name}  REGISTRE ILLISIBLE" for name in books.unreadable()]
    say(
        {"correspondence": [_document(each) for each in shown]},
        "\n".join([*map(_line, shown), *unreadable]) or nothing,
        as_json=as_json,
    )


@correspondence.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="La référence, test-2026-11 par exemple.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Montrer une correspondance : chaque courriel, son acheminement, et qui a répondu."""
    books = CorrespondenceBooks(node_folder(config, data).correspondence, clock=SystemClock())
    try:
        found = books.read(name)
    except UnknownIncident:
        stop(REFUSED, f"aucune correspondance {name}")
    except OpsError as error:
        stop(REFUSED, str(error))
    say(_document(found, whole=True), _text(found), as_json=as_json)


def _document(found: Correspondence, *, whole: bool = False) -> dict[str, Any]:
    from halfgateway.api.correspondence_shapes import (  # noqa: PLC0415 - slow to load
        correspondence_detail,
        correspondence_shape,
    )

    shape = correspondence_detail if whole else correspondence_shape
    document: dict[str, Any] = shape(found, SystemClock().now()).model_dump(mode="json")
    return document


def _line(found: Correspondence) -> str:
    state = "à envoyer" if found.owed else "envoyé"
    damaged = " ; registre endommagé" if found.damaged else ""
    return f"{found.id}  {_title(found.matter)}, {paris(found.opened_at)} : {state}{_answers(found)}{damaged}"


def _answers(found: Correspondence) -> str:
    """How many tested contacts have answered, and how many are late."""
    now = SystemClock().now()
    given = [answer(found, notice, known, now) for notice in found.notices for known in notice.recipients]
    answered = sum(each in {Answer.IN_TIME, Answer.LATE} for each in given)
    missing = sum(each in {Answer.OVERDUE, Answer.UNREACHABLE} for each in given)
    asked = sum(each is not None for each in given)
    return f", {answered} réponse(s) sur {asked}, {missing} en retard ou non jointe(s)" if asked else ""


def _text(found: Correspondence) -> str:
    lines = [_line(found), ""]
    for notice in found.notices:
        lines.append(f"Courriel {notice.id} {notice.message_id}, {len(notice.attempts)} tentative(s)")
        lines += _recipients(found, notice)
    lines += [f"{paris(event.at)}  {event.said.kind}  par {event.who}" for event in found.timeline]
    return "\n".join(lines)


def _recipients(found: Correspondence, notice: Notice) -> list[str]:
    now, lines = SystemClock().now(), []
    for known in notice.recipients:
        given = answer(found, notice, known, now)
        answered = "" if given is None else f" ; {_ANSWERS[given]}"
        lines.append(f"  {known.address} : {_LEVELS[known.level]} le {paris(known.at)}{answered}  {known.evidence}")
    return lines


def _title(matter: Matter) -> str:
    match matter:
        case Measure():
            return f"{_ACTS[matter.act]}, {_TOUCHED[matter.touches]} {matter.name}"
        case Announced():
            return matter.subject
        case ContactTest():
            return f"essai mensuel des contacts, {matter.month}"
        case Anchoring():
            return f"points de contrôle du journal, {matter.month}, nœud {matter.node}"
        case AlarmRaised():
            return f"alarme {matter.condition}, nœud {matter.node}"
        case BreakGlass():
            return f"accès de secours n° {matter.number}"
        case _:
            assert_never(matter)
