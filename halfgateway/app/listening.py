"""The node's ports: RTSP, RTSPS, HTTP and HTTPS, and what answers behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from auth.errors import RecordsUnavailableError
from auth.login import Login
from auth.possession import CertificateProof
from auth.sessions import Sessions
from auth.trace import Draft, Journal, Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from camera_registry.clock import Clock
from halfgateway.api.application import Ports, build_application
from halfgateway.api.history import AnchorService, HistoryService, PurgeService
from halfgateway.api.reservation_service import ReservationService
from halfgateway.api.services import (
    CatalogueService,
    HealthService,
    InterconnectionService,
    StreamAddresses,
    StreamService,
)
from halfgateway.app.anchoring import Outside
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.local_door import listen_locally
from halfgateway.app.office import Office
from halfgateway.app.reload import ConfigurationInForce
from halfgateway.app.tls import TlsFiles
from halfgateway.config import Configuration
from halfgateway.control.access import Via
from halfgateway.control.custody import Custody
from halfgateway.control.restoration import Restoration
from halfgateway.control.standing import Standing
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import HalfGatewayError, LocalProtocolError, Unauthenticated
from halfgateway.folder import DataFolder
from halfgateway.metrics import ForwarderCollector, NodeCollector
from halfgateway.net.listener import Balancers, Listener
from halfgateway.net.tls import TlsListener
from halfgateway.siem.forwarder import Forwarder
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.incidents.book import IncidentBooks
from ops.incidents.desk import IncidentDesk
from ops.windows import held


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ports on which a node listens; None where it does not."""

    http: int | None
    https: int | None
    rtsp: int | None
    rtsps: int | None

    def urls(self, host: str) -> dict[str, str | None]:
        """Each scheme's URL on ``host``, a name or an address."""
        shown = _shown(host)
        return {scheme: port and f"{scheme}://{shown}:{port}" for scheme, port in asdict(self).items()}


async def listen(
    configuration: Configuration,
    folder: DataFolder,
    records: Records,
    control: Control,
    office: Office,
    journal: Journal,
    rtsp: RtspServer,
    sessions: Sessions,
    proof: CertificateProof,
    tls: TlsFiles | None,
    in_force: ConfigurationInForce,
    custody: Custody,
    reservations: ReservationService,
    forwarder: Forwarder | None,
    outside: Outside,
    health: HealthService,
    restoration: Restoration,
    clock: Clock,
    life: AsyncExitStack,
) -> Endpoints:
    listen = configuration.listen
    host = listen.host
    life.push_async_callback(rtsp.close)

    def balancers(via: Via) -> Balancers | None:
        return Balancers(listen.proxies, _traced(control.tracer, via)) if listen.proxies else None

    rtsp_port = rtsps_port = http_port = https_port = None
    if listen.rtsp_port is not None:
        rtsp_port = await rtsp.listen(host, listen.rtsp_port, balancers=balancers(Via.RTSP))
    if tls is not None and listen.rtsps_port is not None:
        rtsps_port = await rtsp.listen_tls(
            host,
            listen.rtsps_port,
            context=tls.rtsps_context,
            refused=_traced(control.tracer, Via.RTSPS),
            balancers=balancers(Via.RTSPS),
            handshake_timeout_s=tls.handshake_timeout_s,
        )
    addresses = StreamAddresses(
        rtsp=listen.public_rtsp or (f"rtsp://{_shown(host)}:{rtsp_port}" if rtsp_port is not None else ""),
        rtsps=listen.public_rtsps or (f"rtsps://{_shown(host)}:{rtsps_port}" if rtsps_port is not None else ""),
    )
    ports = _ports(
        configuration,
        folder,
        records,
        control,
        office,
        journal,
        rtsp,
        addresses,
        sessions,
        proof,
        in_force,
        custody,
        reservations,
        forwarder,
        outside,
        health,
        restoration,
        clock,
    )
    runner = web.AppRunner(build_application(ports, full_api_on_http=listen.full_api_on_http), access_log=None)
    await runner.setup()
    life.push_async_callback(runner.cleanup)
    if runner.server is None:
        raise LocalProtocolError("the runner is to be set up before it is served")
    await listen_locally(runner, folder, life)
    if listen.http_port is not None:
        http = Listener(runner.server, balancers=balancers(Via.API))
        life.push_async_callback(http.close)
        http_port = await http.listen(host, listen.http_port)
    if tls is not None and listen.https_port is not None:
        https = TlsListener(
            runner.server,
            context=tls.https_context,
            refused=_traced(control.tracer, Via.API),
            balancers=balancers(Via.API),
            handshake_timeout_s=tls.handshake_timeout_s,
        )
        life.push_async_callback(https.close)
        https_port = await https.listen(host, listen.https_port)
    return Endpoints(http_port, https_port, rtsp_port, rtsps_port)


