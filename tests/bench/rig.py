"""Cameras of one kind, everything that is measured in front of them, and the readers."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.child import BenchError, Child, child
from tests.bench.frames import FrameTable
from tests.bench.subjects import Gateway, Peer, direct, gateway, gst_proxy

QUIET_LIMIT_S: Final = 30.0
"""How long relays may keep pulling cameras that nobody watches: three times our linger."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What every camera of a rig sends."""

    mbps: int
    gop_s: int


@dataclass(frozen=True, slots=True)
class Rig:
    """All of it, running."""

    stream: Stream
    cameras: Child
    readers: Child
    direct: Peer
    ours: Gateway
    gst: Peer | None
    footage: Child | None

    @property
    def relays(self) -> list[Peer]:
        """What is compared over RTSP, in the order in which it is measured; ours, which lingers, last."""
        return [peer for peer in (self.gst, self.ours.rtsp) if peer is not None]

    async def write_as(self, manner: str) -> None:
        """Have all cameras write so from now on."""
        await self.cameras.ask({"manner": manner})

    async def quiet(self) -> None:
        """Wait until no camera plays: what is lingering would be measured with the next."""
        try:
            async with asyncio.timeout(QUIET_LIMIT_S):
                while (await self.cameras.ask({}))["sessions"]:
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise BenchError("a camera is still being pulled") from error

    async def open(self, targets: list[dict[str, Any]]) -> dict[str, Any]:
        """Have readers play."""
        return await self.readers.ask({"do": "open", "targets": targets})

    async def close(self) -> None:
        """Have all readers leave."""
        await self.readers.ask({"do": "close"})


@asynccontextmanager
async def rig(
    stream: Stream,
    cameras: int,
    *,
    with_gst: bool = True,
    module: str = "halfgateway",
    log_level: str = "warning",
    mail_port: int | None = None,
    with_recorders: bool = False,
) -> AsyncIterator[Rig]:
    """Start everything in a new folder; nothing of it is left behind. See :func:`tests.bench.subjects.gateway`."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hg-bench-")))
        table = folder / "frames"
        FrameTable.make(table, cameras)
        shape = {"mbps": stream.mbps, "gop_s": stream.gop_s}
        seen = {"table": str(table), "cameras": cameras}

        async def start(name: str, settings: dict[str, Any]) -> Child:
            command = [sys.executable, "-m", f"tests.bench.{name}"]
            return await stack.enter_async_context(child(command, folder / f"{name}.log", settings=settings))

        camera = await start("camera", seen | shape)
        onvif = await start("onvif_front", {"ports": camera.first["ports"], "table": str(table)} | shape)
        cameras_themselves = direct(camera.first["ports"])
        footage = await start("footage", {"folder": str(folder / "footage")} | shape) if with_recorders else None
        node = gateway(
            folder,
            onvif.first["urls"],
            module=module,
            log_level=log_level,
            mail_port=mail_port,
            footage=footage.first if footage else None,
        )
        ours = await stack.enter_async_context(node)
        gst = await stack.enter_async_context(gst_proxy(folder, cameras_themselves)) if with_gst else None
        readers = await start("readers", seen | {"gop_s": stream.gop_s})
        yield Rig(stream, camera, readers, cameras_themselves, ours, gst, footage)
