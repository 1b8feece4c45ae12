"""``halfgateway calendar``: the convention's terms, and what the parties do to it (articles 1 and 11; C18, C22)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from camera_registry.paris import PARIS
from halfgateway.api.life_shapes import PersonsAct
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, shown_day
from ops.calendar import EndGround
from ops.parties import Party

_ACTS = {
    "denounced": "dénonciation",
    "denunciation-withdrawn": "retrait de la dénonciation",
    "formal-notice": "mise en demeure",
    "formal-notice-met": "mise en conformité",
    "renewed": "reconduction tacite",
    "end-recorded": "fin enregistrée",
    "end-withdrawn": "fin annulée",
    "pvpp-order": "arrêté du PVPP",
}

calendar = typer.Typer(help="Calendrier de la convention : durée, reconduction, fin.", no_args_is_help=True)


@calendar.command("show")
def show(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Montrer où en est la convention, et chaque acte enregistré."""
    found = ask(config, data, "GET", "/convention")
    say(found, _text(found), as_json=as_json)


@calendar.command("record")
def record(
    kind: Annotated[PersonsAct, typer.Argument(help="Ce qu'une partie a fait.")],
    party: Annotated[Party, typer.Option(help="Quelle partie.")],
    reference: Annotated[str, typer.Option(help="Référence du recommandé, de l'avenant ou de l'arrêté.")],
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Jour de la réception, ou de la signature.")],
    ground: Annotated[EndGround | None, typer.Option(help="D'une fin : son fondement.")] = None,
    effect: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M"], help="D'une fin : quand, heure de Paris.")
    ] = None,
    last_day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="De l'arrêté du PVPP : son dernier jour.")
    ] = None,
    answers: Annotated[
        int | None, typer.Option(min=1, help="Numéro de la mise en demeure à laquelle l'acte répond.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer un acte ; les deux parties en sont averties. À une fin enregistrée, tous les Flux se ferment."""
    body = {
        "kind": kind.value,
        "party": party.value,
        "reference": reference,
        "day": day.date().isoformat(),
        "ground": ground.value if ground is not None else None,
        "effect": effect.replace(tzinfo=PARIS).isoformat() if effect is not None else None,
        "last_day": last_day.date().isoformat() if last_day is not None else None,
        "answers": answers,
    }
    found = ask(config, data, "POST", "/convention/acts", body)
    say(found, _text(found), as_json=as_json)


def _text(found: dict[str, Any]) -> str:
    lines = [
        f"Convention {found['id']} : {'en vigueur' if found['in_force'] else 'PAS EN VIGUEUR'} "
        f"depuis le {shown_day(found['in_force_from'])}",
        f"Recette : {'prononcée' if found['accepted'] else 'NON PRONONCÉE, aucun Flux'}",
        f"Prochain terme : {shown_day(found['term'])} ({'reconduite' if found['renewed'] else 'première durée'}) ; "
        f"au plus tard {shown_day(found['last_term'])}",
    ]
    if found["ended_at"] is not None:
        lines.append(f"Fin enregistrée : {shown_day(found['ended_at'])}")
    if found["to_be_recorded"]:
        lines.append("! Le préavis ou la durée est échu : la fin est à enregistrer par une personne.")
    if found["may_end_from"] is not None:
        lines.append(f"Dénoncée : peut prendre fin à compter du {shown_day(found['may_end_from'])}")
    if found["may_terminate_from"] is not None:
        lines.append(f"Mise en demeure : résiliation possible à compter du {shown_day(found['may_terminate_from'])}")
    if found["pvpp_until"] is not None:
        lines.append(f"Arrêté du PVPP : jusqu'au {shown_day(found['pvpp_until'])} exclu")
    lines += [
        f"  n° {act['number']:<4} {shown_day(act['day'])}  {act['party']:<4} {_ACTS[act['kind']]} ({act['reference']})"
        for act in found["acts"]
    ]
    return "\n".join(lines)
