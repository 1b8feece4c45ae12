"""What is measured: our gateway and gst-rtsp-server's proxy, each in a process of its own, and the camera itself."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from argon2 import PasswordHasher

from auth.accounts import AccountRepository
from auth.demo_authority import DemoAuthority
from auth.enrolment import Enrolment
from auth.passwords import Passwords
from auth.principals import Role
from auth.rights import USUAL_ACTIONS, Action
from auth.sealing import Sealing
from camera_registry.clock import SystemClock
from halfgateway.database import Database
from halfgateway.downstream.answers import REALM
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.protocol.ranges import ClockRange
from tests.bench.child import BenchError, Child, child
from tests.bench.identities import PASSWORD, STREAM_PATH, USERNAME, bench_identity
from tests.bench.recorded import recorded_document
from tests.contacts import CONTACTS
from tests.e2e.nodes import toml_lines
from tests.raw_player import Credentials, RawPlayer
from tests.rights import authorise, order

HOST: Final = "127.0.0.1"
SYSTEM_PYTHON: Final = "/usr/bin/python3"
MACHINE: Final = "bench-vms"
RESPONSIBLE: Final = "bench-garant"
CAP: Final = 100
"""Streams at once in the bench's convention, by its avenant; the real one has ten, and the door is never skipped."""

READY_LIMIT_S: Final = 30.0
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Peer:
    """Something to read cameras from; ``process`` is whose CPU and memory count, None for the camera itself."""

    name: str
    transport: str
    urls: tuple[str, ...]
    username: str
    password: str
    process: Child | None
    tls: dict[str, str] | None = None

    @property
    def port(self) -> int:
        """Where it listens, with all its cameras."""
        return urlsplit(self.urls[0]).port or 0

    def path(self, camera: int) -> str:
        """A camera's path."""
        return urlsplit(self.urls[camera]).path

    def target(self, camera: int, *, slow_bps: float | None = None) -> dict[str, Any]:
        """How a reader comes to one camera."""
        return {
            "url": self.urls[camera],
            "camera": camera,
            "username": self.username,
            "password": self.password,
            "tls": self.tls,
            "slow_bps": slow_bps,
        }

    def recorded(self, camera: int, begins: datetime) -> dict[str, Any]:
        """How a reader comes to one camera's recording, from an instant on."""
        url = self.urls[camera].replace("/live/", "/recorded/")
        return self.target(camera) | {"url": url, "begins": str(ClockRange(begins, None))}


