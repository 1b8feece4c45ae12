"""A node's life: started in order, kept running, stopped in good order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from auth.certificates import CertificateVerifier
from auth.errors import RecordsUnavailableError
from auth.ocsp import OnlineStatus
from auth.possession import CertificateProof
from auth.sessions import Sessions
from auth.trace import Journal
from auth.trace.reader import TraceFilter
from camera_registry.clock import Clock, SystemClock
from camera_registry.guard import CredentialGuard
from camera_registry.onvif_process import OnvifProcess
from halfgateway.api.services import HealthService
from halfgateway.app.changes import cameras_of
from halfgateway.app.door import Control, open_control
from halfgateway.app.keeping import (
    Records,
    keep_embedded,
    open_custody,
    open_journal,
    open_records,
    open_state_store,
    taken,
)
from halfgateway.app.life import Inspection, open_life
from halfgateway.app.listening import Endpoints, health_of, listen
from halfgateway.app.office import Office, open_office
from halfgateway.app.reload import ConfigurationInForce, Parts
from halfgateway.app.tls import CertificateWatch, TlsFiles
from halfgateway.config import Configuration, ConfigurationFile
from halfgateway.control.beacon import FOLLOW_SIGNAL, Beacon, command_author
from halfgateway.control.calendar import ConventionCalendar, Preflight
from halfgateway.control.custody import Custody
from halfgateway.control.endings import NodeStopped
from halfgateway.control.enforcement import Enforcement
from halfgateway.control.interconnection import INTERCONNECTION_KINDS, AuthorOf, Interconnection
from halfgateway.control.rights_view import BlockCalendar
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.answers import REALM, RtspAnswers
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import TraceUnavailable
from halfgateway.folder import DataFolder
from halfgateway.keyframes import Keyframes
from halfgateway.keys import NodeKeys
from halfgateway.net.responder import ask_responder
from halfgateway.protocol.digest import DigestVerifier
from halfgateway.survey import Survey, hosts_of
from ops.announcements import Announcements
from ops.interconnection import InterconnectionState
from ops.local_record import LocalRecord

log = logging.getLogger(__name__)

SETTLE_S = 5.0
"""How long a stopping node waits for its last slots and entries to be where they belong."""

CANCEL_AGAIN_S = 1.0
"""How long a loop may take to stop before it is told again."""

CHECK_BREAK_GLASS_S = 10.0
"""How often it is looked whether a sealed credential's hour has passed; nothing works past it anyhow."""

NONCE_LIFE_S = 300.0
"""How long a Digest nonce is good before a client is told ``stale=true``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running node, as its commands and tests see it. ``failed`` is set when one of its loops has died."""

    in_force: ConfigurationInForce
    endpoints: Endpoints
    records: Records
    control: Control
    office: Office
    journal: Journal
    rtsp: RtspServer
    survey: Survey
    failed: asyncio.Event

    @property
    def configuration(self) -> Configuration:
        """What is in force now."""
        return self.in_force.current


@asynccontextmanager
async def running_node(
    configuration: Configuration, *, file: ConfigurationFile | None = None, hung_up: asyncio.Event | None = None
) -> AsyncIterator[Node]:
    """Start a node, and stop it in good order at the end: no process, task or slot is left behind.

    The ``file`` that it was read from is read again whenever ``hung_up`` is set, once the node runs.

    Raises HalfGatewayError and its packages' errors (another node here, a damaged trace, no database, ...).
    """
    async with AsyncExitStack() as life:
        yield await _start(configuration, file, hung_up, life)


