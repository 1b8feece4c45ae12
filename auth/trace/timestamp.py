"""RFC 3161 time-stamp tokens over a note, checked with ``cryptography`` alone (T04, T06).

A token is a CMS SignedData (RFC 5652) around a TSTInfo (RFC 3161 section 2.4.2): "these bytes existed at this time".
What is taken is what the standard asks for and no more: SHA-256 imprints, one signer, signed attributes, the signer's
certificate named in them (RFC 5816), issued for time-stamping by a known authority and valid at the token's time;
and, where a revocation list of the certificate's issuer is at hand, not revoked (RFC 3161 section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1, sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, Hash, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    BasicConstraints,
    Certificate,
    CertificateRevocationList,
    CRLReason,
    DuplicateExtension,
    ExtendedKeyUsage,
    ExtensionNotFound,
    InvalidVersion,
    ReasonFlags,
    RevokedCertificate,
    UnsupportedGeneralNameType,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.errors import AuthorityRevoked, NoteError
from auth.revocation import is_signed_by, load_revocation_lists

MAX_TOKEN_BYTES = 64 * 1024
"""Bytes of one token: a signature and a chain of certificates take a tenth of it; a longer one is refused unread."""

MAX_CHAIN = 4
"""Certificates from the signer to a known authority; time-stamping authorities have two or three."""

_EARLIER_TOKENS_HOLD = frozenset(
    {
        ReasonFlags.unspecified,
        ReasonFlags.affiliation_changed,
        ReasonFlags.superseded,
        ReasonFlags.cessation_of_operation,
    }
)
"""Reasons of a revocation that spare the tokens made before it; with any other, or none, all fall (RFC 3161, 4)."""

_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _TIME = 0x02, 0x04, 0x06, 0x30, 0x31, 0x18
_CONTEXT_0 = 0xA0
_LONG_FORM = 0x80
_MULTI_BYTE_TAG = 0x1F
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_CONTENT_TYPE, _MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010903"), bytes.fromhex("2a864886f70d010904")
_SIGNING_CERTIFICATE = bytes.fromhex("2a864886f70d010910020c")
_SIGNING_CERTIFICATE_V2 = bytes.fromhex("2a864886f70d010910022f")
_SHA256_OID = bytes.fromhex("608648016503040201")
_DIGESTS: dict[bytes, type[HashAlgorithm]] = {
    _SHA256_OID: SHA256,
    bytes.fromhex("608648016503040202"): SHA384,
    bytes.fromhex("608648016503040203"): SHA512,
}
_UNREADABLE_CERTIFICATE = (InvalidVersion, DuplicateExtension, UnsupportedGeneralNameType)
_RSA = bytes.fromhex("2a864886f70d010101")
_ED25519_OID = bytes.fromhex("2b6570")
_SIGNATURES: dict[bytes, type[HashAlgorithm]] = {
    bytes.fromhex("2a864886f70d01010b"): SHA256,
    bytes.fromhex("2a864886f70d01010c"): SHA384,
    bytes.fromhex("2a864886f70d01010d"): SHA512,
    bytes.fromhex("2a8648ce3d040302"): SHA256,
    bytes.fromhex("2a8648ce3d040303"): SHA384,
    bytes.fromhex("2a8648ce3d040304"): SHA512,
}


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Who says so (the signer's subject, RFC 4514), when (Unix seconds), and the nonce it was asked with."""

    authority: str
    at: int
    nonce: int | None


@dataclass(frozen=True, slots=True)
class _Der:
    """One DER element: its tag, its content, and all its bytes."""

    tag: int
    content: bytes
    whole: bytes

    def children(self) -> list[_Der]:
        return _elements(self.content)


def read_authorities(pem: bytes) -> list[Certificate]:
    """Read the certificates of time-stamping authorities, or of those that certify them. Raises NoteError."""
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise NoteError("aucun certificat d'une autorité d'horodatage n'est là") from error


def read_revocations(pem: bytes, authorities: Sequence[Certificate]) -> list[CertificateRevocationList]:
    """Read revocation lists (PEM), each of which one of these authorities signed. Raises NoteError."""
    try:
        lists = load_revocation_lists(pem)
    except ValueError as error:
        raise NoteError("une liste de révocation est illisible") from error
    if not lists:
        raise NoteError("aucune liste de révocation n'est là")
    if not all(any(is_signed_by(authority, each) for authority in authorities) for each in lists):
        raise NoteError("une liste de révocation n'est d'aucune des autorités nommées")
    return lists


def token_of(response: bytes) -> bytes:
    """Return the token in a TimeStampResp (RFC 3161 section 2.4.2). Raises NoteError where it was not granted."""
    try:
        status, *rest = _only(response, _SEQUENCE).children()
        granted = status.children()[0]
    except (IndexError, ValueError) as error:
        raise NoteError("la réponse n'est pas celle d'une autorité d'horodatage") from error
    if granted.tag != _INTEGER or granted.content not in {b"\0", b"\1"} or len(rest) != 1:
        raise NoteError("aucun jeton d'horodatage n'a été accordé")
    return rest[0].whole


