"""Certificates and revocation lists as nobody should sign them, for a gateway that is to refuse each."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_numbers = count()


@dataclass(frozen=True)
class Forged:
    """A certificate, its key, and what it is sent with."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    def with_chain(self, *chain: x509.Certificate) -> Forged:
        return Forged(self.certificate, self.key, chain)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def client_context(self, trusted: Path, folder: Path) -> ssl.SSLContext:
        """A client that shows it, and minds nothing of its own."""
        path = folder / f"forged-{next(_numbers)}.pem"
        certificates = [each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.chain)]
        path.write_bytes(self.key_pem())
        with path.open("ab") as file:
            file.writelines(certificates)
        context = careless_context(trusted)
        context.load_cert_chain(path)
        return context


def careless_context(trusted: Path) -> ssl.SSLContext:
    """A client that trusts the gateway, and would speak any version with any key."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def issue(
    issuer: Forged | None,
    name: str = "pvpp-vms",
    *,
    begins: timedelta = timedelta(minutes=-5),
    lasts: timedelta = timedelta(days=1),
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    is_authority: bool = False,
    key: Key | None = None,
    signed_with: Key | None = None,
    extension: x509.ExtensionType | None = None,
    responder: str | None = None,
    distribution_point: x509.GeneralName | None = None,
) -> Forged:
    """Sign a certificate; its own issuer where there is none.

    ``extension`` is a critical one more, ``responder`` an OCSP URL, ``distribution_point`` where its lists are.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = _named(name)
    begin = datetime.now(UTC) + begins
    signer = signed_with or (issuer.key if issuer is not None else key)
    authority_key = issuer.key if issuer is not None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    if responder is not None:
        named = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))
        builder = builder.add_extension(x509.AuthorityInformationAccess([named]), critical=False)
    if distribution_point is not None:
        point = x509.DistributionPoint([distribution_point], relative_name=None, reasons=None, crl_issuer=None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return Forged(builder.sign(signer, SHA256()), key)


def revocation_list(
    issuer: Forged,
    revoked: Sequence[x509.Certificate] = (),
    *,
    begins: timedelta = timedelta(minutes=-5),
    lasts: timedelta = timedelta(days=1),
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """A revocation list in PEM; ``extension`` is a critical one more."""
    begin = datetime.now(UTC) + begins
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begin)
        .next_update(begin + lasts)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(begin)
        builder = builder.add_revoked_certificate(entry.build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.PEM)


def read(certificate: Path, key: Path) -> Forged:
    """A certificate that was issued properly, with its key."""
    found = load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(found, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return Forged(x509.load_pem_x509_certificate(certificate.read_bytes()), found)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
