"""RTSP over HTTP: two TCP connections that are one RTSP connection (docs/conformance.md row 39).

A client's GET and POST are bound by their cookie, and by who shows it: the same address, over TLS or not, with the
same certificate. What is said inside is RTSP with its Digest, as on any connection: the tunnel itself proves
nothing and opens nothing. The tunnel lives as long as its GET; POSTs come and go.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, cast

from halfgateway.downstream.connection import TUNNELLED, RtspConnection
from halfgateway.downstream.guest import Guest
from halfgateway.errors import RemoteProtocolError
from halfgateway.net import sockets
from halfgateway.protocol.tunnel import TUNNEL_OPENED, TUNNEL_REFUSED, TunnelBody, TunnelOpening, TunnelRequest

log = logging.getLogger(__name__)

PARTING_S = 1.0
"""How long a POST outlives its GET at most: a player says TEARDOWN on the one and closes both in any order."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who may join the halves of one tunnel: a cookie is good only where, and for whom, the GET showed it."""

    cookie: str
    source: str
    secure: bool
    certificate: bytes | None


class Tunnels:
    """The tunnels of one server, and the connections that may yet become half of one."""

    def __init__(
        self,
        make_connection: Callable[[], RtspConnection],
        *,
        now: Callable[[], float],
        on_open: Callable[[Guest], bool],
        on_closed: Callable[[Guest], None],
    ) -> None:
        self.now = now
        self.on_open = on_open
        self.on_closed = on_closed
        self._make_connection = make_connection
        self._open: dict[_Holder, _Tunnel] = {}

    def newcomer(self) -> Newcomer:
        """A protocol for a connection that was just accepted."""
        return Newcomer(self)

    def speak_rtsp(self, newcomer: Newcomer, transport: asyncio.Transport, said: bytes) -> None:
        """Go on as plain RTSP, with what was said so far."""
        connection = self._make_connection()
        transport.set_protocol(connection)
        self._introduce(newcomer, connection, transport)
        connection.data_received(said)

    def join(self, newcomer: Newcomer, transport: asyncio.Transport, request: TunnelRequest) -> None:
        """Open a tunnel by its GET, or give it another POST; refuse what fits neither."""
        holder = _holder(request.cookie, transport)
        tunnel = self._open.get(holder)
        if request.method == "GET" and tunnel is None:
            self._open_tunnel(newcomer, transport, holder)
        elif request.method == "POST" and tunnel is not None:
            self._take_post(newcomer, transport, tunnel, request.body)
        else:
            log.info("tunnel.refused source=%s method=%s", holder.source, request.method)
            transport.write(TUNNEL_REFUSED)
            transport.close()

    def _open_tunnel(self, newcomer: Newcomer, transport: asyncio.Transport, holder: _Holder) -> None:
        log.info("tunnel.opened source=%s", holder.source)
        transport.write(TUNNEL_OPENED)
        connection = self._make_connection()
        tunnel = _Tunnel(transport, connection, on_get_ended=lambda: self._open.pop(holder, None))
        self._open[holder] = tunnel
        transport.set_protocol(_GetHalf(tunnel))
        self._introduce(newcomer, connection, tunnel)

    def _take_post(self, newcomer: Newcomer, transport: asyncio.Transport, tunnel: _Tunnel, said: bytes) -> None:
        self.on_closed(newcomer)
        half = _PostHalf(tunnel, transport, newcomer.opened_at_s, said, on_closed=self.on_closed)
        transport.set_protocol(half)
        self.on_open(half)
        tunnel.take_post(half)

    def _introduce(self, newcomer: Newcomer, connection: RtspConnection, transport: asyncio.Transport) -> None:
        """Put an RTSP connection in the newcomer's place, with the deadline that it had."""
        self.on_closed(newcomer)
        connection.opened_at_s = newcomer.opened_at_s
        connection.connection_made(transport)


class Newcomer(asyncio.Protocol):
    """A connection that has not shown yet whether it speaks RTSP or is half of a tunnel: a stranger."""

    authenticated = False
    sessions = ()

    def __init__(self, tunnels: Tunnels) -> None:
        self.opened_at_s = self.last_heard_s = tunnels.now()
        self._tunnels = tunnels
        self._opening = TunnelOpening()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are of no asyncio class
        sockets.tune_downstream(transport)
        if not self._tunnels.on_open(self):
            sockets.abort(self._transport)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._transport is None or self._transport.is_closing():
            return
        said = self._opening.receive_data(data)
        if isinstance(said, TunnelRequest):
            self._tunnels.join(self, self._transport, said)
        elif said is not None:
            self._tunnels.speak_rtsp(self, self._transport, said)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._tunnels.on_closed(self)

    def abort(self) -> None:
        """See :class:`~halfgateway.downstream.guest.Guest`."""
        if self._transport is not None:
            sockets.abort(self._transport)


