"""``halfgateway simulate``: a simulated SYN, for demos and integrators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halfgateway.cli.common import JsonOption
from halfgateway.simulator.process import run


def simulate(
    cameras: Annotated[int, typer.Option(min=1, max=1000, help="Nombre de caméras.")] = 3,
    host: Annotated[str, typer.Option(help="Adresse d'écoute.")] = "127.0.0.1",
    rtsp_port: Annotated[int, typer.Option(min=0, max=65535, help="0 : un port libre quelconque.")] = 0,
    onvif_port: Annotated[int, typer.Option(min=0, max=65535, help="0 : un port libre quelconque.")] = 0,
    footage: Annotated[
        Path | None, typer.Option(file_okay=False, help="Dossier où l'enregistreur dépose aussi des segments.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Caméras simulées, ONVIF et RTSP, et leur enregistreur, jusqu'à Ctrl-C."""
    raise typer.Exit(
        run(
            cameras=cameras,
            host=host,
            rtsp_port=rtsp_port,
            onvif_port=onvif_port,
            footage=None if footage is None else footage.absolute(),
            as_json=as_json,
        )
    )
