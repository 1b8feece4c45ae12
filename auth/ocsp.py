"""The state of a certificate as its authority's responder tells it (RFC 6960), where it names one that we may ask.

The answer counts beside the revocation list, never instead of it: a responder that does not answer lets nobody in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from auth.errors import AuthenticationError, AuthError, FailureReason
from auth.sealing import RandomBytes
from camera_registry.clock import Clock

GOOD_FOR = timedelta(seconds=60)
"""How long a good answer is used again, if it is not over before: a login storm is one question a certificate."""

MAX_REMEMBERED_ANSWERS = 2_000
"""Certificates whose good answer is remembered; when full the oldest is forgotten, and asked for again."""

CLOCK_LEEWAY = timedelta(minutes=5)
"""How far a responder's clock may be ahead, and how old an answer may be that does not say until when it holds."""

_NONCE_BYTES = 16

Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Posts a DER request to a responder's URL and returns the DER answer. Raises ResponderUnavailableError."""


class ResponderUnavailableError(AuthError):
    """A responder did not answer, or not in time."""


class OnlineStatus:
    """Asks responders; ``permitted`` are the URLs that may be asked, exactly as certificates name them."""

    def __init__(self, ask: Ask, permitted: Collection[str], clock: Clock, *, random_bytes: RandomBytes) -> None:
        self._ask = ask
        self._permitted = frozenset(permitted)
        self._clock = clock
        self._random_bytes = random_bytes
        self._good_until: OrderedDict[bytes, datetime] = OrderedDict()

    async def require_good(self, certificate: x509.Certificate, authority: x509.Certificate) -> None:
        """Return if the responder says that the certificate is good, or if it names none that may be asked.

        Raises:
            AuthenticationError: revoked, unknown to the responder, or no answer that can be believed.
        """
        url = self._responder_of(certificate)
        if url is None:
            return
        key = certificate.fingerprint(SHA256())
        until = self._good_until.get(key)
        if until is not None and self._clock.now() < until:
            return
        nonce = self._random_bytes(_NONCE_BYTES)
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, authority, SHA1())  # noqa: S303 - names only
        request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
        try:
            answer = ocsp.load_der_ocsp_response(await self._ask(url, request.public_bytes(Encoding.DER)))
        except (ResponderUnavailableError, ValueError) as error:
            raise AuthenticationError(FailureReason.OCSP_UNAVAILABLE) from error
        try:
            until = self._until(answer, certificate, authority, nonce)
        except (UnsupportedAlgorithm, ValueError, TypeError) as error:  # its parts are read as they are asked for
            raise AuthenticationError(FailureReason.OCSP_UNTRUSTED) from error
        self._remember(key, until)

    def _responder_of(self, certificate: x509.Certificate) -> str | None:
        try:
            access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        except x509.ExtensionNotFound:
            return None
        for description in access:
            location = description.access_location
            named = description.access_method == AuthorityInformationAccessOID.OCSP
            if named and isinstance(location, x509.UniformResourceIdentifier) and location.value in self._permitted:
                return location.value
        return None

    def _until(
        self, answer: ocsp.OCSPResponse, certificate: x509.Certificate, authority: x509.Certificate, nonce: bytes
    ) -> datetime:
        """The instant until which a good answer may be used again."""
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise AuthenticationError(FailureReason.OCSP_UNAVAILABLE)
        now = self._clock.now()
        if not _is_believed(answer, authority, now) or not _answers(answer, nonce):
            raise AuthenticationError(FailureReason.OCSP_UNTRUSTED)
        single = next((each for each in answer.responses if each.serial_number == certificate.serial_number), None)
        if single is None or single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
            raise AuthenticationError(FailureReason.OCSP_UNKNOWN)
        if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
            raise AuthenticationError(FailureReason.CERTIFICATE_REVOKED)
        until = single.next_update_utc or single.this_update_utc + CLOCK_LEEWAY
        if single.this_update_utc > now + CLOCK_LEEWAY or until <= now:
            raise AuthenticationError(FailureReason.OCSP_STALE)
        return min(until, now + GOOD_FOR)

    def _remember(self, key: bytes, until: datetime) -> None:
        self._good_until[key] = until
        self._good_until.move_to_end(key)
        if len(self._good_until) > MAX_REMEMBERED_ANSWERS:
            self._good_until.popitem(last=False)


def _answers(answer: ocsp.OCSPResponse, nonce: bytes) -> bool:
    """Whether an answer is to our question; responders that sign in advance send no nonce (RFC 8954 section 3)."""
    try:
        return answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    except x509.ExtensionNotFound:
        return True


def _is_believed(answer: ocsp.OCSPResponse, authority: x509.Certificate, now: datetime) -> bool:
    """Whether the authority signed, or a responder to which it has delegated that (RFC 6960 section 4.2.2.2)."""
    signers = [authority, *(each for each in answer.certificates if _is_delegate(each, authority, now))]
    return any(_signed(answer, signer) for signer in signers)


def _is_delegate(certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    in_dates = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return in_dates and ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def _signed(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), answer.signature_hash_algorithm
    signature, signed = answer.signature, answer.tbs_response_bytes
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except InvalidSignature:
        return False
    return True
