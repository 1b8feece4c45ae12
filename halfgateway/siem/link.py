"""The connection to a collector: TLS 1.2 or 1.3 with both certificates verified (RFC 5425 section 4.2). Blocking.

Syslog has no acknowledgement. What stands in for one is the end of the TLS session: a peer that answers our
close_notify, or closes with nothing unread (else the kernel resets), has read every message before it. One that ended
the session first answers nothing: it may have read nothing either.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from halfgateway.errors import HalfGatewayError
from halfgateway.net.tls import MACHINE_CIPHERS

CONNECT_LIMIT_S = 5.0
"""How long connecting may take, and each step of the handshake."""

TAKE_LIMIT_S = 30.0
"""How long a collector may take nothing at all, and how long to read to the end what it was sent."""

_LOOK_AGAIN_S = 0.01
_COUNT = struct.Struct("i")


class LinkError(HalfGatewayError):
    """The collector is not reached, not who it should be, or has gone; what was not proven is sent again."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Where a collector listens, how it proves itself, and how we do (PEM files, read at each connection)."""

    host: str
    port: int
    server_name: str
    authority: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Make the TLS context. Raises OSError for a file that cannot be read or is not of its kind."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(MACHINE_CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Link:
    """One connection, once. Every method but :meth:`abort` is for one thread.

    That thread alone closes: another's close would free the descriptor for somebody else's socket under its hands.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._socket: socket.socket | None = None
        self._secured: ssl.SSLSocket | None = None

    def open(self) -> None:
        """Connect and shake hands. Raises LinkError."""
        try:
            context = self._collector.context()
            self._secured = context.wrap_socket(self._connect(), server_hostname=self._collector.server_name)
            self._secured.settimeout(TAKE_LIMIT_S)
        except (OSError, ValueError) as error:
            self.close()
            raise LinkError(f"the collector is not reached: {error}") from error

    def send(self, messages: bytes) -> None:
        """Hand messages over; returns once the kernel has them. Raises LinkError."""
        if self._secured is None:
            raise LinkError("the collector is not connected")
        try:
            self._secured.sendall(messages)
        except OSError as error:
            self.close()
            raise LinkError(f"the collector takes nothing more: {error}") from error

    def finish(self) -> None:
        """End the session; that this returns proves that the collector has read everything. Raises LinkError."""
        if self._secured is None:
            raise LinkError("the collector is not connected")
        try:
            self._require_open(self._secured)
            self._secured.unwrap()
        except OSError as error:
            if not self._was_closed_after_all(error):
                raise LinkError(f"the collector did not read to the end: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        for end in (self._secured, self._socket):
            if end is not None:
                end.close()
        self._secured = self._socket = None

    def abort(self) -> None:
        """End the connection from another thread: what blocks on it there fails at once."""
        for end in (self._secured, self._socket):
            if end is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(end, socket.SHUT_RDWR)  # SSLSocket's own would let a send go on in clear

    def _connect(self) -> socket.socket:
        """Connect to the first of the collector's addresses that answers; kept at once, so that it can be aborted."""
        failed = OSError("no address")
        for family, kind, number, _, address in socket.getaddrinfo(
            self._collector.host, self._collector.port, type=socket.SOCK_STREAM
        ):
            attempt = self._socket = socket.socket(family, kind, number)
            attempt.settimeout(CONNECT_LIMIT_S)
            try:
                attempt.connect(address)
            except OSError as error:
                attempt.close()
                failed = error
            else:
                return attempt
        raise failed

    @staticmethod
    def _require_open(secured: ssl.SSLSocket) -> None:
        """Raise LinkError where the collector has ended the session, or the connection, before we do.

        Its end that is still on its way to us cannot be told from an answer to ours.
        """
        secured.setblocking(False)
        try:
            secured.recv(1)
        except ssl.SSLWantReadError:
            secured.settimeout(TAKE_LIMIT_S)
        except OSError as error:
            raise LinkError(f"the collector did not read to the end: {error}") from error
        else:
            raise LinkError("the collector ended the session before we did")

    def _was_closed_after_all(self, error: OSError) -> bool:
        """Whether it closed without a word, and with nothing unread.

        Had it closed before our last bytes came, or with some unread, its kernel would reset instead of acknowledging.
        """
        closed = isinstance(error, ssl.SSLEOFError) or error.errno == 0
        if not closed or self._secured is None:
            return False
        deadline_s = time.monotonic() + TAKE_LIMIT_S
        while time.monotonic() < deadline_s:
            (unacknowledged,) = _COUNT.unpack(fcntl.ioctl(self._secured, termios.TIOCOUTQ, bytes(_COUNT.size)))
            if self._secured.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return False
            if unacknowledged == 0:
                return True
            time.sleep(_LOOK_AGAIN_S)
        return False
