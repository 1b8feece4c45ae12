"""The node's ports: RTSP, RTSPS, HTTP and HTTPS, and what answers behind them."""

from __future__ import annotations

import secrets
import ssl
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from auth.errors import RecordsUnavailableError
from auth.login import Login
from auth.sessions import Sessions
from auth.throttle import Throttle
from auth.trace import Journal
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
from halfgateway.api.tls import https_context
from halfgateway.app.door import Control, certificates_of
from halfgateway.app.keeping import Records
from halfgateway.config import Configuration, TlsSection
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import HalfGatewayError
from halfgateway.metrics import NodeCollector


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


async def listen(
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
        certificates=certificates_of(configuration.tls, clock),
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
