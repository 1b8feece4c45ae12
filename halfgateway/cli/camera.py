"""``halfgateway camera``: the cameras of a node, found, imported, listed and shown."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from camera_registry.cameras import CameraState
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord
from halfgateway.cli.common import REFUSED, WRONG_USAGE, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.house import house_of
from halfgateway.config import ConfigurationError, read_configuration
from halfgateway.inspection.camera_list import CameraListError, append_to, as_toml, read_list
from halfgateway.inspection.scan import PORTS, FoundDevice, Scan
from halfgateway.protocol.uri import redacted

_STATES = {
    CameraState.AVAILABLE: "disponible",
    CameraState.UNAVAILABLE: "indisponible",
    CameraState.ANOMALY: "anomalie",
    CameraState.PLANNED: "prévue",
}

camera = typer.Typer(help="Caméras d'un nœud.", no_args_is_help=True)


@camera.command("scan")
def scan(
    network: Annotated[str, typer.Option(help="Plage à parcourir, un /20 au plus : 10.78.1.0/24.")],
    port: Annotated[
        list[int], typer.Option(min=1, max=65535, help="Port où ONVIF peut écouter ; plusieurs fois pour plusieurs.")
    ] = list(PORTS),  # noqa: B006 (typer reads it once)
    as_json: JsonOption = False,
) -> None:
    """Chercher les appareils ONVIF d'une plage, et nulle part ailleurs : par WS-Discovery, et sur les ports usuels.

    Aucun identifiant n'est envoyé, rien n'est modifié. Ce qui est trouvé peut servir de liste à camera import.
    """
    try:
        searched = Scan(ip_network(network, strict=False), ports=port, clock=SystemClock())
    except ValueError as error:
        stop(WRONG_USAGE, str(error))
    try:
        found = _with_progress(searched)
    except OSError as error:
        stop(REFUSED, f"{network}: {error.strerror}")
    document = {"network": network, "addresses": len(searched.addresses), "found": [asdict(each) for each in found]}
    lines = [_found_line(each) for each in found]
    say(
        document,
        "\n".join([*lines, f"{len(found)} appareil(s) sur {len(searched.addresses)} adresse(s)."]),
        as_json=as_json,
    )


def _with_progress(searched: Scan) -> tuple[FoundDevice, ...]:
    """Run a scan; on a terminal, a bar on stderr says how far it is."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("Recherche", total=len(searched.addresses))
        searched.on_progress = lambda done: progress.update(bar, completed=done)
        return asyncio.run(searched.run())


def _found_line(device: FoundDevice) -> str:
    kind = "découverte" if device.by == "discovery" else "port"
    says = "répond" if device.answers else "exige des identifiants" if device.wants_credentials else "ne répond pas"
    return f"{device.onvif_url}  {kind}, {says}  {device.name} {device.hardware}".rstrip()


@camera.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(help="Fichier CSV, UTF-8, séparé par des virgules ou des points-virgules.")],
    config: ConfigOption = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Écrire plutôt les tables [[cameras]] dans ce fichier neuf ; - est la sortie standard."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Importer une liste de caméras dans gateway.toml : entière, ou rien, avec chaque faute et sa ligne.

    Colonnes : id, name, site, commune, latitude, longitude, onvif_url, username, password_file, et au besoin
    masked_profile. Chaque mot de passe est la seule ligne d'un fichier, nommé à partir de gateway.toml ; une colonne de
    mots de passe est refusée.

    C'est la configuration qui nomme les caméras : la liste y est ajoutée en tables [[cameras]], et ce qui s'y trouve
    n'est pas touché. Un nœud les prend à son prochain démarrage. Code 1 si quelque chose ne va pas.
    """
    if config is None:
        stop(WRONG_USAGE, "name the configuration that the cameras are for: --config gateway.toml")
    try:
        taken = [each.id for each in read_configuration(config).cameras]
        sections = read_list(file, folder=config.resolve().parent, taken=taken)
        if output is None:
            append_to(config, sections)
        elif str(output) != "-":
            with output.open("x", encoding="utf-8") as written:
                written.write(as_toml(sections))
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)
    except CameraListError as error:
        if as_json:
            say({"imported": [], "faults": error.faults}, "", as_json=True)
        stop(REFUSED, *error.faults)
    except OSError as error:
        stop(REFUSED, f"{error.filename}: {error.strerror}")
    if str(output) == "-" and not as_json:
        typer.echo(as_toml(sections), nl=False)
        return
    where = config if output is None else output
    document = {"imported": [each.id for each in sections], "faults": [], "file": str(where)}
    say(document, f"{len(sections)} caméra(s) ajoutée(s) à {where}.", as_json=as_json)


@camera.command("list")
def list_cameras(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les caméras : identifiant, état, ce qu'elles envoient, tels que le nœud les a vus en dernier."""
    house = house_of(config, data)
    records = [house.records[name] for name in sorted(house.records)]
    document = {"cameras": [_summary(record) for record in records]}
    lines = [_line(record) for record in records] or ["Aucune caméra."]
    say(document, "\n".join(lines), as_json=as_json)


@camera.command("show")
def show(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="Identifiant de la caméra.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Montrer une caméra, son appareil et ses adresses, pour SYN. Ses identifiants ne sont jamais montrés."""
    record = house_of(config, data).records.get(camera_id)
    if record is None:
        stop(WRONG_USAGE, f"{camera_id}: no such camera; see halfgateway camera list")
    say(_whole(record), _text(record), as_json=as_json)


def _summary(record: CameraRecord) -> dict[str, Any]:
    known = record.camera
    return {
        "id": known.id,
        "name": known.name,
        "site": known.site,
        "commune": known.commune,
        "latitude": known.latitude,
        "longitude": known.longitude,
        "state": known.state.value,
        "cause": known.cause,
        "recorded": known.recorded,
        "profiles": [
            {"id": each.id, "codec": each.codec, "width": each.width, "height": each.height, "fps": each.fps}
            for each in known.profiles
        ],
    }


def _whole(record: CameraRecord) -> dict[str, Any]:
    connection = record.connection
    device = connection.device
    return _summary(record) | {
        "onvif_url": redacted(connection.onvif_url),
        "streams": {name: redacted(url) for name, url in connection.streams.items()},
        "device": {
            "manufacturer": device.manufacturer,
            "model": device.model,
            "firmware": device.firmware,
            "serial": device.serial,
            "hardware": device.hardware,
        },
        "clock_offset_s": connection.clock_offset_s,
    }


def _line(record: CameraRecord) -> str:
    known = record.camera
    sends = ", ".join(f"{each.id} {each.codec} {each.width}×{each.height}" for each in known.profiles)
    state = f"{_STATES[known.state]} ({known.cause})" if known.cause else _STATES[known.state]
    return f"{known.id:<16} {state:<30} {known.name}, {known.commune}  {sends}".rstrip()


def _text(record: CameraRecord) -> str:
    known, connection = record.camera, record.connection
    device, offset = connection.device, connection.clock_offset_s
    return "\n".join(
        [
            _line(record),
            f"  Site      {known.site} ({known.latitude:.5f}, {known.longitude:.5f})",
            f"  Appareil  {device.manufacturer} {device.model} {device.firmware}, n° {device.serial}",
            f"  ONVIF     {redacted(connection.onvif_url)}",
            *(f"  Flux      {name}  {redacted(url)}" for name, url in connection.streams.items()),
            f"  Horloge   {'inconnue' if offset is None else f'{offset:+.1f} s'}",
        ]
    )