def read_timestamp(
    token: bytes,
    content: bytes,
    authorities: Sequence[Certificate],
    revocations: Sequence[CertificateRevocationList] = (),
) -> Timestamp | None:
    """Check a token over ``content``; None where its signer is not of one of these authorities.

    Raises AuthorityRevoked where a list of ``revocations`` speaks against a certificate that its authority issued,
    or all of that authority had run out when the token was made; NoteError when it is no token, is over other bytes, or
    its signature does not hold.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise NoteError("le jeton d'horodatage est trop long")
    try:
        return _Token(token).check(content, authorities, revocations)
    except (IndexError, KeyError, ValueError, UnsupportedAlgorithm, *_UNREADABLE_CERTIFICATE) as error:
        raise NoteError("le jeton d'horodatage est mal formé") from error


class _Token:
    """A token taken apart; ValueError, IndexError or KeyError where it has not the form that it must have."""

    def __init__(self, token: bytes) -> None:
        kind, wrapped = _only(token, _SEQUENCE).children()
        _require(kind.content == _SIGNED_DATA and wrapped.tag == _CONTEXT_0)
        _version, _digests, encapsulated, *rest = _only(wrapped.content, _SEQUENCE).children()
        content_type, explicit = encapsulated.children()
        _require(content_type.content == _TST_INFO and explicit.tag == _CONTEXT_0)
        self._info = _only(explicit.content, _OCTETS).content
        certificates = [each for each in rest if each.tag == _CONTEXT_0]
        self._certificates = [load_der_x509_certificate(each.whole) for each in _all_children(certificates)]
        (signers,) = [each for each in rest if each.tag == _SET]
        (signer,) = signers.children()
        _signer_version, self._signer_id, digest, attributes, algorithm, signature, *_unsigned = signer.children()
        _require(attributes.tag == _CONTEXT_0 and signature.tag == _OCTETS)
        self._digest = _known_digest(digest)
        self._algorithm = _oid_of(algorithm)
        self._signed = bytes([_SET]) + attributes.whole[1:]
        named = (each.children() for each in attributes.children())
        self._attributes = {name.content: values.children()[0] for name, values in named}
        self._signature = signature.content

    def check(
        self, content: bytes, authorities: Sequence[Certificate], revocations: Sequence[CertificateRevocationList]
    ) -> Timestamp | None:
        imprint, at, nonce = _read_info(self._info)
        if imprint != sha256(content).digest():
            raise NoteError("le jeton d'horodatage porte sur d'autres octets")
        if self._attributes[_MESSAGE_DIGEST].content != _digest(self._digest, self._info):
            raise NoteError("l'empreinte du jeton d'horodatage est fausse")
        _require(self._attributes[_CONTENT_TYPE].content == _TST_INFO)
        signer = self._signer([*self._certificates, *authorities])
        if signer is None:
            return None
        self._check_named(signer)
        self._check_signature(signer)
        if not self._is_vouched_for(signer, at, authorities):
            return None
        self._check_revocation(signer, at, authorities, revocations)
        return Timestamp(signer.subject.rfc4514_string(), int(at.timestamp()), nonce)

    def _signer(self, candidates: Sequence[Certificate]) -> Certificate | None:
        issuer, serial = self._signer_id.children()
        number = int.from_bytes(serial.content, signed=True)
        return next(
            (c for c in candidates if c.serial_number == number and c.issuer.public_bytes() == issuer.whole), None
        )

    def _check_named(self, signer: Certificate) -> None:
        """Check that the signed attributes name this very certificate (RFC 5816 section 2.2.1)."""
        version_2 = self._attributes.get(_SIGNING_CERTIFICATE_V2)
        named = version_2 or self._attributes[_SIGNING_CERTIFICATE]
        first = named.children()[0].children()[0].children()
        der = signer.public_bytes(Encoding.DER)
        if version_2 is None:
            expected = sha1(der, usedforsecurity=False).digest()
        elif first[0].tag == _SEQUENCE:
            expected = _digest(_known_digest(first.pop(0)), der)
        else:
            expected = sha256(der).digest()
        if first[0].content != expected:
            raise NoteError("le jeton d'horodatage nomme un autre signataire")

    def _check_signature(self, signer: Certificate) -> None:
        key = signer.public_key()
        digest = _SIGNATURES.get(self._algorithm, self._digest)
        _require(digest is self._digest)
        try:
            if isinstance(key, RSAPublicKey) and (self._algorithm == _RSA or self._algorithm in _SIGNATURES):
                key.verify(self._signature, self._signed, PKCS1v15(), digest())
            elif isinstance(key, EllipticCurvePublicKey) and self._algorithm in _SIGNATURES:
                key.verify(self._signature, self._signed, ECDSA(digest()))
            elif isinstance(key, Ed25519PublicKey) and self._algorithm == _ED25519_OID:
                key.verify(self._signature, self._signed)
            else:
                raise NoteError("le jeton d'horodatage est signé d'une façon qui n'est pas vérifiée ici")
        except InvalidSignature as error:
            raise NoteError("la signature du jeton d'horodatage est fausse") from error

    def _is_vouched_for(self, signer: Certificate, at: datetime, authorities: Sequence[Certificate]) -> bool:
        """Tell whether the signer may time-stamp, could at that time, and comes from a known authority."""
        try:
            usage = signer.extensions.get_extension_for_class(ExtendedKeyUsage)
        except ExtensionNotFound:
            return False
        if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
            return False
        here = signer
        for _ in range(MAX_CHAIN):
            if not here.not_valid_before_utc <= at <= here.not_valid_after_utc:
                return False
            if here in authorities or any(_issued(here, authority, at) for authority in authorities):
                return True
            above = next((c for c in self._certificates if c != here and _issued(here, c, at)), None)
            if above is None:
                return False
            here = above
        return False

    def _check_revocation(
        self,
        signer: Certificate,
        at: datetime,
        authorities: Sequence[Certificate],
        revocations: Sequence[CertificateRevocationList],
    ) -> None:
        """Hold the signer, and whoever certifies it, against the lists of their issuers."""
        here = signer
        for _ in range(MAX_CHAIN):
            above = next((c for c in (*authorities, *self._certificates) if c != here and _issued(here, c, at)), None)
            if above is None:
                return
            lists = [each for each in revocations if is_signed_by(above, each)]
            if lists:
                _require_not_revoked(here, lists, at)
            here = above


def _require_not_revoked(certificate: Certificate, lists: Sequence[CertificateRevocationList], at: datetime) -> None:
    """Check that a token of that instant may stand, by the lists of the certificate's issuer."""
    for each in lists:
        revoked = each.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if revoked is not None and not (at < revoked.revocation_date_utc and _spares_earlier_tokens(revoked)):
            raise AuthorityRevoked("le certificat de l'autorité d'horodatage a été révoqué")
    if not any(each.next_update_utc is not None and at < each.next_update_utc for each in lists):
        raise AuthorityRevoked("la liste de révocation de l'autorité d'horodatage était périmée")


