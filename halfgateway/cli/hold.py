"""``halfgateway hold``: footage that a requisition keeps past its term (CSI L252-5; L26)."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from camera_registry.errors import RegistryError
from camera_registry.paris import PARIS
from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import ask, ask_all, configuration_of, ends, shown_instant
from halfgateway.errors import HalfGatewayError

_STATES = {"in-force": "en vigueur", "released": "levée", "over": "échue"}

Moment = typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help="Heure de Paris : 2026-11-21T10:15.")
Number = Annotated[int, typer.Argument(min=1, help="Numéro de la mise sous réserve.")]

hold = typer.Typer(help="Mises sous réserve judiciaires : des enregistrements conservés.", no_args_is_help=True)


@hold.command("add")
def add(
    camera: Annotated[str, typer.Argument(help="La caméra.")],
    start: Annotated[datetime, Moment],
    end: Annotated[datetime, Moment],
    reference: Annotated[str, typer.Option(help="Référence de la réquisition.")],
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Dernier jour, s'il est fixé : 2027-11-21.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mettre sous réserve une période d'une caméra ; aucun accès n'en résulte."""
    body = {
        "camera": camera,
        "start": _instant(start),
        "end": _instant(end),
        "reference": reference,
        "until": ends(until),
    }
    placed = ask(config, data, "POST", "/holds", body)
    say(placed, line(placed), as_json=as_json)


@hold.command("list")
def list_holds(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les mises sous réserve, les plus récentes d'abord."""
    found = ask_all(config, data, "/holds")
    say({"holds": found}, "\n".join(map(line, found)) or "Aucune mise sous réserve.", as_json=as_json)


@hold.command("release")
def release(
    number: Number,
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lever une mise sous réserve : ce qu'elle conservait est détruit à son terme."""
    ended = ask(config, data, "POST", f"/holds/{number}/release", {"reason": reason})
    say(ended, line(ended), as_json=as_json)


@hold.command("sealed")
def sealed(
    number: Number,
    medium: Annotated[str, typer.Option(help="Étiquette du support scellé.")],
    sha256: Annotated[str, typer.Option("--manifest-sha256", help="Empreinte SHA-256 de son manifeste.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer que la période a été extraite sur un support scellé."""
    body = {"medium": medium, "manifest_sha256": sha256.lower()}
    extracted = ask(config, data, "POST", f"/holds/{number}/sealed", body)
    say(extracted, line(extracted), as_json=as_json)


@hold.command("extract")
def extract(
    number: Number,
    output: Annotated[Path, typer.Option(help="Un dossier neuf, sur le support à sceller.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copier la période à l'identique, avec son manifeste ; sceller ensuite le support, et l'enregistrer (sealed)."""
    from halfgateway.app.extracting import extract_held  # noqa: PLC0415 - what reads recorders: seconds to load
    from halfgateway.exporting.extraction import HeldPeriod  # noqa: PLC0415 - likewise

    configuration = configuration_of(config, data)
    try:
        output.mkdir(mode=0o700)
    except OSError as error:
        stop(REFUSED, f"{output} : {error.strerror}")
    try:
        found = ask(config, data, "POST", f"/holds/{number}/extraction")
        start, end = datetime.fromisoformat(found["start"]), datetime.fromisoformat(found["end"])
        held = HeldPeriod(number, found["reference"], found["camera"], start, end)
        made = asyncio.run(extract_held(configuration, held, output))
    except (HalfGatewayError, RegistryError, OSError) as error:
        stop(REFUSED, str(error) or type(error).__name__)
    finally:
        with contextlib.suppress(OSError):
            output.rmdir()  # which nothing was copied into
    document = {"hold": number, "manifest": str(made.manifest), "manifest_sha256": made.sha256}
    text = (
        f"{len(made.film.pieces)} fichier(s), {len(made.film.gaps)} lacune(s) : {output}\n"
        f"Sceller le support, puis : halfgateway hold sealed {number} --medium ÉTIQUETTE"
        f" --manifest-sha256 {made.sha256}"
    )
    say(document | {"files": [piece.name for piece in made.film.pieces]}, text, as_json=as_json)


def line(found: dict[str, Any]) -> str:
    """One hold, as people read it."""
    period = f"{shown_instant(found['start'])} – {shown_instant(found['end'])}"
    medium = f"  extraite : {found['medium']}" if found["medium"] else ""
    alarm = "  À EXTRAIRE SUR UN SUPPORT SCELLÉ" if found["alarm"] else ""
    return (
        f"n° {found['number']}  {found['camera']}  {period}  {found['reference']}  {_STATES[found['state']]}"
        f"{medium}{alarm}"
    )


def _instant(moment: datetime) -> str:
    return moment.replace(tzinfo=PARIS).isoformat()
