"""A certificate authority for the demo and the tests: a root, a server, clients, and one revoked agent.

A real installation uses the authorities of SYN and of the Préfecture de police instead. Subjects are opaque
ids (C17).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_YEARS = 10
LEAF_DAYS = 825
"""As long as clients accept of a server's certificate; past it, a new data folder renews the demo."""

REVOCATION_LIST_DAYS = 30
"""Written anew whenever the authority is opened, so that a demo left off for a month starts again."""

_BACKDATED = timedelta(minutes=5)
"""Certificates begin a little earlier than now, for a client whose clock is behind."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its key, and the PEM files they lie in."""

    certificate: x509.Certificate
    certificate_path: Path
    key_path: Path

    @property
    def der(self) -> bytes:
        """The certificate as TLS hands it over."""
        return self.certificate.public_bytes(Encoding.DER)


class DemoAuthority:
    """A root in a folder: ``ca.pem``, ``ca.key``, ``crl.pem``, and a PEM pair for each name issued.

    A folder used again keeps its root and its certificates.
    """

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, folder: Path, now: datetime) -> DemoAuthority:
        """Read the authority of ``folder``, or make one; ``now`` is aware."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate_path, key_path = folder / "ca.pem", folder / "ca.key"
        if certificate_path.exists():
            key = load_pem_private_key(key_path.read_bytes(), password=None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{key_path} holds another kind of key than this authority makes")
            return cls(folder, x509.load_pem_x509_certificate(certificate_path.read_bytes()), key)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, now)
        _write_key(key_path, key)
        certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return cls(folder, certificate, key)

    @property
    def certificate(self) -> x509.Certificate:
        """The root."""
        return self._certificate

    @property
    def certificate_path(self) -> Path:
        """``ca.pem``: what clients trust, and what the server trusts of clients."""
        return self._folder / "ca.pem"

    @property
    def revocation_list_path(self) -> Path:
        """``crl.pem``, once :meth:`write_revocation_list` has written it."""
        return self._folder / "crl.pem"

    def server(self, now: datetime, hosts: Sequence[str] = LOOPBACK_HOSTS) -> Issued:
        """Return the server certificate ``server.pem`` for ``hosts`` (names or addresses)."""
        alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issued("server", now, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(
        self,
        name: str,
        now: datetime,
        *,
        folder: Path | None = None,
        lifetime: timedelta = timedelta(days=LEAF_DAYS),
    ) -> Issued:
        """Return the client certificate of ``name`` (an opaque id), in ``folder`` or beside the root."""
        return self._issued(name, now, ExtendedKeyUsageOID.CLIENT_AUTH, None, folder=folder, lifetime=lifetime)

    def mail(self, address: str, now: datetime) -> Issued:
        """Return the certificate ``mail.pem`` by which ``address`` signs its mail (RFC 8551 section 4.4)."""
        alternatives = x509.SubjectAlternativeName([x509.RFC822Name(address)])
        return self._issued("mail", now, ExtendedKeyUsageOID.EMAIL_PROTECTION, alternatives)

    def write_revocation_list(self, revoked: Iterable[x509.Certificate], now: datetime) -> Path:
        """Write ``crl.pem`` anew: these certificates are revoked from ``now`` on."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _BACKDATED)
            .next_update(now + timedelta(days=REVOCATION_LIST_DAYS))
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now - _BACKDATED).build())
        pem = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)
        self.revocation_list_path.write_bytes(pem)
        return self.revocation_list_path

    def _issued(
        self,
        name: str,
        now: datetime,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
        *,
        folder: Path | None = None,
        lifetime: timedelta = timedelta(days=LEAF_DAYS),
    ) -> Issued:
        folder = folder or self._folder
        folder.mkdir(parents=True, exist_ok=True)
        certificate_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
        if certificate_path.exists():
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            return Issued(certificate, certificate_path, key_path)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            name, key.public_key(), now=now, lifetime=lifetime, usage=usage, alternatives=alternatives
        )
        _write_key(key_path, key)
        certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return Issued(certificate, certificate_path, key_path)

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        *,
        now: datetime,
        lifetime: timedelta,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:
        builder = (
            _builder(_name(name), self._certificate.subject, key, now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, SHA256())


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("halfgateway demo authority")
    lifetime = timedelta(days=365 * AUTHORITY_YEARS)
    return (
        _builder(name, name, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .sign(key, SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key that only its owner can read, from its first byte on."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
