"""A node's life: started in order, kept running, stopped in good order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from auth.certificates import CertificateVerifier
from auth.ocsp import OnlineStatus
from auth.possession import CertificateProof
from auth.sessions import Sessions
from auth.trace import Journal
from auth.trace.reader import TraceFilter
from camera_registry.clock import Clock, SystemClock
from camera_registry.guard import CredentialGuard
from camera_registry.onvif_process import OnvifProcess
from halfgateway.api.reservation_service import ReservationService
from halfgateway.api.services import HealthService
from halfgateway.app.anchoring import Outside, open_anchoring
from halfgateway.app.answering import Answering, health_of
from halfgateway.app.changes import cameras_of
from halfgateway.app.door import Control, open_control
from halfgateway.app.exporting import open_exports
from halfgateway.app.heartbeat import open_heartbeat
from halfgateway.app.incidents import keep_incidents
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
from halfgateway.app.listening import Endpoints, listen
from halfgateway.app.office import Office, open_office
from halfgateway.app.recorders import open_recorders, recorded_cameras
from halfgateway.app.reload import ConfigurationInForce, Parts
from halfgateway.app.restoring import open_restoration, preflight_of
from halfgateway.app.safekeeping import keep_safe
from halfgateway.app.siem import open_forwarder
from halfgateway.app.signals import obey_signals
from halfgateway.app.tls import CertificateWatch, TlsFiles
from halfgateway.app.watching import Loops, keep_calendars, keep_telling, keep_watch
from halfgateway.config import Configuration, ConfigurationError, ConfigurationFile
from halfgateway.config_ops import faults_at_start
from halfgateway.control.beacon import command_author
from halfgateway.control.calendar import ConventionCalendar
from halfgateway.control.endings import NodeStopped
from halfgateway.control.enforcement import Enforcement
from halfgateway.control.heads import SharedHeads
from halfgateway.control.interconnection import INTERCONNECTION_KINDS, Interconnection
from halfgateway.control.restoration import Look
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.answers import REALM, RtspAnswers
from halfgateway.downstream.server import RtspServer
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
    outside: Outside
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

    Raises HalfGatewayError and its packages' errors (an empty annex 2, another node here, a damaged trace, ...).
    """
    faults = faults_at_start(configuration.mail, configuration.contacts, SystemClock().now())
    if faults:
        raise ConfigurationError(faults)
    async with AsyncExitStack() as life:
        yield await _start(configuration, file, hung_up, life)


