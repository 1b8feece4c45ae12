"""The whole product on embedded defaults: a demo authority, an account of each role, twelve recorded cameras.

A data folder used again keeps its accounts, its trace and its state: what was cut stays cut.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from auth.accounts import AccountRepository
from auth.assertion_keys import AssertionKey, AssertionKeys, default_kid
from auth.demo_authority import AUTHORITY_YEARS, DemoAuthority, Issued
from auth.enrolment import Enrolment
from auth.passwords import Passwords
from auth.principals import Role
from auth.purposes import Purpose
from auth.register import Actor
from auth.rights import LOCAL, Administration
from auth.sealing import Sealing
from camera_registry.clock import SystemClock
from camera_registry.orders import OrderType
from camera_registry.paris import day_of
from halfgateway.api.life_shapes import AcceptanceRequest, AnswerShape, SignatoryShape
from halfgateway.api.rights_shapes import AgentRequest, HabilitationRequest, OrderRequest, PerimeterShape
from halfgateway.app import Node, running_node
from halfgateway.config import CameraSection, Configuration, DatabaseSection, ListenSection, NodeSection, TlsSection
from halfgateway.config_recorder import RecordingProcessSection
from halfgateway.config_recordings import RecorderSection
from halfgateway.config_terms import (
    AssertionSection,
    ConventionSection,
    DegradedModeSection,
    MachineSection,
    SiteSection,
    TimingsSection,
)
from halfgateway.database import EMBEDDED, database_at
from halfgateway.demo_mail import contact_sections, mail_section
from halfgateway.demo_recorders import begin_our_recording, our_recorder, recorder_sections
from halfgateway.downstream.answers import REALM
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DEMO_NODE, DataFolder
from halfgateway.keys import NodeKeys
from ops.acceptance import CHECKS
from ops.parties import Party

CAMERAS = 12
"""Simulated cameras, one of each kind that :mod:`halfgateway.simulator.sites` knows."""

TIMINGS = TimingsSection(resume_s=2.0)
"""A lost connection keeps its slot for two seconds in the demo; all else is as in use."""

SIMULATOR_START_S = 150.0
"""How long the simulator may take: it encodes its clips once on a new machine."""

SIMULATOR_STOP_S = 5.0
"""How long it may take to leave once its standard input is closed, before it is killed."""

Simulate: TypeAlias = Callable[[int], AbstractAsyncContextManager[dict[str, Any]]]
"""Has so many simulated cameras run, and their recorder, and gives what ``halfgateway simulate --json`` says."""

ASSERTION_ISSUER, ASSERTION_AUDIENCE = "pvpp-demo", "dpp-syn-demo"
"""Who signs the demo's assertions, and for whom (docs/integration-pp.md)."""

MACHINE = "pvpp-vms"
RESPONSIBLE = "pp-garant-01"
"""The agent who answers for the machine."""

REVOKED = "pp-revoked-01"
ASSERTED = "pp-agent-17"
"""The agent whom the example of docs/integration-pp.md asserts, who has no account here."""

SERVICE, SITE = "DOPC", "PP-CITE"
AUTHORITY, REFERENCE = "démonstration", "demo-2025-10"
PEOPLE = {
    Administration.PP: {
        "pp-operator-01": Role.OPERATOR,
        "pp-supervisor-01": Role.SUPERVISOR,
        REVOKED: Role.OPERATOR,
        RESPONSIBLE: Role.MACHINE,
        ASSERTED: Role.OPERATOR,
    },
    Administration.SYN: {f"syn-{role.value}-01": role for role in (Role.OPS, Role.OFFICER, Role.AUDITOR)},
}
"""The demo's agents, by their administration, each with one role."""

ORDER_LASTS = timedelta(days=5 * 365)
"""How long the demo's order lasts: five years, as a normal one (CSI L252-4)."""


class DemoError(HalfGatewayError):
    """The demo cannot run here."""


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """Where the demo listens; 0 is any free port."""

    http: int = 8080
    https: int = 8443
    rtsp: int = 8554
    rtsps: int = 8322


