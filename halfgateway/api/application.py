"""The whole HTTP API as one aiohttp application, for the HTTPS port and the plain one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, Counter, Histogram

from camera_registry.clock import Clock
from halfgateway import __version__
from halfgateway.api.dispatch import Dispatcher
from halfgateway.api.life_ports import Annexes, Changes, ConventionLife
from halfgateway.api.local import local_account
from halfgateway.api.openapi import openapi_document
from halfgateway.api.operation import Operation, operations_of
from halfgateway.api.ports import (
    AccessTrace,
    Administration,
    Anchors,
    Authenticator,
    CameraCatalogue,
    Custody,
    Exports,
    Health,
    Interconnection,
    Reservations,
    SessionStore,
    Streams,
    TraceCustody,
    TraceHistory,
    TracePurge,
)
from halfgateway.api.problems import http_error_response
from halfgateway.api.rights_ports import Gatekeeper, Orders, Personnel
from halfgateway.api.routes.administration import AdministrationRoutes
from halfgateway.api.routes.agents import AgentRoutes
from halfgateway.api.routes.anchors import AnchorRoutes
from halfgateway.api.routes.annexes import AnnexRoutes, CharterRoutes
from halfgateway.api.routes.cameras import CameraRoutes
from halfgateway.api.routes.changes import ChangeRoutes, WindowRoutes
from halfgateway.api.routes.convention import AcceptanceRoutes, ConventionRoutes
from halfgateway.api.routes.correspondence import CorrespondenceRoutes
from halfgateway.api.routes.custody import BreakGlassRoutes, InterventionRoutes, KeyRoutes
from halfgateway.api.routes.documents import DocumentRoutes
from halfgateway.api.routes.exports import ExportRoutes
from halfgateway.api.routes.health import HEALTH_PATH, METRICS_PATH, READINESS_PATH, HealthRoutes
from halfgateway.api.routes.incidents import IncidentRoutes
from halfgateway.api.routes.interconnection import InterconnectionRoutes
from halfgateway.api.routes.login import LoginRoutes
from halfgateway.api.routes.orders import OrderRoutes
from halfgateway.api.routes.reservations import ReservationRoutes
from halfgateway.api.routes.safekeeping import HoldRoutes, OutsideRequestRoutes, ProbeRoutes, RetentionRoutes
from halfgateway.api.routes.streams import StreamRoutes
from halfgateway.api.routes.trace import TraceRoutes
from halfgateway.api.safekeeping_ports import Holds, OutsideRequests, Probe, RetentionRecords
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.incidents.desk import IncidentDesk

MAX_BODY_BYTES = 64 * 1024
"""Bytes of a request's body, where its operation takes no larger one. More is answered 413."""

SECURITY_HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    hdrs.SERVER: "halfgateway",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_ONE_YEAR_S = 365 * 24 * 3600

_DESCRIPTION = (
    "Accès de la Préfecture de police aux images de vidéoprotection de Seine-et-Yvelines Numérique, "
    "exploitation de l'Interconnexion et historique des authentifications."
)

OPERATIONS: web.AppKey[tuple[Operation, ...]] = web.AppKey("operations", tuple)
"""Every operation of an application: the whole list of its doors (T10)."""

