"""``halfgateway intervention``: who works on the equipment (article 5; C21)."""

from __future__ import annotations

from typing import Annotated

import typer

from auth.interventions import Intervention
from camera_registry.clock import rfc3339
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.custody import act, shown

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
    begun = act(config, data, lambda custody, actor: custody.start_intervention(person, contractor, reason, actor))
    say(_document(begun), f"Intervention n° {begun.number} déclarée.", as_json=as_json)


@intervention.command("end")
def end(
    number: Annotated[int, typer.Argument(min=1, help="Numéro de l'intervention.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Déclarer la fin d'une intervention."""
    ended = act(config, data, lambda custody, actor: custody.end_intervention(number, actor))
    say(_document(ended), f"Intervention n° {number} terminée.", as_json=as_json)


@intervention.command("list")
def list_interventions(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les interventions."""
    found = act(config, data, lambda custody, _: custody.list_interventions())
    lines = [
        f"n° {each.number}  {each.person} ({each.contractor or 'SYN'})  "
        f"{shown(each.started_at)} – {shown(each.ended_at)}  {each.reason}"
        for each in found
    ]
    say([_document(each) for each in found], "\n".join(lines) or "Aucune intervention.", as_json=as_json)


def _document(found: Intervention) -> dict[str, object]:
    return {
        "number": found.number,
        "person": found.person,
        "contractor": found.contractor,
        "reason": found.reason,
        "started_at": rfc3339(found.started_at),
        "started_by": found.started_by,
        "ended_at": None if found.ended_at is None else rfc3339(found.ended_at),
    }
