"""Incidents as the command line tells them to people, in French."""

from __future__ import annotations

from datetime import datetime

from camera_registry.paris import PARIS
from ops.incidents.duties import has_deadline
from ops.incidents.events import ForRecipient
from ops.incidents.incident import Incident

_STATES = {"open": "ouvert", "acknowledged": "accusé de réception", "resolved": "résolu"}
_LEVELS = {
    "queued": "en attente",
    "submitted": "remis au serveur",
    "relayed": "relayé",
    "delivered": "distribué",
    "acknowledged": "accusé de réception",
    "failed": "échec",
}


def line(found: Incident) -> str:
    """An incident in one line of a list."""
    kind = "[EXERCICE] " if found.drill else ""
    weight = "Incident critique" if found.critical else "incident"
    told = "" if not has_deadline(found) else f", {_told(found)}"
    stands = f"{kind}{weight} {_STATES[found.state]}"
    return f"{found.id}  {stands}, survenance {paris(found.t0)}{told} : {found.opened.reason}"


def _told(found: Incident) -> str:
    if found.informed_at is not None:
        return f"Préfecture de police informée le {paris(found.informed_at)}"
    return f"à signaler au plus tard le {paris(found.deadline)}"


def text(found: Incident) -> str:
    """All that is known of an incident."""
    from halfgateway.dossiers.incident_words import KINDS, word, written  # noqa: PLC0415 - the list goes without

    lines = [line(found), ""]
    for notice in found.notices:
        lines.append(f"Courriel {notice.id} ({word(notice.tells)}) {notice.message_id}")
        lines += [
            f"  {known.address} : {_LEVELS[known.level]} le {paris(known.at)}  {known.evidence}"
            for known in notice.recipients
        ]
    for running in found.clocks.values():
        state = "échéance" if running.done_at is None else f"fait le {paris(running.done_at)}, échéance"
        lines.append(f"Délai {running.name} : {state} {paris(running.deadline)}")
    for event in found.timeline:
        to = [event.said.recipient] if isinstance(event.said, ForRecipient) else []
        told = "".join(f" : {each}" for each in (*to, *written(event.said)))
        lines.append(f"{paris(event.at)}  {KINDS[event.said.kind]}{told}  par {event.who}")
    return "\n".join(lines)


def paris(instant: datetime) -> str:
    """An instant, as people in Paris read it."""
    return instant.astimezone(PARIS).strftime("%d/%m/%Y à %H h %M")
