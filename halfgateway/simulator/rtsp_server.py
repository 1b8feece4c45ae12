"""The sockets of a simulated device's RTSP side."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.connection import Connection, Pause, Role
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.messages import Request, response, serialise
from halfgateway.simulator.datagrams import DatagramWire
from halfgateway.simulator.rtsp_dialogue import Desk

log = logging.getLogger(__name__)


class RtspServer:
    """Listens for one device."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one, to be read from ``port``. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and abort every connection."""
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            await self._server.wait_closed()
            self._server = None

    def drop_connections(self) -> None:
        """Abort every connection now, as a camera that restarts does."""
        for connection in tuple(self._connections):
            connection.abort()

    def write_to_all(self, data: bytes) -> None:
        """Write bytes between the frames of every connection."""
        for connection in self._connections:
            connection.write(data)

    @property
    def connection_count(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def _accept(self) -> _Connection:
        return _Connection(self._desk, self._connections)


class _Connection(asyncio.Protocol):
    """One client's connection. The transport has TCP_NODELAY, as asyncio sets it."""

    def __init__(self, desk: Desk, siblings: set[_Connection]) -> None:
        self._desk = desk
        self._siblings = siblings
        self._loop = asyncio.get_running_loop()
        self._parser = Connection(Role.SERVER)
        self._last_sign_s = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not instances of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._dialogue = self._desk.dialogue(self._transport, self._open_datagrams)
        if len(self._siblings) >= self._desk.behaviour.connection_limit:
            self._transport.abort()
            return
        self._siblings.add(self)
        self._desk.counters.connections += 1
        self._watch_session()

    def data_received(self, data: bytes) -> None:
        self._sign_of_life()
        self._parser.receive_data(data)
        try:
            self._take_events()
        except RemoteProtocolError as error:
            log.warning("simulated_device.client_error device=%s error=%s", self._desk.identity.id, error)
            self._transport.write(serialise(response(error.status)))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._siblings.discard(self)
        self._dialogue.end()
        if self._watch is not None:
            self._watch.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def _take_events(self) -> None:
        while True:
            event = self._parser.next_event()
            if isinstance(event, Pause):
                return
            if isinstance(event, Request):
                answer = self._dialogue.respond(event)
                if answer is not None:
                    self._transport.write(serialise(answer))
            elif not isinstance(event, InterleavedBatch):
                raise RemoteProtocolError("a camera asks nothing, so it is answered nothing")

    def _open_datagrams(self) -> DatagramWire:
        ours, theirs = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        if theirs is None:
            raise RemoteProtocolError("the client is gone already")
        return DatagramWire(ours[0], theirs[0], self._sign_of_life)

    def _sign_of_life(self) -> None:
        self._last_sign_s = self._loop.time()

    def _watch_session(self) -> None:
        """Close the connection when its session has given no sign of life for the session's timeout."""
        timeout_s = self._desk.behaviour.session_timeout_s
        if self._dialogue.in_session and self._loop.time() - self._last_sign_s >= timeout_s:
            self._transport.abort()
            return
        self._watch = self._loop.call_later(timeout_s / 4, self._watch_session)
