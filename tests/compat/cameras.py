"""The cameras of the matrix, running, and put into a gateway's inventory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from camera_registry.connections import Credentials
from halfgateway.protocol.codec import Codec
from halfgateway.simulator.clips import default_cache, ensure_clip
from tests.compat.cells import VIEWS, Maker, all_cells
from tests.compat.peers import GST_CAMERA, PEERS_PYTHON, SYSTEM_PYTHON
from tests.e2e.conftest import Gateway, until
from tests.e2e.inventory import QUICK_FRAMES, record_of, simulated_camera
from tests.simulated_cameras import SMALL

CREDENTIALS = Credentials(username="gateway", password="p@ss:w0rd/&")
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0

ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""What watches no standard input would outlive tests that are killed."""

_GST_PATHS = {Codec.H264: "/h264-pcma", Codec.H265: "/h265", Codec.JPEG: "/mjpeg"}


@asynccontextmanager
async def cameras_in(gateway: Gateway) -> AsyncIterator[None]:
    """Every camera of the matrix, known to the gateway."""
    async with AsyncExitStack() as running:
        gst, ipycam = await asyncio.gather(
            running.enter_async_context(_gst_rtsp_server()), running.enter_async_context(_ipycam())
        )
        for view in VIEWS:
            if view.maker is Maker.SIMULATOR:
                url, credentials = await running.enter_async_context(_simulated(view.codec))
            else:
                url = f"{gst}{_GST_PATHS[view.codec]}" if view.maker is Maker.GST_RTSP_SERVER else ipycam
                credentials = CREDENTIALS
            for cell in all_cells():
                if cell.view == view:
                    record = record_of(cell.camera, url, credentials, codec=view.codec)
                    await gateway.node.records.cameras.upsert(record)
        yield


@asynccontextmanager
async def _simulated(codec: Codec) -> AsyncIterator[tuple[str, Credentials]]:
    """A simulated camera's URL, and what it wants."""
    spec = replace(SMALL, codec="h265" if codec is Codec.H265 else "h264")
    async with simulated_camera(spec, frames=QUICK_FRAMES) as camera:
        yield camera.rtsp_url, Credentials(username=camera.identity.username, password=camera.identity.password)


@asynccontextmanager
async def _gst_rtsp_server() -> AsyncIterator[str]:
    """The address of a GStreamer camera that wants Digest."""
    clip = await _clip()
    command = [SYSTEM_PYTHON, str(GST_CAMERA), str(clip), CREDENTIALS.username, CREDENTIALS.password]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_LIMIT_S):
            addresses = json.loads(await process.stdout.readline())
        yield f"rtsp://{addresses['digest']}"
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def _ipycam() -> AsyncIterator[str]:
    """The URL of an ipycam that plays a clip, started as its manual says; its RTSP wants no credentials."""
    clip = await _clip()
    with tempfile.TemporaryDirectory(prefix="ipycam-") as folder:
        http_port, rtsp_port = _free_ports(2)
        settings = {"onvif_port": http_port, "rtsp_port": rtsp_port, "main_fps": 25, "main_bitrate": "500K"}
        settings |= {"main_width": SMALL.width, "main_height": SMALL.height}
        (Path(folder) / "camera_config.json").write_text(json.dumps(settings))
        command = [*ENDS_WITH_US, str(PEERS_PYTHON), "-m", "ipycam", "--source", str(clip), "--no-timestamp"]
        process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=DEVNULL, stderr=DEVNULL)
        try:
            await until(lambda: _answers(process, rtsp_port))
            yield f"rtsp://127.0.0.1:{rtsp_port}/video_main"
        finally:
            await _end(process)


async def _clip() -> Path:
    return await asyncio.to_thread(ensure_clip, SMALL, default_cache(os.environ))


async def _answers(process: Process, port: int) -> bool:
    assert process.returncode is None, "ipycam did not start"
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now: ipycam cannot say which it was given."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