class _Tunnel(asyncio.Transport):
    """Both halves as the one transport of an RTSP connection: writes go out by the GET, reads come in by the POST."""

    def __init__(
        self, get: asyncio.Transport, connection: RtspConnection, *, on_get_ended: Callable[[], object]
    ) -> None:
        super().__init__()
        self.connection = connection
        self._get = get
        self._post: _PostHalf | None = None
        self._reading = True
        self._on_get_ended = on_get_ended
        self._parting: asyncio.TimerHandle | None = None

    def take_post(self, post: _PostHalf) -> None:
        """Hear the client by this POST from now on; the one before it is closed, if it is not yet."""
        if self._post is not None:
            self._post.close()
        self._post = post
        if self._reading:
            post.hear()
        else:
            post.wait()

    def hears(self, post: _PostHalf) -> bool:
        """Whether this POST is the one by which the client speaks."""
        return post is self._post

    def post_ended(self, post: _PostHalf) -> None:
        """The client may open another while the GET lasts; after it, this was its last word."""
        if post is self._post:
            self._post = None
            if self._parting is not None:
                self._part()

    def get_ended(self) -> None:
        """Nothing more can be said; hear out the POST for a while, which may hold a TEARDOWN."""
        self._on_get_ended()
        self.connection.pause_writing()
        if self._post is None:
            self.connection.connection_lost(None)
        else:
            self._parting = asyncio.get_running_loop().call_later(PARTING_S, self._part)

    def _part(self) -> None:
        if self._parting is not None:
            self._parting.cancel()
            self._parting = None
            self.connection.connection_lost(None)
        if self._post is not None:
            self._post.reset()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the GET, which is where what the client is given goes."""
        return True if name == TUNNELLED else self._get.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether the GET ends or has ended."""
        return self._get.is_closing()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send by the GET, as it is."""
        self._get.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the GET."""
        self._get.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Of the GET, in bytes."""
        return self._get.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Read nothing from the POST, nor from one that takes its place."""
        self._reading = False
        if self._post is not None:
            self._post.wait()

    def resume_reading(self) -> None:
        """Read from the POST again."""
        self._reading = True
        if self._post is not None:
            self._post.hear()

    def close(self) -> None:
        """Close both, the GET once what was written has gone."""
        self._get.close()
        if self._post is not None:
            self._post.close()

    def abort(self) -> None:
        """Reset both."""
        sockets.abort(self._get)
        if self._post is not None:
            self._post.reset()


class _GetHalf(asyncio.Protocol):
    """Where the client listens. What it says here it says to nobody: live555 sends its RTCP reports this way."""

    def __init__(self, tunnel: _Tunnel) -> None:
        self._tunnel = tunnel

    def eof_received(self) -> bool:
        """See :class:`asyncio.Protocol`."""
        return self._tunnel.connection.eof_received()

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._tunnel.connection.pause_writing()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._tunnel.connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._tunnel.get_ended()


class _PostHalf(asyncio.Protocol):
    """Where the client speaks: a :class:`~halfgateway.downstream.guest.Guest` that is one with its tunnel's GET."""

    def __init__(
        self,
        tunnel: _Tunnel,
        transport: asyncio.Transport,
        opened_at_s: float,
        said: bytes,
        *,
        on_closed: Callable[[Guest], None],
    ) -> None:
        self.opened_at_s = opened_at_s
        self._tunnel = tunnel
        self._transport = transport
        self._said = said
        self._on_closed = on_closed
        self._body = TunnelBody()

    @property
    def authenticated(self) -> bool:
        """Whether the tunnel's requests have proved a name."""
        return self._tunnel.connection.authenticated

    @property
    def last_heard_s(self) -> float:
        """When the tunnel was last heard."""
        return self._tunnel.connection.last_heard_s

    @property
    def sessions(self) -> Sized:
        """The tunnel's sessions."""
        return self._tunnel.connection.sessions

    def hear(self) -> None:
        """Read from here on, beginning with what came in one piece with the head."""
        self._transport.resume_reading()
        said, self._said = self._said, b""
        self.data_received(said)

    def wait(self) -> None:
        """Read nothing until it is to be heard again."""
        self._transport.pause_reading()

    def close(self) -> None:
        """Close it; nobody is told anything by it."""
        self._transport.close()

    def reset(self) -> None:
        """Reset this half alone."""
        sockets.abort(self._transport)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if not self._tunnel.hears(self):
            return
        try:
            said = self._body.decode(data)
        except RemoteProtocolError as error:
            self._tunnel.connection.refuse(error)
        else:
            self._tunnel.connection.data_received(said)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._on_closed(self)
        self._tunnel.post_ended(self)

    def abort(self) -> None:
        """See :class:`~halfgateway.downstream.guest.Guest`: the whole tunnel."""
        self._tunnel.abort()


def _holder(cookie: str, transport: asyncio.Transport) -> _Holder:
    peer = transport.get_extra_info("peername") or ("",)
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return _Holder(cookie, str(peer[0]), tls is not None, tls.getpeercert(binary_form=True) if tls else None)
