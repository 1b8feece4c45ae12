"""A stage that takes tunnels, and what goes through one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from halfgateway.downstream.transports import UdpService
from tests.downstream.stage import VIEWER, Stage
from tests.raw_player import Credentials, RawPlayer
from tests.tunnel_player import TunnelPlayer


@asynccontextmanager
async def opened(stage: Stage) -> AsyncIterator[Stage]:
    await stage.open()
    try:
        yield stage
    finally:
        await stage.server.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened(Stage(rtsp_over_http=True, udp=UdpService())) as stage:
        yield stage


def tunnelled(stage: Stage, credentials: Credentials | None = VIEWER, cookie: str = "one") -> TunnelPlayer:
    return TunnelPlayer("127.0.0.1", stage.port, credentials, cookie=cookie)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def refused(stage: Stage, said: bytes) -> bytes:
    """What a connection that says this is told before it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(said)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.transport.abort()


async def plays(stage: Stage, player: RawPlayer) -> None:
    """One packet of the stage comes to a player that has set up and played."""
    packet = stage.send()
    await player.packets_until(len(player.packets) + 1)
    assert player.packets[-1][:2] == (0, packet)
