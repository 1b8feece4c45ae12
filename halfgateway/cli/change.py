"""``halfgateway change``: planned changes of both parties, and maintenance windows (article 8; C15, P07)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from camera_registry.paris import PARIS
from halfgateway.api.change_shapes import DEFAULT_DRAIN_S
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, ask_all, shown_day
from ops.parties import Party

_STATES = {
    "announced": "annoncée",
    "classified": "classée",
    "agreed": "accord des deux parties",
    "scheduled": "programmée",
    "live": "en service",
    "withdrawn": "retirée",
}
_WINDOW_STATES = {
    "planned": "programmée",
    "under-way": "en cours",
    "over": "terminée",
    "held": "MAINTENUE INTERROMPUE",
    "withdrawn": "retirée",
}

Numbered = Annotated[int, typer.Argument(min=1, help="Son numéro.")]
Day = typer.Option(formats=["%Y-%m-%d"], help="Jour : 2026-11-21.")
At = typer.Option(formats=["%Y-%m-%dT%H:%M"], help="Heure de Paris : 2026-11-21T22:00.")
Why = Annotated[str, typer.Option(help="Motif, en une phrase.")]
Reference = Annotated[str, typer.Option(help="Référence de la lettre, du courriel ou de la décision.")]

change = typer.Typer(help="Évolutions techniques et interruptions programmées.", no_args_is_help=True)


@change.command("announce")
def announce(
    title: Annotated[str, typer.Argument(help="Objet, en une ligne.")],
    party: Annotated[Party, typer.Option(help="Partie qui annonce.")],
    wished_on: Annotated[datetime, Day],
    description: Annotated[str, typer.Option(help="Ce qui change, en quelques phrases.")],
    reference: Annotated[str | None, typer.Option(help="Référence de l'annonce.")] = None,
    announced_at: Annotated[datetime | None, At] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer une évolution qu'une partie annonce ; l'autre en est informée."""
    body = {
        "title": title,
        "party": party.value,
        "wished_on": wished_on.date().isoformat(),
        "description": description,
        "reference": reference,
        "announced_at": _instant(announced_at) if announced_at is not None else None,
    }
    found = ask(config, data, "POST", "/changes", body)
    say(found, _line(found), as_json=as_json)


@change.command("classify")
def classify(
    number: Numbered,
    major: Annotated[bool, typer.Option("--major/--minor", help="Si elle est majeure (article 8).")],
    project_structure: Annotated[
        bool,
        typer.Option("--project-structure/--no-project-structure", help="Si une structure de projet est à former."),
    ],
    decided_by: Annotated[str, typer.Option(help="Qui a décidé : une fonction, un comité.")],
    reference: Reference,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer la décision sur une évolution ; ce qui était programmé ne l'est plus."""
    body = {
        "major": major,
        "project_structure": project_structure,
        "decided_by": decided_by,
        "reference": reference,
    }
    _step(number, "classify", body, config, data, as_json=as_json)


@change.command("agree")
def agree(
    number: Numbered,
    party: Annotated[Party, typer.Option(help="Partie qui donne son accord.")],
    not_before: Annotated[datetime, Day],
    reference: Reference,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer l'accord d'une partie à une mise en service à partir d'un jour."""
    body = {"party": party.value, "not_before": not_before.date().isoformat(), "reference": reference}
    _step(number, "agree", body, config, data, as_json=as_json)


@change.command("schedule")
def schedule(
    number: Numbered,
    day: Annotated[datetime, Day],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Programmer le jour de mise en service d'une évolution."""
    _step(number, "schedule", {"day": day.date().isoformat()}, config, data, as_json=as_json)


@change.command("live")
def live(number: Numbered, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Enregistrer qu'une évolution est mise en service, à l'instant."""
    _step(number, "live", None, config, data, as_json=as_json)


@change.command("withdraw")
def withdraw(
    number: Numbered, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Abandonner une évolution."""
    _step(number, "withdraw", {"reason": reason}, config, data, as_json=as_json)


@change.command("list")
def list_changes(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les évolutions, les plus récentes d'abord."""
    found = ask_all(config, data, "/changes")
    say({"changes": found}, "\n".join(map(_line, found)) or "Aucune évolution.", as_json=as_json)


@change.command("window")
def window(
    start: Annotated[datetime, At],
    end: Annotated[datetime, At],
    reason: Why,
    drain: Annotated[
        int, typer.Option(min=0, help="Secondes pendant lesquelles les Flux en cours continuent.")
    ] = DEFAULT_DRAIN_S,
    number: Annotated[int | None, typer.Option("--change", help="Évolution pour laquelle elle est prévue.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Programmer une interruption : annoncée à l'instant, commencée et finie par le calendrier."""
    body = {"start": _instant(start), "end": _instant(end), "reason": reason, "drain_s": drain, "change": number}
    found = ask(config, data, "POST", "/windows", body)
    say(found, _window_line(found), as_json=as_json)


@change.command("windows")
def list_windows(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les fenêtres de maintenance, les plus récentes d'abord."""
    found = ask_all(config, data, "/windows")
    say({"windows": found}, "\n".join(map(_window_line, found)) or "Aucune interruption.", as_json=as_json)


@change.command("withdraw-window")
def withdraw_window(
    number: Numbered, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Renoncer à une interruption qui n'a pas commencé."""
    found = ask(config, data, "POST", f"/windows/{number}/withdraw", {"reason": reason})
    say(found, _window_line(found), as_json=as_json)


def _step(
    number: int, step: str, body: dict[str, Any] | None, config: Path | None, data: Path | None, *, as_json: bool
) -> None:
    found = ask(config, data, "POST", f"/changes/{number}/{step}", body)
    say(found, _line(found), as_json=as_json)


def _line(found: dict[str, Any]) -> str:
    kind = {None: "non classée", True: "majeure", False: "non majeure"}[found["major"]]
    day = found["scheduled_on"] or found["wished_on"]
    return (
        f"n° {found['number']:<4} {found['party']:<4} {_STATES[found['state']]:<24} {kind:<12} "
        f"{shown_day(day)} (au plus tôt {shown_day(found['earliest'])})  {found['title']}"
    )


def _window_line(found: dict[str, Any]) -> str:
    span = " – ".join(
        f"{datetime.fromisoformat(found[name]).astimezone(PARIS):%d/%m/%Y %H:%M}" for name in ("start", "end")
    )
    return f"n° {found['number']:<4} {_WINDOW_STATES[found['state']]:<22} {span}  {found['reason']}"


def _instant(wall: datetime) -> str:
    return wall.replace(tzinfo=PARIS).isoformat()
