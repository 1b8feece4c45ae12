"""TLS for servers: what is offered, and a listener that says why it refused a handshake (S02, C17).

The event loop's own ``create_server(ssl=...)`` drops a refused handshake without a word. Here each connection is
accepted in plain TCP and then shaken hands with, so that a bad certificate, version or cipher is told to whoever
keeps the trace (C08).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from halfgateway.net.listener import MAX_PREPARING, Balancers, Listener, MakeProtocol, Refused

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
"""How long a handshake may take: two round trips and a signature; a slow loris is dropped after it."""

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


class TlsListener(Listener):
    """Shakes hands too, after a balancer's PROXY header where there is one (it stands before TLS).

    ``context`` is asked at each handshake, so that a new certificate counts at once and running connections keep
    theirs. ``refused`` is told of a handshake the client's address and the reason.
    """

    def __init__(
        self,
        make_protocol: MakeProtocol,
        *,
        context: Callable[[], ssl.SSLContext],
        refused: Refused,
        balancers: Balancers | None = None,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        max_preparing: int = MAX_PREPARING,
    ) -> None:
        super().__init__(make_protocol, balancers=balancers, max_preparing=max_preparing)
        self._context = context
        self._refused = refused
        self._handshake_timeout_s = handshake_timeout_s

    async def _serve(self, connection: socket.socket, make_protocol: MakeProtocol, source: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                make_protocol,
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
