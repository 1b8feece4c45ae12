"""Revocation lists that are pushed or imported: held against their authority before they replace what counts (S02)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auth.certificates import is_current
from auth.revocation import is_signed_by, is_whole, load_revocation_lists, scope_of
from halfgateway.errors import InvalidRequest
from ops.appended import sync_folder


class RevocationListRefused(InvalidRequest):
    """A list that may not replace what counts; those before stay."""


class RevocationFile:
    """The lists of ``tls.revoked``, of authorities of ``tls.client_ca``. Its methods block for the disk."""

    def __init__(self, revoked: Path, client_ca: Path) -> None:
        self._revoked = revoked
        self._client_ca = client_ca

    def with_lists(self, pem: bytes, now: datetime) -> tuple[bytes, list[str]]:
        """The file's content with these lists in the place of former ones of the same certificates, and their
        authorities' keys.

        Raises RevocationListRefused, OSError.
        """
        try:
            offered = load_revocation_lists(pem)
        except ValueError as error:
            raise RevocationListRefused("La liste de révocation est illisible.") from error
        if not offered:
            raise RevocationListRefused("Aucune liste de révocation (PEM) n'a été fournie.")
        authorities = x509.load_pem_x509_certificates(self._client_ca.read_bytes())
        kept = load_revocation_lists(self._revoked.read_bytes()) if self._revoked.exists() else []
        for revocations in offered:
            authority = _authority_of(revocations, authorities)
            if not is_current(revocations, now):
                raise RevocationListRefused("La liste de révocation n'est pas en cours de validité.")
            if not is_whole(revocations):
                raise RevocationListRefused("Une liste partielle (delta) ou indirecte ne peut tenir lieu de liste.")
            former = [each for each in kept if is_signed_by(authority, each) and _same_scope(each, revocations)]
            if any(each.last_update_utc > revocations.last_update_utc for each in former):
                raise RevocationListRefused("La liste de révocation est antérieure à celle qui est en vigueur.")
            kept = [each for each in kept if each not in former] + [revocations]
        names = [_key_name(_authority_of(revocations, authorities)) for revocations in offered]
        return b"".join(each.public_bytes(Encoding.PEM) for each in kept), names

    def adopt(self, pem: bytes, now: datetime) -> None:
        """Put these lists in the file, which is whole at every instant; the node reads it within seconds.

        Of several who do so at once, here or by a command, none loses what another has put there.
        Raises RevocationListRefused, OSError.
        """
        with _alone_in(self._revoked.parent):
            content, _ = self.with_lists(pem, now)
            _write(self._revoked, content)


def _authority_of(revocations: x509.CertificateRevocationList, authorities: list[x509.Certificate]) -> x509.Certificate:
    for authority in authorities:
        if is_signed_by(authority, revocations):
            return authority
    raise RevocationListRefused("La liste de révocation n'est signée par aucune des autorités reconnues.")


def _same_scope(one: x509.CertificateRevocationList, other: x509.CertificateRevocationList) -> bool:
    return scope_of(one) == scope_of(other)


def _key_name(authority: x509.Certificate) -> str:
    return x509.SubjectKeyIdentifier.from_public_key(authority.public_key()).digest.hex()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent, os.fsync)
