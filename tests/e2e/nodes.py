"""Nodes as they are in use: processes of their own that share one Valkey, one database and the same cameras."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import secrets
import select
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from argon2 import PasswordHasher

from auth.accounts import AccountRepository
from auth.demo_authority import DemoAuthority, Issued
from auth.enrolment import Enrolment
from auth.passwords import Passwords
from auth.principals import Role
from auth.sealing import Sealing
from auth.trace import Entry, Kind
from auth.trace.acts import open_streams
from auth.trace.reader import TraceReader
from camera_registry.clock import SystemClock
from halfgateway.database import Database
from halfgateway.downstream.answers import REALM
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.net.valkey import connect, find_binary
from tests.conftest import uncounted_environment
from tests.contacts import CONTACTS
from tests.databases import databases
from tests.e2e.watching import Watcher
from tests.raw_player import Credentials
from tests.rights import SITE, authorise, order

START_LIMIT_S = 60.0
"""How long a process may take to be ready: thirty times the usual."""

WAIT_S = 30.0

CAMERAS = 3

LEASE_S = 5.0
"""A lease in these tests: short to wait for, and longer than this machine ever stalls."""

TIMINGS = {
    "play_before_s": 6.0,
    "setup_to_play_s": 8.0,
    "resume_s": 1.0,
    "paused_s": 3.0,
    "ticket_grace_s": 3.0,
    "trace_grace_s": 1.0,
    "lease_s": LEASE_S,
    "renew_s": LEASE_S / 8,
}
"""As in use (ADR 2, Numbers), but swift."""

cheap_hasher = functools.partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
"""Enrols a house in a moment; the real costs are those of tests/auth and of ``make demo``."""

OPERATOR, MACHINE, RESPONSIBLE = "pp-operator-01", "pvpp-vms", "pp-garant-01"
SHARED_KEYS = ("master.key", "ticket.key", "nonce.key")


class Process:
    """A process of a session of its own, watched from outside; it is never left behind.

    What it covers is not counted: most are killed, and the others do what the gateways of the tests' own process do.
    """

    def __init__(self, command: list[str], log: Path, *, piped: bool = False) -> None:
        self._command = command
        self._log = log
        self._piped = piped
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def spawn(self) -> None:
        pipe = subprocess.PIPE if self._piped else subprocess.DEVNULL
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                start_new_session=True,
                bufsize=0,
                env=uncounted_environment(),
            )

    def first_line(self) -> dict[str, Any]:
        """The JSON line that says that it is ready."""
        assert self._child is not None
        assert self._child.stdout is not None
        said, deadline = b"", time.monotonic() + START_LIMIT_S
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self._child.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._child.stdout.fileno(), 65536) if ready else b""
            assert chunk, f"{self._command[-3:]} did not start:\n{self.log()[-3000:]}"
            said += chunk
        line: dict[str, Any] = json.loads(said)
        return line

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        os.kill(self._child.pid, number)

    def kill(self) -> None:
        """As ``kill -9`` does, and wait until it is gone."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(START_LIMIT_S)
            self._forget()

    def end(self) -> int:
        """Stop in good order; the exit code."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        code = self._child.wait(START_LIMIT_S)
        self._forget()
        return code

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def _forget(self) -> None:
        if self._child is not None:
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
        self._child = None


def shared_cameras() -> list[dict[str, Any]]:
    """What is to be known of the three simulated cameras of :func:`shared_simulator`."""
    cameras: list[dict[str, Any]] = shared_simulator()["cameras"]
    return cameras


@functools.cache
def shared_simulator() -> dict[str, Any]:
    """What is to be known of the three simulated cameras and their recorder, which serve all gateways of this process.

    They take seconds to start, and leave with the process that asked for them.
    """
    log = Path(tempfile.gettempdir()) / f"shared-cameras-{os.getpid()}.log"
    simulate = [sys.executable, "-m", "halfgateway", "simulate", "--cameras", str(CAMERAS), "--json"]
    simulator = Process(simulate, log, piped=True)
    atexit.register(log.unlink)
    simulator.spawn()
    atexit.register(simulator.end)
    return simulator.first_line()


class Valkey(Process):
    """A real Valkey on a Unix socket that keeps nothing: started again, it is empty."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        command = [str(find_binary()), "--port", "0", "--unixsocket", str(self.socket)]
        super().__init__([*command, "--save", "", "--appendonly", "no", "--dir", str(folder)], folder / "valkey.log")

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.spawn()
        deadline = time.monotonic() + START_LIMIT_S
        while not self.socket.exists():
            assert self.runs, self.log()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    async def flush(self) -> None:
        client = connect(self.socket)
        await client.flushall()
        await client.aclose()


@dataclass
class Ready:
    """A node's addresses, as ``serve --json`` says them."""

    http: str
    https: str
    rtsp: str
    rtsps: str = ""

    @property
    def rtsp_address(self) -> tuple[str, int]:
        host, _, port = self.rtsp.removeprefix("rtsp://").rpartition(":")
        return host, int(port)