async def _start(
    configuration: Configuration,
    file: ConfigurationFile | None,
    hung_up: asyncio.Event | None,
    life: AsyncExitStack,
) -> Node:
    clock = SystemClock()
    failed = asyncio.Event()
    folder = DataFolder(configuration.node.data.absolute())
    beacon = life.enter_context(taken(folder, configuration.node.id, clock))
    keys = NodeKeys.open(folder.secrets)
    record = LocalRecord(folder.interconnection, clock=clock)
    records = await open_records(configuration, folder, keys, clock, life)
    shared = await open_state_store(configuration, folder, life)
    journal = await open_journal(configuration, file, folder, keys, clock, life)
    tracer = Tracer(journal, now=time.monotonic)
    await _keep_running(life, failed, "tracer", tracer.run())
    life.push_async_callback(tracer.settle, SETTLE_S)

    certificates = CertificateVerifier((), (), clock)
    proof = CertificateProof(records.accounts, certificates, _online_status(configuration, clock))
    tls = TlsFiles(configuration.tls, certificates) if configuration.tls is not None else None
    onvif = OnvifProcess(allowed=hosts_of(configuration.cameras), guard=CredentialGuard(clock), now=time.monotonic)
    life.push_async_callback(onvif.aclose)
    keyframes = Keyframes(store=records.cameras, open_device=onvif.open, now=time.monotonic)
    life.push_async_callback(keyframes.close)
    control = await open_control(
        configuration,
        keys,
        record,
        records,
        shared.store,
        tracer,
        certificates,
        proof,
        clock,
        keyframe_wanted=keyframes.wanted,
    )
    life.push_async_callback(control.hub.close)
    verifier = DigestVerifier(REALM, keys.nonce, NONCE_LIFE_S)
    rtsp = RtspServer(
        RtspAnswers(control.door, verifier, now_s=time.time, udp=configuration.listen.udp_service()),
        now=time.monotonic,
        rtsp_over_http=configuration.listen.rtsp_over_http,
    )
    enforcement = Enforcement(
        table=control.table,
        slots=control.slots,
        tickets=control.tickets,
        closer=control.closer,
        interconnection=control.interconnection,
        journal=journal,
        check_records=control.view.refresh,
        rights=control.rights,
        terms=control.terms,
        now=time.monotonic,
        sweepers=(control.entitlement.sweep, control.hub.sweep, rtsp.sweep, tracer.sweep),
    )
    author_of = partial(command_author, folder.run)
    control.interconnection.trace_untold(await _told_serial(journal), author_of)
    await enforcement.renew()
    await enforcement.probe_records()
    await _keep_running(life, failed, "enforcement", enforcement.run())
    await _keep_running(life, failed, "handover", control.handover.follow(enforcement.renew))
    await _keep_running(life, failed, "follow", control.shared.follow(_observer(control.interconnection)))
    if shared.embedded is not None:
        keeping = keep_embedded(shared.embedded, control.slots, control.terms)
        await _keep_running(life, failed, "keep valkey", keeping)
    _follow_commands(beacon, control.interconnection, author_of, life)
    life.push_async_callback(_end_streams, control)
    sessions = Sessions(records.database.sessions, clock, random_bytes=secrets.token_bytes)
    survey = await _begin_survey(configuration, records, control, onvif)
    watch = CertificateWatch(tls, certificates, proof, control, sessions) if tls is not None else None
    parts = Parts(records, control, onvif, survey, tls, watch, enforcement.renew)
    in_force = ConfigurationInForce(configuration, file, parts)
    custody = open_custody(lambda: in_force.current, records, tracer.durable, clock)
    health = health_of(journal, control, records)
    office = _open_office(records, control, keys, health, in_force, clock)
    await _keep_the_calendar(life, failed, configuration, folder, control, office, health.missing, clock)
    endpoints = await listen(
        configuration,
        folder,
        records,
        control,
        office,
        journal,
        rtsp,
        sessions,
        proof,
        tls,
        in_force,
        custody,
        health,
        clock,
        life,
    )
    await _keep_watch(life, failed, custody, control, office, watch, clock)
    await _keep_running(life, failed, "survey", survey.run())
    if hung_up is not None:
        await _keep_running(life, failed, "reload", in_force.follow(hung_up))
    return Node(in_force, endpoints, records, control, office, journal, rtsp, survey, failed)


async def _begin_survey(
    configuration: Configuration, records: Records, control: Control, onvif: OnvifProcess
) -> Survey:
    """The survey, and nothing on record shown but what the configuration still offers."""
    survey = Survey(
        store=records.cameras,
        descriptions=control.descriptions,
        tracer=control.tracer,
        open_device=onvif.open,
        moved=control.puller.reconsider,
    )
    survey.look_after(configuration.cameras)
    records.cameras.forget(records.cameras.snapshot.records.keys() - cameras_of(configuration).keys())
    await survey.withdraw_unproven(configuration.cameras)
    return survey


