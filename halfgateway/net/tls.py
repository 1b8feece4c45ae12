"""TLS for servers: what is offered, and a listener that says why it refused a handshake (S02, C17).

The event loop's own ``create_server(ssl=...)`` drops a refused handshake without a word. Here each connection is
accepted in plain TCP and then shaken hands with, so that a bad certificate, version or cipher is told to whoever
keeps the trace (C08).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from halfgateway.net import sockets

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
"""How long a handshake may take: two round trips and a signature; a slow loris is dropped after it."""

MAX_HANDSHAKES = 2_000
"""Handshakes under way on one listener: more than a thousand half-open ones, some 50 kB each. Past it a new connection
is reset; none of them takes a slot (rtsp.md row 9)."""

BACKLOG = 512
"""Connections the kernel may hold before they are accepted."""

NOT_ACCEPTED_PAUSE_S = 0.5
"""How long nothing is accepted when the kernel cannot, as with no descriptor left: until others have ended."""

MACHINE_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:@SECLEVEL=2"
"""What TLS 1.2 may use: ephemeral keys and authenticated encryption; keys and signatures of 112 bits at least."""

_X509_V_FLAG_NO_CHECK_TIME = 0x200000
"""OpenSSL's; Python names no such member of ssl.VerifyFlags."""

_CERTIFICATE_REASONS: Mapping[int, str] = {
    2: "issuer-unknown",
    7: "certificate-signature-wrong",
    18: "certificate-self-signed",
    19: "chain-self-signed",
    20: "issuer-unknown",
    21: "issuer-unknown",
    22: "chain-too-long",
    25: "chain-too-long",
    26: "certificate-wrong-usage",
    32: "issuer-not-an-authority",
    34: "certificate-critical-extension",
    66: "certificate-key-too-small",
    67: "authority-key-too-small",
    68: "certificate-digest-too-weak",
    79: "issuer-not-an-authority",
}
"""OpenSSL's verify codes (x509_vfy.h) in the trace's words."""

_HANDSHAKE_REASONS: Mapping[str, str] = {
    "UNSUPPORTED_PROTOCOL": "tls-version",
    "VERSION_TOO_LOW": "tls-version",
    "NO_SHARED_CIPHER": "tls-cipher",
    "NO_SUITABLE_KEY_SHARE": "tls-group",
    "NO_SUITABLE_GROUPS": "tls-group",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "tls-signature-algorithm",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "tls-signature-algorithm",
    "BAD_SIGNATURE": "key-not-proved",
    "HTTP_REQUEST": "not-tls",
    "HTTPS_PROXY_REQUEST": "not-tls",
    "WRONG_VERSION_NUMBER": "not-tls",
    "RECORD_LAYER_FAILURE": "not-tls",
    "PACKET_LENGTH_TOO_LONG": "not-tls",
}
"""OpenSSL's error names (sslerr.h) in the trace's words; another is told under its own name."""

_THE_PEER_GAVE_UP = re.compile(r"ALERT|EOF|CLOSE_NOTIFY")


def server_context(
    *, certificate: Path, key: Path, client_authorities: Path, with_tls_1_2: bool = False, alpn: Iterable[str] = ()
) -> ssl.SSLContext:
    """Make a server's context from PEM files; a client certificate is asked for and not required.

    The chain up to ``client_authorities``, whose intermediate ones may stand alone, is verified in the handshake.
    Dates and revocation are left to :mod:`auth.certificates`, so that they get an answer too. TLS 1.2 shows
    certificates in clear: it is for machines alone.

    Raises:
        OSError: a file cannot be read, or holds no PEM of its kind, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if with_tls_1_2 else ssl.TLSVersion.TLSv1_3
    context.set_ciphers(MACHINE_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_authorities)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME) | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if protocols := list(alpn):
        context.set_alpn_protocols(protocols)
    return context


def refusal_reason(error: ssl.SSLError) -> str | None:
    """Why we refused a handshake, in the trace's words; None where it was the peer that gave up."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_REASONS.get(error.verify_code, f"certificate-refused-{error.verify_code}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    name = error.reason or ""
    if _THE_PEER_GAVE_UP.search(name):
        return None
    return _HANDSHAKE_REASONS.get(name, "tls-" + (name.lower().replace("_", "-") or "failed"))


class TlsListener:
    """Accepts connections and shakes hands, each for a bounded time, before any protocol hears of them.

    ``context`` is asked at each handshake, so that a new certificate counts at once and running connections keep
    theirs. ``refused`` is told the peer's address and the reason.
    """

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        *,
        context: Callable[[], ssl.SSLContext],
        refused: Callable[[str, str], None],
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        max_handshakes: int = MAX_HANDSHAKES,
    ) -> None:
        self._make_protocol = make_protocol
        self._context = context
        self._refused = refused
        self._handshake_timeout_s = handshake_timeout_s
        self._max_handshakes = max_handshakes
        self._accepting: dict[asyncio.Task[None], socket.socket] = {}
        self._handshakes: set[asyncio.Task[None]] = set()

    @property
    def handshakes(self) -> int:
        """How many are under way."""
        return len(self._handshakes)

    async def listen(self, host: str, port: int) -> int:
        """Accept connections on every address of ``host`` at ``port`` (0: any free one); returns the port."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, address[:2]) for family, _, _, _, address in found):
            listener = socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            task = asyncio.create_task(self._accept(listener), name=f"accept TLS on {port}")
            task.add_done_callback(_log_failure)
            self._accepting[task] = listener
        return port

    async def close(self) -> None:
        """Stop listening and drop the handshakes; connections that were made are their protocols' to end."""
        tasks = [*self._accepting, *self._handshakes]
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
                log.warning("tls.not_accepted error=%s", error)
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(NOT_ACCEPTED_PAUSE_S)
                continue
            if len(self._handshakes) >= self._max_handshakes:
                sockets.reset(connection)
                continue
            handshake = asyncio.create_task(self._shake_hands(connection, str(address[0])))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)
            handshake.add_done_callback(_log_failure)
            handshake.add_done_callback(partial(_close_unserved, connection))

    async def _shake_hands(self, connection: socket.socket, source: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=self._handshake_timeout_s,
            )
        except ssl.SSLError as error:
            reason = refusal_reason(error)
            log.info("tls.refused source=%s reason=%s error=%s", source, reason or "given-up-by-peer", error)
            if reason is not None:
                self._refused(source, reason)
        except ConnectionAbortedError:
            log.info("tls.too_slow source=%s", source)
            self._refused(source, "tls-handshake-timeout")
        except OSError as error:
            log.info("tls.lost source=%s error=%s", source, error)


def _close_unserved(connection: socket.socket, handshake: asyncio.Task[None]) -> None:
    """A handshake that was cancelled, perhaps before it began, leaves no descriptor."""
    if handshake.cancelled():
        connection.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    """A task of the listener that dies is a bug, and is not to die unheard."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("tls.failed task=%s", task.get_name(), exc_info=task.exception())