class ServedNode(Process):
    """``halfgateway serve`` with a data folder of its own."""

    def __init__(self, name: str, estate: Estate, *, data: Path | None = None) -> None:
        self.name = name
        self.estate = estate
        self.folder = DataFolder(data or estate.folder / name)
        self.config = estate.folder / f"{name}.toml"
        self.ready = Ready("", "", "", "")
        serve = [
            sys.executable,
            "-m",
            "halfgateway",
            "serve",
            "--config",
            str(self.config),
            "--no-attendants",
            "--json",
        ]
        super().__init__(serve, estate.folder / f"{name}.log", piped=True)

    def start(self) -> None:
        self.spawn()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        line = self.first_line()
        self.ready = Ready(line["http"], line["https"], line["rtsp"], line["rtsps"])

    def watcher(self, credentials: Credentials, camera: str) -> Watcher:
        """A player of this node that will notice what it is sent."""
        host, port = self.ready.rtsp_address
        return Watcher(host, port, credentials, path=f"/live/{camera}", watch=self.estate.watch)

    async def trace(self) -> list[Entry]:
        """The node's whole journal, oldest first, read from its folder."""
        reader, cursor, entries = TraceReader.of(self.folder.trace, self.name), None, list[Entry]()
        while True:
            page = await reader.entries(limit=1000, cursor=cursor)
            entries += page.items
            if page.next is None:
                return entries[::-1]
            cursor = page.next

    async def open_acts(self) -> list[str]:
        """The streams of which the trace has an intent and no result (T02)."""
        return [act.stream for act in open_streams(await self.trace())]

    def verify(self) -> int:
        """The exit code of ``halfgateway trace verify``."""
        command = [sys.executable, "-m", "halfgateway", "trace", "verify", str(self.folder.trace)]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


