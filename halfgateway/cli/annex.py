"""``halfgateway annex``: the convention's annexes in their versions (articles 11 and 12; C07, C20)."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from camera_registry.paris import start_of_day
from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import ask, ask_all, save, shown_day
from ops.annexes import MediaType
from ops.parties import Party

_BY_SUFFIX = {
    ".json": MediaType.JSON,
    ".pdf": MediaType.PDF,
    ".svg": MediaType.SVG,
    ".csv": MediaType.CSV,
    ".txt": MediaType.TEXT,
}
_SITES, _ORDERS, _DIAGRAMS = 6, 8, 1

Annexed = Annotated[int, typer.Argument(metavar="ANNEX", min=1, max=8, help="Annexe : 1 à 8.")]
Versioned = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Version.")]

annex = typer.Typer(help="Annexes de la convention : versions, oppositions, documents.", no_args_is_help=True)


@annex.command("inform")
def inform(
    number: Annexed,
    party: Annotated[Party, typer.Option(help="Partie qui informe l'autre.")],
    summary: Annotated[str, typer.Option(help="Ce qui change, en une phrase.")],
    file: Annotated[
        Path | None, typer.Argument(help="Le document ; de l'annexe 6, des lignes id;libellé, de la 8, des références.")
    ] = None,
    avenant: Annotated[str | None, typer.Option(help="Référence de l'avenant : annexes 7 et 8 seulement.")] = None,
    effective_on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Jour de l'avenant ; à l'instant s'il n'est pas dit.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer une version nouvelle ; l'annexe 1 sans fichier est le schéma tiré de la configuration."""
    body: dict[str, Any] = {"party": party.value, "summary": summary, "reference": avenant, **_content(number, file)}
    if effective_on is not None:
        body["effective_at"] = start_of_day(effective_on.date()).isoformat()
    found = ask(config, data, "POST", f"/annexes/{number}", body)
    say(found, _line(found), as_json=as_json)


@annex.command("oppose")
def oppose(
    number: Annexed,
    version: Versioned,
    party: Annotated[Party, typer.Option(help="Partie qui s'oppose.")],
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer l'opposition du cocontractant : la version n'est plus jamais servie."""
    body = {"party": party.value, "reason": reason}
    found = ask(config, data, "POST", f"/annexes/{number}/{version}/oppose", body)
    say(found, _line(found), as_json=as_json)


@annex.command("list")
def list_annexes(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les versions de toutes les annexes, les plus récentes d'abord."""
    found = ask_all(config, data, "/annexes")
    say({"annexes": found}, "\n".join(map(_line, found)) or "Aucune annexe.", as_json=as_json)


@annex.command("show")
def show(
    number: Annexed,
    version: Versioned,
    output: Annotated[Path, typer.Option(help="Fichier neuf pour le document.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Écrire dans un fichier le document d'une version."""
    save(config, data, f"/annexes/{number}/{version}/document", output, as_json=as_json)


@annex.command("draw")
def draw(
    output: Annotated[Path, typer.Option(help="Fichier neuf pour le SVG.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dessiner la moitié de l'annexe 1 qui revient à SYN, telle qu'elle est."""
    save(config, data, "/annexes/diagram", output, as_json=as_json)


def _content(number: int, file: Path | None) -> dict[str, Any]:
    if file is None:
        if number != _DIAGRAMS:
            stop(REFUSED, f"annexe {number} : un fichier est attendu")
        return {}
    try:
        content = file.read_bytes()
        if number == _SITES:
            return {"sites": [_site(line) for line in _lines(content)]}
        if number == _ORDERS:
            return {"orders": _lines(content)}
    except (OSError, UnicodeDecodeError) as error:
        stop(REFUSED, f"{file} : {error}")
    media_type = _BY_SUFFIX.get(file.suffix.lower())
    if media_type is None:
        stop(REFUSED, f"{file} : {json.dumps(sorted(_BY_SUFFIX))} sont les formats admis")
    return {"document": {"media_type": media_type.value, "content": base64.b64encode(content).decode()}}


def _lines(content: bytes) -> list[str]:
    return [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]


def _site(line: str) -> dict[str, str]:
    name, _, label = line.partition(";")
    return {"id": name.strip(), "label": label.strip() or name.strip()}


def _line(found: dict[str, Any]) -> str:
    if found["opposed_at"] is not None:
        state = f"opposition du {shown_day(found['opposed_at'])}"
    elif found["served"]:
        state = f"EN VIGUEUR depuis le {shown_day(found['in_force_at'])}"
    elif found["in_force_at"] is not None:
        state = f"du {shown_day(found['in_force_at'])}, remplacée"
    else:
        state = f"en vigueur le {shown_day(found['effective_at'])} sauf opposition"
    name = f"annexe {found['annex']} v{found['version']}"
    informed = f"informée par {found['party']} le {shown_day(found['informed_at'])}"
    return f"{name:<13} {informed}  {state}  {found['summary']}"
