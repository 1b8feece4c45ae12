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

Numbered = Annotated[int, typer.Argument(min=1, help="Its number.")]
Day = typer.Option(formats=["%Y-%m-%d"], help="A day: 2026-11-21.")
At = typer.Option(formats=["%Y-%m-%dT%H:%M"], help="Paris time: 2026-11-21T22:00.")
Why = Annotated[str, typer.Option(help="Why, in one short sentence.")]
Reference = Annotated[str, typer.Option(help="The reference of the letter, mail or decision.")]

change = typer.Typer(help="Évolutions techniques et interruptions programmées.", no_args_is_help=True)


@change.command("announce")
def announce(
    title: Annotated[str, typer.Argument(help="What, in one line.")],
    party: Annotated[Party, typer.Option(help="Whose change it is.")],
    wished_on: Annotated[datetime, Day],
    description: Annotated[str, typer.Option(help="What it changes, in a few sentences.")],
    reference: Annotated[str | None, typer.Option(help="The announcement's own reference.")] = None,
    announced_at: Annotated[datetime | None, At] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a change that a party announces; the other one is told."""
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
    major: Annotated[bool, typer.Option("--major/--minor", help="Whether it is major (article 8).")],
    project_structure: Annotated[
        bool, typer.Option("--project-structure/--no-project-structure", help="Whether one is to be set up.")
    ],
    decided_by: Annotated[str, typer.Option(help="Who decided: a function or a committee.")],
    reference: Reference,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record the decision on a change; a schedule that stood is void."""
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
    party: Annotated[Party, typer.Option(help="Who agrees.")],
    not_before: Annotated[datetime, Day],
    reference: Reference,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a party's agreement that a change goes live from a day on."""
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
    """Set the day on which a change goes live."""
    _step(number, "schedule", {"day": day.date().isoformat()}, config, data, as_json=as_json)


@change.command("live")
def live(number: Numbered, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Record that a change went live now."""
    _step(number, "live", None, config, data, as_json=as_json)


@change.command("withdraw")
def withdraw(
    number: Numbered, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Give a change up."""
    _step(number, "withdraw", {"reason": reason}, config, data, as_json=as_json)


@change.command("list")
def list_changes(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Every change, newest first."""
    found = ask_all(config, data, "/changes")
    say({"changes": found}, "\n".join(map(_line, found)) or "Aucune évolution.", as_json=as_json)


@change.command("window")
def window(
    start: Annotated[datetime, At],
    end: Annotated[datetime, At],
    reason: Why,
    drain: Annotated[int, typer.Option(min=0, help="Seconds for which running streams go on.")] = DEFAULT_DRAIN_S,
    number: Annotated[int | None, typer.Option("--change", help="The change that it is for.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan an interruption: announced now, begun and ended by the calendar."""
    body = {"start": _instant(start), "end": _instant(end), "reason": reason, "drain_s": drain, "change": number}
    found = ask(config, data, "POST", "/windows", body)
    say(found, _window_line(found), as_json=as_json)


@change.command("windows")
def list_windows(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Every maintenance window, newest first."""
    found = ask_all(config, data, "/windows")
    say({"windows": found}, "\n".join(map(_window_line, found)) or "Aucune interruption.", as_json=as_json)


@change.command("withdraw-window")
def withdraw_window(
    number: Numbered, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Give up an interruption that has not begun."""
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
