"""``halfgateway status``: all that whoever takes over a watch has to know, at a glance."""

from __future__ import annotations

from typing import Any

from camera_registry.clock import SystemClock
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, node_folder, say
from halfgateway.cli.incident_text import line
from halfgateway.cli.office import Office, Refused, ask, require_node, run, shown_instant
from halfgateway.cli.restoration import findings
from halfgateway.cli.retention import summary
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
    """Où en est-on : Interconnexion, places, vérifications du nœud, incidents ouverts, courriels dus, conservation."""
    require_node(config, data, NO_NODE)
    folder, clock = node_folder(config, data), SystemClock()
    stands = ask(config, data, "GET", "/interconnection")
    seen = ask(config, data, "GET", "/interconnection/preflight")
    incidents = [one for one in IncidentBooks(folder.incidents, clock=clock).all() if one.state is not State.RESOLVED]
    owed = [letter.id for letter in CorrespondenceBooks(folder.correspondence, clock=clock).all() if letter.owed]
    kept = run(config, data, _kept)
    document = {
        "interconnection": stands,
        "preflight": seen,
        "incidents": [one.id for one in incidents],
        "correspondence_owed": owed,
        "kept": kept,
    }
    lines = [
        _interconnection(stands),
        f"Places : {stands['slots']['used']} sur {stands['slots']['cap']}.",
        f"Nœud {seen['node']} :",
        *findings(seen),
        "Aucun incident ouvert." if not incidents else "Incidents ouverts :",
        *(f"  {line(one)}" for one in incidents),
        f"Courriels hors incident à envoyer : {len(owed) or 'aucun'}.",
        *_of_recordings(kept),
    ]
    say(document, "\n".join(lines), as_json=as_json)


async def _kept(office: Office) -> dict[str, Any] | None:
    """The holds that wait and what the retention probe found; None where the records do not answer."""
    try:
        waiting = [hold["number"] for hold in await office.every("/holds") if hold["alarm"]]
        probed_at = (await office.call("GET", "/retention?limit=1"))["probed_at"]
        return {"holds_waiting": waiting, "probed_at": probed_at, "cameras": await office.every("/retention")}
    except Refused:
        return None


def _of_recordings(kept: dict[str, Any] | None) -> list[str]:
    if kept is None:
        return ["Mises sous réserve et conservation des enregistrements : base sans réponse."]
    waiting = len(kept["holds_waiting"])
    return [
        f"Mises sous réserve à extraire sur un support scellé : {waiting or 'aucune'}.",
        summary(kept["probed_at"], kept["cameras"]),
    ]


def _interconnection(stands: dict[str, Any]) -> str:
    mode = "" if stands["mode"] is None else f" ({stands['mode']})"
    incident = "" if stands["incident"] is None else f", incident {stands['incident']}"
    return f"Interconnexion {_STATES[stands['state']]}{mode} depuis le {shown_instant(stands['since'])}{incident}."