def _spares_earlier_tokens(revoked: RevokedCertificate) -> bool:
    try:
        return revoked.extensions.get_extension_for_class(CRLReason).value.reason in _EARLIER_TOKENS_HOLD
    except ExtensionNotFound:
        return False


def _issued(certificate: Certificate, issuer: Certificate, at: datetime) -> bool:
    try:
        constraints = issuer.extensions.get_extension_for_class(BasicConstraints).value
        certificate.verify_directly_issued_by(issuer)
    except (ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    return constraints.ca and issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc


def _read_info(info: bytes) -> tuple[bytes, datetime, int | None]:
    """Return imprint, time and nonce of a TSTInfo."""
    version, _policy, imprint, _serial, at, *rest = _only(info, _SEQUENCE).children()
    algorithm, digest = imprint.children()
    _require(version.content == b"\1" and _oid_of(algorithm) == _SHA256_OID and at.tag == _TIME)
    nonces = [int.from_bytes(each.content, signed=True) for each in rest if each.tag == _INTEGER]
    return digest.content, _time(at.content), nonces[0] if nonces else None


def _time(text: bytes) -> datetime:
    """Read a GeneralizedTime in UTC, with or without a fraction (RFC 3161 section 2.4.2)."""
    whole, _, fraction = text.removesuffix(b"Z").decode("ascii").partition(".")
    _require(text.endswith(b"Z") and len(whole) == 14 and (fraction or "0").isdecimal())
    return datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _elements(data: bytes) -> list[_Der]:
    found, position = [], 0
    while position < len(data):
        tag, length, start = data[position], data[position + 1], position + 2
        _require(tag & _MULTI_BYTE_TAG != _MULTI_BYTE_TAG)
        if length & _LONG_FORM:
            size = length & ~_LONG_FORM
            length = int.from_bytes(data[start : start + size])
            _require(0 < size <= 4 and length >= _LONG_FORM and data[start] != 0)
            start += size
        end = start + length
        _require(end <= len(data))
        found.append(_Der(tag, data[start:end], data[position:end]))
        position = end
    return found


def _only(data: bytes, tag: int) -> _Der:
    (element,) = _elements(data)
    _require(element.tag == tag)
    return element


def _all_children(elements: Sequence[_Der]) -> list[_Der]:
    return [child for element in elements for child in element.children()]


def _oid_of(algorithm: _Der) -> bytes:
    identifier = algorithm.children()[0]
    _require(identifier.tag == _OID)
    return identifier.content


def _known_digest(algorithm: _Der) -> type[HashAlgorithm]:
    found = _DIGESTS.get(_oid_of(algorithm))
    if found is None:
        raise NoteError("le jeton d'horodatage repose sur une empreinte qui n'est pas vérifiée ici")
    return found


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("not the form of a time-stamp token")


def _digest(algorithm: type[HashAlgorithm], data: bytes) -> bytes:
    hashed = Hash(algorithm())
    hashed.update(data)
    return hashed.finalize()
