"""S/MIME: a detached signature over what a mail says (RFC 8551 section 3.5): its reader can hold us to it (N05)."""

from __future__ import annotations

import hashlib
from base64 import encodebytes
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509.oid import ExtendedKeyUsageOID

from ops.errors import SigningError

_MICALG = "sha-256"
_OPTIONS = [PKCS7Options.DetachedSignature, PKCS7Options.Binary]


@dataclass(frozen=True, slots=True)
class SmimeSigner:
    """The functional mailbox's certificate, its key, and the intermediate certificates that lead to its authority."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(cls, certificate: Path, key: Path) -> SmimeSigner:
        """Read PEM files: the first certificate is the signer's, the others its chain; the key has no passphrase.

        Raises SigningError for what cannot be read, or does not fit together, or may not sign mail.
        """
        try:
            leaf, *chain = x509.load_pem_x509_certificates(certificate.read_bytes())
            loaded = load_pem_private_key(key.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SigningError(f"{certificate}, {key}: {error}") from error
        if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise SigningError(f"{key}: an RSA or an elliptic-curve key is wanted")
        if loaded.public_key() != leaf.public_key():
            raise SigningError(f"{key} is not the key of {certificate}")
        if not _signs_mail(leaf):
            raise SigningError(f"{certificate} may not sign mail: the extended key usage emailProtection is wanted")
        return cls(leaf, loaded, tuple(chain))

    def valid_at(self, instant: datetime) -> bool:
        """Whether the certificate counts at an aware instant."""
        return self.certificate.not_valid_before_utc <= instant <= self.certificate.not_valid_after_utc

    def signed(self, entity: bytes) -> tuple[str, bytes]:
        """Sign a MIME entity, CRLF at its lines' ends; return the multipart's Content-Type and its body.

        Raises SigningError.
        """
        builder = PKCS7SignatureBuilder().set_data(entity).add_signer(self.certificate, self.key, SHA256())
        for each in self.chain:
            builder = builder.add_certificate(each)
        try:
            signature = builder.sign(Encoding.DER, _OPTIONS)
        except ValueError as error:
            raise SigningError(f"the message cannot be signed: {error}") from error
        boundary = f"signed-{hashlib.sha256(entity).hexdigest()[:24]}"
        content_type = (
            f'multipart/signed; protocol="application/pkcs7-signature";\r\n micalg="{_MICALG}"; boundary="{boundary}"'
        )
        mark = f"--{boundary}".encode("ascii")
        return content_type, b"\r\n".join([mark, entity, mark, _part(signature), mark + b"--", b""])


def _part(signature: bytes) -> bytes:
    lines = [
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"',
        b"Content-Transfer-Encoding: base64",
        b'Content-Disposition: attachment; filename="smime.p7s"',
        b"",
        *encodebytes(signature).splitlines(),
    ]
    return b"\r\n".join(lines)


def _signs_mail(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.EMAIL_PROTECTION in usages
