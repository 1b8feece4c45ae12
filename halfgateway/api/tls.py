"""TLS of the HTTPS port: 1.3 only, a client certificate asked for and not required (C17, S02)."""

from __future__ import annotations

import ssl
from pathlib import Path

_X509_V_FLAG_NO_CHECK_TIME = 0x200000
"""OpenSSL's; Python names no such member of ssl.VerifyFlags."""


def https_context(*, certificate: Path, key: Path, client_authorities: Path) -> ssl.SSLContext:
    """Make the server's context from PEM files.

    The chain up to ``client_authorities`` is verified in the handshake. Dates and revocation are left to
    :mod:`auth.certificates`: a handshake refused for them could be neither answered nor traced. TLS 1.2 would show
    personal certificates in clear, so it is not offered.

    Raises:
        OSError: a file cannot be read, or holds no PEM of its kind.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_authorities)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    context.set_alpn_protocols(["http/1.1"])
    return context
