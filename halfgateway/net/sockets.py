"""Socket options of the data plane.

Below TLS and below the event loop: what they change is what the kernel does with bytes already handed to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct

NOTSENT_LOWAT_BYTES = 64 * 1024
"""How much unsent video the kernel may hold for one reader: what is in it can still be delivered after a cut.
Measured (rtsp.md section 2): 64 KiB costs a fast reader nothing, 16 KiB throttles 8 Mb/s."""

DEAD_PEER_MS = 10_000
"""How long written data may stay unacknowledged before a pulled cable is noticed (rtsp.md row 29)."""

PROBE_EVERY_S = 5
"""How often a reader that is written nothing, its media being paused or going by UDP, is asked whether it is there:
two questions go unanswered within :data:`DEAD_PEER_MS`."""

LAST_WORDS_BYTES = 64 * 1024
"""What is read of a connection that has failed: a client's last requests have a few hundred bytes."""

_TCP_NOTSENT_LOWAT = 25
_TCP_USER_TIMEOUT = 18


def tune_downstream(transport: asyncio.BaseTransport) -> None:
    """Small kernel queue, no Nagle delay, a dead reader noticed within some ten seconds, whatever it is sent."""
    sock = _socket_of(transport)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, DEAD_PEER_MS)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)


def tune_upstream(transport: asyncio.BaseTransport) -> None:
    """No Nagle delay, and a dead camera noticed."""
    sock = _socket_of(transport)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, DEAD_PEER_MS)


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
    """End the connection with a reset: nothing queued, here or in the kernel, is still delivered.

    With TLS this is below it: neither what it has encrypted nor a ``close_notify`` goes out.
    """
    with contextlib.suppress(OSError, ValueError):  # a socket that is closed already, in uvloop's words too
        _reset_when_closed(_socket_of(transport))
    transport.abort()


def reset(connection: socket.socket) -> None:
    """Close a connection that nothing serves yet, with a reset."""
    with connection, contextlib.suppress(OSError):
        _reset_when_closed(connection)


def _reset_when_closed(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _socket_of(transport: asyncio.BaseTransport) -> socket.socket:
    sock: socket.socket = transport.get_extra_info("socket")
    return sock
