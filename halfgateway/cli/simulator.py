"""``halfgateway simulate``: a simulated SYN, for demos and integrators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halfgateway.cli.common import JsonOption
from halfgateway.simulator.process import run


def simulate(
    cameras: Annotated[int, typer.Option(min=1, max=1000, help="How many cameras.")] = 3,
    host: Annotated[str, typer.Option(help="Where they listen.")] = "127.0.0.1",
    rtsp_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
    onvif_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
    footage: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder in which the recorder lays segments too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Caméras simulées: ONVIF cameras over real RTSP and a recorder of them, until Ctrl-C."""
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
