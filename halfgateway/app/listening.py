"""The node's ports: RTSP, RTSPS, HTTP and HTTPS, and what answers behind them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from auth.certificates import CertificateVerifier
from auth.errors import RecordsUnavailableError
from auth.login import Login
from auth.sessions import Sessions
from auth.throttle import Throttle
from auth.trace import Draft, Journal, Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from camera_registry.clock import Clock
from halfgateway.api.application import Ports, build_application
from halfgateway.api.history import HistoryService
from halfgateway.api.services import (
    CatalogueService,
    HealthService,
    InterconnectionService,
    StreamAddresses,
    StreamService,
)
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.local_door import listen_locally
from halfgateway.app.office import Office
from halfgateway.app.tls import TlsFiles
from halfgateway.config import Configuration
from halfgateway.control.access import Via
from halfgateway.control.standing import Standing
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import HalfGatewayError, LocalProtocolError, Unauthenticated
from halfgateway.folder import DataFolder
from halfgateway.metrics import NodeCollector
from halfgateway.net.tls import TlsListener


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ports on which a node listens; None where it does not."""

    http: int
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
    certificates: CertificateVerifier,
    tls: TlsFiles | None,
    clock: Clock,
    life: AsyncExitStack,
) -> Endpoints:
    listen = configuration.listen
    host = listen.host
    life.push_async_callback(rtsp.close)
    rtsp_port = await rtsp.listen(host, listen.rtsp_port) if listen.rtsp_port is not None else None
    rtsps_port = None
    if tls is not None and listen.rtsps_port is not None:
        rtsps_port = await rtsp.listen_tls(
            host,
            listen.rtsps_port,
            context=tls.rtsps_context,
            refused=_traced(control.tracer, Via.RTSPS),
            handshake_timeout_s=tls.handshake_timeout_s,
        )
    addresses = StreamAddresses(
        rtsp=f"rtsp://{_shown(host)}:{rtsp_port}" if rtsp_port is not None else "",
        rtsps=f"rtsps://{_shown(host)}:{rtsps_port}" if rtsps_port is not None else "",
    )
    ports = _ports(configuration, records, control, office, journal, rtsp, addresses, sessions, certificates, clock)
    runner = web.AppRunner(build_application(ports, full_api_on_http=listen.full_api_on_http), access_log=None)
    await runner.setup()
    life.push_async_callback(runner.cleanup)
    await listen_locally(runner, folder, life)
    site = web.TCPSite(runner, host, listen.http_port)
    await site.start()
    http_port: int = runner.addresses[0][1]
    https_port = None
    if tls is not None and listen.https_port is not None:
        https_port = await _serve_https(runner, host, listen.https_port, tls, control.tracer, life)
    return Endpoints(http_port, https_port, rtsp_port, rtsps_port)


def _ports(
    configuration: Configuration,
    records: Records,
    control: Control,
    office: Office,
    journal: Journal,
    rtsp: RtspServer,
    addresses: StreamAddresses,
    sessions: Sessions,
    certificates: CertificateVerifier,
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
    login = Login(
        accounts=records.accounts,
        sessions=sessions,
        passwords=records.passwords,
        certificates=certificates,
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
        cameras=CatalogueService(records.cameras, control.view.current, control.convention, clock),
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
        gatekeeper=Standing(control.view.current, control.convention, clock),
        personnel=office.personnel,
        orders=office.orders,
        registry=registry,
        clock=clock,
    )


async def _serve_https(
    runner: web.AppRunner, host: str, port: int, tls: TlsFiles, tracer: Tracer, life: AsyncExitStack
) -> int:
    if runner.server is None:
        raise LocalProtocolError("the runner is to be set up before it is served")
    listener = TlsListener(
        runner.server,
        context=tls.https_context,
        refused=_traced(tracer, Via.API),
        handshake_timeout_s=tls.handshake_timeout_s,
    )
    life.push_async_callback(listener.close)
    return await listener.listen(host, port)


def _shown(host: str) -> str:
    """A host as a URL names it: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _traced(tracer: Tracer, via: Via) -> Callable[[str, str], None]:
    """Write a refused handshake to the trace; a stranger who tries again and again is one entry a second."""

    def refused(source: str, reason: str) -> None:
        detail = {"reason": reason, "via": via.value}
        tracer.refusal(
            Draft(kind=Kind.AUTH_FAILED, refusal=Unauthenticated.code, source=source, detail=detail),
        )

    return refused
