"""``halfgateway status``: all that whoever takes over a watch has to know, at a glance."""

from __future__ import annotations

from typing import Any

from camera_registry.clock import SystemClock
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, node_folder, say
from halfgateway.cli.incident_text import line
from halfgateway.cli.office import ask, require_node, shown_instant
from halfgateway.cli.restoration import findings
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.incidents.book import IncidentBooks
from ops.incidents.incident import State

NO_NODE = "aucun nœud n'est en marche ici : aucun Flux n'y est ouvert ; voir incident list, et correspondence list"

_STATES = {
    "open": "ouverte",
    "degraded": "en mode dégradé",
    "cut": "INTERROMPUE",
    "out-of-convention": "HORS CONVENTION",
}


def status(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Où en est-on : Interconnexion, places, vérifications du nœud, incidents ouverts, courriels dus."""
    require_node(config, data, NO_NODE)
    folder, clock = node_folder(config, data), SystemClock()
    stands = ask(config, data, "GET", "/interconnection")
    seen = ask(config, data, "GET", "/interconnection/preflight")
    incidents = [one for one in IncidentBooks(folder.incidents, clock=clock).all() if one.state is not State.RESOLVED]
    owed = [letter.id for letter in CorrespondenceBooks(folder.correspondence, clock=clock).all() if letter.owed]
    document = {
        "interconnection": stands,
        "preflight": seen,
        "incidents": [one.id for one in incidents],
        "correspondence_owed": owed,
    }
    lines = [
        _interconnection(stands),
        f"Places : {stands['slots']['used']} sur {stands['slots']['cap']}.",
        f"Nœud {seen['node']} :",
        *findings(seen),
        "Aucun incident ouvert." if not incidents else "Incidents ouverts :",
        *(f"  {line(one)}" for one in incidents),
        f"Courriels hors incident à envoyer : {len(owed) or 'aucun'}.",
    ]
    say(document, "\n".join(lines), as_json=as_json)


def _interconnection(stands: dict[str, Any]) -> str:
    mode = "" if stands["mode"] is None else f" ({stands['mode']})"
    incident = "" if stands["incident"] is None else f", incident {stands['incident']}"
    return f"Interconnexion {_STATES[stands['state']]}{mode} depuis le {shown_instant(stands['since'])}{incident}."