_PLAIN_PATHS = frozenset({HEALTH_PATH, READINESS_PATH, METRICS_PATH})

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the API needs of the rest of the house."""

    authenticator: Authenticator
    sessions: SessionStore
    trace: AccessTrace
    cameras: CameraCatalogue
    streams: Streams
    interconnection: Interconnection
    incidents: IncidentDesk
    correspondence: CorrespondenceBooks
    history: TraceHistory
    administration: Administration
    purges: TracePurge
    custody: Custody
    reservations: Reservations
    exports: Exports
    anchors: Anchors
    trace_custody: TraceCustody
    health: Health
    gatekeeper: Gatekeeper
    personnel: Personnel
    orders: Orders
    changes: Changes
    annexes: Annexes
    convention: ConventionLife
    holds: Holds
    requests: OutsideRequests
    retention: RetentionRecords
    probe: Probe
    registry: CollectorRegistry
    clock: Clock


def build_application(ports: Ports, *, full_api_on_http: bool = False) -> web.Application:
    """Build the application; serve it on a plain and on a TLS port alike.

    The plain port answers for health and metrics only, unless ``full_api_on_http`` (the demo).
    """
    groups = [
        LoginRoutes(ports.authenticator, ports.sessions, ports.gatekeeper, ports.trace, ports.clock),
        CameraRoutes(ports.cameras, ports.trace),
        StreamRoutes(ports.streams, ports.trace),
        ReservationRoutes(ports.reservations),
        ExportRoutes(ports.exports),
        InterconnectionRoutes(ports.interconnection, ports.clock),
        IncidentRoutes(ports.incidents),
        CorrespondenceRoutes(ports.correspondence, ports.clock),
        TraceRoutes(ports.history, ports.purges, ports.trace),
        AnchorRoutes(ports.anchors, ports.trace_custody, ports.trace),
        AdministrationRoutes(ports.administration),
        KeyRoutes(ports.custody),
        BreakGlassRoutes(ports.custody),
        InterventionRoutes(ports.custody),
        AgentRoutes(ports.personnel, ports.trace),
        OrderRoutes(ports.orders),
        *_life_routes(ports.changes, ports.annexes, ports.convention),
        *_safekeeping_routes(ports.holds, ports.requests, ports.retention),
        ProbeRoutes(ports.probe, ports.retention),
        HealthRoutes(ports.health, ports.registry),
    ]
    declared = [operation for group in groups for operation in operations_of(group)]
    groups.append(DocumentRoutes(lambda: openapi_document(declared, version=__version__, description=_DESCRIPTION)))
    application = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=[_measuring(ports.registry, ports.clock), _as_problems],
    )
    if not full_api_on_http:
        application.middlewares.append(_health_alone_on_plain_http)
    _serve(application, groups, Dispatcher(ports.sessions, ports.gatekeeper, ports.trace))
    application.on_response_prepare.append(_add_security_headers)
    if not full_api_on_http:
        application.on_response_prepare.append(_add_strict_transport)
    return application


def build_office(
    *,
    sessions: SessionStore,
    gatekeeper: Gatekeeper,
    personnel: Personnel,
    orders: Orders,
    custody: Custody,
    changes: Changes,
    annexes: Annexes,
    convention: ConventionLife,
    holds: Holds,
    requests: OutsideRequests,
    retention: RetentionRecords,
    trace: AccessTrace,
) -> web.Application:
    """Build what the command line needs of the API where no node runs: the registers alone, for this machine alone."""
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_as_problems])
    groups = [
        AgentRoutes(personnel, trace),
        OrderRoutes(orders),
        KeyRoutes(custody),
        BreakGlassRoutes(custody),
        InterventionRoutes(custody),
        *_life_routes(changes, annexes, convention),
        *_safekeeping_routes(holds, requests, retention),
    ]
    _serve(application, groups, Dispatcher(sessions, gatekeeper, trace))
    return application


def _life_routes(changes: Changes, annexes: Annexes, convention: ConventionLife) -> list[object]:
    return [
        ChangeRoutes(changes),
        WindowRoutes(changes),
        AnnexRoutes(annexes),
        CharterRoutes(annexes),
        ConventionRoutes(convention),
        AcceptanceRoutes(convention),
    ]


def _safekeeping_routes(holds: Holds, requests: OutsideRequests, retention: RetentionRecords) -> list[object]:
    return [HoldRoutes(holds), OutsideRequestRoutes(requests), RetentionRoutes(retention)]


def _serve(application: web.Application, groups: Sequence[object], dispatcher: Dispatcher) -> None:
    application[OPERATIONS] = tuple(operation for group in groups for operation in operations_of(group))
    for group in groups:
        for operation in operations_of(group):
            handler = partial(dispatcher.run, operation, group)
            application.router.add_route(operation.method, operation.path, handler, name=operation.name)


async def _add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[hdrs.SERVER] = SECURITY_HEADERS[hdrs.SERVER]


async def _add_strict_transport(request: web.Request, response: web.StreamResponse) -> None:
    if _is_tls(request):
        response.headers["Strict-Transport-Security"] = f"max-age={_ONE_YEAR_S}"


@web.middleware
async def _as_problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """What the HTTP layer refuses by itself is a problem document too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return http_error_response(error)


@web.middleware
async def _health_alone_on_plain_http(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if not _is_tls(request) and local_account(request) is None and request.path not in _PLAIN_PATHS:
        raise web.HTTPNotFound
    return await handler(request)


def _is_tls(request: web.Request) -> bool:
    return request.get_extra_info("ssl_object") is not None


def _measuring(registry: CollectorRegistry, clock: Clock) -> Middleware:
    answers = Counter(
        "halfgateway_http_answers",
        "HTTP answers, by operation and status",
        ("operation", "status"),
        registry=registry,
    )
    durations = Histogram(
        "halfgateway_http_seconds", "Seconds from request to answer", ("operation",), registry=registry
    )

    @web.middleware
    async def measure(request: web.Request, handler: _Handler) -> web.StreamResponse:
        operation = request.match_info.route.name or "none"
        began_s = clock.monotonic()
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            answers.labels(operation, status).inc()
            durations.labels(operation).observe(clock.monotonic() - began_s)

    return measure
