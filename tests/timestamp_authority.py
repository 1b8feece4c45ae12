"""A time-stamping authority of OpenSSL's own making (``openssl ts -reply``), and one that misbehaves on demand."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

_CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[tsa]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[web]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = critical,serverAuth
[stamping]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
default_policy = 1.3.6.1.4.1.57264.2
other_policies = 1.3.6.1.4.1.57264.3
digests = sha256, sha384, sha512
signer_digest = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = {ess}
"""


class TimestampAuthority:
    """Certificates of its own, and tokens signed with them. ``key`` is what openssl makes the signer's key with."""

    def __init__(
        self, folder: Path, *, name: str = "Autorité d'essai", usage: str = "tsa", key: str = "ec", ess: str = "sha256"
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "tsa.cnf").write_text(_CONFIG.format(name=name, folder=folder, ess=ess), encoding="utf-8")
        (folder / "serial").write_text("01\n")
        options = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[key]
        common = ["-config", "tsa.cnf", "-nodes", "-days", "30", "-utf8"]
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *common,
                      "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
        self._openssl("req", "-x509", "-newkey", *options, *common, "-extensions", usage, "-subj", f"/CN={name} 1",
                      "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "tsa.key", "-out", "tsa.pem")  # fmt: skip

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def reply(self, request: bytes) -> bytes:
        """Answer a TimeStampReq (DER)."""
        (self.folder / "request.tsq").write_bytes(request)
        return self._openssl("ts", "-reply", "-queryfile", "request.tsq", "-config", "tsa.cnf", "-section", "stamping")

    def token(self, content: bytes, *options: str) -> bytes:
        """A token over some bytes."""
        (self.folder / "content").write_bytes(content)
        query = self._openssl("ts", "-query", "-data", "content", "-sha256", "-cert", *options)
        (self.folder / "request.tsq").write_bytes(query)
        return self._openssl(
            "ts", "-reply", "-queryfile", "request.tsq", "-config", "tsa.cnf", "-section", "stamping", "-token_out"
        )

    def revocations(
        self,
        revoked_at: datetime | None = None,
        reason: x509.ReasonFlags | None = None,
        *,
        life: timedelta = timedelta(days=30),
    ) -> Path:
        """The authority's list of this instant, with the signer on it where it was revoked; a PEM file."""
        (authority,) = x509.load_pem_x509_certificates(self.ca.read_bytes())
        (signer,) = x509.load_pem_x509_certificates((self.folder / "tsa.pem").read_bytes())
        begin = datetime.now(UTC) - timedelta(days=1)
        made = x509.CertificateRevocationListBuilder(authority.subject, begin, begin + life)
        if revoked_at is not None:
            entry = x509.RevokedCertificateBuilder(signer.serial_number, revoked_at)
            made = made.add_revoked_certificate(
                (entry if reason is None else entry.add_extension(x509.CRLReason(reason), critical=False)).build()
            )
        key = load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        path = self.folder / "revoked.pem"
        path.write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
        return path

    def _openssl(self, *arguments: str) -> bytes:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@contextlib.asynccontextmanager
async def served(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """Serve what answers requests over HTTP; its URL."""

    async def stamp(request: web.Request) -> web.Response:
        body = await asyncio.to_thread(answer, await request.read())
        return web.Response(body=body, content_type="application/timestamp-reply")

    application = web.Application()
    application.router.add_post("/tsr", stamp)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/tsr"
    finally:
        await runner.cleanup()
