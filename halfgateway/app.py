"""The composition root: the one place that knows every piece of a node, and in which order they live and die."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from auth.accounts import AccountRepository
from auth.certificates import CertificateVerifier
from auth.errors import RecordsUnavailableError
from auth.login import Login
from auth.passwords import Passwords
from auth.policy import Convention
from auth.sealing import Sealing
from auth.sessions import Sessions
from auth.throttle import Throttle
from auth.trace import Draft, Journal, Kind, OpenAct
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.reader import TraceFilter, TraceReader
from camera_registry.clock import Clock, SystemClock, rfc3339
from camera_registry.store import CameraStore
from halfgateway.api.application import Ports, build_application
from halfgateway.api.history import HistoryService
from halfgateway.api.services import (
    CatalogueService,
    HealthService,
    InterconnectionService,
    StreamAddresses,
    StreamService,
)
from halfgateway.api.tls import https_context
from halfgateway.config import Configuration, TlsSection
from halfgateway.control.admission import Admission
from halfgateway.control.beacon import FOLLOW_SIGNAL, Beacon
from halfgateway.control.closing import Closer
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.desk import Desk
from halfgateway.control.endings import NodeStopped
from halfgateway.control.enforcement import Enforcement
from halfgateway.control.interconnection import INTERCONNECTION_KINDS, Interconnection
from halfgateway.control.machines import MachineDirectory, MachineUse
from halfgateway.control.rtsp_door import RtspDoor
from halfgateway.control.seat import House
from halfgateway.control.shared_state import SharedInterconnection
from halfgateway.control.slots import SlotTable
from halfgateway.control.store import StateStore
from halfgateway.control.streams import StreamTable
from halfgateway.control.tickets import TicketKey, TicketStore
from halfgateway.control.tracing import Tracer
from halfgateway.database import Database
from halfgateway.downstream.answers import REALM, RtspAnswers
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.metrics import NodeCollector
from halfgateway.net.valkey import EmbeddedValkey, connect
from halfgateway.protocol.digest import DigestVerifier
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.hub import Hub
from halfgateway.relay.source import SourceKey
from halfgateway.survey import Survey, target_of
from halfgateway.upstream.client import Target
from halfgateway.upstream.pull import Puller
from ops.interconnection import InterconnectionState, first_open
from ops.local_record import LocalRecord

log = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""The URL of what the node brings itself: a Valkey, an SQLite database."""

SETTLE_S = 5.0
"""How long a stopping node waits for its last slots and entries to be where they belong."""

