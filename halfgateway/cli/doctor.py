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
    camera: Annotated[str, typer.Argument(help="The camera's identifier, or that of a recorder in --config.")],
    profile: Annotated[str | None, typer.Option(help="main, sub, p3 …; the best one by default.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.5, max=60, help="How long its stream is measured, or longer for one whole GOP.")
    ] = 5.0,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Diagnostic d'une caméra: ONVIF, clock, RTSP, codec, GOP and bit rate, each step timed. Exit 1 if one failed.

    Of a recorder: ONVIF, clock, search, oldest and newest footage, and a replay of one second.

    It pulls the camera itself, beside the node: no slot is taken, nothing is decoded, nobody is shown a picture and no
    sound is set up. So it is no access of the convention and leaves no entry in the trace, which only the running node
    can write. Credentials are never printed; a wrong password is tried once over ONVIF and once over RTSP.
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
