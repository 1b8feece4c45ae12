"""A stage whose readers may come by UDP."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

from halfgateway.downstream.transports import UdpService
from tests.downstream.stage import VIEWER, Stage, StageSeat
from tests.udp_player import UdpPlayer

SERVICE = UdpService()
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


@contextlib.asynccontextmanager
async def opened(
    service: UdpService | None = SERVICE, *, host: str = "127.0.0.1", pictures: int = 2
) -> AsyncIterator[Stage]:
    """A stage whose camera has shown its first pictures."""
    stage = Stage(host=host, udp=service)
    await stage.open()
    for _ in range(pictures):
        stage.send()
    try:
        yield stage
    finally:
        await stage.server.close()


def udp_player(stage: Stage) -> UdpPlayer:
    return UdpPlayer(stage.host, stage.port, VIEWER)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def open_datagram_sockets() -> int:
    """How many UDP sockets this process holds."""
    inodes = {line.split()[9] for table in ("udp", "udp6") for line in _lines(f"/proc/self/net/{table}")}
    held = (_target(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return sum(target.removeprefix("socket:[").rstrip("]") in inodes for target in held)


def _lines(path: str) -> list[str]:
    with open(path, encoding="ascii") as table:
        return table.readlines()[1:]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def seat_of(stage: Stage) -> StageSeat:
    return stage.door.seats[-1]
