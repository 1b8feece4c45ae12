"""A node whose configuration a test may write anew, its cameras within the test's reach, and who may come."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pyotp

from auth.accounts import AccountRepository
from auth.enrolment import Enrolment
from auth.passwords import Passwords
from auth.principals import Role
from auth.sealing import Sealing
from auth.trace import Entry, Kind
from camera_registry.clock import SystemClock
from camera_registry.orders import Perimeter
from halfgateway.database import Database
from halfgateway.downstream.answers import REALM
from halfgateway.keys import NodeKeys
from halfgateway.simulator.camera import SimulatedCamera
from tests.databases import databases
from tests.e2e.cluster import until
from tests.e2e.inventory import QUICK_FRAMES, simulated_camera
from tests.e2e.nodes import LEASE_S, OPERATOR, Estate, ServedNode, cheap_hasher, estate, toml_lines
from tests.e2e.watching import Watcher
from tests.raw_player import Credentials
from tests.rights import SERVICE, SITE, authorise, order

CAMERAS = ("c-1", "c-2", "c-3")
ANOTHER_MACHINE, ANOTHER_RESPONSIBLE = "pvpp-vms-2", "pp-garant-02"
LOCAL = "local-os"
COMMUNE = "Versailles"

TIMINGS = {"resume_s": 1.0, "ticket_grace_s": 1.0, "lease_s": LEASE_S, "renew_s": 1.0}
"""As in use, but for what a test waits for."""


@dataclass
class Site:
    """One node, served by ``halfgateway serve``, that stands again as it was after each test."""

    estate: Estate
    node: ServedNode
    http: aiohttp.ClientSession
    cameras: dict[str, SimulatedCamera]
    accounts: dict[str, dict[str, str]]
    another_machine: Credentials
    document: dict[str, Any]
    original: dict[str, Any]
    life: AsyncExitStack = field(default_factory=AsyncExitStack)
    told: list[str] = field(default_factory=list)
    since: int = 0

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.node.config.read_bytes()).hexdigest()

    def write(self) -> None:
        """Put the document, as a test has changed it, where the node reads it."""
        self.node.config.write_text("\n".join(toml_lines(self.document)))

    def camera(self, name: str) -> dict[str, Any]:
        """The configuration of one camera."""
        section: dict[str, Any] = next(each for each in self.document["cameras"] if each["id"] == name)
        return section

    def password_file(self, name: str) -> Path:
        return Path(self.camera(name)["password_file"])

    async def hang_up(self) -> Entry:
        """Write, send SIGHUP, and wait until the trace tells of it."""
        before = len(await self.entries(Kind.CONFIG_CHANGED))
        self.write()
        self.node.signal(signal.SIGHUP)

        async def is_told() -> bool:
            return len(await self.entries(Kind.CONFIG_CHANGED)) > before

        await until(is_told)
        return (await self.entries(Kind.CONFIG_CHANGED))[-1]

    async def post(self, role: str = "ops") -> tuple[int, dict[str, Any]]:
        """Write, and reload by the API: the status and the answer."""
        self.write()
        return await self.call("POST", "/admin/reload", role=role)

    async def applied(self) -> list[str]:
        """Write, and reload by the API, which takes it: the keys that differed."""
        status, answer = await self.post()
        assert status == 200, answer
        assert answer["sha256"] == self.sha256
        changed: list[str] = answer["changed"]
        return changed

    async def call(
        self, method: str, path: str, body: object = None, *, role: str = "operator"
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.estate.tokens[role]}"}
        async with self.http.request(
            method, f"{self.node.ready.http}/api/v1{path}", json=body, headers=headers
        ) as answer:
            text = await answer.text()
            if (method, path) != ("POST", "/streams"):  # a ticket tells its holder its secret
                self.told.append(text)
            return answer.status, await answer.json(content_type=None) if text else {}

    async def ticket(self, camera: str) -> Credentials:
        wish = {"camera": camera, "mode": "live", "reason": "L251-2-5"}
        status, ticket = await self.call("POST", "/streams", wish)
        assert status == 201, ticket
        return Credentials(ticket["username"], ticket["password"])

    async def playing(self, camera: str, *, by: Credentials | None = None, secure: bool = False) -> Watcher:
        """A player that is sent this camera: by ticket, unless it is a machine's."""
        player = await self.enter(by or await self.ticket(camera), camera, secure=secure)
        answer = await player.start()
        assert answer.status == 200, answer
        await player.delivers()
        return player

    async def enter(self, credentials: Credentials, camera: str, *, secure: bool = False) -> Watcher:
        player = self.node.watcher(credentials, camera)
        if secure:
            player.port = int(self.node.ready.rtsps.rpartition(":")[2])
            player.tls = ssl.create_default_context(cafile=str(self.estate.authority.certificate_path))
        return await self.life.enter_async_context(player)

    async def entries(self, *kinds: Kind) -> list[Entry]:
        return [entry for entry in await self.node.trace() if entry.kind in kinds]

    async def ended(self, count: int, cause: str) -> list[Entry]:
        """The results of so many streams that ended for this cause since the test began."""

        async def results() -> list[Entry]:
            stopped = await self.entries(Kind.STREAM_STOPPED)
            return [each for each in stopped if each.n >= self.since and each.detail["cause"] == cause]

        async def are_told() -> bool:
            return len(await results()) >= count

        await until(are_told)
        found = await results()
        assert len(found) == count
        return found

    async def begin(self) -> None:
        self.since = len(await self.node.trace())
        self.document = copy.deepcopy(self.original)

    async def end(self) -> None:
        """Stand as before: nobody watches, and the first file is in force."""
        await self.life.aclose()
        self.document = copy.deepcopy(self.original)
        for name, camera in self.cameras.items():
            self.password_file(name).write_text(camera.identity.password)
        await self.applied()
        await until(self.knows_cameras)
        await until(self.is_free)

    async def knows_cameras(self) -> bool:
        _, page = await self.call("GET", "/cameras")
        return [each["id"] for each in page["items"] if each["state"] == "available"] == list(CAMERAS)

    async def grants(self) -> bool:
        """Whether the lease has passed for which an empty store grants nothing."""
        wish = {"camera": CAMERAS[0], "mode": "live", "reason": "L251-2-5"}
        status, answer = await self.call("POST", "/streams", wish)
        if status == 201:
            await self.call("DELETE", f"/streams/{answer['id']}")
        return status == 201

    async def is_free(self) -> bool:
        _, state = await self.call("GET", "/interconnection")
        used: int = state["slots"]["used"]
        return used == 0

    async def log_in(self, role: str) -> None:
        account = self.accounts[role]
        tls = ssl.create_default_context(cafile=str(self.estate.authority.certificate_path))
        body = {"id": account["id"], "password": account["password"]}
        if "certificate" in account:
            tls.load_cert_chain(account["certificate"], account["key"])
        else:
            body["totp"] = pyotp.TOTP(account["totp_secret"]).now()
        async with self.http.post(f"{self.node.ready.https}/api/v1/login", json=body, ssl=tls) as answer:
            assert answer.status == 200, await answer.text()
            self.estate.tokens[role] = (await answer.json())["token"]


