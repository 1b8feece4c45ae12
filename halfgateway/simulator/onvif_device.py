"""The ONVIF device service of one simulated camera: SOAP over HTTP, by hand.

What a client reads is answered; everything else is a proper fault. Answers that would be denied to nobody (Core
5.9.4.3, PRE_AUTH) want no credentials.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import cv2
from aiohttp import web
from lxml import etree

from camera_registry import soap
from camera_registry.clock import Clock
from camera_registry.errors import Malformed
from halfgateway.simulator import onvif_messages as messages
from halfgateway.simulator.behaviour import Behaviour, OnvifAuth
from halfgateway.simulator.clips import ClipSpec
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import CameraIdentity
from halfgateway.simulator.onvif_messages import DEVICE, MEDIA, MEDIA2, Addresses, OfferedProfile
from halfgateway.simulator.picture import DuskScene

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Size of one request; a camera has no memory for more, and answers 413."""

TOKEN_WINDOW: Final = timedelta(seconds=300)
"""How far a UsernameToken's time may be from the camera's clock, as devices commonly have it."""

_SOAP: Final = "application/soap+xml"
_DEVICE_PATH, _MEDIA_PATH, _MEDIA2_PATH = "/onvif/device_service", "/onvif/media_service", "/onvif/media2_service"
_SNAPSHOT_PATH: Final = "/onvif/snapshot"

_PRE_AUTH: Final = frozenset(
    {"GetSystemDateAndTime", "GetServices", "GetServiceCapabilities", "GetCapabilities", "GetHostname"}
)


