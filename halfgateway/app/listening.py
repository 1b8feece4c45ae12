"""The node's ports: RTSP, RTSPS, HTTP and HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from aiohttp import web

from auth.trace import Draft, Kind
from halfgateway.api.application import Ports, build_application
from halfgateway.api.services import StreamAddresses
from halfgateway.app.local_door import listen_locally
from halfgateway.app.tls import TlsFiles
from halfgateway.config import Configuration
from halfgateway.control.access import Via
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import LocalProtocolError, Unauthenticated
from halfgateway.folder import DataFolder
from halfgateway.net.listener import Balancers, Listener
from halfgateway.net.tls import TlsListener


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
    rtsp: RtspServer,
    tls: TlsFiles | None,
    tracer: Tracer,
    ports: Callable[[StreamAddresses], Ports],
    life: AsyncExitStack,
) -> Endpoints:
    """Open every port that is configured, and the node's own socket; all are closed with ``life``.

    ``ports`` is what answers behind HTTP, given where players find RTSP.
    """
    listen = configuration.listen
    host = listen.host
    life.push_async_callback(rtsp.close)

    def balancers(via: Via) -> Balancers | None:
        return Balancers(listen.proxies, _traced(tracer, via)) if listen.proxies else None

    rtsp_port = rtsps_port = http_port = https_port = None
    if listen.rtsp_port is not None:
        rtsp_port = await rtsp.listen(host, listen.rtsp_port, balancers=balancers(Via.RTSP))
    if tls is not None and listen.rtsps_port is not None:
        rtsps_port = await rtsp.listen_tls(
            host,
            listen.rtsps_port,
            context=tls.rtsps_context,
            refused=_traced(tracer, Via.RTSPS),
            balancers=balancers(Via.RTSPS),
            handshake_timeout_s=tls.handshake_timeout_s,
        )
    addresses = StreamAddresses(
        rtsp=listen.public_rtsp or (f"rtsp://{_shown(host)}:{rtsp_port}" if rtsp_port is not None else ""),
        rtsps=listen.public_rtsps or (f"rtsps://{_shown(host)}:{rtsps_port}" if rtsps_port is not None else ""),
    )
    application = build_application(ports(addresses), full_api_on_http=listen.full_api_on_http)
    runner = web.AppRunner(application, access_log=None)
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
            refused=_traced(tracer, Via.API),
            balancers=balancers(Via.API),
            handshake_timeout_s=tls.handshake_timeout_s,
        )
        life.push_async_callback(https.close)
        https_port = await https.listen(host, listen.https_port)
    return Endpoints(http_port, https_port, rtsp_port, rtsps_port)


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
