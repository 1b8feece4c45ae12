"""What is done below the event loop to connections, also to one that has just gone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import cast

import pytest

from halfgateway.net import sockets


class Served(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sockets.tune_downstream(transport)
        self.borrowed = sockets.BorrowedSocket(transport)
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are of no asyncio class

    def connection_lost(self, exc: Exception | None) -> None:
        self.borrowed.give_back()
        self.lost.set()


def taken_until_reset(reader: socket.socket) -> int:
    taken = 0
    with contextlib.suppress(ConnectionResetError):
        while data := reader.recv(65536):
            taken += len(data)
        pytest.fail("no reset, but an end")
    return taken


async def test_an_end_of_what_has_ended_is_no_error() -> None:
    # C10: a cut that comes while a connection goes away goes on to the next one
    protocol = Served()
    server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
    async with server:
        with socket.create_connection(server.sockets[0].getsockname()):
            pass
        async with asyncio.timeout(20):
            await protocol.lost.wait()
        for _ in range(5):
            await asyncio.sleep(0)
            sockets.abort(protocol.transport)
            protocol.borrowed.acknowledge()
            assert not sockets.is_dead(protocol.transport)
            assert not sockets.write_now(protocol.transport, b"late")
            assert sockets.last_words(protocol.transport) == b""


async def test_an_abort_is_a_reset_before_it_returns() -> None:
    # C10, section 1.7: what the kernel holds for a reader that takes nothing is not sent when it takes again
    protocol = Served()
    server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
    async with server:
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(20)
            reader.connect(server.sockets[0].getsockname())
            async with asyncio.timeout(20):
                while not hasattr(protocol, "transport"):
                    await asyncio.sleep(0)
                for _ in range(64):
                    protocol.transport.write(bytes(65536))
                    await asyncio.sleep(0)
            held = sockets.unacknowledged_bytes(protocol.transport)
            assert held > 0
            sockets.abort(protocol.transport)
            assert taken_until_reset(reader) < held  # the loop has had no turn since
        async with asyncio.timeout(20):
            await protocol.lost.wait()
