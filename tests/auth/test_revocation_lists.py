"""Which revocation lists tell of a certificate, and which only seem to (S02; RFC 5280 sections 5.2.4 and 5.2.5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auth.certificates import CertificateVerifier
from auth.errors import AuthenticationError
from auth.revocation import load_revocation_lists
from camera_registry.clock import SystemClock
from halfgateway.control.revocation import RevocationFile, RevocationListRefused
from tests.e2e.forging import Forged, issue, revocation_list

HERE = x509.UniformResourceIdentifier("http://lists.example/cards.crl")
ELSEWHERE = x509.UniformResourceIdentifier("http://lists.example/others.crl")


def pem(*issued: Forged) -> bytes:
    return b"".join(each.certificate.public_bytes(Encoding.PEM) for each in issued)


def der(issued: Forged) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


def point(
    *, full_name: x509.GeneralName | None = None, only_user: bool = False, only_ca: bool = False, indirect: bool = False
) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=None if full_name is None else [full_name],
        relative_name=None,
        only_contains_user_certs=only_user,
        only_contains_ca_certs=only_ca,
        only_some_reasons=None,
        indirect_crl=indirect,
        only_contains_attribute_certs=False,
    )


def verifier(root: Forged, *lists: bytes) -> CertificateVerifier:
    return CertificateVerifier.from_pem(pem(root), b"".join(lists), SystemClock())


@pytest.fixture
def root() -> Forged:
    return issue(None, "root", is_authority=True)


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        point(only_ca=True),
        point(indirect=True),
        point(full_name=ELSEWHERE),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ],
    ids=["delta", "of authorities", "indirect", "of another point", "critical and unknown"],
)
def test_a_list_that_is_not_about_the_card_vouches_for_nobody(root: Forged, extension: x509.ExtensionType) -> None:
    card = issue(root, "card", distribution_point=HERE)
    with pytest.raises(AuthenticationError, match="revocation-list-untrusted"):
        verifier(root, revocation_list(root, extension=extension)).verify(der(card))


@pytest.mark.parametrize(
    "extension", [point(only_user=True), point(full_name=HERE)], ids=["of end entities", "of its point"]
)
def test_a_list_of_a_part_counts_for_that_part(root: Forged, extension: x509.ExtensionType) -> None:
    card = issue(root, "card", distribution_point=HERE)
    verifier(root, revocation_list(root, extension=extension)).verify(der(card))
    with pytest.raises(AuthenticationError, match="certificate-revoked"):
        verifier(root, revocation_list(root, [card.certificate], extension=extension)).verify(der(card))


def test_a_pushed_list_replaces_only_what_was_about_the_same_certificates(root: Forged, tmp_path: Path) -> None:
    card = issue(root, "card", distribution_point=HERE)
    (tmp_path / "ca.pem").write_bytes(pem(root))
    base = revocation_list(root, [card.certificate])
    (tmp_path / "crl.pem").write_bytes(base)
    file = RevocationFile(tmp_path / "crl.pem", tmp_path / "ca.pem")
    later = timedelta(minutes=-1)
    for partial in (x509.DeltaCRLIndicator(1), point(indirect=True)):
        with pytest.raises(RevocationListRefused, match="partielle"):
            file.with_lists(revocation_list(root, begins=later, extension=partial), datetime.now(UTC))
    another = revocation_list(root, begins=later, extension=point(full_name=ELSEWHERE))
    content, _ = file.with_lists(another, datetime.now(UTC))
    with pytest.raises(AuthenticationError, match="certificate-revoked"):
        verifier(root, content).verify(der(card))


def test_a_renewed_authoritys_new_list_does_not_hide_the_age_of_the_old_ones(root: Forged) -> None:
    renewed = issue(None, "root", is_authority=True)
    stale = revocation_list(root, begins=timedelta(days=-9), lasts=timedelta(days=10))
    both = CertificateVerifier.from_pem(pem(root, renewed), stale + revocation_list(renewed), SystemClock())
    assert both.used_life() == pytest.approx(0.9, abs=0.01)


def test_of_an_authority_renewed_with_its_key_the_one_in_its_dates_counts() -> None:
    past = issue(None, "root", is_authority=True, begins=timedelta(days=-9), lasts=timedelta(days=8))
    renewed = issue(None, "root", is_authority=True, key=past.key)
    held = CertificateVerifier.from_pem(pem(past, renewed), revocation_list(renewed), SystemClock())
    held.verify(der(issue(renewed, "card")))


def test_of_two_lists_pushed_at_once_none_is_lost(root: Forged, tmp_path: Path) -> None:
    another = issue(None, "another", is_authority=True)
    card = issue(root, "card")
    (tmp_path / "ca.pem").write_bytes(pem(root, another))
    (tmp_path / "crl.pem").write_bytes(revocation_list(root, begins=timedelta(minutes=-9)) + revocation_list(another))
    file = RevocationFile(tmp_path / "crl.pem", tmp_path / "ca.pem")
    pushed = [revocation_list(root, [card.certificate]), revocation_list(another)]
    with ThreadPoolExecutor(2) as pool:
        for each in pool.map(lambda lists: file.adopt(lists, datetime.now(UTC)), pushed * 10):
            assert each is None
            content = (tmp_path / "crl.pem").read_bytes()
    assert len(load_revocation_lists(content)) == 2
    with pytest.raises(AuthenticationError, match="certificate-revoked"):
        verifier(root, content).verify(der(card))
