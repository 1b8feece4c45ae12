"""``halfgateway acceptance``: the guided run whose signed record precedes the first stream (article 4; C23)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import ask, ask_all, save, shown_day
from ops.parties import Party

acceptance = typer.Typer(help="Recette : le procès-verbal qui ouvre l'accès aux Flux.", no_args_is_help=True)


@acceptance.command("run")
def run(
    answers: Annotated[
        Path | None, typer.Option(help="Fichier JSON : lieu, référence, réponses et signataires ; sinon, demandés ici.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mener chaque contrôle avec les deux parties, et établir le procès-verbal signé.

    Le nœud fait lui-même les contrôles automatiques ; un procès-verbal non conforme est gardé, et n'ouvre rien.
    """
    body = _guided(ask(config, data, "GET", "/acceptance/plan")) if answers is None else _read(answers)
    found = ask(config, data, "POST", "/acceptance", body)
    say(found, _line(found), as_json=as_json)
    if not found["accepted"]:
        raise typer.Exit(REFUSED)


@acceptance.command("plan")
def plan(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Montrer chaque contrôle, avec ce que le nœud constate."""
    found = ask(config, data, "GET", "/acceptance/plan")
    say(found, "\n".join(map(_check_line, found["checks"])), as_json=as_json)


@acceptance.command("show")
def show(
    number: Annotated[
        int | None, typer.Argument(min=1, help="Numéro d'un procès-verbal ; sans numéro, tous sont listés.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Fichier neuf ; son nom dit la forme : .pdf, .json, .sig ou .pem.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lister les procès-verbaux, ou en écrire un : papier, texte signé, signature, ou clé qui la vérifie."""
    if number is None:
        found = ask_all(config, data, "/acceptance")
        say({"acceptances": found}, "\n".join(map(_line, found)) or "Aucune recette.", as_json=as_json)
        return
    if output is None:
        record = ask(config, data, "GET", f"/acceptance/{number}?form=json")
        say(record, json.dumps(record, ensure_ascii=False, indent=1), as_json=as_json)
        return
    form = {".pdf": "pdf", ".json": "json", ".sig": "signature", ".pem": "key"}.get(output.suffix.lower())
    if form is None:
        stop(REFUSED, f"{output} : .pdf, .json, .sig ou .pem est attendu")
    save(config, data, f"/acceptance/{number}?form={form}", output, as_json=as_json)


def _guided(found: dict[str, Any]) -> dict[str, Any]:
    """Ask for every answer, and for who signs."""
    answers = []
    for check in found["checks"]:
        typer.echo(_check_line(check))
        if not check["automatic"]:
            passed = typer.confirm("  conforme ?")
            observation = typer.prompt("  constat", default="conforme" if passed else "non conforme")
            answers.append({"check": check["check"], "passed": passed, "observation": observation})
    signatories = [
        {
            "party": party.value,
            "name": typer.prompt(f"Signataire pour {party.wording}"),
            "function": typer.prompt("  qualité"),
        }
        for party in Party
    ]
    place, reference = typer.prompt("Lieu"), typer.prompt("Référence du procès-verbal")
    return {"place": place, "reference": reference, "answers": answers, "signatories": signatories}


def _read(answers: Path) -> Any:
    try:
        return json.loads(answers.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        stop(REFUSED, f"{answers} : {error}")


def _check_line(check: dict[str, Any]) -> str:
    result = {None: "à mener", True: "conforme", False: "NON CONFORME"}[check["passed"]]
    seen = f" ({check['observation']})" if check["observation"] else ""
    return f"[{result}] {check['title']}{seen}"


def _line(found: dict[str, Any]) -> str:
    decision = "prononcée" if found["accepted"] else "NON PRONONCÉE"
    return f"Recette n° {found['number']} du {shown_day(found['held_at'])} : {decision}  SHA-256 {found['sha256']}"
