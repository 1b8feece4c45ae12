"""``halfgateway doctor CAMERA``: what works between here and one camera, or one recorder."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from camera_registry.clock import SystemClock
from halfgateway.cli.common import REFUSED, WRONG_USAGE, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.doctor_text import doctor_text, recorder_text
from halfgateway.cli.house import house_of
from halfgateway.cli.recorder_doctor import examine_recorder, recorder_named
from halfgateway.inspection.doctor import Doctor


def doctor(
    camera: Annotated[str, typer.Argument(help="Identifiant de la caméra, ou d'un enregistreur de --config.")],
    profile: Annotated[str | None, typer.Option(help="main, sub, p3… ; le meilleur par défaut.")] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=60,
            help="Durée de la mesure du flux ; davantage, s'il le faut, pour un groupe d'images entier.",
        ),
    ] = 5.0,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Diagnostic d'une caméra : ONVIF, horloge, RTSP, codec, débit, chaque étape chronométrée. Code 1 si l'une échoue.

    D'un enregistreur : ONVIF, horloge, recherche, images les plus anciennes et les plus récentes, relecture d'une
    seconde.

    La caméra est lue à côté du nœud : aucune place n'est prise, rien n'est décodé, personne ne voit d'image, aucun son
    n'est demandé. Ce n'est donc pas un accès au sens de la convention, et il n'en reste rien au journal, que seul le
    nœud en marche écrit. Les identifiants ne sont jamais affichés ; un mot de passe faux est essayé une fois par ONVIF
    et une fois par RTSP.
    """
    recorder = recorder_named(camera, config)
    if recorder is not None:
        found = asyncio.run(examine_recorder(recorder))
        say(found.to_json(), recorder_text(found), as_json=as_json)
        if not found.ok:
            raise typer.Exit(REFUSED)
        return
    house = house_of(config, data)
    device = house.device(camera)
    if device is None:
        stop(WRONG_USAGE, f"{camera}: no such camera; see halfgateway camera list")
    streams = house.records[camera].connection.streams
    report = asyncio.run(Doctor(device, streams, clock=SystemClock()).examine(profile=profile, seconds=seconds))
    say(report.to_json(), doctor_text(report), as_json=as_json)
    if not report.ok:
        raise typer.Exit(REFUSED)
