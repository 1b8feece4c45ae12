"""The ONVIF services of one simulated camera. What a client reads is answered; everything else is a proper fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import cv2
from aiohttp import web

from camera_registry.clock import Clock
from halfgateway.simulator import onvif_messages as messages
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.clips import ClipSpec
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import CameraIdentity
from halfgateway.simulator.onvif_messages import DEVICE, MEDIA, MEDIA2, Addresses, OfferedProfile
from halfgateway.simulator.onvif_server import DEVICE_PATH, Call, OnvifServer, unauthorised
from halfgateway.simulator.picture import DuskScene

_MEDIA_PATH, _MEDIA2_PATH = "/onvif/media_service", "/onvif/media2_service"
_SNAPSHOT_PATH: Final = "/onvif/snapshot"


class OnvifDevice(OnvifServer):
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
        paths = (DEVICE_PATH, _MEDIA_PATH, _MEDIA2_PATH)
        pages = {_SNAPSHOT_PATH: self._snapshot}
        super().__init__(identity=identity, behaviour=behaviour, gate=gate, clock=clock, paths=paths, pages=pages)
        self._identity = identity
        self._specs = specs
        self._rtsp_port = rtsp_port
        self._make_key_frame = make_key_frame

    def _answer(self, call: Call, host: str) -> str | None:
        """See :class:`OnvifServer`; None also for a profile that this camera does not have."""
        addresses, profiles = self._addresses(host), self._profiles(host)
        best, token = profiles[0], call.text("ProfileToken")
        wanted = next((each for each in profiles if each.token == token), None)
        if token and wanted is None:
            return None
        stream_url = (wanted or best).url
        answers: Mapping[tuple[str, str], Callable[[], str]] = {
            (DEVICE, "GetSystemDateAndTime"): lambda: messages.system_date_and_time(
                self._now(), tells_utc=not self._knobs.odd_soap
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

    def _synchronise(self, call: Call, profile: OfferedProfile) -> str:
        self._make_key_frame(list(self._specs)[profile.number])
        return messages.done(call.namespace, call.name)

    def _profiles(self, host: str) -> list[OfferedProfile]:
        return [
            OfferedProfile(number, spec, f"rtsp://{host}:{self._rtsp_port()}{path}")
            for number, (path, spec) in enumerate(self._specs.items())
        ]

    def _addresses(self, host: str) -> Addresses:
        base = f"http://{host}:{self.port}"
        return Addresses(
            device=f"{base}{DEVICE_PATH}",
            media=f"{base}{_MEDIA_PATH}",
            media2=f"{base}{_MEDIA2_PATH}",
            snapshot=f"{base}{_SNAPSHOT_PATH}",
        )

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        challenges = self._gate.check(request.headers.get("Authorization"), request.method, request.path_qs)
        if challenges:
            return unauthorised(challenges)
        return web.Response(
            body=await asyncio.to_thread(_jpeg, next(iter(self._specs.values()))), content_type="image/jpeg"
        )


def _jpeg(spec: ClipSpec) -> bytes:
    scene = DuskScene(width=spec.width, height=spec.height, period=spec.frames, title=spec.title)
    _, encoded = cv2.imencode(".jpg", scene.frame(0))
    return encoded.tobytes()
