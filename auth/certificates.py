"""Client certificates: trusted, in their dates, made for this use, and not revoked (C08, S02).

TLS proves that the peer holds the key. What a refusal must name in the trace (expired, revoked, ...) is
decided here, because a handshake that fails tells nobody why.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.errors import AuthenticationError, FailureReason
from auth.revocation import is_about, is_signed_by, load_revocation_lists, scope_of
from camera_registry.clock import Clock


class CertificateVerifier:
    """Verifies a peer's certificate against the issuing authorities and their revocation lists.

    Every authority that issues client certificates is listed, intermediate ones too: several at once allow a
    roll-over. An authority without a current list of its own vouches for nobody: stale means refused (S02).
    """

    def __init__(
        self,
        authorities: Iterable[x509.Certificate],
        revocation_lists: Iterable[x509.CertificateRevocationList],
        clock: Clock,
    ) -> None:
        self._authorities = tuple(authorities)
        self._revocation_lists = tuple(revocation_lists)
        self._clock = clock

    @classmethod
    def from_pem(cls, authorities_pem: bytes, revocation_lists_pem: bytes, clock: Clock) -> CertificateVerifier:
        """Read authorities and revocation lists, any number of each, from PEM.

        Raises:
            ValueError: a block cannot be read, or there is no authority.
        """
        return cls(
            x509.load_pem_x509_certificates(authorities_pem),
            load_revocation_lists(revocation_lists_pem),
            clock,
        )

    def replace_revocation_lists(self, revocation_lists: Iterable[x509.CertificateRevocationList]) -> None:
        """Use these lists from the next verification on."""
        self._revocation_lists = tuple(revocation_lists)

    def replace(self, authorities_pem: bytes, revocation_lists_pem: bytes) -> None:
        """Use these authorities and lists from the next verification on.

        Raises:
            ValueError: a block cannot be read, or there is no authority; those before stay in use.
        """
        authorities = tuple(x509.load_pem_x509_certificates(authorities_pem))
        self._revocation_lists = tuple(load_revocation_lists(revocation_lists_pem))
        self._authorities = authorities

    def used_life(self) -> float | None:
        """How much of its life the revocation list has used that is nearest its end.

        Where an authority has a newer one about the same certificates, that counts; authorities are told apart by
        their keys, for a renewed one keeps its name. 0 is new, 1 and more is stale; None where there is no list.
        """
        now = self._clock.now()
        newest: dict[tuple[int, x509.IssuingDistributionPoint | None], float] = {}
        for number, authority in enumerate(self._authorities):
            for revocations in self._revocation_lists:
                if _within_dates(authority, now) and is_signed_by(authority, revocations):
                    subject, used = (number, scope_of(revocations)), _used_life(revocations, now)
                    newest[subject] = min(used, newest.get(subject, used))
        return max(newest.values(), default=None)

    def verify(self, certificate_der: bytes) -> None:
        """Accept the certificate or say why not.

        Raises:
            AuthenticationError: with the first reason that holds: unreadable, untrusted, wrong usage,
                no revocation list, none of its authority's, none that is current, revoked, not yet valid,
                expired, its authority expired.
        """
        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
            authority = self._issuer_of(certificate)
            _require_client_usage(certificate)
            now = self._clock.now()
            self._require_not_revoked(certificate, authority, now)
        except ValueError as error:
            raise AuthenticationError(FailureReason.CERTIFICATE_UNREADABLE) from error
        _require_within_dates(certificate, now)
        if not _within_dates(authority, now):
            raise AuthenticationError(FailureReason.AUTHORITY_EXPIRED)

    def authority_of(self, certificate_der: bytes) -> tuple[x509.Certificate, x509.Certificate]:
        """Return a certificate, read, and the authority that issued it.

        Raises:
            AuthenticationError: it cannot be read, or none of the authorities did.
        """
        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
        except ValueError as error:
            raise AuthenticationError(FailureReason.CERTIFICATE_UNREADABLE) from error
        return certificate, self._issuer_of(certificate)

    def _issuer_of(self, certificate: x509.Certificate) -> x509.Certificate:
        """Of several that could have (one renewed with the same key), one in its dates if there is one."""
        issuers = [authority for authority in self._authorities if _issued(authority, certificate)]
        if not issuers:
            raise AuthenticationError(FailureReason.CERTIFICATE_UNTRUSTED)
        now = self._clock.now()
        return next((authority for authority in issuers if _within_dates(authority, now)), issuers[0])

    def _require_not_revoked(self, certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> None:
        if not self._revocation_lists:
            raise AuthenticationError(FailureReason.REVOCATION_UNKNOWN)
        its_own = [
            revocations
            for revocations in self._revocation_lists
            if is_signed_by(authority, revocations) and is_about(revocations, certificate)
        ]
        if not its_own:
            raise AuthenticationError(FailureReason.REVOCATION_UNTRUSTED)
        current = [revocations for revocations in its_own if is_current(revocations, now)]
        if not current:
            raise AuthenticationError(FailureReason.REVOCATION_STALE)
        serial = certificate.serial_number
        if any(revocations.get_revoked_certificate_by_serial_number(serial) is not None for revocations in current):
            raise AuthenticationError(FailureReason.CERTIFICATE_REVOKED)


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_current(revocations: x509.CertificateRevocationList, now: datetime) -> bool:
    """Whether a revocation list has begun, and says until when it holds."""
    next_update = revocations.next_update_utc
    return next_update is not None and revocations.last_update_utc <= now < next_update


def _used_life(revocations: x509.CertificateRevocationList, now: datetime) -> float:
    begin, end = revocations.last_update_utc, revocations.next_update_utc
    if end is None or end <= begin:
        return 1.0
    return (now - begin) / (end - begin)


def _within_dates(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _require_within_dates(certificate: x509.Certificate, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise AuthenticationError(FailureReason.CERTIFICATE_NOT_YET_VALID)
    if now > certificate.not_valid_after_utc:
        raise AuthenticationError(FailureReason.CERTIFICATE_EXPIRED)


def _require_client_usage(certificate: x509.Certificate) -> None:
    """An end-entity certificate for client authentication (RFC 5280 sections 4.2.1.3, 4.2.1.9, 4.2.1.12)."""
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise AuthenticationError(FailureReason.CERTIFICATE_WRONG_USAGE) from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes or not usage.digital_signature or usage.key_cert_sign:
        raise AuthenticationError(FailureReason.CERTIFICATE_WRONG_USAGE)
