"""A whole gateway: real Valkey, SQL, certificates, journal, and simulated cameras in their own process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pyotp
import pytest
import pytest_asyncio

import auth.passwords
from auth.trace import Entry
from auth.trace.reader import TraceReader
from halfgateway.app import Node
from halfgateway.config_terms import TimingsSection
from halfgateway.demo import DemoPorts, running_demo
from halfgateway.folder import DataFolder
from tests.conftest import uncounted_processes
from tests.databases import databases
from tests.e2e.inventory import TEST_SITE
from tests.e2e.nodes import CAMERAS, cheap_hasher, shared_simulator
from tests.raw_player import Credentials, RawPlayer
from tests.rights import BY, order_of_site
from tests.udp_player import UdpPlayer

SWIFT = TimingsSection(
    play_before_s=15.0,
    setup_to_play_s=10.0,
    resume_s=0.5,
    paused_s=10.0,
    ticket_grace_s=2.0,
    trace_grace_s=1.0,
    lease_s=6.0,
    renew_s=0.5,
)
"""As in use, but swift where a test waits for an end; never so swift that a busy machine ends what should play."""

STEADY = TimingsSection(resume_s=2.0, ticket_grace_s=2.0)
"""As in use, but for what a test waits for: nothing lapses on a machine that is busy with real players."""

WAIT_S = 20.0


@dataclass
class Visit:
    """The API of a demo, by what it said when it was ready, for its accounts."""

    ready: dict[str, Any]
    http: aiohttp.ClientSession
    tokens: dict[str, str] = field(default_factory=dict, init=False)

    async def token(self, role: str) -> str:
        """Log in as one of the demo's accounts, by the factors that its role needs."""
        if role not in self.tokens:
            account = self.ready["accounts"][role]
            body = {"id": account["id"], "password": account["password"]}
            tls = ssl.create_default_context(cafile=self.ready["ca"])
            if "certificate" in account:
                tls.load_cert_chain(account["certificate"], account["key"])
            else:
                body["totp"] = pyotp.TOTP(account["totp_secret"]).now()
            async with self.http.post(self.ready["https"] + "/api/v1/login", json=body, ssl=tls) as answer:
                assert answer.status == 200, await answer.text()
                self.tokens[role] = (await answer.json())["token"]
        return self.tokens[role]

    async def call(self, role: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """One API call; its status and JSON."""
        headers = {"Authorization": f"Bearer {await self.token(role)}"}
        url = f"{self.ready['http']}/api/v1{path}"
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, await answer.json(content_type=None) if text else {}


@dataclass
class Gateway(Visit):
    """A running node and how to come to it from outside."""

    node: Node

    @property
    def machine(self) -> Credentials:
        account = self.ready["accounts"]["machine"]
        return Credentials(account["id"], account["password"])

    @property
    def cameras(self) -> list[str]:
        cameras: list[str] = self.ready["cameras"]
        return cameras

    @property
    def data(self) -> Path:
        return Path(self.ready["data"])

    def player(self, credentials: Credentials | None) -> RawPlayer:
        address = urlsplit(self.ready["rtsp"])
        return RawPlayer(address.hostname or "", address.port or 0, credentials)

    def udp_player(self, credentials: Credentials) -> UdpPlayer:
        address = urlsplit(self.ready["rtsp"])
        return UdpPlayer(address.hostname or "", address.port or 0, credentials)

    def url(self, path: str, credentials: Credentials) -> str:
        """The URL with credentials in it, as ordinary players take it."""
        address = self.ready["rtsp"].removeprefix("rtsp://")
        return f"rtsp://{credentials.username}:{credentials.password}@{address}{path}"

    async def ticket(self, camera: str, role: str = "operator") -> dict[str, Any]:
        """A ticket for a live camera."""
        wish = {"camera": camera, "mode": "live", "reason": "L251-2-5"}
        status, ticket = await self.call(role, "POST", "/streams", wish)
        assert status == 201, ticket
        return ticket

    async def slots_used(self) -> int:
        used, _ = await self.node.control.slots.usage()
        return used

    async def trace(self) -> list[Entry]:
        """The whole history, oldest first."""
        reader = TraceReader.of(self.node.journal.folder, self.node.journal.node)
        page = await reader.entries(limit=1000)
        entries = list(page.items)
        while page.next is not None:
            page = await reader.entries(limit=1000, cursor=page.next)
            entries += page.items
        return entries[::-1]

    async def traced(self, found: Callable[[Entry], bool]) -> list[Entry]:
        """Wait until an entry is in the trace; all that match."""
        async with asyncio.timeout(WAIT_S):
            while not (entries := [entry for entry in await self.trace() if found(entry)]):
                await asyncio.sleep(0.02)
        return entries


def records_of(data: Path) -> Path:
    """By which the database of a gateway is known (:mod:`tests.databases`): where it is, if it is SQLite's."""
    return DataFolder(data).records


def credentials_of(ticket: dict[str, Any]) -> Credentials:
    return Credentials(ticket["username"], ticket["password"])


async def until(condition: Callable[[], Any], limit_s: float = WAIT_S) -> None:
    """Wait until a condition holds; a coroutine function is awaited."""
    async with asyncio.timeout(limit_s):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def simulated_already(count: int) -> AsyncIterator[dict[str, Any]]:
    """The cameras that run anyhow and their recorder, for a demo to ``simulate``."""
    assert count == CAMERAS
    yield await asyncio.to_thread(shared_simulator)


@asynccontextmanager
async def open_gateway(
    folder: Path, timings: TimingsSection, *, host: str = "127.0.0.1", cameras: int = CAMERAS
) -> AsyncIterator[Gateway]:
    """The demo in ``folder``, but that its cameras are shared and its passwords cheap: a test opens it in a moment.

    Where a test wants another number of cameras, they are its own.
    """
    simulate = simulated_already if cameras == CAMERAS else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth.passwords, "PasswordHasher", cheap_hasher)
        DataFolder(folder).make()
        url = databases.url(records_of(folder))
        ports = DemoPorts(0, 0, 0, 0)
        demo = running_demo(folder, host, ports, timings, cameras=cameras, simulate=simulate, database_url=url)
        async with AsyncExitStack() as life:
            with uncounted_processes():  # they ask devices and play cameras, as in tests/registry and tests/simulator
                node, ready = await life.enter_async_context(demo)
            http = await life.enter_async_context(aiohttp.ClientSession())
            order = order_of_site(TEST_SITE)
            if order.reference not in {each.reference for each in await node.office.orders.orders()}:
                await node.office.orders.add([order], by=BY)
            yield Gateway(ready, http, node)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with swift timings."""
    async with open_gateway(tmp_path / "demo", SWIFT) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One gateway for all tests of a module, whose loop they must share."""
    async with open_gateway(tmp_path_factory.mktemp("gateway") / "demo", STEADY) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def shared(module_gateway: Gateway) -> AsyncIterator[Gateway]:
    """The module's gateway; a test leaves no slot taken behind."""
    yield module_gateway

    async def is_free() -> bool:
        return await module_gateway.slots_used() == 0

    await until(is_free)