def _open_office(
    records: Records,
    control: Control,
    keys: NodeKeys,
    health: HealthService,
    in_force: ConfigurationInForce,
    clock: Clock,
) -> Office:
    """Whoever keeps the registers beside the door, which sees at once what they change."""

    def current() -> Configuration:
        return in_force.current

    seen, tracer = control.view.refresh, control.tracer
    inspection = Inspection(
        missing=health.missing, view=control.view, cameras=records.cameras, current=current, clock=clock
    )
    life_office = open_life(records, tracer, keys, clock, current=current, look=inspection.look, changed=seen)
    return open_office(records, tracer, clock, life_office, changed=seen, machines_changed=in_force.read_machines_again)


async def _keep_the_calendar(
    life: AsyncExitStack,
    failed: asyncio.Event,
    configuration: Configuration,
    folder: DataFolder,
    control: Control,
    office: Office,
    preflight: Preflight,
    clock: Clock,
) -> None:
    """Begin and end what has its time: maintenance windows, the convention, annexes; and have it announced."""
    stores = office.life.stores
    calendar = ConventionCalendar(
        interconnection=control.interconnection,
        view=control.view,
        terms=control.terms,
        conventions=stores.conventions,
        annexes=stores.annexes,
        windows=stores.windows,
        announcements=Announcements(folder.announcements),
        preflight=preflight,
        record=control.tracer.durable,
        node=configuration.node.id,
        clock=clock,
    )
    await _keep_running(life, failed, "calendar", calendar.run())
    await _keep_running(life, failed, "convention records", calendar.run_records())


async def _keep_watch(
    life: AsyncExitStack,
    failed: asyncio.Event,
    custody: Custody,
    control: Control,
    office: Office,
    certificates: CertificateWatch | None,
    clock: Clock,
) -> None:
    """Watch over what may fall, and what may pass, while the node runs: certificates, sealed credentials, blocks."""
    if certificates is not None:
        await _keep_running(life, failed, "certificates", certificates.run())
    await _keep_running(life, failed, "break glass", _end_break_glass(custody))
    blocks = BlockCalendar(view=control.view, register=office.register, clock=clock)
    await _keep_running(life, failed, "blocks", blocks.run())


def _online_status(configuration: Configuration, clock: Clock) -> OnlineStatus | None:
    responders = configuration.tls.ocsp_responders if configuration.tls is not None else ()
    if not responders:
        return None
    return OnlineStatus(ask_responder, responders, clock, random_bytes=secrets.token_bytes)


async def _end_break_glass(custody: Custody) -> NoReturn:
    while True:
        try:
            await custody.end_break_glass()
        except (RecordsUnavailableError, TraceUnavailable) as error:
            log.warning("break_glass.not_checked error=%s", error)
        await asyncio.sleep(CHECK_BREAK_GLASS_S)


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
        while not task.done():  # a library may swallow a cancellation: it is asked again
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)

    task.add_done_callback(notice)
    life.push_async_callback(end)


def _follow_commands(
    beacon: Beacon, interconnection: Interconnection, author_of: AuthorOf, life: AsyncExitStack
) -> None:
    """Follow the record whenever the command line has changed it."""
    loop = asyncio.get_running_loop()
    following: set[asyncio.Task[None]] = set()

    async def follow() -> None:
        closed = await interconnection.follow_record(author_of)
        await asyncio.to_thread(beacon.followed, interconnection.state.serial, closed)

    def on_signal() -> None:
        task = asyncio.create_task(follow(), name="follow record")
        following.add(task)
        task.add_done_callback(following.discard)

    loop.add_signal_handler(FOLLOW_SIGNAL, on_signal)
    life.callback(loop.remove_signal_handler, FOLLOW_SIGNAL)


async def _told_serial(journal: Journal) -> int:
    """The serial of the newest state of the interconnection that the trace tells of; 0 where it tells of none."""
    reader, wanted, cursor = journal.reader(), TraceFilter(kinds=INTERCONNECTION_KINDS), None
    while True:
        page = await reader.entries(wanted, limit=1, cursor=cursor)
        if page.items:
            return int(page.items[0].detail["serial"])
        if page.next is None:
            return 0
        cursor = page.next


def _observer(interconnection: Interconnection) -> Callable[[InterconnectionState], Awaitable[None]]:
    async def observe(state: InterconnectionState) -> None:
        interconnection.observe(state)

    return observe


async def _end_streams(control: Control) -> None:
    for stream in control.table:
        control.closer.end(stream, NodeStopped())
    await control.closer.settle()
    await control.interconnection.settle()
