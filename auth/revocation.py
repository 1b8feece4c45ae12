"""Revocation lists (RFC 5280 section 5): read from PEM, and known by their authority's signature."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_SIGNING_KEYS = (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey, Ed448PublicKey)


def load_revocation_lists(pem: bytes) -> list[x509.CertificateRevocationList]:
    """Read every CRL of a PEM file; none is no error here.

    Raises:
        ValueError: a block cannot be read.
    """
    end = b"-----END X509 CRL-----"
    blocks = pem.split(end)[:-1]
    return [x509.load_pem_x509_crl(block + end) for block in blocks]


def is_signed_by(authority: x509.Certificate, revocations: x509.CertificateRevocationList) -> bool:
    """Whether a revocation list is this authority's, by name and by signature."""
    key = authority.public_key()
    if revocations.issuer != authority.subject or not isinstance(key, _SIGNING_KEYS):
        return False
    return revocations.is_signature_valid(key)
