"""A detached CMS signature (RFC 5652) over a manifest, as ``openssl cms -verify`` reads it (L14)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from halfgateway.exporting.failures import ExportFailed

_OPTIONS = [PKCS7Options.DetachedSignature, PKCS7Options.Binary]


@dataclass(frozen=True, slots=True)
class ManifestSigner:
    """The certificate that signs, its key, and the intermediate certificates that lead to its authority."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(cls, certificate: Path, key: Path) -> ManifestSigner:
        """Read PEM files: the first certificate is the signer's, the others its chain; the key has no passphrase.

        Raises ValueError, OSError for what cannot be read, or does not fit together.
        """
        leaf, *chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        try:
            loaded = load_pem_private_key(key.read_bytes(), password=None)
        except TypeError as error:
            raise ValueError(f"{key}: a key without a passphrase is wanted") from error
        if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key}: an RSA or an elliptic-curve key is wanted")
        if loaded.public_key() != leaf.public_key():
            raise ValueError(f"{key} is not the key of {certificate}")
        return cls(leaf, loaded, tuple(chain))

    def sign(self, manifest: bytes) -> bytes:
        """The signature in DER. Raises ExportFailed."""
        builder = PKCS7SignatureBuilder().set_data(manifest).add_signer(self.certificate, self.key, SHA256())
        for each in self.chain:
            builder = builder.add_certificate(each)
        try:
            return builder.sign(Encoding.DER, _OPTIONS)
        except ValueError as error:
            raise ExportFailed("Le manifeste n'a pu être signé.", reason="not-signed") from error
