"""A certificate's state as its authority's responder tells it: a real one, and ones that lie (S02)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.errors import AuthenticationError
from auth.ocsp import GOOD_FOR, OnlineStatus, ResponderUnavailableError
from auth.possession import CertificateProof
from camera_registry.clock import Clock, SystemClock
from halfgateway.database import Database
from halfgateway.net.responder import ask_responder
from tests.e2e.forging import Forged, issue, read
from tests.held_clock import HeldClock
from tests.house import open_house

URL = "http://ocsp.example/"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class OpensslResponder:
    """``openssl ocsp`` with its index of certificates."""

    folder: Path
    port: int
    authority: Path
    key: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @contextlib.asynccontextmanager
    async def knowing(self, certificate: x509.Certificate, *, revoked: bool) -> AsyncIterator[None]:
        ends = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
        since = f"{datetime.now(UTC) - timedelta(minutes=1):%y%m%d%H%M%SZ}"
        status = f"R\t{ends}\t{since}" if revoked else f"V\t{ends}\t"
        number = f"{certificate.serial_number:X}"
        number = number.rjust(len(number) + len(number) % 2, "0")
        (self.folder / "index.txt").write_text(f"{status}\t{number}\tunknown\t/CN=card\n")
        command = ["openssl", "ocsp", "-index", "index.txt", "-port", str(self.port), "-CA", str(self.authority)]
        command += ["-rsigner", str(self.authority), "-rkey", str(self.key), "-nmin", "5", "-ignore_err"]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                while b"waiting for OCSP client" not in await process.stdout.readline():
                    assert process.returncode is None
            yield
        finally:
            process.kill()
            await process.wait()


async def test_a_real_responder_is_believed_and_no_answer_lets_nobody_in(database: Database, tmp_path: Path) -> None:
    # S02
    clock = SystemClock()
    async with open_house(database, clock, tmp_path) as house:
        pki = tmp_path / "pki"
        responder = OpensslResponder(tmp_path, free_port(), pki / "ca.pem", pki / "ca.key")
        root = read(pki / "ca.pem", pki / "ca.key")
        card = issue(root, "card", responder=responder.url)
        der = card.certificate.public_bytes(Encoding.DER)
        await house.enrolment.bind_certificate("operator", der)

        def proof(*permitted: str) -> CertificateProof:
            online = OnlineStatus(ask_responder, permitted, clock, random_bytes=secrets.token_bytes)
            return CertificateProof(house.accounts, house.verifier, online)

        name = await proof().require("operator", der)
        used = await house.accounts.certificates_in_use([name])
        async with responder.knowing(card.certificate, revoked=False):
            good = proof(responder.url)
            await good.require("operator", der)
        await good.require("operator", der)
        assert await good.fallen_online(used) == []
        with pytest.raises(AuthenticationError, match="ocsp-unavailable"):
            await proof(responder.url).require("operator", der)
        async with responder.knowing(card.certificate, revoked=True):
            with pytest.raises(AuthenticationError, match="certificate-revoked"):
                await proof(responder.url).require("operator", der)
            (fallen,) = await proof(responder.url).fallen_online(used)
            assert (fallen.certificate.account, fallen.reason.value) == ("operator", "certificate-revoked")
        liar = Liar(root, card, clock, signer=issue(None, "root", is_authority=True))
        forged = OnlineStatus(liar, [responder.url], clock, random_bytes=secrets.token_bytes)
        assert await CertificateProof(house.accounts, house.verifier, forged).fallen_online(used) == []
        assert liar.asked == 1
        async with responder.knowing(root.certificate, revoked=False):
            with pytest.raises(AuthenticationError, match="ocsp-unknown"):
                await proof(responder.url).require("operator", der)


@dataclass
class Liar:
    """Answers as it is told to; counts the questions."""

    authority: Forged
    card: Forged
    clock: Clock
    signer: Forged | None = None
    sent: tuple[Forged, ...] = ()
    subject: Forged | None = None
    age: timedelta = timedelta(0)
    lasts: timedelta | None = timedelta(hours=1)
    nonce: bytes | None = None
    rubbish: bytes | None = None
    asked: int = 0

    async def __call__(self, url: str, request: bytes) -> bytes:
        self.asked += 1
        if self.rubbish is not None:
            return self.rubbish
        begins = self.clock.now() - self.age
        signer = self.signer or self.authority
        builder = ocsp.OCSPResponseBuilder().add_response(
            (self.subject or self.card).certificate,
            self.authority.certificate,
            SHA1(),
            ocsp.OCSPCertStatus.GOOD,
            begins,
            None if self.lasts is None else begins + self.lasts,
            None,
            None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if self.sent:
            builder = builder.certificates([each.certificate for each in self.sent])
        if self.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(self.nonce), critical=False)
        return builder.sign(signer.key, SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def liar(clock: HeldClock) -> Liar:
    root = issue(None, "root", is_authority=True)
    return Liar(root, issue(root, "card", responder=URL), clock)


async def require_good(liar: Liar, online: OnlineStatus | None = None) -> None:
    online = online or OnlineStatus(liar, [URL], liar.clock, random_bytes=secrets.token_bytes)
    await online.require_good(liar.card.certificate, liar.authority.certificate)


async def test_a_good_answer_is_used_again_for_a_minute(liar: Liar, clock: HeldClock) -> None:
    online = OnlineStatus(liar, [URL], clock, random_bytes=secrets.token_bytes)
    for _ in range(5):
        await require_good(liar, online)
    assert liar.asked == 1
    clock.advance(GOOD_FOR)
    await require_good(liar, online)
    assert liar.asked == 2


def a_delegate(liar: Liar, clock: HeldClock, purpose: x509.ObjectIdentifier) -> Forged:
    away = clock.now() - datetime.now(UTC)
    return issue(liar.authority, "responder", purpose=purpose, begins=away - timedelta(days=1), lasts=timedelta(days=9))


async def test_a_delegate_of_the_authority_is_believed(liar: Liar, clock: HeldClock) -> None:
    delegate = a_delegate(liar, clock, ExtendedKeyUsageOID.OCSP_SIGNING)
    liar.signer, liar.sent = delegate, (delegate,)
    await require_good(liar)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("signed by a stranger", "ocsp-untrusted"),
        ("signed by a card", "ocsp-untrusted"),
        ("of another certificate", "ocsp-unknown"),
        ("to another question", "ocsp-untrusted"),
        ("of yesterday", "ocsp-stale"),
        ("of tomorrow", "ocsp-stale"),
        ("old, and without an end", "ocsp-stale"),
        ("signed in an unknown way", "ocsp-untrusted"),
        ("rubbish", "ocsp-unavailable"),
        ("try later", "ocsp-unavailable"),
    ],
)
async def test_an_answer_that_cannot_be_believed_lets_nobody_in(
    liar: Liar, clock: HeldClock, lie: str, reason: str
) -> None:
    if lie == "signed by a stranger":
        liar.signer = issue(None, "root", is_authority=True)
    elif lie == "signed by a card":
        liar.signer = a_delegate(liar, clock, ExtendedKeyUsageOID.CLIENT_AUTH)
        liar.sent = (liar.signer,)
    elif lie == "of another certificate":
        liar.subject = issue(liar.authority, "another")
    elif lie == "to another question":
        liar.nonce = b"x" * 16
    elif lie in {"of yesterday", "old, and without an end"}:
        liar.age = timedelta(days=1)
        liar.lasts = None if "without" in lie else timedelta(hours=1)
    elif lie == "of tomorrow":
        liar.age = -timedelta(days=1)
    elif lie == "signed in an unknown way":
        ecdsa_with_sha256, nothing = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")
        liar.rubbish = (await liar(URL, b"")).replace(ecdsa_with_sha256, nothing)
    elif lie == "rubbish":
        liar.rubbish = b"\x30\x03\x02\x01\x01"
    else:
        later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
        liar.rubbish = later.public_bytes(Encoding.DER)
    with pytest.raises(AuthenticationError, match=reason):
        await require_good(liar)


async def test_a_responder_that_is_not_there_is_a_declared_error() -> None:
    with pytest.raises(ResponderUnavailableError):
        await ask_responder(f"http://127.0.0.1:{free_port()}/", b"")
