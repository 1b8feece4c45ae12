"""A gateway and its authority's key: what a test needs to forge, revoke and renew."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

import halfgateway.app.tls
from auth.trace import Entry, Kind
from tests.e2e.conftest import STEADY, Gateway, open_gateway, until
from tests.e2e.forging import Forged, careless_context, issue, read
from tests.raw_player import Credentials, RawPlayer


@dataclass
class Pki:
    """A gateway with its authority, whose files a test may write."""

    gateway: Gateway
    folder: Path
    root: Forged
    machine: Forged
    operator: Forged
    supervisor: Forged
    stranger: Forged = field(default_factory=lambda: issue(None, "another authority", is_authority=True))

    @property
    def trusted(self) -> Path:
        return Path(self.gateway.ready["ca"])

    @property
    def crl(self) -> Path:
        return self.trusted.parent / "crl.pem"

    def context(self, shown: Forged | None) -> ssl.SSLContext:
        return careless_context(self.trusted) if shown is None else shown.client_context(self.trusted, self.folder)

    def address(self, port: str) -> tuple[str, int]:
        host, _, number = self.gateway.ready[port].partition("://")[2].partition(":")
        return host, int(number)

    def player(self, credentials: Credentials, tls: ssl.SSLContext) -> RawPlayer:
        return RawPlayer(*self.address("rtsps"), credentials, tls=tls)

    async def come(self, port: str, tls: ssl.SSLContext) -> int | None:
        """Ask to watch, or to log in, as those who hold such certificates do; the status, None for no answer."""
        with contextlib.suppress(OSError, EOFError, aiohttp.ClientError):
            return await (self._watch(tls) if port == "rtsps" else self._log_in(tls))
        return None

    async def renew(self, path: Path, content: bytes) -> None:
        """Replace a file, and wait until the gateway has read it; what it says of other files comes when it comes."""

        async def times_read() -> int:
            return sum(path.name in entry.detail.get("files", ()) for entry in await self.entries(Kind.CONFIG_CHANGED))

        seen = await times_read()
        new = path.with_suffix(".new")
        new.write_bytes(content)
        os.replace(new, path)

        async def is_read() -> bool:
            return await times_read() > seen

        await until(is_read)

    async def entries(self, kind: Kind) -> list[Entry]:
        return [entry for entry in await self.gateway.trace() if entry.kind is kind]

    async def _watch(self, tls: ssl.SSLContext) -> int:
        async with self.player(self.gateway.machine, tls) as player:
            return (await player.set_up(f"/live/{self.gateway.cameras[0]}")).status

    async def _log_in(self, tls: ssl.SSLContext) -> int:
        account = self.gateway.ready["accounts"]["operator"]
        body = {"id": account["id"], "password": account["password"]}
        url = f"{self.gateway.ready['https']}/api/v1/login"
        async with aiohttp.ClientSession() as http, http.post(url, json=body, ssl=tls) as answer:
            return answer.status


@contextlib.asynccontextmanager
async def open_pki(folder: Path) -> AsyncIterator[Pki]:
    """A gateway that looks at its files all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halfgateway.app.tls, "CHECK_FILES_S", 0.05)
        async with open_gateway(folder / "demo", STEADY) as gateway:
            accounts = gateway.ready["accounts"]
            machine, operator, supervisor = (
                read(Path(accounts[name]["certificate"]), Path(accounts[name]["key"]))
                for name in ("machine", "operator", "supervisor")
            )
            authority = Path(gateway.ready["ca"]).parent
            root = read(authority / "ca.pem", authority / "ca.key")
            forged = folder / "forged"
            forged.mkdir()
            yield Pki(gateway, forged, root, machine, operator, supervisor)


@contextlib.asynccontextmanager
async def lists_kept(pki: Pki) -> AsyncIterator[None]:
    """The revocation list is afterwards as it was before."""
    before = pki.crl.read_bytes()
    yield
    await pki.renew(pki.crl, before)


@contextlib.asynccontextmanager
async def one_more(pki: Pki, kind: Kind, reason: str) -> AsyncIterator[None]:
    """What is done meanwhile is refused, and told by an entry of this reason and no other."""
    refusals = (Kind.AUTH_FAILED, Kind.STREAM_REFUSED)

    async def told() -> list[Entry]:
        return [entry for entry in await pki.gateway.trace() if entry.kind in refusals]

    before = len(await told())
    yield

    async def is_told() -> bool:
        return len(await told()) > before

    await until(is_told)
    assert {(entry.kind, entry.detail["reason"]) for entry in (await told())[before:]} == {(kind, reason)}
    assert all("CN=" not in repr(entry) for entry in (await told())[before:])
