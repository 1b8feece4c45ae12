"""``halfgateway request``: the register of requests made outside the link, and of requisitions (article 6; C05)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from camera_registry.paris import PARIS
from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import ask, ask_all, shown_instant
from halfgateway.dossiers.requests import requests_document
from halfgateway.dossiers.tables import TableFormat, write_table
from ops.requests import Cause, Channel, Outcome, Sort

Moment = typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help="Heure de Paris : 2026-11-21T10:15.")

_CAUSES = " ; ".join(f"{cause.value} ({cause.wording})" for cause in Cause)

request = typer.Typer(
    help="Registre des réquisitions et des demandes faites hors de l'Interconnexion.", no_args_is_help=True
)


@request.command("add")
def add(
    service: Annotated[str, typer.Option(help="Service ou juridiction qui demande ; jamais un nom.")],
    channel: Annotated[Channel, typer.Option(help="Voie : mail, telephone, letter ou on-site.")],
    sort: Annotated[Sort, typer.Option("--type", help="request ou requisition.")] = Sort.REQUEST,
    reference: Annotated[str | None, typer.Option(help="Référence du demandeur.")] = None,
    camera: Annotated[str | None, typer.Option(help="La caméra, si elle est dite.")] = None,
    start: Annotated[datetime | None, Moment] = None,
    end: Annotated[datetime | None, Moment] = None,
    received: Annotated[datetime | None, Moment] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer une demande reçue, à l'instant ou à l'heure dite."""
    body = {
        "sort": sort,
        "channel": channel,
        "service": service,
        "reference": reference,
        "camera": camera,
        "start": _instant(start),
        "end": _instant(end),
        "received_at": _instant(received),
    }
    recorded = ask(config, data, "POST", "/requests", body)
    say(recorded, line(recorded), as_json=as_json)


@request.command("answer")
def answer(
    number: Annotated[int, typer.Argument(min=1, help="Numéro de la demande.")],
    outcome: Annotated[Outcome, typer.Option(help="served, partly-served ou not-served.")],
    text: Annotated[str, typer.Option(help="La réponse, en une phrase.")],
    cause: Annotated[Cause | None, typer.Option(help=f"Cause de ce qui n'est pas satisfait : {_CAUSES}.")] = None,
    answered: Annotated[datetime | None, Moment] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer la réponse, et la cause de ce qui n'a pu être satisfait."""
    body = {"outcome": outcome, "cause": cause, "text": text, "answered_at": _instant(answered)}
    recorded = ask(config, data, "POST", f"/requests/{number}/answer", body)
    say(recorded, line(recorded), as_json=as_json)


@request.command("list")
def list_requests(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les demandes, les plus récentes d'abord."""
    found = ask_all(config, data, "/requests")
    say({"requests": found}, "\n".join(map(line, found)) or "Aucune demande.", as_json=as_json)


@request.command("export")
def export(
    output: Annotated[Path, typer.Option(help="Le fichier à écrire ; rien n'est remplacé.")],
    form: Annotated[TableFormat, typer.Option("--format")] = TableFormat.CSV,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Écrire le registre dans un tableau (CSV, XLSX) ou sur papier (PDF)."""
    found = ask_all(config, data, "/requests")
    try:
        with output.open("xb") as file:
            file.write(write_table(requests_document(found), form))
    except OSError as error:
        stop(REFUSED, f"{output} : {error.strerror}")
    text = f"{output} : {len(found)} demande(s)."
    say({"file": str(output), "requests": len(found)}, text, as_json=as_json)


def line(found: dict[str, Any]) -> str:
    """One request, as people read it."""
    outcome = "SANS RÉPONSE" if found["outcome"] is None else Outcome(found["outcome"]).wording
    cause = "" if found["cause"] is None else f" ({Cause(found['cause']).wording})"
    camera = f"  {found['camera']}" if found["camera"] else ""
    return (
        f"n° {found['number']}  {Sort(found['sort']).wording}  {shown_instant(found['received_at'])}"
        f"  {Channel(found['channel']).wording}  {found['service']}{camera}  {outcome}{cause}"
        f"  délai {timedelta(seconds=found['delay_s'])}"
    )


def _instant(moment: datetime | None) -> str | None:
    return moment.replace(tzinfo=PARIS).isoformat() if moment is not None else None
