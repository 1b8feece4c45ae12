"""What players are sent on the loopback interface, as a bystander sees it: packet(7), with the kernel's own times."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Final

SNAP_BYTES: Final = 128
"""Of a packet: headers of IP, TCP or UDP, and RTP."""

QUEUE_BYTES: Final = 16 << 20
WAKE_S: Final = 0.05

_ETH_P_IP: Final = 0x0800
_SO_TIMESTAMPNS: Final = 35
_SO_RCVBUFFORCE: Final = 33
_TIMESPEC: Final = struct.Struct("=qq")
_RST: Final = 0x04
_UDP_HEADER: Final = 8
_RTP_VERSION: Final = 0x80
_RTCP_TYPES: Final = range(192, 224)


def may_watch() -> bool:
    """Whether this process may look at packets: as root, or with CAP_NET_RAW."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except PermissionError:
        return False
    return True


class Wire:
    """What comes to these ports, for as long as it is entered; instants are monotonic seconds.

    A TCP port and a UDP port of one number are one to it: a player's own are never both. By TCP only what comes from
    ``servers`` counts: a port that a player has given back is soon another's.
    """

    def __init__(self, ports: Iterable[int], servers: Collection[int]) -> None:
        """``servers`` are the TCP ports that the players called. Raises PermissionError."""
        self._servers = frozenset(servers)
        self._data: dict[int, list[tuple[float, int]]] = {port: [] for port in ports}
        self._resets: dict[int, float] = {}
        self._sequences: dict[int, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, QUEUE_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(WAKE_S)
        self._ahead_s = time.time() - time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="wire")

    def __enter__(self) -> Wire:
        self._socket.bind(("lo", _ETH_P_IP))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def last_s(self, ports: Iterable[int]) -> float | None:
        """When the last byte of data came to any of these ports; None where none was seen."""
        return max((self._data[port][-1][0] for port in ports if self._data[port]), default=None)

    def after(self, ports: Iterable[int], instant_s: float) -> int:
        """Bytes of data that came to these ports after an instant."""
        return sum(size for port in ports for at_s, size in self._data[port] if at_s > instant_s)

    def was_reset(self, port: int) -> bool:
        """Whether the connection of this port was ended by a reset."""
        return port in self._resets

    def last_packet(self, ports: Iterable[int]) -> tuple[int, int] | None:
        """The source and the sequence number of the last RTP packet that came by UDP."""
        return next((self._sequences[port] for port in ports if port in self._sequences), None)

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                packet, notes, _, (_, _, direction, *_) = self._socket.recvmsg(SNAP_BYTES, 64)
            except TimeoutError:
                continue
            if direction == socket.PACKET_OUTGOING or not notes:  # on this interface each is seen going and coming
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(notes[0][2])
            self._take(packet, seconds + nanoseconds / 1e9 - self._ahead_s)

    def _take(self, packet: bytes, at_s: float) -> None:
        head, size = (packet[0] & 0x0F) * 4, int.from_bytes(packet[2:4], "big")
        sender, port = (
            int.from_bytes(packet[head : head + 2], "big"),
            int.from_bytes(packet[head + 2 : head + 4], "big"),
        )
        if port not in self._data or (packet[9] == socket.IPPROTO_TCP and sender not in self._servers):
            return
        if packet[9] == socket.IPPROTO_TCP:
            size -= head + (packet[head + 12] >> 4) * 4
            if packet[head + 13] & _RST:
                self._resets[port] = at_s
        elif packet[9] == socket.IPPROTO_UDP:
            size -= head + _UDP_HEADER
            self._take_datagram(port, packet[head + _UDP_HEADER :])
        if size > 0:
            self._data[port].append((at_s, size))

    def _take_datagram(self, port: int, payload: bytes) -> None:
        if len(payload) >= 12 and payload[0] & 0xC0 == _RTP_VERSION and payload[1] not in _RTCP_TYPES:
            self._sequences[port] = (int.from_bytes(payload[8:12], "big"), int.from_bytes(payload[2:4], "big"))