@contextlib.asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[Site]:
    """The node running, all its cameras known."""
    async with AsyncExitStack() as life:
        cameras = {name: await life.enter_async_context(simulated_camera(frames=QUICK_FRAMES)) for name in CAMERAS}
        described = [_described(name, camera) for name, camera in cameras.items()]
        opening = estate(folder, TIMINGS, described)
        shared = await asyncio.to_thread(opening.__enter__)
        life.push_async_callback(asyncio.to_thread, opening.__exit__, None, None, None)
        accounts, another_machine = await _enrolled(folder)
        accounts["operator"] = {"id": OPERATOR, **shared.operator}
        node = shared.node("a")
        life.callback(node.kill)
        document = shared.configuration(node)
        http = await life.enter_async_context(aiohttp.ClientSession())
        site = Site(shared, node, http, cameras, accounts, another_machine, document, copy.deepcopy(document))
        site.write()
        await asyncio.to_thread(node.start)
        for role in accounts:
            await site.log_in(role)
        await until(site.knows_cameras)
        await until(site.grants)
        yield site


def _described(name: str, camera: SimulatedCamera) -> dict[str, Any]:
    return {
        "id": name,
        "name": f"Caméra {name}",
        "site": "Essai",
        "commune": COMMUNE,
        "latitude": 48.8,
        "longitude": 2.1,
        "onvif_url": camera.onvif_url,
        "username": camera.identity.username,
        "password": camera.identity.password,
    }


async def _enrolled(folder: Path) -> tuple[dict[str, dict[str, str]], Credentials]:
    """SYN's people, and a second machine of which nothing is agreed yet."""
    database = Database(databases.url(folder / "records.sqlite"))
    passwords = Passwords(random_bytes=secrets.token_bytes, hasher=cheap_hasher())
    try:
        sealing = Sealing(NodeKeys.open(folder / "secrets").master, random_bytes=secrets.token_bytes)
        enrolment = Enrolment(
            AccountRepository(database.sessions, sealing, SystemClock()), passwords, random_bytes=secrets.token_bytes
        )
        accounts = {}
        for role in (Role.OPS, Role.OFFICER):
            account = {"id": f"syn-{role.value}-01", "password": secrets.token_urlsafe(12)}
            await enrolment.create(account["id"], role, account["password"], agent=account["id"], service="SYN")
            account["totp_secret"] = await enrolment.enrol_totp(account["id"])
            accounts[role.value] = account
        await enrolment.create(
            ANOTHER_MACHINE,
            Role.MACHINE,
            secrets.token_urlsafe(12),
            agent=ANOTHER_RESPONSIBLE,
            service=SERVICE,
            site=SITE,
        )
        people = {accounts[role.value]["id"]: role for role in (Role.OPS, Role.OFFICER)}
        any_camera = order(reference="78-2025-02", perimeter=Perimeter(communes=frozenset({COMMUNE})))
        await authorise(database, {**people, ANOTHER_RESPONSIBLE: Role.MACHINE}, any_camera)
        return accounts, Credentials(
            ANOTHER_MACHINE, await enrolment.enrol_machine_secret(ANOTHER_MACHINE, realm=REALM)
        )
    finally:
        passwords.close()
        await database.close()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""

    async def holds() -> bool:
        return condition()

    await until(holds)
