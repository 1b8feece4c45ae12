"""Pairs of UDP sockets: RTP on an even port, RTCP on the next (RFC 3550 section 11)."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

ANY_PORTS = range(0)
"""No range of our own: the kernel chooses."""

ATTEMPTS = 64
"""Ports of the kernel's choice that are tried: half of them are odd, and few have a taken neighbour."""

_UDP_HEADER_BYTES = 8
_IP_HEADER_BYTES = {socket.AF_INET: 20, socket.AF_INET6: 40}

_PATH_MTU_OPTION = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}
_DISCOVERY_OPTION = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
_NEVER_FRAGMENT = 2
"""``IP_MTU``, ``IP_MTU_DISCOVER``, ``IP_PMTUDISC_DO`` and their IPv6 siblings (ip(7), ipv6(7)): Python names none."""


@dataclass(frozen=True, slots=True)
class DatagramPair:
    """Two bound, non-blocking sockets of one address family."""

    rtp: socket.socket
    rtcp: socket.socket

    @property
    def ports(self) -> tuple[int, int]:
        """The local (RTP, RTCP) ports."""
        return self.rtp.getsockname()[1], self.rtcp.getsockname()[1]

    def connect(self, host: str, ports: tuple[int, int]) -> None:
        """Send to, and hear, this peer alone: ``ports`` are its (RTP, RTCP). Raises OSError."""
        self.rtp.connect((host, ports[0]))
        self.rtcp.connect((host, ports[1]))

    def room_bytes(self, mtu_bytes: int) -> int:
        """What one packet to the connected peer may hold within ``mtu_bytes`` and what the kernel knows of the path.

        From now on the kernel fragments nothing: it refuses what is larger (``EMSGSIZE``). Raises OSError.
        """
        family = self.rtp.family
        for sock in (self.rtp, self.rtcp):
            sock.setsockopt(*_DISCOVERY_OPTION[family], _NEVER_FRAGMENT)
        path_bytes = self.rtp.getsockopt(*_PATH_MTU_OPTION[family])
        return min(mtu_bytes, path_bytes) - _IP_HEADER_BYTES[family] - _UDP_HEADER_BYTES

    def close(self) -> None:
        """Close both."""
        self.rtp.close()
        self.rtcp.close()


def open_pair(host: str, ports: range = ANY_PORTS) -> DatagramPair:
    """Bind a pair on a local numeric address, within ``ports`` if any are given.

    Raises OSError: the address is not ours, or no pair is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for first in _candidates(ports):
        with ExitStack() as undo, contextlib.suppress(OSError):
            rtp = undo.enter_context(_bound(family, host, first))
            port = rtp.getsockname()[1]
            if port % 2 == 0:
                pair = DatagramPair(rtp, _bound(family, host, port + 1))
                undo.pop_all()
                return pair
    raise OSError(f"no pair of UDP ports is free on {host}")


def _candidates(ports: range) -> Iterator[int]:
    if not ports:
        return itertools.repeat(0, ATTEMPTS)
    even = [port for port in ports if port % 2 == 0 and port + 1 in ports]
    return iter(random.sample(even, len(even)))


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
