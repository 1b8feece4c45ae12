"""ONVIF as every simulated device speaks it: SOAP over HTTP, by hand, its credentials and its faults.

Answers that would be denied to nobody (Core 5.9.4.3, PRE_AUTH) want no credentials.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from aiohttp import web
from lxml import etree

from camera_registry import soap
from camera_registry.clock import Clock
from camera_registry.errors import Malformed
from halfgateway.simulator import onvif_messages as messages
from halfgateway.simulator.behaviour import Behaviour, OnvifAuth
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import DeviceIdentity

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Size of one request; a device has no memory for more, and answers 413."""

TOKEN_WINDOW: Final = timedelta(seconds=300)
"""How far a UsernameToken's time may be from the device's clock, as devices commonly have it."""

DEVICE_PATH: Final = "/onvif/device_service"

_SOAP: Final = "application/soap+xml"
_STOP_S: Final = 0.1

_PRE_AUTH: Final = frozenset(
    {"GetSystemDateAndTime", "GetServices", "GetServiceCapabilities", "GetCapabilities", "GetHostname"}
)


class Refused(Exception):
    """The operation is answered by a fault of this subcode (Core 5.11.2)."""

    def __init__(self, subcode: str, reason: str) -> None:
        super().__init__(reason)
        self.subcode = subcode


class Call:
    """The operation that an envelope asks for. Raises Malformed if there is none."""

    def __init__(self, root: etree._Element) -> None:
        body = soap.first(root, "Body")
        if body is None or not len(body):
            raise Malformed("the body is empty")
        self.element = body[0]
        qualified = etree.QName(self.element)
        self.namespace = qualified.namespace or ""
        self.name = qualified.localname

    def text(self, *path: str) -> str:
        """The text of what is asked with it, empty where nothing is."""
        return soap.text_of(self.element, *path)


class OnvifServer(ABC):
    """Answers for one device, at the address that the client used, on the paths of its services."""

    def __init__(
        self,
        *,
        identity: DeviceIdentity,
        behaviour: Behaviour,
        gate: DigestGate,
        clock: Clock,
        paths: Iterable[str],
        pages: Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = MappingProxyType({}),
    ) -> None:
        """``paths`` are those of its services, ``pages`` what is no SOAP."""
        self._account = identity
        self._knobs = behaviour
        self._gate = gate
        self._clock = clock
        self._paths = tuple(paths)
        self._pages = pages
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def path(self) -> str:
        """The path of the device service."""
        return DEVICE_PATH

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one, to be read from ``port``. Raises OSError."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        for path in self._paths:
            app.router.add_post(path, self._serve)
        for path, page in self._pages.items():
            app.router.add_get(path, page)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @abstractmethod
    def _answer(self, call: Call, host: str) -> str | None:
        """Return the body of the answer, or None for an action that this device does not have.

        ``host`` is where it says that it is. Raises Refused.
        """

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            root = soap.read_envelope(await request.read())
            call = Call(root)
        except Malformed as error:
            return self._fault(400, "Sender", "WellFormed", str(error))
        if call.name not in _PRE_AUTH:
            refusal = self._refusal(request, root)
            if refusal is not None:
                return refusal
        try:
            body = self._answer(call, self._host(request))
        except Refused as refused:
            return self._fault(400, "Sender", refused.subcode, str(refused))
        if body is None:
            return self._not_supported()
        return web.Response(body=messages.envelope(body), content_type=_SOAP)

    def _host(self, request: web.Request) -> str:
        """Return where this device says that it is: the address that the client used, or the wrong one."""
        wrong = self._knobs.announces_internal_address
        host = self._account.internal_address if wrong else request.url.host or ""
        return f"[{host}]" if ":" in host else host

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC) + timedelta(seconds=self._knobs.clock_offset_s)

    def _refusal(self, request: web.Request, root: etree._Element) -> web.Response | None:
        """Return what a request without good credentials earns, None if they are good."""
        if not self._knobs.onvif_refused:
            if OnvifAuth.USERNAME_TOKEN in self._knobs.onvif_auth and self._token_is_good(root):
                return None
            challenges = self._gate.check(request.headers.get("Authorization"), request.method, request.path_qs)
            if OnvifAuth.HTTP_DIGEST in self._knobs.onvif_auth and not challenges:
                return None
        if OnvifAuth.HTTP_DIGEST in self._knobs.onvif_auth:
            return unauthorised(self._gate.challenges())
        return self._fault(400, "Sender", "NotAuthorized", "Sender not authorized")

    def _not_supported(self) -> web.Response:
        if self._knobs.odd_soap:
            return web.Response(status=400, text="Bad request")
        return self._fault(500, "Receiver", "ActionNotSupported", "Optional action not implemented")

    def _fault(self, status: int, code: str, subcode: str, reason: str) -> web.Response:
        body = messages.fault(code, subcode, reason, declares_errors=not self._knobs.odd_soap)
        return web.Response(status=status, body=body, content_type=_SOAP)

    def _token_is_good(self, root: etree._Element) -> bool:
        token = soap.first(root, "Header", "Security", "UsernameToken")
        if token is None:
            return False
        created = soap.text_of(token, "Created")
        try:
            nonce = base64.b64decode(soap.text_of(token, "Nonce"), validate=True)
            signed_at = datetime.fromisoformat(created)
        except (binascii.Error, ValueError):
            return False
        if not nonce or signed_at.tzinfo is None or abs(signed_at - self._now()) > TOKEN_WINDOW:
            return False
        material = nonce + created.encode() + self._account.password.encode()
        expected = base64.b64encode(hashlib.sha1(material, usedforsecurity=False).digest()).decode()
        right_user = soap.text_of(token, "Username") == self._account.username
        return hmac.compare_digest(expected, soap.text_of(token, "Password")) and right_user


def unauthorised(challenges: tuple[str, ...]) -> web.Response:
    """Return a 401 with these challenges."""
    refusal = web.Response(status=401, text="<html>401</html>", content_type="text/html")
    for challenge in challenges:
        refusal.headers.add("WWW-Authenticate", challenge)
    return refusal
