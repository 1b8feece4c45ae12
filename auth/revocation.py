"""Revocation lists (RFC 5280 section 5): read from PEM, whose they are, and of which certificates they tell."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtensionOID

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


def is_whole(revocations: x509.CertificateRevocationList) -> bool:
    """Whether a list can be used by itself: no delta of another, and nothing critical in it that is not understood.

    RFC 5280 sections 5.2.4 and 5.2: from any other, a certificate's absence says nothing.
    """
    critical = {extension.oid for extension in revocations.extensions if extension.critical}
    is_delta = any(isinstance(extension.value, x509.DeltaCRLIndicator) for extension in revocations.extensions)
    point = scope_of(revocations)
    return not is_delta and critical <= {ExtensionOID.ISSUING_DISTRIBUTION_POINT} and not (point and point.indirect_crl)


def scope_of(revocations: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    """Which of its authority's certificates a list is about, where not all (RFC 5280 section 5.2.5)."""
    try:
        return revocations.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return None


def is_about(revocations: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """Whether a list would name this end entity's certificate, were it revoked. Raises ValueError: it is unreadable."""
    if not is_whole(revocations):
        return False
    point = scope_of(revocations)
    if point is None:
        return True
    if point.only_contains_ca_certs or point.only_contains_attribute_certs or point.only_some_reasons:
        return False
    if point.relative_name is not None:
        return False
    return point.full_name is None or not _points_of(certificate).isdisjoint(point.full_name)


def _points_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return set()
    return {name for point in points for name in point.full_name or ()}
