"""``halfgateway camera``: the cameras of a node, listed and shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from camera_registry.cameras import CameraState
from camera_registry.connections import CameraRecord
from halfgateway.cli.common import WRONG_USAGE, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.house import house_of
from halfgateway.protocol.uri import redacted

_STATES = {
    CameraState.AVAILABLE: "disponible",
    CameraState.UNAVAILABLE: "indisponible",
    CameraState.ANOMALY: "anomalie",
    CameraState.PLANNED: "prévue",
}

camera = typer.Typer(help="Caméras: the cameras of a node.", no_args_is_help=True)


@camera.command("list")
def list_cameras(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Every camera: its identifier, its state and what it sends, as the node last found it."""
    house = house_of(config, data)
    records = [house.records[name] for name in sorted(house.records)]
    document = {"cameras": [_summary(record) for record in records]}
    lines = [_line(record) for record in records] or ["Aucune caméra."]
    say(document, "\n".join(lines), as_json=as_json)


@camera.command("show")
def show(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="The camera's identifier.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """One camera, with its device and its addresses: for SYN's side. Credentials are never shown."""
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
