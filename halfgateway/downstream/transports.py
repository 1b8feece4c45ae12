"""Which transport a session is given: the first of the client's list that we serve.

Rows 32 to 36 and 41 of docs/conformance.md.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from halfgateway.downstream.datagram_sink import DatagramSink
from halfgateway.errors import RemoteProtocolError, TransportNotOffered
from halfgateway.net.datagrams import ANY_PORTS, DatagramPair, open_pair
from halfgateway.protocol.transport import Pair, Transport, parse_transports
from halfgateway.relay.source import Source

log = logging.getLogger(__name__)

UDP_MTU_BYTES = 1500
"""The largest IP packet that is sent to a reader: an Ethernet frame's, and hardly any path takes larger ones."""

FIRST_CLIENT_PORT = 1024
"""No player listens below, and names, time and mail do: nobody shall have us send them packets."""

SEND_BUFFER_BYTES = 1024 * 1024
"""What the kernel may hold of one reader's datagrams, or less where the system's own limit is lower: a large key
picture comes at once, and what finds no room is lost. It leaves at the link's speed, within milliseconds."""


class ForeignDestination(RemoteProtocolError):
    """A client asks that packets be sent to somebody else: never (row 35, the reflection attack)."""


@dataclass(frozen=True, slots=True)
class UdpRoute:
    """From our address of a connection to its peer's, the only one to which its packets may go."""

    local: str
    peer: str
    service: UdpService

    async def sink(self, ports: Pair, source: Source, on_too_large: Callable[[], None]) -> DatagramSink | None:
        """A sink to the peer's ``ports``, if the camera's packets fit into datagrams on the way there."""
        pair = self._connected_pair(ports)
        if pair is None:
            return None
        fits = False
        try:
            room_bytes = pair.room_bytes(self.service.mtu_bytes)
            fits = await source.largest_packet.known() <= room_bytes
        finally:
            if not fits:
                pair.close()
        return DatagramSink(pair, room_bytes, on_too_large=on_too_large) if fits else None

    def _connected_pair(self, ports: Pair) -> DatagramPair | None:
        try:
            pair = open_pair(self.local, self.service.ports)
        except OSError as error:
            log.warning("udp.no_ports local=%s error=%s", self.local, error)
            return None
        try:
            pair.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            pair.connect(self.peer, ports)
        except OSError as error:
            log.warning("udp.no_route peer=%s error=%s", self.peer, error)
            pair.close()
            return None
        return pair


@dataclass(frozen=True, slots=True)
class UdpService:
    """How readers are served over UDP: our ports (none: the kernel chooses), and the largest IP packet in bytes."""

    ports: range = ANY_PORTS
    mtu_bytes: int = UDP_MTU_BYTES

    def route(self, local: str, peer: str) -> UdpRoute:
        """The route between the two numeric addresses of a connection."""
        return UdpRoute(local, peer, self)


@dataclass(frozen=True, slots=True)
class Offers:
    """What one SETUP asks for and its connection may be given, in the client's order; never empty."""

    transports: tuple[Transport, ...]
    route: UdpRoute | None

    def include(self, lower: str) -> bool:
        """Whether the client takes ``TCP`` or ``UDP``."""
        return any(transport.lower == lower for transport in self.transports)

    async def choose(
        self, source: Source | None, on_too_large: Callable[[], None]
    ) -> tuple[Transport, DatagramSink | None]:
        """The first by which the camera's packets can be passed on whole, and for UDP the sink that sends them.

        Without a ``source`` only TCP: a recording is never sent faster than it is taken, which UDP cannot tell.

        Raises TransportNotOffered: they are too large for a datagram, and the client takes nothing else.
        """
        for transport in self.transports:
            if transport.lower == "TCP":
                return transport, None
            if self.route is None or transport.client_port is None or source is None:
                continue
            sink = await self.route.sink(transport.client_port, source, on_too_large)
            if sink is not None:
                granted = Transport(
                    client_port=transport.client_port,
                    server_port=sink.ports,
                    source=self.route.local,
                    ssrc=source.ssrc,
                )
                return granted, sink
        raise TransportNotOffered("Ce Flux ne peut être transmis par UDP ; il l'est par TCP.")


def offers_of(header: str, route: UdpRoute | None) -> Offers:
    """What of a ``Transport`` header may be served; without a ``route``, interleaved TCP alone.

    Raises RemoteProtocolError: 461 where nothing may be, 400 where it is no transport at all;
    ForeignDestination (462) where what might be served is to go to another's address.
    """
    known = [
        transport
        for transport in parse_transports(header)
        if transport.profile == "RTP/AVP" and not transport.multicast and transport.mode == "PLAY"
    ]
    served = [each for each in known if each.lower == "TCP" or (route is not None and _has_ports(each))]
    ours = [each for each in served if each.lower == "TCP" or (route is not None and _goes_to(route.peer, each))]
    if not served:
        raise RemoteProtocolError("no transport that is served", status=461)
    if not ours:
        raise ForeignDestination("the destination is another's address", status=462)
    return Offers(tuple(ours), route)


def _has_ports(transport: Transport) -> bool:
    ports = transport.client_port
    return ports is not None and ports[0] != ports[1] and min(ports) >= FIRST_CLIENT_PORT


def _goes_to(peer: str, transport: Transport) -> bool:
    """Whether the packets are to go where the connection comes from; a name is never looked up."""
    if transport.destination is None:
        return True
    try:
        return ipaddress.ip_address(transport.destination.strip("[]")) == ipaddress.ip_address(peer)
    except ValueError:
        return False
