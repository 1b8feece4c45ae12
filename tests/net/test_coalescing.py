"""Connections that rest are read once for all that came meanwhile, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from halfgateway.net.coalescing import RESTS_BETWEEN_TRIALS, Coalescing, Reading

LIMIT_S = 20.0
NAP_S = 0.05


class Source(asyncio.Protocol):
    """Keeps each read, and answers that more is to come to all that end so."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.lost = asyncio.Event()
        self.reading: Reading | None = None
        self._read = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are of no asyncio class

    def take(self, data: bytes) -> bool:
        self.reads.append(data)
        self._read.set()
        if data == b"bug":
            raise ZeroDivisionError
        return data.endswith(b"+")

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.reading is not None
        self.reading.stop()
        self.reading.stop()
        self.lost.set()

    async def has_read(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.reads) < count:
                self._read.clear()
                await self._read.wait()


@asynccontextmanager
async def source(coalescing: Coalescing) -> AsyncIterator[tuple[Source, asyncio.StreamWriter]]:
    made: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: made.set_result(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    _, reading = await asyncio.get_running_loop().create_connection(Source, host, port)
    reading.reading = coalescing.read(reading.transport, reading.take)
    writer = await made
    yield reading, writer
    reading.transport.abort()
    writer.transport.abort()
    server.close()
    await server.wait_closed()
    async with asyncio.timeout(LIMIT_S):
        await reading.lost.wait()


async def write(writer: asyncio.StreamWriter, *parts: bytes) -> None:
    for part in parts:
        writer.write(part)
        await writer.drain()


async def test_what_comes_while_a_source_rests_is_read_at_once() -> None:
    async with source(Coalescing(nap_s=NAP_S)) as (reading, writer):
        await write(writer, b"a+")
        await reading.has_read(1)
        await write(writer, b"b", b"c", b"d")
        await reading.has_read(2)
        assert reading.reads == [b"a+", b"bcd"]


async def test_one_that_is_paused_is_left_unread_until_it_is_resumed() -> None:
    async with source(Coalescing(nap_s=NAP_S)) as (paused, sender), source(Coalescing(nap_s=NAP_S)) as (other, writer):
        assert paused.reading is not None
        paused.reading.resume()  # it was not paused: nothing happens
        paused.reading.pause()
        await write(sender, b"a+")  # one read more is made
        await paused.has_read(1)
        await write(sender, b"b", b"c")
        await write(writer, b"x")
        await other.has_read(1)
        assert paused.reads == [b"a+"]
        paused.reading.resume()
        await paused.has_read(2)
        assert paused.reads == [b"a+", b"bc"]
        await write(sender, b"d")
        await paused.has_read(3)


async def test_one_that_sends_in_parts_is_waited_for_before_it_is_read() -> None:
    async with source(Coalescing(nap_s=NAP_S)) as (reading, writer):
        await write(writer, b"a+")
        await reading.has_read(1)
        await write(writer, b"b")
        await reading.has_read(2)
        await write(writer, b"c", b"d", b"e")
        await reading.has_read(3)
        assert reading.reads == [b"a+", b"b", b"cde"]


async def test_one_that_no_longer_sends_in_parts_is_found_out() -> None:
    nap_s = 0.001
    async with source(Coalescing(nap_s=nap_s)) as (reading, writer):
        await write(writer, b"+")
        await reading.has_read(1)
        rests = 0
        assert reading.reading is not None
        for number in range(2, RESTS_BETWEEN_TRIALS + 10):
            await write(writer, b"whole")
            await reading.has_read(number)
            rests += reading.reading.rests_first()
        assert rests < RESTS_BETWEEN_TRIALS
        assert not reading.reading.rests_first()


async def test_sources_that_rest_together_all_go_on() -> None:
    together = Coalescing(nap_s=NAP_S)
    async with source(together) as (one, to_one), source(together) as (other, to_other):
        for number in range(1, 4):
            await write(to_one, b"1+")
            await write(to_other, b"2+")
            await one.has_read(number)
            await other.has_read(number)
    assert (one.reads, other.reads) == ([b"1+"] * 3, [b"2+"] * 3)


@pytest.mark.parametrize("end", [asyncio.Transport.abort, asyncio.Transport.close])
async def test_one_that_is_closed_while_it_rests_disturbs_no_other(end: Callable[[asyncio.Transport], None]) -> None:
    together = Coalescing(nap_s=NAP_S)
    async with source(together) as (closed, to_closed), source(together) as (other, to_other):
        await write(to_closed, b"1+")
        await write(to_other, b"1+")
        await closed.has_read(1)
        await other.has_read(1)
        getattr(closed.transport, end.__name__)()
        await write(to_other, b"2")
        await other.has_read(2)
    assert other.reads == [b"1+", b"2"]


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_one_whose_peer_ends_is_lost(end: str) -> None:
    async with source(Coalescing(nap_s=NAP_S)) as (reading, writer):
        await write(writer, b"last")
        await reading.has_read(1)
        getattr(writer.transport, end)()
        async with asyncio.timeout(LIMIT_S):
            await reading.lost.wait()
    assert reading.reads == [b"last"]


async def test_a_bug_ends_one_connection_and_no_other() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
    together = Coalescing(nap_s=NAP_S)
    async with source(together) as (one, to_one), source(together) as (other, to_other):
        await write(to_one, b"+")
        await write(to_other, b"+")
        await one.has_read(1)
        await other.has_read(1)
        await write(to_one, b"bug")
        await write(to_other, b"well")
        await other.has_read(2)
        async with asyncio.timeout(LIMIT_S):
            await one.lost.wait()
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert other.reads == [b"+", b"well"]