@asynccontextmanager
async def running_demo(
    root: Path,
    host: str,
    ports: DemoPorts,
    timings: TimingsSection = TIMINGS,
    *,
    cameras: int = CAMERAS,
    simulate: Simulate | None = None,
    database_url: str = EMBEDDED,
) -> AsyncIterator[tuple[Node, dict[str, Any]]]:
    """Run the demo in ``root``, an absolute path; gives the node, and the document that says how to use it.

    Without ``simulate`` the cameras and their recorder run in a process of the demo's own; ``database_url`` is as in a
    configuration. Raises DemoError, and what a node raises.
    """
    folder = DataFolder(root)
    folder.make()
    for part in ("mail", "revoked"):
        (folder.root / part).mkdir(exist_ok=True)
    authority = DemoAuthority.open(folder.root / "ca", datetime.now(UTC))
    accounts = await _accounts(folder, authority, database_url)
    _renew_revocations(folder, authority)
    async with (simulate or partial(_simulator, footage=folder.root / "footage"))(cameras) as simulated:
        begin_our_recording(simulated["recorder"], folder.footage)
        configuration = _configuration(folder, authority, simulated, host, ports, timings, database_url)
        async with running_node(configuration) as node:
            await _authorise(node)
            await node.survey.taken.wait()
            await _accept(node)
            yield node, _ready(node, folder, authority, accounts)


def configuration_at_rest(root: Path) -> Configuration:
    """How the node of a demo's folder is configured, but for its cameras and ports. Raises DemoError."""
    folder = DataFolder(root)
    if not (folder.root / "accounts.json").exists():
        raise DemoError(f"{root} is no demo's folder")
    authority = DemoAuthority.open(folder.root / "ca", datetime.now(UTC))
    nothing: dict[str, Any] = {"cameras": [], "recorder": None}
    return _configuration(folder, authority, nothing, "127.0.0.1", DemoPorts(), TIMINGS, EMBEDDED)


def _configuration(
    folder: DataFolder,
    authority: DemoAuthority,
    simulated: dict[str, Any],
    host: str,
    ports: DemoPorts,
    timings: TimingsSection,
    database_url: str,
) -> Configuration:
    server, ours = authority.server(datetime.now(UTC)), our_recorder(folder.footage)
    return Configuration(
        log_level="warning",
        node=NodeSection(id=DEMO_NODE, data=folder.root),
        convention=ConventionSection(
            id="demo",
            in_force_from=datetime(2025, 10, 21, tzinfo=UTC),
            machine_only_agreement="accord de démonstration",
        ),
        listen=ListenSection(
            host=host,
            http_port=ports.http,
            https_port=ports.https,
            rtsp_port=ports.rtsp,
            rtsps_port=ports.rtsps,
            rtsp_over_http=True,
            full_api_on_http=True,
        ),
        tls=TlsSection(
            certificate=server.certificate_path,
            key=server.key_path,
            client_ca=authority.certificate_path,
            revoked=authority.revocation_list_path,
        ),
        database=DatabaseSection(url=database_url),
        timings=timings,
        degraded_modes=(
            DegradedModeSection(name="live-only", agreement="accord de démonstration", live_only=True, cap=5),
        ),
        cameras=tuple(_camera_section(folder, camera) for camera in simulated["cameras"]),
        recorders=_recorders(folder, simulated["recorder"], ours),
        recorder=ours,
        assertions=AssertionSection(issuer=ASSERTION_ISSUER, audience=ASSERTION_AUDIENCE),
        machines=(MachineSection(id=MACHINE, agent=RESPONSIBLE, reason="L251-2-5", over_plain_rtsp=True),),
        sites=(SiteSection(id=SITE, label="Salle de commandement de démonstration"),),
        mail=mail_section(folder.root / "mail", authority, datetime.now(UTC)),
        contacts=contact_sections(),
    )


def _camera_section(folder: DataFolder, camera: dict[str, Any]) -> CameraSection:
    password_file = folder.secrets / f"{camera['id']}.password"
    _write_secret(password_file, camera["password"])
    described = {
        name: camera[name]
        for name in ("id", "name", "site", "commune", "latitude", "longitude", "onvif_url", "username")
    }
    return CameraSection(**described, password_file=password_file)


def _recorders(
    folder: DataFolder, recorder: dict[str, Any] | None, ours: RecordingProcessSection | None
) -> tuple[RecorderSection, ...]:
    password_file = folder.secrets / "recorder.password"
    if recorder is not None:
        _write_secret(password_file, recorder["password"])
    return recorder_sections(recorder, password_file, ours)