def _ports(
    configuration: Configuration,
    folder: DataFolder,
    records: Records,
    control: Control,
    office: Office,
    journal: Journal,
    rtsp: RtspServer,
    addresses: StreamAddresses,
    sessions: Sessions,
    proof: CertificateProof,
    in_force: ConfigurationInForce,
    custody: Custody,
    reservations: ReservationService,
    forwarder: Forwarder | None,
    outside: Outside,
    health: HealthService,
    restoration: Restoration,
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
            reports_due=lambda: custody.reports_due,
            anchors=outside.anchoring,
            windows_held=lambda: held(control.view.life().windows, control.interconnection.state, clock.now()),
        )
    )
    if forwarder is not None:
        registry.register(ForwarderCollector(forwarder))
    login = Login(
        accounts=records.accounts,
        sessions=sessions,
        passwords=records.passwords,
        certificates=proof,
        recovery_codes=records.recovery_codes,
        break_glass=records.break_glass,
        throttle=control.throttle,
        clock=clock,
    )
    return Ports(
        authenticator=login,
        sessions=sessions,
        trace=control.tracer,
        cameras=CatalogueService(records.cameras, control.view.current, control.terms, clock),
        streams=StreamService(
            desk=control.desk, assertions=control.assertions, streams=control.open_streams, addresses=addresses
        ),
        interconnection=InterconnectionService(
            interconnection=control.interconnection,
            restoration=restoration,
            slots=control.slots,
            table=control.table,
            terms=control.terms,
            node=configuration.node.id,
        ),
        incidents=IncidentDesk(
            IncidentBooks(folder.incidents, clock=clock), clock, clocks=configuration.incidents.legal_clocks()
        ),
        correspondence=CorrespondenceBooks(folder.correspondence, clock=clock),
        history=HistoryService(journal),
        administration=in_force,
        purges=PurgeService(journal, in_force.retention, clock),
        custody=custody,
        reservations=reservations,
        anchors=AnchorService(outside.anchoring, journal.node),
        trace_custody=outside.custody,
        health=health,
        gatekeeper=Standing(control.view.current, control.terms, clock),
        personnel=office.personnel,
        orders=office.orders,
        changes=office.life.changes,
        annexes=office.life.annexes,
        convention=office.life.convention,
        registry=registry,
        clock=clock,
    )


def health_of(journal: Journal, control: Control, records: Records) -> HealthService:
    """What must answer for the node to serve."""
    return HealthService(
        tuple(probes_of(journal, control, records).items()),
        (JournalUnavailable, HalfGatewayError, RecordsUnavailableError),
    )


def probes_of(journal: Journal, control: Control, records: Records) -> dict[str, Callable[[], Awaitable[object]]]:
    """How each part that a stream needs is asked; one that raises nothing is well."""
    return {
        "trace": journal.probe,
        "state-store": control.slots.usage,
        "records": lambda: records.accounts.find(""),
    }


def _shown(host: str) -> str:
    """A host as a URL names it: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _traced(tracer: Tracer, via: Via) -> Callable[[str, str], None]:
    """Write a refused connection to the trace; a stranger who tries again and again is one entry a second."""

    def refused(source: str, reason: str) -> None:
        detail = {"reason": reason, "via": via.value}
        tracer.refusal(
            Draft(kind=Kind.AUTH_FAILED, refusal=Unauthenticated.code, source=source, detail=detail),
        )

    return refused