async def _start(
    configuration: Configuration,
    file: ConfigurationFile | None,
    hung_up: asyncio.Event | None,
    life: AsyncExitStack,
) -> Node:
    clock = SystemClock()
    loops = Loops(life)
    folder = configuration.folder()
    beacon = life.enter_context(taken(folder, configuration.node.id, clock))
    keys = NodeKeys.open(folder.secrets, configuration.trace.token_place())
    record = LocalRecord(folder.interconnection, clock=clock)
    records = await open_records(configuration, folder, keys, clock, life)
    shared = await open_state_store(configuration, folder, life)
    journal = await open_journal(configuration, file, folder, keys, clock, life, SharedHeads(shared.store))
    tracer = Tracer(journal, now=time.monotonic)
    await loops.keep("tracer", tracer.run())
    life.push_async_callback(tracer.settle, SETTLE_S)

    certificates = CertificateVerifier((), (), clock)
    proof = CertificateProof(records.accounts, certificates, _online_status(configuration, clock))
    tls = TlsFiles(configuration.tls, certificates) if configuration.tls is not None else None
    onvif = OnvifProcess(allowed=hosts_of(configuration), guard=CredentialGuard(clock), now=time.monotonic)
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
        recorders=open_recorders(configuration, onvif, clock, life),
    )
    life.push_async_callback(_let_sources_go, control)
    rtsp = _rtsp_server(configuration, control, keys)
    enforcement = Enforcement(
        table=control.table,
        slots=control.slots,
        tickets=control.tickets,
        closer=control.closer,
        interconnection=control.interconnection,
        journal=journal,
        check_records=control.records_watch.look,
        rights=control.rights,
        terms=control.terms,
        now=time.monotonic,
        sweepers=(control.entitlement.look, control.hub.sweep, rtsp.sweep, tracer.sweep),
    )
    author_of = partial(command_author, folder.run)
    control.interconnection.trace_untold(await _told_serial(journal), author_of)
    await _keep_the_door(loops, control, enforcement)
    if shared.embedded is not None:
        keeping = keep_embedded(shared.embedded, control.slots, control.terms)
        await loops.keep("keep valkey", keeping)
    obey_signals(beacon, control.interconnection, author_of, life)
    life.push_async_callback(_end_streams, control)
    sessions = Sessions(records.database.sessions, clock, random_bytes=secrets.token_bytes)
    survey = await _begin_survey(configuration, records, control, onvif)
    watch = CertificateWatch(tls, certificates, proof, control, records.accounts) if tls is not None else None
    in_force = ConfigurationInForce(
        configuration, file, Parts(records, control, onvif, survey, tls, watch, clock, enforcement.renew)
    )
    control.records_watch.adopt(in_force.read_machines_again)
    custody = open_custody(lambda: in_force.current, records, tracer.durable, clock)
    office = _open_office(records, control, keys, health_of(journal, control, records), in_force, clock)
    look = preflight_of(lambda: in_force.current, folder, records, control, journal, clock)
    await _keep_the_calendar(loops, configuration, folder, control, office, look, clock)
    forwarder = open_forwarder(configuration, folder, journal, tracer)
    outside = await open_anchoring(
        journal, keys, folder, SharedHeads(shared.store), lambda: in_force.current.trace, tracer, clock
    )
    answering = Answering(
        configuration=configuration,
        folder=folder,
        records=records,
        control=control,
        office=office,
        journal=journal,
        rtsp=rtsp,
        sessions=sessions,
        proof=proof,
        in_force=in_force,
        custody=custody,
        reservations=ReservationService(
            reservations=control.reservations,
            terms=control.terms,
            changed=partial(_see_everywhere, control, enforcement),
        ),
        exports=await open_exports(configuration, records, control, journal, clock, loops, life),
        forwarder=forwarder,
        outside=outside,
        health=health_of(journal, control, records),
        restoration=open_restoration(look, lambda: in_force.current, folder, record, control, keys.proposals, clock),
        clock=clock,
    )
    endpoints = await listen(configuration, folder, rtsp, tls, tracer, answering.ports, life)
    await keep_watch(loops, custody, outside.anchoring, watch)
    await keep_calendars(loops, control, office.register, sessions, clock)
    await keep_incidents(
        loops,
        folder,
        record,
        records,
        control,
        journal,
        configuration,
        None if tls is None else certificates.used_life,
        forwarder,
        office.safekeeping,
        clock,
    )
    await loops.keep("survey", survey.run())
    await keep_telling(loops, open_heartbeat(lambda: in_force.current, control, journal, clock), forwarder)
    await loops.keep("reload", in_force.follow(hung_up or asyncio.Event()))
    return Node(in_force, endpoints, records, control, office, journal, outside, rtsp, survey, loops.failed)


async def _keep_the_door(loops: Loops, control: Control, enforcement: Enforcement) -> None:
    """Hold this node to what all nodes share, once it has been seen, for as long as it runs."""
    await enforcement.renew()
    await enforcement.probe_records()
    await loops.keep("enforcement", enforcement.run())
    await loops.keep("handover", control.handover.follow(enforcement.renew))
    await loops.keep("follow", control.shared.follow(_observer(control.interconnection)))


def _rtsp_server(configuration: Configuration, control: Control, keys: NodeKeys) -> RtspServer:
    answers = RtspAnswers(
        control.door,
        DigestVerifier(REALM, keys.nonce, NONCE_LIFE_S),
        now_s=time.time,
        udp=configuration.listen.udp_service(),
    )
    return RtspServer(answers, now=time.monotonic, rtsp_over_http=configuration.listen.rtsp_over_http)


async def _let_sources_go(control: Control) -> None:
    await control.hub.close()
    await control.replays.settle()


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
    survey.look_after(configuration.cameras, recorded=recorded_cameras(configuration))
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
    return open_office(
        records,
        tracer,
        clock,
        life_office,
        changed=seen,
        machines_changed=in_force.read_machines_again,
        recorders=control.recorders,
        obeys=lambda camera: (recorder := current().recorder) is not None and camera in recorder.cameras,
    )


async def _keep_the_calendar(
    loops: Loops,
    configuration: Configuration,
    folder: DataFolder,
    control: Control,
    office: Office,
    preflight: Look,
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
    await loops.keep("calendar", calendar.run())
    await loops.keep("convention records", calendar.run_records())
    await keep_safe(loops, office.safekeeping)


async def _see_everywhere(control: Control, enforcement: Enforcement) -> None:
    """Have this node read what is reserved now, and every node be held to it. Raises RecordsUnavailableError."""
    await control.view.refresh()
    await enforcement.renew()


def _online_status(configuration: Configuration, clock: Clock) -> OnlineStatus | None:
    responders = configuration.tls.ocsp_responders if configuration.tls is not None else ()
    if not responders:
        return None
    return OnlineStatus(ask_responder, responders, clock, random_bytes=secrets.token_bytes)


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