async def _accounts(folder: DataFolder, authority: DemoAuthority, database_url: str) -> dict[str, dict[str, str]]:
    """One account of each role, made anew in each new folder and kept in one that is used again."""
    kept = folder.root / "accounts.json"
    if kept.exists():
        accounts: dict[str, dict[str, str]] = json.loads(kept.read_text(encoding="utf-8"))
        return accounts
    clock, keys = SystemClock(), NodeKeys.open(folder.secrets)
    database = database_at(database_url, folder)
    passwords = Passwords(random_bytes=secrets.token_bytes)
    try:
        await database.migrate()
        sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
        repository = AccountRepository(database.sessions, sealing, clock)
        enrolment = Enrolment(repository, passwords, random_bytes=secrets.token_bytes)
        accounts = await _enrol_everyone(enrolment, authority, folder)
        await _declare_key(AssertionKeys(database.sessions, clock), _assertion_key(folder)[1], clock.now())
    finally:
        passwords.close()
        await database.close()
    _write_secret(kept, json.dumps(accounts, indent=1))
    return accounts


async def _enrol_everyone(
    enrolment: Enrolment, authority: DemoAuthority, folder: DataFolder
) -> dict[str, dict[str, str]]:
    now = datetime.now(UTC)
    accounts: dict[str, dict[str, str]] = {}
    for role in (Role.OPERATOR, Role.SUPERVISOR):
        name = f"pp-{role.value}-01"
        accounts[role.value] = await _with_card(enrolment, name, role, authority.client(name, now))
    revoked = authority.client(REVOKED, now, folder=folder.root / "revoked")
    await _with_card(enrolment, REVOKED, Role.OPERATOR, revoked)
    accounts["machine"] = await _machine(enrolment, authority, folder, now)
    for role, scope in ((Role.OPS, None), (Role.OFFICER, None), (Role.AUDITOR, "SYN")):
        name, password = f"syn-{role.value}-01", secrets.token_urlsafe(12)
        await enrolment.create(name, role, password, agent=name, service="SYN", scope=scope)
        totp = await enrolment.enrol_totp(name)
        accounts[role.value] = {"id": name, "password": password, "totp_secret": totp}
    return accounts


async def _authorise(node: Node) -> None:
    """Everyone's designation and habilitation, and an order for the cameras, unless this folder has them already."""
    office, now, by = node.office, datetime.now(UTC), Actor(account="demo", source=LOCAL)
    if not await office.personnel.agents():
        for administration, roles in PEOPLE.items():
            for agent, role in roles.items():
                service = SERVICE if administration is Administration.PP else "SYN"
                designation = AgentRequest(
                    id=agent,
                    administration=administration,
                    service=service,
                    authority=AUTHORITY,
                    reference=REFERENCE,
                    start=now,
                )
                habilitation = HabilitationRequest(
                    agent=agent, role=role, authority=AUTHORITY, reference=REFERENCE, start=now
                )
                await office.personnel.designate(designation, by=by)
                await office.personnel.habilitate(habilitation, by=by)
    if not await office.orders.orders():
        await office.orders.add([_order([section.id for section in node.configuration.cameras], now)], by=by)


async def _accept(node: Node) -> None:
    """The demo's own acceptance record, before which no stream is granted (C23)."""
    convention = node.office.life.convention
    if (await convention.standing()).accepted:
        return
    answers = tuple(
        AnswerShape(check=check.id, passed=True, observation=AUTHORITY) for check in CHECKS if not check.automatic
    )
    signatories = tuple(SignatoryShape(party=party, name=AUTHORITY, function=AUTHORITY) for party in Party)
    run = AcceptanceRequest(place=AUTHORITY, reference=REFERENCE, answers=answers, signatories=signatories)
    accepted = await convention.accept(run, by=Actor(account="demo", source=LOCAL))
    if not accepted.accepted:
        raise DemoError("the demo's acceptance did not pass: halfgateway acceptance show tells why")