NONCE_LIFE_S = 300.0
"""How long a Digest nonce is good before a client is told ``stale=true``."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ports on which a node listens; None where it does not."""

    http: int
    https: int | None
    rtsp: int | None
    rtsps: int | None

    def urls(self, host: str) -> dict[str, str | None]:
        """Each scheme's URL on ``host``, a name or an address."""
        shown = f"[{host}]" if ":" in host else host
        return {scheme: port and f"{scheme}://{shown}:{port}" for scheme, port in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Records:
    """What is kept in SQL, and how it is reached."""

    database: Database
    sealing: Sealing
    accounts: AccountRepository
    passwords: Passwords
    cameras: CameraStore


@dataclass(frozen=True, slots=True)
class Control:
    """The door and what it stands on."""

    convention: Convention
    tracer: Tracer
    store: StateStore
    slots: SlotTable
    tickets: TicketStore
    shared: SharedInterconnection
    table: StreamTable
    closer: Closer
    interconnection: Interconnection
    hub: Hub
    descriptions: Descriptions
    desk: Desk
    door: RtspDoor


@dataclass(frozen=True, slots=True)
class Node:
    """A running node, as its commands and tests see it. ``failed`` is set when one of its loops has died."""

    configuration: Configuration
    endpoints: Endpoints
    records: Records
    control: Control
    journal: Journal
    rtsp: RtspServer
    failed: asyncio.Event


@asynccontextmanager
async def running_node(configuration: Configuration) -> AsyncIterator[Node]:
    """Start a node, and stop it in good order at the end: no process, task or slot is left behind.

    Raises HalfGatewayError and its packages' errors (another node here, a damaged trace, no database, ...).
    """
    async with AsyncExitStack() as life:
        yield await _start(configuration, life)


async def _start(configuration: Configuration, life: AsyncExitStack) -> Node:
    clock = SystemClock()
    failed = asyncio.Event()
    folder = DataFolder(configuration.node.data.absolute())
    is_new = not folder.trace.exists()
    folder.make()
    beacon = life.enter_context(Beacon(folder.run, configuration.node.id))
    keys = NodeKeys.open(folder.secrets)
    records = await _open_records(configuration, folder, keys, clock, life)
    store = StateStore(await _open_state_store(configuration, folder, life), configuration.convention.id)
    journal = await _open_journal(configuration, folder, keys, clock, life)
    tracer = Tracer(journal, now=time.monotonic)
    await _keep_running(life, failed, "tracer", tracer.run())
    life.push_async_callback(tracer.settle, SETTLE_S)

    control = await _open_control(configuration, folder, keys, records, store, tracer, clock, is_new=is_new)
    life.push_async_callback(control.hub.close)
    rtsp = RtspServer(
        RtspAnswers(control.door, DigestVerifier(REALM, keys.nonce, NONCE_LIFE_S), now_s=time.time), now=time.monotonic
    )
    enforcement = Enforcement(
        table=control.table,
        slots=control.slots,
        tickets=control.tickets,
        closer=control.closer,
        interconnection=control.interconnection,
        journal=journal,
        timings=configuration.timings.record(),
        now=time.monotonic,
        sweepers=(control.hub.sweep, rtsp.sweep, tracer.sweep),
    )
    control.interconnection.trace_untold(await _told_serial(journal))
    await enforcement.renew()
    await _keep_running(life, failed, "enforcement", enforcement.run())
    await _keep_running(life, failed, "follow", control.shared.follow(_observer(control.interconnection)))
    _follow_commands(beacon, control.interconnection, life)
    life.push_async_callback(_end_streams, control)
    endpoints = await _listen(configuration, records, control, journal, rtsp, clock, life)
    survey = Survey(store=records.cameras, descriptions=control.descriptions, tracer=tracer, clock=clock)
    await survey.take(configuration.cameras)
    return Node(configuration, endpoints, records, control, journal, rtsp, failed)


async def _open_records(
    configuration: Configuration, folder: DataFolder, keys: NodeKeys, clock: Clock, life: AsyncExitStack
) -> Records:
    url = configuration.database.url
    database = Database(f"sqlite:///{folder.records}" if url == EMBEDDED else url)
    life.push_async_callback(database.close)
    await database.migrate()
    sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
    cameras = CameraStore(database.sessions, sealing, clock=clock)
    await cameras.load()
    passwords = Passwords(random_bytes=secrets.token_bytes)
    life.callback(passwords.close)
    return Records(database, sealing, AccountRepository(database.sessions, sealing, clock), passwords, cameras)


async def _open_state_store(configuration: Configuration, folder: DataFolder, life: AsyncExitStack) -> Any:
    address: str = configuration.state_store.url
    if address == EMBEDDED:
        valkey = EmbeddedValkey(folder.valkey)
        life.push_async_callback(valkey.stop)
        address = await valkey.start()
    client = connect(address)
    life.push_async_callback(client.aclose)
    return client


async def _open_journal(
    configuration: Configuration, folder: DataFolder, keys: NodeKeys, clock: Clock, life: AsyncExitStack
) -> Journal:
    """The journal, with a result for each act that a crash left open (T02)."""
    journal = await Journal.open(folder.trace, node=configuration.node.id, key=keys.trace, clock=clock)
    life.push_async_callback(_close_journal, journal)
    for act in journal.open_acts:
        await journal.record(_recovered(act))
    await journal.record(Draft(kind=Kind.NODE_STARTED, detail={"convention": configuration.convention.id}))
    return journal


def _recovered(act: OpenAct) -> Draft:
    """The result of a stream that a crash cut short, at its last proven instant."""
    intent, last = act.intent, act.last
    return Draft(
        kind=Kind.STREAM_STOPPED,
        agent=intent.agent,
        account=intent.account,
        attribution=intent.attribution,
        camera=intent.camera,
        stream=intent.stream,
        mode=intent.mode,
        reason=intent.reason,
        source=intent.source,
        detail={"cause": "node-crashed", "last_proven": rfc3339(last.at), "last_entry": last.n},
    )


async def _close_journal(journal: Journal) -> None:
    try:
        await journal.record(Draft(kind=Kind.NODE_STOPPED))
        await journal.close()
    except JournalUnavailable as error:
        log.critical("trace.not_closed error=%s", error)


async def _open_control(
    configuration: Configuration,
    folder: DataFolder,
    keys: NodeKeys,
    records: Records,
    store: StateStore,
    tracer: Tracer,
    clock: Clock,
    *,
    is_new: bool,
) -> Control:
    certificates = _certificates(configuration.tls, clock)
    convention, timings = configuration.convention.record(), configuration.timings.record()
    slots = SlotTable(store, node=configuration.node.id, cap=convention.cap, clock=clock, lease_s=timings.lease_s)
    if configuration.state_store.url == EMBEDDED:
        await slots.open_epoch()
    tickets, shared = TicketStore(store), SharedInterconnection(store)
    table = StreamTable(now=time.monotonic)
    closer = Closer(table=table, slots=slots, tickets=tickets, tracer=tracer, clock=clock)
    record = LocalRecord(folder.interconnection, clock=clock)
    if is_new:
        record.initialise(first_open(clock.now()))
    interconnection = Interconnection(
        record=record,
        publish=shared.publish,
        table=table,
        closer=closer,
        tracer=tracer,
        clock=clock,
        now=time.monotonic,
    )
    puller = Puller(
        lambda key: _target(records.cameras, key),
        chance=random.random,
        now=time.monotonic,
        on_described=lambda key, presentation: descriptions.remember(key, presentation.description),
    )
    descriptions = Descriptions(lambda key: _description(puller, key))
    hub = Hub(puller.pull, now=time.monotonic)
    house = House(hub=hub, table=table, closer=closer, tracer=tracer, timings=timings, now=time.monotonic)
    admission = Admission(
        state=interconnection,
        convention=convention,
        find_camera=records.cameras.get,
        slots=slots,
        tracer=tracer,
        table=table,
        closer=closer,
        clock=clock,
    )
    uses = [MachineUse(use.id, use.agent, use.reason, use.over_plain_rtsp) for use in configuration.machines]
    machines = MachineDirectory(records.accounts, certificates, uses)
    await machines.load()
    ticket_key, find_camera = TicketKey(keys.ticket), records.cameras.get
    desk = Desk(house=house, admission=admission, key=ticket_key, tickets=tickets, find_camera=find_camera, clock=clock)
    door = RtspDoor(
        house=house,
        admission=admission,
        machines=machines,
        ticket_key=ticket_key,
        tickets=tickets,
        find_camera=find_camera,
        descriptions=descriptions,
        realm=REALM,
    )
    return Control(
        convention, tracer, store, slots, tickets, shared, table, closer, interconnection, hub, descriptions, desk, door
    )


async def _listen(
    configuration: Configuration,
    records: Records,
    control: Control,
    journal: Journal,
    rtsp: RtspServer,
    clock: Clock,
    life: AsyncExitStack,
) -> Endpoints:
    listen, tls = configuration.listen, configuration.tls
    host = listen.host
    life.push_async_callback(rtsp.close)
    rtsp_port = await rtsp.listen(host, listen.rtsp_port) if listen.rtsp_port is not None else None
    rtsps_port = None
    if tls is not None and listen.rtsps_port is not None:
        rtsps_port = await rtsp.listen(host, listen.rtsps_port, _tls_context(tls))
    addresses = StreamAddresses(
        rtsp=f"rtsp://{host}:{rtsp_port}" if rtsp_port is not None else "",
        rtsps=f"rtsps://{host}:{rtsps_port}" if rtsps_port is not None else "",
    )
    ports = _ports(configuration, records, control, journal, rtsp, addresses, clock)
    runner = web.AppRunner(build_application(ports, full_api_on_http=listen.full_api_on_http), access_log=None)
    await runner.setup()
    life.push_async_callback(runner.cleanup)
    http_port = await _serve_http(runner, host, listen.http_port, None)
    https_port = None
    if tls is not None and listen.https_port is not None:
        https_port = await _serve_http(runner, host, listen.https_port, _tls_context(tls))
    return Endpoints(http_port, https_port, rtsp_port, rtsps_port)


def _ports(
    configuration: Configuration,
    records: Records,
    control: Control,
    journal: Journal,
    rtsp: RtspServer,
    addresses: StreamAddresses,
    clock: Clock,
) -> Ports:
    registry = CollectorRegistry()
    registry.register(
        NodeCollector(
            table=control.table,
            hub=control.hub,
            rtsp=rtsp,
            interconnection=control.interconnection,
            trace_size=lambda: journal.size,
            trace_writable=lambda: journal.unwritable_since_s is None,
        )
    )
    sessions = Sessions(records.database.sessions, clock, random_bytes=secrets.token_bytes)
    login = Login(
        accounts=records.accounts,
        sessions=sessions,
        passwords=records.passwords,
        certificates=_certificates(configuration.tls, clock),
        throttle=Throttle(clock),
        clock=clock,
    )
    health = HealthService(
        [
            ("trace", journal.probe),
            ("state-store", control.slots.usage),
            ("records", lambda: records.accounts.find("")),
        ],
        (JournalUnavailable, HalfGatewayError, RecordsUnavailableError),
    )
    return Ports(
        authenticator=login,
        sessions=sessions,
        trace=control.tracer,
        cameras=CatalogueService(records.cameras, control.convention, clock),
        streams=StreamService(desk=control.desk, table=control.table, addresses=addresses),
        interconnection=InterconnectionService(
            interconnection=control.interconnection,
            slots=control.slots,
            table=control.table,
            cap=control.convention.cap,
            node=configuration.node.id,
        ),
        history=HistoryService(journal),
        health=health,
        registry=registry,
        clock=clock,
    )


async def _serve_http(runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> int:
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    bound: int = runner.addresses[-1][1]
    return bound


def _tls_context(tls: TlsSection) -> ssl.SSLContext:
    return https_context(certificate=tls.certificate, key=tls.key, client_authorities=tls.client_ca)


def _certificates(tls: TlsSection | None, clock: Clock) -> CertificateVerifier:
    """Who vouches for client certificates; without TLS, nobody."""
    if tls is None:
        return CertificateVerifier((), (), clock)
    revoked = tls.revoked.read_bytes() if tls.revoked is not None else b""
    return CertificateVerifier.from_pem(tls.client_ca.read_bytes(), revoked, clock)


async def _keep_running(
    life: AsyncExitStack, failed: asyncio.Event, name: str, loop: Coroutine[Any, Any, object]
) -> None:
    """Run one of the node's loops until the end of its life; its death is the node's."""
    task = asyncio.create_task(loop, name=name)

    def notice(task: asyncio.Task[object]) -> None:
        if not task.cancelled():
            log.critical("node.loop_died loop=%s", name, exc_info=task.exception())
            failed.set()

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task.add_done_callback(notice)
    life.push_async_callback(end)


def _follow_commands(beacon: Beacon, interconnection: Interconnection, life: AsyncExitStack) -> None:
    """Follow the record whenever the command line has changed it."""
    loop = asyncio.get_running_loop()
    following: set[asyncio.Task[None]] = set()

    async def follow() -> None:
        closed = await interconnection.follow_record()
        await asyncio.to_thread(beacon.followed, interconnection.state.serial, closed)

    def on_signal() -> None:
        task = asyncio.create_task(follow(), name="follow record")
        following.add(task)
        task.add_done_callback(following.discard)

    loop.add_signal_handler(FOLLOW_SIGNAL, on_signal)
    life.callback(loop.remove_signal_handler, FOLLOW_SIGNAL)


async def _told_serial(journal: Journal) -> int:
    """The serial of the newest state of the interconnection that the trace tells of; 0 where it tells of none."""
    newest = await TraceReader.of(journal.folder, journal.node).entries(
        TraceFilter(kinds=INTERCONNECTION_KINDS), limit=1
    )
    return int(newest.items[0].detail["serial"]) if newest.items else 0


def _observer(interconnection: Interconnection) -> Callable[[InterconnectionState], Awaitable[None]]:
    async def observe(state: InterconnectionState) -> None:
        interconnection.observe(state)

    return observe


async def _end_streams(control: Control) -> None:
    for stream in control.table:
        control.closer.end(stream, NodeStopped())
    await control.closer.settle()
    await control.interconnection.settle()


def _target(cameras: CameraStore, key: SourceKey) -> Target | None:
    source = cameras.snapshot.source(key.camera, key.profile)
    return target_of(source) if source is not None else None


async def _description(puller: Puller, key: SourceKey) -> SessionDescription:
    return (await puller.describe(key)).description