@dataclass
class Estate:
    """What the nodes of one convention share, and who may come."""

    folder: Path
    authority: DemoAuthority
    operator: dict[str, Any]
    machine: Credentials
    cameras: list[dict[str, Any]]
    valkey: Valkey
    timings: dict[str, float]
    watch: list[Watcher] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def camera_ids(self) -> list[str]:
        return [camera["id"] for camera in self.cameras]

    @property
    def records(self) -> Path:
        """By which the shared database is known (:mod:`tests.databases`)."""
        return self.folder / "records.sqlite"

    @property
    def machine_card(self) -> Issued:
        return self.authority.client(MACHINE, datetime.now(UTC))

    def node(self, name: str, *, records: Path | None = None, listen: dict[str, Any] | None = None) -> ServedNode:
        """A node that is configured, and not started; ``listen`` says how it listens otherwise than the others."""
        node = ServedNode(name, self)
        node.folder.make()
        node.folder.secrets.mkdir(mode=0o700, exist_ok=True)
        for key in SHARED_KEYS:
            (node.folder.secrets / key).write_bytes((self.folder / "secrets" / key).read_bytes())
        document = self.configuration(node, records)
        document["listen"] |= listen or {}
        node.config.write_text("\n".join(toml_lines(document)))
        return node

    async def call(
        self, node: ServedNode, http: aiohttp.ClientSession, method: str, path: str, body: object = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """One API call as the operator: status, JSON, headers."""
        headers = {"Authorization": f"Bearer {await self._token(node, http)}"}
        url = f"{node.ready.http}/api/v1{path}"
        async with http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else {}, dict(answer.headers)

    async def ask(self, node: ServedNode, http: aiohttp.ClientSession, camera: str) -> tuple[int, dict[str, Any], Any]:
        """Ask for a ticket."""
        wish = {"camera": camera, "mode": "live", "reason": "L251-2-5"}
        return await self.call(node, http, "POST", "/streams", wish)

    async def ticket(self, node: ServedNode, http: aiohttp.ClientSession, camera: str) -> Credentials:
        """A ticket that is granted."""
        status, ticket, _ = await self.ask(node, http, camera)
        assert status == 201, ticket
        return Credentials(ticket["username"], ticket["password"])

    async def slots_used(self) -> int:
        """How many leases the store holds; lapsed ones that nobody has swept do not count."""
        client = connect(self.valkey.socket)
        seconds, microseconds = await client.time()
        now_ms = seconds * 1000 + microseconds // 1000
        used: int = await client.zcount("hg:{syn-pp}:leases", f"({now_ms}", "+inf")
        await client.aclose()
        return used

    async def _token(self, node: ServedNode, http: aiohttp.ClientSession) -> str:
        if "operator" not in self.tokens:
            tls = ssl.create_default_context(cafile=str(self.authority.certificate_path))
            tls.load_cert_chain(self.operator["certificate"], self.operator["key"])
            body = {"id": OPERATOR, "password": self.operator["password"]}
            async with http.post(f"{node.ready.https}/api/v1/login", json=body, ssl=tls) as answer:
                assert answer.status == 200, await answer.text()
                self.tokens["operator"] = (await answer.json())["token"]
        return self.tokens["operator"]

    def configuration(self, node: ServedNode, records: Path | None = None) -> dict[str, Any]:
        """What a node of this estate is told."""
        server = self.authority.server(datetime.now(UTC))
        described = ("id", "name", "site", "commune", "latitude", "longitude", "onvif_url", "username")
        return {
            "log_level": "info",
            "node": {"id": node.name, "data": str(node.folder.root)},
            "convention": {
                "id": "syn-pp",
                "in_force_from": datetime(2025, 10, 21, tzinfo=UTC),
                "machine_only_agreement": "accord d'essai",
            },
            "listen": {"http_port": 0, "https_port": 0, "rtsp_port": 0, "rtsps_port": 0, "full_api_on_http": True},
            "tls": {
                "certificate": str(server.certificate_path),
                "key": str(server.key_path),
                "client_ca": str(self.authority.certificate_path),
                "revoked": str(self.authority.revocation_list_path),
            },
            "state_store": {"url": str(self.valkey.socket)},
            "database": {"url": databases.url(records or self.records)},
            "timings": self.timings,
            "machines": [{"id": MACHINE, "agent": RESPONSIBLE, "reason": "L251-2-5", "over_plain_rtsp": True}],
            "sites": [{"id": SITE, "label": "Salle d'essai"}],
            "contacts": CONTACTS,
            "cameras": [
                {name: camera[name] for name in described} | {"password_file": str(self._password_file(camera))}
                for camera in self.cameras
            ],
        }

    def _password_file(self, camera: dict[str, Any]) -> Path:
        path = self.folder / "secrets" / f"{camera['id']}.password"
        path.write_text(camera["password"])
        return path


@contextlib.contextmanager
def estate(folder: Path, timings: dict[str, float], cameras: list[dict[str, Any]] | None = None) -> Iterator[Estate]:
    """Cameras (the shared ones, if none are given), a Valkey, accounts, an authority; no Valkey is left running."""
    folder.mkdir(exist_ok=True)
    valkey = Valkey(folder)
    try:
        valkey.start()
        authority = DemoAuthority.open(folder / "ca", datetime.now(UTC))
        authority.write_revocation_list([], datetime.now(UTC))
        served = cameras or shared_cameras()
        operator, machine = asyncio.run(_enrolled(folder, authority, served))
        yield Estate(folder, authority, operator, machine, served, valkey, timings)
    finally:
        valkey.kill()


async def _enrolled(
    folder: Path, authority: DemoAuthority, cameras: list[dict[str, Any]]
) -> tuple[dict[str, Any], Credentials]:
    keys, now = NodeKeys.open(folder / "secrets"), datetime.now(UTC)
    database = Database(databases.url(folder / "records.sqlite"))
    passwords = Passwords(random_bytes=secrets.token_bytes, hasher=cheap_hasher())
    try:
        await database.migrate()
        sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
        accounts = AccountRepository(database.sessions, sealing, SystemClock())
        enrolment = Enrolment(accounts, passwords, random_bytes=secrets.token_bytes)
        password, card = secrets.token_urlsafe(12), authority.client(OPERATOR, now)
        await enrolment.create(OPERATOR, Role.OPERATOR, password, agent=OPERATOR, service="DOPC", site="PP-CITE")
        await enrolment.bind_certificate(OPERATOR, card.der)
        await enrolment.create(MACHINE, Role.MACHINE, password, agent=RESPONSIBLE, service="DOPC", site="PP-CITE")
        await enrolment.bind_certificate(MACHINE, authority.client(MACHINE, now).der)
        secret = await enrolment.enrol_machine_secret(MACHINE, realm=REALM)
        may_be_shown = order([camera["id"] for camera in cameras])
        await authorise(database, {OPERATOR: Role.OPERATOR, RESPONSIBLE: Role.MACHINE}, may_be_shown)
    finally:
        passwords.close()
        await database.close()
    return _card(card, password), Credentials(MACHINE, secret)


def _card(card: Issued, password: str) -> dict[str, Any]:
    return {"password": password, "certificate": str(card.certificate_path), "key": str(card.key_path)}


def toml_lines(document: dict[str, Any], within: str = "") -> Iterator[str]:
    """The document as TOML: plain values first, then its tables, then its lists of tables, all ``within`` a table."""
    for name, value in document.items():
        if not _is_table(value):
            yield f"{name} = {_value(value)}"
    for name, value in document.items():
        if isinstance(value, dict):
            yield f"[{within}{name}]"
            yield from toml_lines(value, f"{within}{name}.")
        elif _is_table(value):
            for item in value:
                yield f"[[{within}{name}]]"
                yield from toml_lines(item, f"{within}{name}.")


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)


def kinds_of(entries: list[Entry], stream: str) -> list[Kind]:
    """What the trace tells of one stream, in order."""
    return [entry.kind for entry in entries if entry.stream == stream]
