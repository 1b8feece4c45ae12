"""``halfgateway intervention``: who works on the equipment (article 5; C21)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, shown_instant

_TOLD = ("number", "person", "contractor", "reason", "started_at", "started_by", "ended_at")

intervention = typer.Typer(help="Registre des interventions sur les équipements.", no_args_is_help=True)


@intervention.command("start")
def start(
    reason: Annotated[str, typer.Option(help="Objet, en une phrase.")],
    person: Annotated[str, typer.Option("--by", help="Intervenant désigné : identifiant opaque ou fonction.")],
    contractor: Annotated[str | None, typer.Option(help="Employeur, s'il n'est pas SYN.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Déclarer une intervention qui commence."""
    begun = ask(config, data, "POST", "/interventions", {"person": person, "contractor": contractor, "reason": reason})
    say(_document(begun), f"Intervention n° {begun['number']} déclarée.", as_json=as_json)


@intervention.command("end")
def end(
    number: Annotated[int, typer.Argument(min=1, help="Numéro de l'intervention.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Déclarer la fin d'une intervention."""
    ended = ask(config, data, "POST", f"/interventions/{number}/end")
    say(_document(ended), f"Intervention n° {number} terminée.", as_json=as_json)


@intervention.command("list")
def list_interventions(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les interventions."""
    found = ask(config, data, "GET", "/interventions")["items"]
    lines = [
        f"n° {each['number']}  {each['person']} ({each['contractor'] or 'SYN'})  "
        f"{shown_instant(each['started_at'])} – {shown_instant(each['ended_at'])}  {each['reason']}"
        for each in found
    ]
    say([_document(each) for each in found], "\n".join(lines) or "Aucune intervention.", as_json=as_json)


def _document(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in _TOLD}
