"""``halfgateway retention``: whether recordings are kept, accessible and destroyed as they must be (C04, L02)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from camera_registry.retention import Breach
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, ask_all, require_node, shown_instant


def retention(
    probe: Annotated[bool, typer.Option("--probe", help="Interroger les enregistreurs maintenant.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Conservation des enregistrements, caméra par caméra : ce que les enregistreurs ont, et les manquements."""
    if probe:
        require_node(config, data, "aucun nœud n'est en marche ici : lui seul interroge les enregistreurs")
        ask(config, data, "POST", "/retention/probe")
    probed_at = ask(config, data, "GET", "/retention?limit=1")["probed_at"]
    found = sorted(ask_all(config, data, "/retention"), key=lambda each: str(each["camera"]))
    lines = [summary(probed_at, found), *map(_line, found)]
    say({"probed_at": probed_at, "cameras": found}, "\n".join(lines), as_json=as_json)


def summary(probed_at: str | None, found: list[dict[str, Any]]) -> str:
    """What was last found, in one line."""
    if probed_at is None:
        return "Conservation des enregistrements : jamais vérifiée."
    breached = sum(bool(each["breaches"]) for each in found)
    unreached = sum(not each["reached"] for each in found)
    return (
        f"Conservation des enregistrements, vérifiée le {shown_instant(probed_at)} : {len(found)} caméra(s),"
        f" {breached or 'aucune'} en manquement, {unreached or 'aucune'} sans réponse de l'enregistreur."
    )


def _line(found: dict[str, Any]) -> str:
    breaches = ", ".join(Breach(each).wording for each in found["breaches"]) or "conforme"
    reached = "" if found["reached"] else "  enregistreur sans réponse"
    gaps = f"  {found['gap_count']} lacune(s)" if found["gap_count"] else ""
    return f"{found['camera']}  depuis le {shown_instant(found['oldest']) or '–'}  {breaches}{gaps}{reached}"
