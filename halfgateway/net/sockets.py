"""Socket options of the data plane.

Below TLS and below the event loop: what they change is what the kernel does with bytes already handed to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys

NOTSENT_LOWAT_BYTES = 64 * 1024
"""How much unsent video the kernel may hold for one reader: what is in it can still be delivered after a cut.
Measured on loopback: 64 KiB costs a fast reader nothing, 16 KiB throttles 8 Mb/s."""

DEAD_PEER_MS = 9_000
"""How long a peer may acknowledge nothing before its connection is given up: a pulled cable is noticed within ten
seconds (docs/conformance.md row 29), the kernel's own slack included."""

PROBE_AFTER_S = 5
"""Silence after which the kernel asks a peer that is sent nothing whether it is there: one who has paused, too. ..."""

PROBE_EVERY_S = 1
"""... and how often it asks again, so that :data:`DEAD_PEER_MS` is kept to a second."""

LAST_WORDS_BYTES = 64 * 1024
"""What is read of a connection that has failed: a client's last requests have a few hundred bytes."""

UNANSWERED_PROBES = 3
"""Questions to a reader with a shut window that go unanswered before it is gone: one may be under way at any time."""

_LIBC = ctypes.CDLL(None)
_NO_ADDRESS = struct.pack("=H14x", socket.AF_UNSPEC)
_SIOCOUTQ = 0x5411
_SIOCOUTQNSD = 0x894B
_TCP_NOTSENT_LOWAT = 25
_TCP_USER_TIMEOUT = 18
_TCP_INFO = struct.Struct("=3xB20xI28xI")
"""Of ``struct tcp_info``: unanswered probes; segments not acknowledged; milliseconds since the last acknowledgement."""


def tune_downstream(transport: asyncio.BaseTransport) -> None:
    """Small kernel queue, no Nagle delay, a dead reader noticed within some ten seconds, whatever it is sent."""
    sock = _socket_of(transport)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
    _ask_in_silence(sock)


def tune_upstream(transport: asyncio.BaseTransport) -> None:
    """No Nagle delay, and a dead camera noticed."""
    sock = _socket_of(transport)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, DEAD_PEER_MS)
    _ask_in_silence(sock)


def is_dead(transport: asyncio.BaseTransport) -> bool:
    """Whether a peer has acknowledged nothing of what it was sent for :data:`DEAD_PEER_MS`.

    The kernel's own TCP_USER_TIMEOUT would end as well who lives and reads nothing for a while: a slow reader.
    """
    try:
        info = _socket_of(transport).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # closed already
        return False
    probes, unacknowledged, since_ms = map(int, _TCP_INFO.unpack(info))
    return since_ms >= DEAD_PEER_MS and (unacknowledged > 0 or probes >= UNANSWERED_PROBES)


class BorrowedSocket:
    """The socket below a transport, which stays the event loop's to close: ``give_back`` it before that.

    Made once for the connection's life; uvloop's own makes a socket object for each call.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        """Raises OSError: the connection is closed."""
        self._socket = socket.socket(fileno=_socket_of(transport).fileno())
        self.fileno = self._socket.fileno
        self.recv = self._socket.recv

    def acknowledge(self) -> None:
        """Acknowledge what has come without the usual 40 ms: a camera with Nagle's delay waits for it.

        The kernel forgets this by itself, so it is said after each read.
        """
        with contextlib.suppress(OSError):  # closed by the peer: the next read will say so
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def give_back(self) -> None:
        """Touch the connection no more."""
        self._socket.detach()


def is_all_sent(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds nothing that it has not sent yet: then the event loop, which fills it, holds nothing."""
    return _queued(transport, _SIOCOUTQNSD) == 0


def unacknowledged_bytes(transport: asyncio.BaseTransport) -> int:
    """What the kernel holds that the peer has not acknowledged, sent or not; an abort throws it away (tcp(7))."""
    return _queued(transport, _SIOCOUTQ) or 0


def _queued(transport: asyncio.BaseTransport, which: int) -> int | None:
    """The length of one of the kernel's queues; None where the connection is closed already."""
    length = bytearray(4)
    try:
        fcntl.ioctl(_socket_of(transport).fileno(), which, length)
    except OSError:
        return None
    return int.from_bytes(length, sys.byteorder)


def write_now(transport: asyncio.BaseTransport, data: bytes) -> bool:
    """Hand ``data`` to the kernel at once, past the event loop's own buffer; False where it cannot be.

    Only right where that buffer is empty: on a TLS connection, or behind unsent bytes, it never is.
    """
    try:
        return os.write(_socket_of(transport).fileno(), data) == len(data)
    except OSError:
        return False


def last_words(transport: asyncio.BaseTransport) -> bytes:
    """What the peer had sent before it reset the connection, and the event loop has not read.

    The loop closes a connection when a write fails, whatever waits to be read. Only right in ``connection_lost``,
    while the socket is still open, and without TLS, whose records the loop alone can open.
    """
    try:
        return os.read(_socket_of(transport).fileno(), LAST_WORDS_BYTES)
    except OSError:
        return b""


def abort(transport: asyncio.Transport) -> None:
    """End the connection with a reset, now: nothing queued, here or in the kernel, is still delivered.

    With TLS this is below it: neither what it has encrypted nor a ``close_notify`` goes out. The event loop closes a
    socket a turn later, and on a busy machine the kernel has sent on by then: so the reset is not left to it.
    """
    with contextlib.suppress(OSError):  # a socket that is closed already has nothing queued
        sock = _socket_of(transport)
        _reset_when_closed(sock)
        _dissolve(sock)
    transport.abort()


def reset(connection: socket.socket) -> None:
    """Close a connection that nothing serves yet, with a reset."""
    with connection, contextlib.suppress(OSError):
        _reset_when_closed(connection)


def _ask_in_silence(sock: socket.socket) -> None:
    """Let the kernel ask a peer that is sent nothing, and give it up in the same time as one that is."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S)
    probes = max(1, (DEAD_PEER_MS // 1000 - PROBE_AFTER_S) // PROBE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)


def _reset_when_closed(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _dissolve(sock: socket.socket) -> None:
    """Reset a TCP connection and drop its queues at once: connect(2) to no family at all, which Python does not offer.

    Where a system does not know it, the reset comes with the close.
    """
    _LIBC.connect(sock.fileno(), _NO_ADDRESS, len(_NO_ADDRESS))


def _socket_of(transport: asyncio.BaseTransport) -> socket.socket:
    """The socket below a transport.

    Raises OSError where it is closed already: uvloop then shows an empty one, and over TLS none.
    """
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise OSError(errno.EBADF, "the connection is closed")
    return sock
