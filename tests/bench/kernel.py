"""What the kernel has been given on a connection of another process: Linux' ``sock_diag`` (``linux/inet_diag.h``)."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import math
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

SAMPLE_S: Final = 0.001
"""Between two looks at all connections: what a node hands over in between, some kilobytes, is told to that instant."""

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_INET_DIAG_INFO: Final = 2
_NO_COOKIE: Final = b"\xff" * 8
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI")
_PORTS: Final = struct.Struct("!HH")
_AFTER_ID: Final = struct.Struct("=IIIII")
_MESSAGE_BYTES: Final = 72
_ATTRIBUTE: Final = struct.Struct("=HH")
_BYTES: Final = struct.Struct("=QQ")
_BYTES_ACKED: Final = 120
"""Where ``tcpi_bytes_acked`` stands in ``struct tcp_info``, and ``tcpi_bytes_received`` after it."""


class _Growth(NamedTuple):
    """A count of bytes that was first seen at one look, and not yet at the one before it (monotonic seconds)."""

    since_s: float
    seen_s: float
    count: int


class HandedOver:
    """Samples of connections on the loopback interface, by the reader's port: what there was whenever that had grown.

    ``readers_too``: also of what the reader's process has read of its own socket.
    """

    def __init__(self, server_port: int, reader_ports: Iterable[int], *, readers_too: bool = False) -> None:
        self._server_port = server_port
        self._samples: dict[int, list[_Growth]] = {port: [] for port in reader_ports}
        self._read: dict[int, list[_Growth]] = {port: [] for port in self._samples} if readers_too else {}
        self._unread: dict[int, int] = {}
        self._looked_s = -math.inf

    def after(self, port: int, instant_s: float) -> int:
        """Bytes handed to the kernel for a reader after an instant (monotonic seconds).

        What two looks with that instant between them have seen to grow may have grown before it, and does not count.
        """
        samples = self._samples[port]
        before = bisect.bisect_left(samples, instant_s, key=lambda growth: growth.since_s)
        return samples[-1].count - samples[before - 1].count if before and samples else 0

    def last_s(self, port: int) -> float | None:
        """The instant at which the last byte was handed over; None if none was seen."""
        samples = self._samples[port]
        return samples[-1].seen_s if samples else None

    def last_read_s(self, port: int) -> float | None:
        """The instant at which the reader was last seen to have read; None where it was not, or is not watched."""
        samples = self._read.get(port)
        return samples[-1].seen_s if samples else None

    def unread_bytes(self, port: int) -> int:
        """What lay unread in the reader's own buffer when its connection was last seen."""
        return self._unread.get(port, 0)

    def sample(self, diagnosis: socket.socket) -> None:
        """Look once at every connection."""
        since_s = self._looked_s
        for port, samples in self._samples.items():
            server = _look(diagnosis, self._server_port, port)
            if server is not None:
                _note(samples, since_s, server.acknowledged + server.unacknowledged)
        for port, samples in self._read.items():
            reader = _look(diagnosis, port, self._server_port)
            if reader is not None:
                _note(samples, since_s, reader.received - reader.unread)
                self._unread[port] = reader.unread
        self._looked_s = time.monotonic()


@asynccontextmanager
async def watched(
    server_port: int, reader_ports: Iterable[int], *, readers_too: bool = False
) -> AsyncIterator[HandedOver]:
    """Sample these connections as long as the block lasts."""
    handed = HandedOver(server_port, reader_ports, readers_too=readers_too)

    async def sample() -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as diagnosis:
            while True:
                handed.sample(diagnosis)
                await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.create_task(sample())
    try:
        yield handed
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling


class _Counters(NamedTuple):
    """Of one side of a connection, in bytes: what it was given to send, and what has come."""

    acknowledged: int
    unacknowledged: int
    received: int
    unread: int


def _note(samples: list[_Growth], since_s: float, count: int) -> None:
    if not samples or count > samples[-1].count:
        samples.append(_Growth(since_s, time.monotonic(), count))


def _look(diagnosis: socket.socket, own_port: int, other_port: int) -> _Counters | None:
    """The counters of the side that has this port; None if it is no more."""
    loopback = socket.inet_aton("127.0.0.1").ljust(16, b"\0")
    identity = _PORTS.pack(own_port, other_port) + loopback * 2 + struct.pack("=I", 0) + _NO_COOKIE
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, 0xFFFFFFFF) + identity
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    diagnosis.send(header + request)
    answer = diagnosis.recv(4096)
    size, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        return None
    _, unread, unacknowledged, _, _ = _AFTER_ID.unpack_from(answer, _HEADER.size + _MESSAGE_BYTES - _AFTER_ID.size)
    position = _HEADER.size + _MESSAGE_BYTES
    while position < size:
        length, attribute = _ATTRIBUTE.unpack_from(answer, position)
        if attribute == _INET_DIAG_INFO:
            acknowledged, received = _BYTES.unpack_from(answer, position + _ATTRIBUTE.size + _BYTES_ACKED)
            return _Counters(acknowledged, unacknowledged, received, unread)
        position += (length + 3) & ~3
    return None
