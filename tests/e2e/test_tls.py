"""TLS at both ports: what is bad is refused, and traced with its own reason (C08, S01, S02)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.trace import Kind
from tests.e2e.conftest import credentials_of, until
from tests.e2e.forging import Forged, issue, revocation_list
from tests.e2e.pki import Pki, lists_kept, one_more, open_pki

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = ("rtsps", "https")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pki(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pki]:
    async with open_pki(tmp_path_factory.mktemp("tls")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def good_lists(pki: Pki) -> AsyncIterator[None]:
    async with lists_kept(pki):
        yield


def through_an_intermediate(pki: Pki) -> Forged:
    between = issue(pki.root, "intermediate", is_authority=True)
    return issue(between).with_chain(between.certificate)


def without_the_intermediate(pki: Pki) -> Forged:
    return issue(issue(pki.root, "intermediate", is_authority=True))


def signed_by_a_machine(pki: Pki) -> Forged:
    return issue(pki.machine).with_chain(pki.machine.certificate)


def critical(_: Pki) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


NO_HANDSHAKE: dict[str, tuple[Callable[[Pki], Forged], str]] = {
    "unknown authority": (lambda pki: issue(pki.stranger), "issuer-unknown"),
    "unknown authority in its chain": (
        lambda pki: issue(pki.stranger).with_chain(pki.stranger.certificate),
        "chain-self-signed",
    ),
    "self-signed": (lambda pki: issue(None), "certificate-self-signed"),
    "server's certificate": (
        lambda pki: issue(pki.root, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        "certificate-wrong-usage",
    ),
    "the authority's own": (lambda pki: pki.root, "certificate-wrong-usage"),
    "intermediate that the root does not allow": (through_an_intermediate, "chain-too-long"),
    "intermediate missing": (without_the_intermediate, "issuer-unknown"),
    "signed by a machine": (signed_by_a_machine, "issuer-not-an-authority"),
    "signed with another key": (
        lambda pki: issue(pki.root, signed_with=pki.stranger.key),
        "certificate-signature-wrong",
    ),
    "key of 1024 bits": (
        lambda pki: issue(pki.root, key=rsa.generate_private_key(65537, 1024)),
        "certificate-key-too-small",
    ),
    "unknown critical extension": (
        lambda pki: issue(pki.root, extension=critical(pki)),
        "certificate-critical-extension",
    ),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("case", NO_HANDSHAKE)
async def test_a_handshake_that_is_refused_is_traced(pki: Pki, case: str, port: str) -> None:
    # C08, S02
    make, reason = NO_HANDSHAKE[case]
    async with one_more(pki, Kind.AUTH_FAILED, reason):
        assert await pki.come(port, pki.context(make(pki))) is None


def speak(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> Callable[[Pki], ssl.SSLContext]:
    def context(pki: Pki) -> ssl.SSLContext:
        made = pki.context(pki.machine)
        made.set_ciphers(ciphers)
        with (
            pytest.warns(DeprecationWarning, match="deprecated")
            if version < ssl.TLSVersion.TLSv1_2
            else contextlib.nullcontext()
        ):
            made.minimum_version = version
            made.maximum_version = version
        return made

    return context


NOT_SPOKEN = [
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1), "tls-version", id="rtsps 1.0"),
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1_1), "tls-version", id="rtsps 1.1"),
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1_2, "AES256-SHA"), "tls-cipher", id="rtsps no forward secrecy"),
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1_2, "ECDHE+AES+SHA384"), "tls-cipher", id="rtsps CBC"),
    pytest.param("https", speak(ssl.TLSVersion.TLSv1), "tls-version", id="https 1.0"),
    pytest.param("https", speak(ssl.TLSVersion.TLSv1_1), "tls-version", id="https 1.1"),
    pytest.param("https", speak(ssl.TLSVersion.TLSv1_2), "tls-version", id="https 1.2"),
]


@pytest.mark.parametrize(("port", "context", "reason"), NOT_SPOKEN)
async def test_an_old_version_or_cipher_is_refused_and_traced(
    pki: Pki, port: str, context: Callable[[Pki], ssl.SSLContext], reason: str
) -> None:
    # row 38; S02, C17
    async with one_more(pki, Kind.AUTH_FAILED, reason):
        assert await pki.come(port, context(pki)) is None


@pytest.mark.parametrize("port", PORTS)
async def test_what_is_not_tls_is_refused_and_traced(pki: Pki, port: str) -> None:
    # S01
    async with one_more(pki, Kind.AUTH_FAILED, "not-tls"):
        reader, writer = await asyncio.open_connection(*pki.address(port))
        writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"RTSP/1.0" not in await reader.read()
        writer.transport.abort()


ANSWERED: dict[str, tuple[Callable[[Pki], Forged | None], str]] = {
    "none": (lambda pki: None, "certificate-missing"),
    "expired": (
        lambda pki: issue(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1)),
        "certificate-expired",
    ),
    "not yet valid": (lambda pki: issue(pki.root, begins=timedelta(days=1)), "certificate-not-yet-valid"),
    "another account's": (lambda pki: pki.supervisor, "certificate-not-bound"),
    "nobody's": (lambda pki: issue(pki.root), "certificate-not-bound"),
    "an authority below": (
        lambda pki: issue(pki.root, is_authority=True),
        "certificate-wrong-usage",
    ),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("case", ANSWERED)
async def test_a_certificate_that_does_not_count_is_answered_and_traced(pki: Pki, case: str, port: str) -> None:
    # C08, S02: no certificate is a card that is missing, at the login of an operator
    make, reason = ANSWERED[case]
    if (case, port) == ("none", "https"):
        reason = "card-missing"
    async with one_more(pki, refusal_kind(port), reason):
        assert await pki.come(port, pki.context(make(pki))) == refusal_status(port)


LISTS: dict[str, tuple[Callable[[Pki], bytes], str]] = {
    "revoked": (
        lambda pki: revocation_list(pki.root, [pki.machine.certificate, pki.operator.certificate]),
        "certificate-revoked",
    ),
    "stale": (
        lambda pki: revocation_list(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1)),
        "revocation-list-stale",
    ),
    "of tomorrow": (lambda pki: revocation_list(pki.root, begins=timedelta(days=1)), "revocation-list-stale"),
    "none": (lambda pki: b"", "revocation-unknown"),
    "another authority's": (lambda pki: revocation_list(pki.stranger), "revocation-list-untrusted"),
    "its name, another's key": (
        lambda pki: revocation_list(Forged(pki.root.certificate, pki.stranger.key)),
        "revocation-list-untrusted",
    ),
}


@pytest.mark.usefixtures("good_lists")
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("case", LISTS)
async def test_a_revocation_list_counts_from_the_next_request_on(pki: Pki, case: str, port: str) -> None:
    # S02: revoked, or not known to be good, is refused
    make, reason = LISTS[case]
    holder = pki.machine if port == "rtsps" else pki.operator
    await pki.renew(pki.crl, make(pki))
    async with one_more(pki, refusal_kind(port), reason):
        assert await pki.come(port, pki.context(holder)) == refusal_status(port)


@pytest.mark.usefixtures("good_lists")
@pytest.mark.parametrize("used_percent", [60, 90])
async def test_a_revocation_list_that_ages_raises_an_alarm(
    pki: Pki, used_percent: int, caplog: pytest.LogCaptureFixture
) -> None:
    # S02: at half its life, and at four fifths
    begins = timedelta(hours=-used_percent)
    await pki.renew(pki.crl, revocation_list(pki.root, begins=begins, lasts=timedelta(hours=100)))
    await until(lambda: f"crl.ageing used_percent={used_percent}" in caplog.text)
    assert await pki.come("rtsps", pki.context(pki.machine)) == 200


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_holds_the_right_certificate_comes_in(pki: Pki, port: str, version: ssl.TLSVersion) -> None:
    # S02: TLS 1.2 with ECDHE and AEAD is for machines, on the RTSPS port
    tls = pki.context(pki.machine if port == "rtsps" else pki.operator)
    tls.maximum_version = version
    spoken = port == "rtsps" or version is ssl.TLSVersion.TLSv1_3
    assert await pki.come(port, tls) == (200 if spoken else None)


async def test_tls_1_2_is_not_for_an_operators_ticket(pki: Pki) -> None:
    # C17, S02
    camera = pki.gateway.cameras[0]
    ticket = credentials_of(await pki.gateway.ticket(camera))
    old = pki.context(None)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with one_more(pki, Kind.STREAM_REFUSED, "tls-1.3-missing"), pki.player(ticket, old) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 403
    async with pki.player(ticket, pki.context(None)) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200


async def test_a_ticket_needs_no_certificate_and_a_bad_one_is_refused(pki: Pki) -> None:
    # row 38; S02
    camera = pki.gateway.cameras[0]
    ticket = credentials_of(await pki.gateway.ticket(camera))
    expired = issue(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1))
    refused = one_more(pki, Kind.STREAM_REFUSED, "certificate-expired")
    async with refused, pki.player(ticket, pki.context(expired)) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 403
    async with pki.player(ticket, pki.context(None)) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.tear_down(f"/live/{camera}")).status == 200


def refusal_kind(port: str) -> Kind:
    return Kind.STREAM_REFUSED if port == "rtsps" else Kind.AUTH_FAILED


def refusal_status(port: str) -> int:
    return 403 if port == "rtsps" else 401