@dataclass(frozen=True, slots=True)
class Served:
    """How our node is started, and how a reader comes to it."""

    command: tuple[str, ...]
    log: Path
    folder: DataFolder
    paths: tuple[str, ...]
    machine: Credentials
    tls: dict[str, str]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Our node: the same cameras over RTSP and over RTSPS."""

    rtsp: Peer
    rtsps: Peer
    served: Served

    @property
    def folder(self) -> DataFolder:
        """What is its own."""
        return self.served.folder

    @property
    def credentials(self) -> Credentials:
        """Of its machine account."""
        return Credentials(self.rtsp.username, self.rtsp.password)

    def player(self) -> RawPlayer:
        """A connection over plain RTSP."""
        return RawPlayer(HOST, self.rtsp.port, self.credentials)


def direct(ports: Sequence[int]) -> Peer:
    """The cameras themselves."""
    urls = tuple(f"rtsp://{HOST}:{port}{STREAM_PATH}" for port in ports)
    return Peer("direct", "rtsp", urls, USERNAME, PASSWORD, None)


@asynccontextmanager
async def gst_proxy(folder: Path, cameras: Peer) -> AsyncIterator[Peer]:
    """gst-rtsp-server in front of the cameras."""
    script = str(Path(__file__).with_name("gst_proxy.py"))
    command = [SYSTEM_PYTHON, script, USERNAME, PASSWORD, *cameras.urls]
    async with child(command, folder / "gst-proxy.log") as process:
        port = process.first["port"]
        urls = tuple(f"rtsp://{HOST}:{port}/{number}" for number in range(len(cameras.urls)))
        yield Peer("gst-rtsp-server", "rtsp", urls, "", "", process)


@asynccontextmanager
async def gateway(
    folder: Path,
    onvif_urls: Sequence[str],
    *,
    module: str,
    log_level: str,
    mail_port: int | None = None,
    footage: Mapping[str, Any] | None = None,
) -> AsyncIterator[Gateway]:
    """``halfgateway serve`` on embedded defaults, that knows every camera; ``module`` is what is run.

    Its notifier and its watchdog run too where there is a mail server for them, at ``mail_port``. ``footage`` is what
    :mod:`tests.bench.footage` has said of its recorders.
    """
    authority = DemoAuthority.open(folder / "ca", datetime.now(UTC))
    authority.write_revocation_list([], datetime.now(UTC))
    data = DataFolder(folder / "node")
    data.make()
    machine, tls = await _enrolled(data, authority, len(onvif_urls))
    config = folder / "gateway.toml"
    document = _configuration(folder, data, authority, onvif_urls) | {"log_level": log_level}
    if mail_port is not None:
        document["mail"] = _mail(mail_port)
    if footage is not None:
        document |= recorded_document(folder, authority, MACHINE, footage)
    config.write_text("\n".join(toml_lines(document)))
    serve = [sys.executable, "-m", module, "serve", "--config", str(config), "--json"]
    command = serve if mail_port is not None else [*serve, "--no-attendants"]
    paths = tuple(f"/live/{bench_identity(index).id}" for index in range(len(onvif_urls)))
    async with serving(Served(tuple(command), folder / "gateway.log", data, paths, machine, tls)) as ours:
        await _ready(ours, paths)
        yield ours


@asynccontextmanager
async def serving(served: Served) -> AsyncIterator[Gateway]:
    """Start it; again, where it has run before."""
    async with child(served.command, served.log) as process:
        rtsp, rtsps = (
            Peer(
                "halfgateway",
                transport,
                tuple(process.first[transport] + path for path in served.paths),
                served.machine.username,
                served.machine.password,
                process,
                served.tls if transport == "rtsps" else None,
            )
            for transport in ("rtsp", "rtsps")
        )
        yield Gateway(rtsp, rtsps, served)


async def _ready(ours: Gateway, paths: Sequence[str]) -> None:
    """Wait until it knows every camera."""
    async with ours.player() as player:
        try:
            async with asyncio.timeout(READY_LIMIT_S):
                for path in paths:
                    while (answer := await player.ask("DESCRIBE", player.url(path))).status != 200:
                        await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise BenchError(f"the gateway is not ready: {answer}") from error


async def _enrolled(data: DataFolder, authority: DemoAuthority, cameras: int) -> tuple[Credentials, dict[str, str]]:
    """A machine account with its Digest secret and its certificate."""
    keys, now = NodeKeys.open(data.secrets), datetime.now(UTC)
    database = Database(f"sqlite:///{data.records}")
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords = Passwords(random_bytes=secrets.token_bytes, hasher=cheap)
    try:
        await database.migrate()
        sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
        accounts = AccountRepository(database.sessions, sealing, SystemClock())
        enrolment = Enrolment(accounts, passwords, random_bytes=secrets.token_bytes)
        card = authority.client(MACHINE, now)
        await enrolment.create(MACHINE, Role.MACHINE, secrets.token_urlsafe(12), agent=RESPONSIBLE, service="DOPC")
        await enrolment.bind_certificate(MACHINE, card.der)
        secret = await enrolment.enrol_machine_secret(MACHINE, realm=REALM)
        await authorise(
            database,
            {RESPONSIBLE: Role.MACHINE},
            order([bench_identity(index).id for index in range(cameras)]),
            actions=USUAL_ACTIONS | {Action.EXPORT},
        )
    finally:
        passwords.close()
        await database.close()
    files = {
        "authority": str(authority.certificate_path),
        "certificate": str(card.certificate_path),
        "key": str(card.key_path),
    }
    return Credentials(MACHINE, secret), files


def _configuration(
    folder: Path, data: DataFolder, authority: DemoAuthority, onvif_urls: Sequence[str]
) -> dict[str, Any]:
    server = authority.server(datetime.now(UTC))
    password = folder / "camera.password"
    password.write_text(PASSWORD)
    described = ("id", "name", "site", "commune", "latitude", "longitude", "username")
    return {
        "node": {"id": "bench", "data": str(data.root)},
        "convention": {
            "id": "bench",
            "in_force_from": datetime(2025, 10, 21, tzinfo=UTC),
            "cap": CAP,
            "avenant": "banc d'essai",
            "machine_only_agreement": "banc d'essai",
        },
        "listen": {"http_port": 0, "https_port": 0, "rtsp_port": 0, "rtsps_port": 0},
        "tls": {
            "certificate": str(server.certificate_path),
            "key": str(server.key_path),
            "client_ca": str(authority.certificate_path),
            "revoked": str(authority.revocation_list_path),
        },
        "contacts": CONTACTS,
        "machines": [{"id": MACHINE, "agent": RESPONSIBLE, "reason": "L251-2-5", "over_plain_rtsp": True}],
        "cameras": [
            {name: getattr(bench_identity(index), name) for name in described}
            | {"onvif_url": url, "password_file": str(password)}
            for index, url in enumerate(onvif_urls)
        ],
    }


def _mail(port: int) -> dict[str, Any]:
    server = {"host": HOST, "port": port, "tls": "none-loopback-only"}
    return {"sender": "notices@syn.example", "domain": "syn.example", "primary": server}