class OnvifDevice:
    """Answers for one camera, at the address that the client used."""

    def __init__(
        self,
        *,
        identity: CameraIdentity,
        specs: Mapping[str, ClipSpec],
        behaviour: Behaviour,
        gate: DigestGate,
        clock: Clock,
        rtsp_port: Callable[[], int],
        make_key_frame: Callable[[str], None],
    ) -> None:
        """``specs`` are what its streams show, the best first, by path and query of their URLs.

        ``make_key_frame`` is told the path of a stream that is to have one.
        """
        self._identity = identity
        self._specs = specs
        self._behaviour = behaviour
        self._gate = gate
        self._clock = clock
        self._rtsp_port = rtsp_port
        self._make_key_frame = make_key_frame
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one, to be read from ``port``. Raises OSError."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        for path in (_DEVICE_PATH, _MEDIA_PATH, _MEDIA2_PATH):
            app.router.add_post(path, self._serve)
        app.router.add_get(_SNAPSHOT_PATH, self._snapshot)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def path(self) -> str:
        """The path of the device service."""
        return _DEVICE_PATH

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            root = soap.read_envelope(await request.read())
            call = _Call(root)
        except Malformed as error:
            return self._fault(400, "Sender", "WellFormed", str(error))
        if call.name not in _PRE_AUTH:
            refusal = self._refusal(request, root)
            if refusal is not None:
                return refusal
        body = self._answer(call, self._addresses(request), self._profiles(self._host(request)))
        if body is None:
            return self._not_supported()
        return web.Response(body=messages.envelope(body), content_type=_SOAP)

    def _answer(self, call: _Call, addresses: Addresses, profiles: Sequence[OfferedProfile]) -> str | None:
        """Return the body of the answer, or None for an action, or a profile, that this camera does not have."""
        best = profiles[0]
        wanted = next((each for each in profiles if each.token == call.profile_token), None)
        if call.profile_token and wanted is None:
            return None
        stream_url = (wanted or best).url
        answers: Mapping[tuple[str, str], Callable[[], str]] = {
            (DEVICE, "GetSystemDateAndTime"): lambda: messages.system_date_and_time(
                self._now(), tells_utc=not self._behaviour.odd_soap
            ),
            (DEVICE, "GetServices"): lambda: messages.services(addresses),
            (DEVICE, "GetCapabilities"): lambda: messages.capabilities(addresses),
            (DEVICE, "GetDeviceInformation"): lambda: messages.device_information(self._identity),
            (DEVICE, "GetScopes"): lambda: messages.scopes(self._identity),
            (DEVICE, "GetHostname"): lambda: messages.hostname(self._identity),
            (DEVICE, "GetNetworkInterfaces"): lambda: messages.network_interfaces(self._identity),
            (MEDIA, "GetProfiles"): lambda: messages.media1_profiles(profiles),
            (MEDIA, "GetVideoSources"): lambda: messages.video_sources(best.spec),
            (MEDIA, "GetStreamUri"): lambda: messages.media1_uri(call.name, stream_url),
            (MEDIA, "GetSnapshotUri"): lambda: messages.media1_uri(call.name, addresses.snapshot),
            (MEDIA, "GetVideoEncoderConfiguration"): lambda: messages.encoder_configurations(profiles, name=call.name),
            (MEDIA, "GetVideoEncoderConfigurations"): lambda: messages.encoder_configurations(profiles, name=call.name),
            (MEDIA, "SetSynchronizationPoint"): lambda: self._synchronise(call, wanted or best),
            (MEDIA2, "SetSynchronizationPoint"): lambda: self._synchronise(call, wanted or best),
            (MEDIA2, "GetProfiles"): lambda: messages.media2_profiles(profiles),
            (MEDIA2, "GetStreamUri"): lambda: messages.media2_uri(stream_url),
        }
        answer = answers.get((call.namespace, call.name))
        return answer() if answer else None

    def _synchronise(self, call: _Call, profile: OfferedProfile) -> str:
        self._make_key_frame(list(self._specs)[profile.number])
        return messages.done(call.namespace, call.name)

    def _host(self, request: web.Request) -> str:
        """Return where this camera says that it is: the address that the client used, or the wrong one."""
        wrong = self._behaviour.announces_internal_address
        host = self._identity.internal_address if wrong else request.url.host or ""
        return f"[{host}]" if ":" in host else host

    def _profiles(self, host: str) -> list[OfferedProfile]:
        return [
            OfferedProfile(number, spec, f"rtsp://{host}:{self._rtsp_port()}{path}")
            for number, (path, spec) in enumerate(self._specs.items())
        ]

    def _addresses(self, request: web.Request) -> Addresses:
        base = f"http://{self._host(request)}:{self.port}"
        return Addresses(
            device=f"{base}{_DEVICE_PATH}",
            media=f"{base}{_MEDIA_PATH}",
            media2=f"{base}{_MEDIA2_PATH}",
            snapshot=f"{base}{_SNAPSHOT_PATH}",
        )

    def _refusal(self, request: web.Request, root: etree._Element) -> web.Response | None:
        """Return what a request without good credentials earns, None if they are good."""
        if not self._behaviour.onvif_refused:
            if OnvifAuth.USERNAME_TOKEN in self._behaviour.onvif_auth and self._token_is_good(root):
                return None
            challenges = self._gate.check(request.headers.get("Authorization"), request.method, request.path_qs)
            if OnvifAuth.HTTP_DIGEST in self._behaviour.onvif_auth and not challenges:
                return None
        if OnvifAuth.HTTP_DIGEST in self._behaviour.onvif_auth:
            return _unauthorised(self._gate.challenges())
        return self._fault(400, "Sender", "NotAuthorized", "Sender not authorized")

    def _not_supported(self) -> web.Response:
        if self._behaviour.odd_soap:
            return web.Response(status=400, text="Bad request")
        return self._fault(500, "Receiver", "ActionNotSupported", "Optional action not implemented")

    def _fault(self, status: int, code: str, subcode: str, reason: str) -> web.Response:
        body = messages.fault(code, subcode, reason, declares_errors=not self._behaviour.odd_soap)
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
        material = nonce + created.encode() + self._identity.password.encode()
        expected = base64.b64encode(hashlib.sha1(material, usedforsecurity=False).digest()).decode()
        right_user = soap.text_of(token, "Username") == self._identity.username
        return hmac.compare_digest(expected, soap.text_of(token, "Password")) and right_user

    async def _snapshot(self, request: web.Request) -> web.Response:
        challenges = self._gate.check(request.headers.get("Authorization"), request.method, request.path_qs)
        if challenges:
            return _unauthorised(challenges)
        return web.Response(
            body=await asyncio.to_thread(_jpeg, next(iter(self._specs.values()))), content_type="image/jpeg"
        )

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC) + timedelta(seconds=self._behaviour.clock_offset_s)


class _Call:
    """The operation that an envelope asks for. Raises Malformed if there is none."""

    def __init__(self, root: etree._Element) -> None:
        body = soap.first(root, "Body")
        if body is None or not len(body):
            raise Malformed("the body is empty")
        qualified = etree.QName(body[0])
        self.namespace = qualified.namespace or ""
        self.name = qualified.localname
        self.profile_token = soap.text_of(body[0], "ProfileToken")


def _unauthorised(challenges: tuple[str, ...]) -> web.Response:
    refusal = web.Response(status=401, text="<html>401</html>", content_type="text/html")
    for challenge in challenges:
        refusal.headers.add("WWW-Authenticate", challenge)
    return refusal


def _jpeg(spec: ClipSpec) -> bytes:
    scene = DuskScene(width=spec.width, height=spec.height, period=spec.frames, title=spec.title)
    _, encoded = cv2.imencode(".jpg", scene.frame(0))
    return encoded.tobytes()
