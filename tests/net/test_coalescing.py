"""Sources that rest are read once for all that came meanwhile, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from halfgateway.net.coalescing import Coalescing

LIMIT_S = 20.0
NAP_S = 0.05


class Resting(asyncio.Protocol):
    """Rests after each read."""

    def __init__(self, coalescing: Coalescing) -> None:
        self._coalescing = coalescing
        self._read = asyncio.Event()
        self.reads: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)
        self._read.set()
        self._coalescing.rest(self.transport)

    async def has_read(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.reads) < count:
                self._read.clear()
                await self._read.wait()


@asynccontextmanager
async def source(coalescing: Coalescing) -> AsyncIterator[tuple[Resting, asyncio.StreamWriter]]:
    made: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: made.set_result(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    _, resting = await asyncio.get_running_loop().create_connection(lambda: Resting(coalescing), host, port)
    writer = await made
    yield resting, writer
    resting.transport.abort()
    writer.transport.abort()
    server.close()
    await server.wait_closed()


async def test_what_comes_while_a_source_rests_is_read_at_once() -> None:
    async with source(Coalescing(nap_s=NAP_S)) as (resting, writer):
        writer.write(b"a")
        await resting.has_read(1)
        for part in (b"b", b"c", b"d"):
            writer.write(part)
            await writer.drain()
        await resting.has_read(2)
        assert resting.reads == [b"a", b"bcd"]


async def test_sources_that_rest_together_all_go_on() -> None:
    together = Coalescing(nap_s=NAP_S)
    async with source(together) as (one, to_one), source(together) as (other, to_other):
        for number in range(1, 4):
            to_one.write(b"1")
            to_other.write(b"2")
            await one.has_read(number)
            await other.has_read(number)
    assert (one.reads, other.reads) == ([b"1"] * 3, [b"2"] * 3)


async def test_one_that_is_closed_while_it_rests_disturbs_no_other() -> None:
    together = Coalescing(nap_s=NAP_S)
    async with source(together) as (closed, to_closed), source(together) as (other, to_other):
        to_closed.write(b"1")
        to_other.write(b"1")
        await closed.has_read(1)
        await other.has_read(1)
        closed.transport.abort()
        to_other.write(b"2")
        await other.has_read(2)
    assert other.reads == [b"1", b"2"]
