"""A real token: its key never leaves it, and it logs in by curl and by openssl through PKCS#11 (C08, S02)."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.trace import Kind
from tests.e2e.conftest import Gateway

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, LABEL = "271828", "agent"
KEY_URL = f"pkcs11:token={LABEL};object={LABEL};type=private;pin-value={PIN}"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not MODULE.exists() or which("pkcs11-tool") is None, reason="apt: softhsm2 opensc libengine-pkcs11-openssl"
    ),
]


@dataclass
class Card:
    """A token with one key, and the certificate of it."""

    folder: Path
    environment: dict[str, str]

    async def run(self, *command: str, typed: bytes = b"") -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(typed)
        return process.returncode or 0, output

    async def must(self, *command: str) -> bytes:
        code, output = await self.run(*command)
        assert code == 0, (command, output.decode(errors="replace"))
        return output


@pytest.fixture
async def card(tmp_path: Path) -> Card:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    made = Card(
        tmp_path,
        os.environ | {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"), "PKCS11_MODULE_PATH": str(MODULE)},
    )
    await made.must("softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", PIN)
    token = ("pkcs11-tool", "--module", str(MODULE), "--token-label", LABEL, "--login", "--pin", PIN)
    await made.must(
        *token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", LABEL, "--id", "01", "--sensitive"
    )
    return made


async def personalise(card: Card, gateway: Gateway) -> Path:
    """The token asks for a certificate, PP's authority issues it, and it is bound to the operator's account."""
    request = ("openssl", "req", "-new", "-engine", "pkcs11", "-keyform", "engine", "-key", KEY_URL)
    await card.must(*request, "-subj", "/CN=pp-agent-card", "-out", "card.csr")
    asked = x509.load_pem_x509_csr((card.folder / "card.csr").read_bytes())
    authority = Path(gateway.ready["ca"])
    root = x509.load_pem_x509_certificate(authority.read_bytes())
    key = load_pem_private_key(authority.with_suffix(".key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(root.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    await gateway.node.records.accounts.bind_certificate("pp-operator-01", certificate.public_bytes(Encoding.DER))
    path = card.folder / "card.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def login(gateway: Gateway, password: str | None = None) -> str:
    account = gateway.ready["accounts"]["operator"]
    return json.dumps({"id": account["id"], "password": password or account["password"]})


async def test_a_token_logs_in_by_curl_and_by_openssl(card: Card, gateway: Gateway) -> None:
    certificate = await personalise(card, gateway)
    ready = gateway.ready
    curl = ("curl", "--silent", "--show-error", "--cacert", ready["ca"], "--engine", "pkcs11", "--key-type", "ENG")
    curl += ("--cert", str(certificate), "--key", KEY_URL, "--header", "Content-Type: application/json")
    answer = json.loads(await card.must(*curl, "--data", login(gateway), ready["https"] + "/api/v1/login"))
    assert (answer["role"], answer["factors"]) == ("operator", ["card", "password"])
    refused = json.loads(await card.must(*curl, "--data", login(gateway, "wrong"), ready["https"] + "/api/v1/login"))
    assert refused["type"].endswith(":unauthenticated")

    body = login(gateway)
    said = "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    said += f"Content-Length: {len(body)}\r\n\r\n{body}"
    client = (
        "openssl",
        "s_client",
        "-quiet",
        "-ign_eof",
        "-tls1_3",
        "-connect",
        ready["https"].removeprefix("https://"),
    )
    client += (
        "-CAfile",
        ready["ca"],
        "-cert",
        str(certificate),
        "-engine",
        "pkcs11",
        "-keyform",
        "engine",
        "-key",
        KEY_URL,
    )
    _, output = await card.run(*client, typed=said.encode())
    assert b"HTTP/1.1 200 OK" in output, output
    assert b'"factors":["card","password"]' in output

    entries = await gateway.traced(lambda entry: entry.kind is Kind.AUTH_SUCCEEDED)
    assert [entry.detail["factors"] for entry in entries] == [["card", "password"]] * 2
    assert "pp-agent-card" not in repr(await gateway.trace()), "no certificate's subject in the trace (C17)"


async def test_the_key_does_not_leave_the_token(card: Card) -> None:
    token = ("pkcs11-tool", "--module", str(MODULE), "--token-label", LABEL, "--login", "--pin", PIN)
    code, output = await card.run(*token, "--read-object", "--type", "privkey", "--id", "01")
    assert code != 0 or b"error" in output.lower() or b"sorry" in output.lower()
    assert b"sensitive" in await card.must(*token, "--list-objects", "--type", "privkey")
