"""A listener that makes each connection ready, for a bounded time, before any protocol hears of it.

From a configured balancer the PROXY header is taken first, so that whoever serves the connection sees the client's
address (:mod:`halfgateway.net.proxy_header`). From anybody else such a header is rubbish like any other.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from halfgateway.errors import RemoteProtocolError
from halfgateway.net import sockets
from halfgateway.net.balanced import Balanced
from halfgateway.net.proxy_header import ProxyHeader, ProxyHeaderReader

log = logging.getLogger(__name__)

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MakeProtocol: TypeAlias = Callable[[], asyncio.BaseProtocol]

Refused: TypeAlias = Callable[[str, str], None]
"""Is told the address of who was refused, and the reason in the trace's words."""

PROXY_HEADER_TIMEOUT_S = 5.0
"""How long a balancer may take for its header: more than the three seconds of a lost segment (haproxy,
doc/proxy-protocol.txt section 2). Past it the connection is reset."""

MAX_PREPARING = 2_000
"""Connections made ready at once on one listener: more than a thousand half-open ones, some 50 kB each with TLS. Past
it a new connection is reset; none of them takes a slot (docs/conformance.md row 9)."""

BACKLOG = 512
"""Connections the kernel may hold before they are accepted."""

NOT_ACCEPTED_PAUSE_S = 0.5
"""How long nothing is accepted when the kernel cannot, as with no descriptor left: until others have ended."""


@dataclass(frozen=True, slots=True)
class Balancers:
    """Whose connections begin with a PROXY header, and who is told of those that do not."""

    networks: tuple[IpNetwork, ...]
    refused: Refused
    header_timeout_s: float = PROXY_HEADER_TIMEOUT_S

    def include(self, peer: str) -> bool:
        """Whether a numeric address is a balancer's."""
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self.networks)


class Listener:
    """Accepts connections; without ``balancers`` nobody speaks for another."""

    def __init__(
        self, make_protocol: MakeProtocol, *, balancers: Balancers | None = None, max_preparing: int = MAX_PREPARING
    ) -> None:
        self._make_protocol = make_protocol
        self._balancers = balancers
        self._max_preparing = max_preparing
        self._accepting: dict[asyncio.Task[None], socket.socket] = {}
        self._preparing: set[asyncio.Task[None]] = set()

    @property
    def preparing(self) -> int:
        """How many connections no protocol has heard of yet."""
        return len(self._preparing)

    async def listen(self, host: str, port: int) -> int:
        """Accept connections on every address of ``host`` at ``port`` (0: any free one); returns the port."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, address[:2]) for family, _, _, _, address in found):
            listener = socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            task = asyncio.create_task(self._accept(listener), name=f"accept on {port}")
            task.add_done_callback(_log_failure)
            self._accepting[task] = listener
        return port

    async def close(self) -> None:
        """Stop listening and drop what is not ready; connections that were made are their protocols' to end."""
        tasks = [*self._accepting, *self._preparing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._accepting.values():
            listener.close()
        self._accepting.clear()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("listener.not_accepted error=%s", error)
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(NOT_ACCEPTED_PAUSE_S)
                continue
            if len(self._preparing) >= self._max_preparing:
                sockets.reset(connection)
                continue
            preparing = asyncio.create_task(self._prepare(connection, str(address[0])))
            self._preparing.add(preparing)
            preparing.add_done_callback(self._preparing.discard)
            preparing.add_done_callback(_log_failure)
            preparing.add_done_callback(partial(_close_unserved, connection))

    async def _prepare(self, connection: socket.socket, peer: str) -> None:
        if self._balancers is None or not self._balancers.include(peer):
            await self._serve(connection, self._make_protocol, peer)
            return
        header = await _header_of(connection, peer, self._balancers)
        if header is None:
            sockets.reset(connection)
        else:
            source = header.source[0] if header.source is not None else peer
            await self._serve(connection, partial(self._balanced, header.source), source)

    async def _serve(self, connection: socket.socket, make_protocol: MakeProtocol, source: str) -> None:
        """Give the connection to a protocol of its own; a kind of listener that asks for more does so here."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(make_protocol, connection)
        except OSError as error:
            log.info("listener.lost source=%s error=%s", source, error)

    def _balanced(self, source: tuple[str, int] | None) -> asyncio.BaseProtocol:
        return Balanced(self._make_protocol(), source)


async def _header_of(connection: socket.socket, peer: str, balancers: Balancers) -> ProxyHeader | None:
    """The balancer's header; where there is none to be had, None, and it is told unless the balancer just hung up."""
    loop, reader, heard = asyncio.get_running_loop(), ProxyHeaderReader(), False
    try:
        async with asyncio.timeout(balancers.header_timeout_s):
            while data := await loop.sock_recv(connection, reader.wanted_bytes):
                heard = True
                header = reader.receive_data(data)
                if header is not None:
                    return header
    except RemoteProtocolError as error:
        reason, told = "proxy-header-invalid", str(error)
    except TimeoutError:
        reason, told = "proxy-header-timeout", "too slow"
    except OSError as error:
        log.info("listener.lost source=%s error=%s", peer, error)
        return None
    else:
        if not heard:  # a balancer that looks whether somebody listens
            return None
        reason, told = "proxy-header-invalid", "cut off"
    log.warning("listener.refused balancer=%s reason=%s error=%s", peer, reason, told)
    balancers.refused(peer, reason)
    return None


def _close_unserved(connection: socket.socket, preparing: asyncio.Task[None]) -> None:
    """A connection whose preparation was cancelled, perhaps before it began, leaves no descriptor."""
    if preparing.cancelled():
        connection.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    """A task of the listener that dies is a bug, and is not to die unheard."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("listener.failed task=%s", task.get_name(), exc_info=task.exception())
