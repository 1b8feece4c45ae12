"""The simulator as a process of its own: it says where its cameras are, and leaves when nobody needs it.

It ends on SIGINT and SIGTERM, and when its standard input, if that is a pipe, is closed: a parent that is killed
closes it too, so that no simulator is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import uvloop

from camera_registry.clock import SystemClock
from halfgateway.net.process import STDIN, end_with_stdin
from halfgateway.simulator.clips import ClipError
from halfgateway.simulator.simulator import CameraListing, RecorderListing, Simulator


def run(
    *,
    cameras: int = 3,
    host: str = "127.0.0.1",
    rtsp_port: int = 0,
    onvif_port: int = 0,
    as_json: bool = False,
    footage: Path | None = None,
    clip_cache: Path | None = None,
) -> int:
    """Run the simulator until it is told to end; return the exit code (0 ended, 1 could not run).

    With ``as_json`` the one line on standard output is ``{"ready": true, "cameras": […], "recorder": {…}}``, written
    when all of them answer. ``footage`` is the folder in which the recorder lays segments too.
    """
    simulator = Simulator(
        cameras,
        host=host,
        rtsp_port=rtsp_port,
        onvif_port=onvif_port,
        with_recorder=True,
        footage=footage,
        clip_cache=clip_cache,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(simulator, output=sys.stdout, as_json=as_json))
    except (ClipError, OSError) as error:
        sys.stderr.write(f"simulate.failed error={error}\n")
        return 1
    return 0


async def serve(simulator: Simulator, *, output: TextIO, as_json: bool) -> None:
    """Start the simulator, tell its cameras on ``output``, and run until a signal or the end of standard input.

    Raises ClipError, OSError.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if _is_pipe(STDIN):
        end_with_stdin(ended)
    running = asyncio.create_task(_run(simulator, output, as_json=as_json))
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def _run(simulator: Simulator, output: TextIO, *, as_json: bool) -> None:
    async with simulator:
        told = _as_json if as_json else _as_text
        output.write(told(simulator.listing(), simulator.recorder_listing(), SystemClock().now()))
        output.flush()
        await asyncio.Event().wait()


def _is_pipe(descriptor: int) -> bool:
    """Whether the end of that input means the end of whoever holds the other side; a terminal's does not."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _as_json(cameras: list[CameraListing], recorder: RecorderListing | None, _: datetime) -> str:
    return json.dumps({"ready": True, "cameras": cameras, "recorder": recorder}, ensure_ascii=False) + "\n"


def _as_text(cameras: list[CameraListing], recorder: RecorderListing | None, now: datetime) -> str:
    lines = [f"{len(cameras)} caméras simulées ; compte {cameras[0]['username']}. Ctrl-C pour arrêter."]
    for camera in cameras:
        lines += [
            f"{camera['id']}  {camera['name']}, {camera['commune']}",
            f"    RTSP   {camera['rtsp_url']}",
            f"    ONVIF  {camera['onvif_url']}",
            f"    mot de passe  {camera['password']}",
        ]
    return "\n".join([*lines, *_recorder_lines(recorder, now), ""])


def _recorder_lines(recorder: RecorderListing | None, now: datetime) -> list[str]:
    if recorder is None:
        return []
    footage = [] if recorder["footage"] is None else [f"    segments  {recorder['footage']}"]
    return [
        f"{recorder['id']}  enregistreur simulé ; compte {recorder['username']}.",
        f"    ONVIF  {recorder['onvif_url']}",
        f"    RTSP   {recorder['url']}",
        f"    mot de passe  {recorder['password']}",
        *footage,
        *(f"    {each['camera']}  {each['token']}, voie {each['channel']}" for each in recorder["recordings"]),
        f"    revoir  ffplay -rtsp_transport tcp '{_an_hour_ago(recorder, now)}'",
    ]


def _an_hour_ago(recorder: RecorderListing, now: datetime) -> str:
    """The URL of the first camera's recording from an hour ago on, with the account in it, as players take it."""
    start, end = (f"{now - timedelta(minutes=minutes):%Y%m%dT%H%M%SZ}" for minutes in (60, 50))
    url = recorder["url"].format(channel=recorder["recordings"][0]["channel"], start=start, end=end)
    return url.replace("//", f"//{recorder['username']}:{quote(recorder['password'], safe='')}@", 1)
