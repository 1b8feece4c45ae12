"""The RTSP listeners, and the connections they have accepted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from halfgateway.downstream.connection import (
    FIRST_REQUEST_TIMEOUT_S,
    IDLE_TIMEOUT_S,
    Answerer,
    RtspConnection,
)
from halfgateway.downstream.guest import Guest
from halfgateway.downstream.session import SESSION_TIMEOUT_S
from halfgateway.downstream.tunnel import Tunnels
from halfgateway.net.listener import Balancers, Listener, Refused
from halfgateway.net.tls import HANDSHAKE_TIMEOUT_S, TlsListener
from halfgateway.turns import Turns

MAX_CONNECTIONS = 2_000
"""Connections a node accepts, authenticated or not, both of a tunnel over HTTP: memory is bounded before anyone has
said who they are. Past it the stranger who has been here longest is reset, else the newcomer; none of them takes a
slot (row 9)."""

SESSION_GRACE_S = 10.0
"""How long after the announced timeout a reader over UDP is still waited for: a report may be late or lost."""

DEAD_LOOKED_FOR_S = 1.0
"""How often the kernel is asked whether a reader is gone without a word; it knows after seconds."""


class RtspServer:
    """Listens, and closes what stays silent for too long."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        now: Callable[[], float],
        first_request_timeout_s: float = FIRST_REQUEST_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        max_connections: int = MAX_CONNECTIONS,
        session_timeout_s: float = SESSION_TIMEOUT_S + SESSION_GRACE_S,
        rtsp_over_http: bool = False,
    ) -> None:
        self.connections: set[Guest] = set()
        self._answerer = answerer
        self._now = now
        self._first_request_timeout_s = first_request_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._max_connections = max_connections
        self._session_timeout_s = session_timeout_s
        self._listeners: list[Listener] = []
        self._turns = Turns(lambda: self.connections, round_s=DEAD_LOOKED_FOR_S, now=now)
        self._tunnels: Tunnels | None = None
        if rtsp_over_http:
            self._tunnels = Tunnels(
                self._new_rtsp_connection, now=now, on_open=self._admit, on_closed=self.connections.discard
            )

    async def listen(self, host: str, port: int, *, balancers: Balancers | None = None) -> int:
        """Accept connections on ``host`` and ``port`` (0: any free one); returns the port."""
        listener = Listener(self._new_connection, balancers=balancers)
        self._listeners.append(listener)
        return await listener.listen(host, port)

    async def listen_tls(
        self,
        host: str,
        port: int,
        *,
        context: Callable[[], ssl.SSLContext],
        refused: Refused,
        balancers: Balancers | None = None,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> int:
        """The same over TLS, for the :class:`~halfgateway.net.tls.TlsListener`."""
        listener = TlsListener(
            self._new_connection,
            context=context,
            refused=refused,
            balancers=balancers,
            handshake_timeout_s=handshake_timeout_s,
        )
        self._listeners.append(listener)
        return await listener.listen(host, port)

    def sweep(self) -> None:
        """Close strangers that have not authenticated in time, connections that do nothing, and silent sessions."""
        now = self._now()
        for connection in tuple(self.connections):
            stranger = not connection.authenticated and now - connection.opened_at_s > self._first_request_timeout_s
            idle = not connection.sessions and now - connection.last_heard_s > self._idle_timeout_s
            if stranger or idle:
                connection.abort()
            elif isinstance(connection, RtspConnection) and connection.sessions:
                connection.lose_silent_sessions(now - self._session_timeout_s)
        for connection in self._turns.due():
            if isinstance(connection, RtspConnection) and connection.sessions:
                connection.abort_if_dead()

    async def close(self) -> None:
        """Stop listening and abort every connection."""
        for listener in self._listeners:
            await listener.close()
        for connection in tuple(self.connections):
            connection.abort()

    def _new_connection(self) -> asyncio.Protocol:
        return self._new_rtsp_connection() if self._tunnels is None else self._tunnels.newcomer()

    def _new_rtsp_connection(self) -> RtspConnection:
        return RtspConnection(self._answerer, now=self._now, on_open=self._admit, on_closed=self.connections.discard)

    def _admit(self, connection: Guest) -> bool:
        """Take a newcomer; where all places are taken, in the place of the stranger who has been here longest."""
        if len(self.connections) >= self._max_connections:
            strangers = [other for other in self.connections if not other.authenticated]
            if not strangers:
                return False
            oldest = min(strangers, key=lambda stranger: stranger.opened_at_s)
            self.connections.discard(oldest)
            oldest.abort()
        self.connections.add(connection)
        return True