def _order(cameras: list[str], now: datetime) -> OrderRequest:
    """An order of five years that lets the demo's cameras be shown to its one service."""
    signed_on = day_of(now)
    return OrderRequest(
        reference=REFERENCE,
        type=OrderType.NORMAL,
        perimeter=PerimeterShape(cameras=tuple(cameras)),
        place="voie publique",
        recipients=(SERVICE,),
        live=True,
        recorded=True,
        retention_min_days=10,
        retention_max_days=30,
        signed_on=signed_on,
        last_day=signed_on + ORDER_LASTS,
    )


async def _with_card(
    enrolment: Enrolment, name: str, role: Role, card: Issued, *, agent: str | None = None
) -> dict[str, str]:
    password = secrets.token_urlsafe(12)
    await enrolment.create(name, role, password, agent=agent or name, service=SERVICE, site=SITE)
    await enrolment.bind_certificate(name, card.der)
    return {
        "id": name,
        "password": password,
        "certificate": str(card.certificate_path),
        "key": str(card.key_path),
    }


async def _machine(enrolment: Enrolment, authority: DemoAuthority, folder: DataFolder, now: datetime) -> dict[str, str]:
    """The machine's account, and the key with which it will sign its agents' assertions."""
    account = await _with_card(enrolment, MACHINE, Role.MACHINE, authority.client(MACHINE, now), agent=RESPONSIBLE)
    account["password"] = await enrolment.enrol_machine_secret(MACHINE, realm=REALM)
    key, public_pem = _assertion_key(folder)
    return account | {"assertion_key": str(key), "assertion_kid": default_kid(public_pem)}


def _assertion_key(folder: DataFolder) -> tuple[Path, str]:
    """The file of the key that signs agents' assertions, and its public part in PEM; made where it is not there."""
    path = folder.root / "ca" / f"{MACHINE}-assertion.key"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    public = load_pem_private_key(path.read_bytes(), password=None).public_key()
    return path, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def _declare_key(keys: AssertionKeys, public_pem: str, now: datetime) -> None:
    """Put the machine's key on record, as the officer does with those that PP declares."""
    key = AssertionKey(
        kid=default_kid(public_pem),
        public_key_pem=public_pem,
        reference="démonstration",
        declared_by="demo",
        declared_at=now,
        valid_from=now,
        valid_until=now + timedelta(days=365 * AUTHORITY_YEARS),
    )
    await keys.declare(key, _before_the_journal_begins)


async def _before_the_journal_begins() -> None:
    """The demo's accounts and keys are there before its node is, and its trace begins with the node."""


def _renew_revocations(folder: DataFolder, authority: DemoAuthority) -> None:
    revoked = x509.load_pem_x509_certificate((folder.root / "revoked" / f"{REVOKED}.pem").read_bytes())
    authority.write_revocation_list([revoked], datetime.now(UTC))


def _ready(
    node: Node, folder: DataFolder, authority: DemoAuthority, accounts: dict[str, dict[str, str]]
) -> dict[str, Any]:
    host, ports = node.configuration.listen.host, node.endpoints
    shown = f"[{host}]" if ":" in host else host
    return {
        "ready": True,
        "http": f"http://{shown}:{ports.http}",
        "https": f"https://{shown}:{ports.https}",
        "rtsp": f"rtsp://{shown}:{ports.rtsp}",
        "rtsps": f"rtsps://{shown}:{ports.rtsps}",
        "data": str(folder.root),
        "ca": str(authority.certificate_path),
        "accounts": accounts,
        "mailbox": str(folder.root / "mail"),
        "cameras": [camera.id for camera in node.records.cameras.list()],
        "reasons": [purpose.value for purpose in Purpose],
        "assertions": {"issuer": ASSERTION_ISSUER, "audience": ASSERTION_AUDIENCE},
    }


@asynccontextmanager
async def _simulator(cameras: int, footage: Path) -> AsyncIterator[dict[str, Any]]:
    """The simulated cameras and their recorder, in a process that leaves when its standard input is closed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "halfgateway",
        "simulate",
        "--cameras",
        str(cameras),
        "--footage",
        str(footage),
        "--json",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield await _listing(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(SIMULATOR_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listing(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdout is None:
        raise DemoError("the simulator has no output")
    try:
        async with asyncio.timeout(SIMULATOR_START_S):
            line = await process.stdout.readline()
        simulated: dict[str, Any] = json.loads(line)
    except (TimeoutError, ValueError) as error:
        raise DemoError("the simulated cameras did not start") from error
    return simulated


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
