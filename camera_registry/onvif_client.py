"""Asking one ONVIF device what it is, what it shows and where.

Only what the inventory needs, each call apart, so that a device that fails one still answers the others. Media2 is
asked first where it is announced, since Media1 does not know H.265.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from lxml import etree

from camera_registry import soap
from camera_registry.clock import Clock
from camera_registry.connections import Credentials, DeviceInformation
from camera_registry.errors import Malformed, NotSupported, RegistryError
from camera_registry.guard import Guard
from camera_registry.hosts import AllowedHosts, reachable_url
from camera_registry.onvif_library import DEVICE, MEDIA, Service, open_service
from camera_registry.onvif_port import ClockReading, VideoProfile
from camera_registry.onvif_search import RecorderClient
from camera_registry.onvif_transport import TIMEOUT_S, DeviceTransport

MEDIA2: Final = "http://www.onvif.org/ver20/media/wsdl"

MAX_PROFILES: Final = 32
"""Profiles read of one device. Cameras have 2 to 8; those of a recorder past this number are left out."""

_TEXT_CHARACTERS: Final = 200  # Of a device's own words, as much as the records hold.
_HALF_A_SECOND: Final = timedelta(seconds=0.5)  # Whole seconds are told: on average half of one is cut off.
_RTSP: Final = ("rtsp", "rtsps")
_HTTP: Final = ("http", "https")


class OnvifClient:
    """An :class:`~camera_registry.onvif_port.OpenedDevice` over one transport; calls go one after the other.

    ``recorder`` asks it what a recorder is asked.
    """

    def __init__(self, url: str, transport: DeviceTransport, *, allowed: AllowedHosts, clock: Clock) -> None:
        """Ask the device service at ``url``, for instance ``http://10.78.1.20/onvif/device_service``."""
        self._url = url
        self._transport = transport
        self._allowed = allowed
        self._clock = clock
        self._open: dict[str, Service] = {}
        self._addresses: Mapping[str, str] | None = None
        self._one_call = asyncio.Lock()
        self.recorder = RecorderClient(url, transport, allowed=allowed, one_call=self._one_call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection to the device."""
        for service in self._open.values():
            await service.close()
        await self._transport.close()

    async def clock(self) -> ClockReading:
        """Read the clock by SOAP, without credentials; else from the answer's ``Date:`` (quirk onvif-clock)."""
        async with self._one_call:
            reading = await self._read_clock()
            self._transport.clock_offset = timedelta(seconds=reading.offset_s)
            return reading

    async def device_information(self) -> DeviceInformation:
        """Ask GetDeviceInformation."""
        async with self._one_call:
            device = await self._service(DEVICE, self._url)
            answer = await device.call("GetDeviceInformation")
        information = DeviceInformation(
            manufacturer=_text(answer, "Manufacturer"),
            model=_text(answer, "Model"),
            firmware=_text(answer, "FirmwareVersion"),
            serial=_text(answer, "SerialNumber"),
            hardware=_text(answer, "HardwareId"),
        )
        if information == DeviceInformation():
            raise Malformed("the device says nothing of itself")
        return information

    async def profiles(self) -> tuple[VideoProfile, ...]:
        """Ask Media2's GetProfiles where it is announced, Media1's otherwise or where that gives nothing."""
        async with self._one_call:
            addresses = await self._service_addresses()
            if MEDIA2 in addresses:
                try:
                    found = await self._media2_profiles(addresses[MEDIA2])
                except (NotSupported, Malformed):
                    if MEDIA not in addresses:
                        raise
                    found = ()
                if found or MEDIA not in addresses:
                    return found
            return await self._media1_profiles(addresses)

    async def stream_url(self, profile: VideoProfile) -> str:
        """Ask GetStreamUri of the service that the profile came from."""
        async with self._one_call:
            addresses = await self._service_addresses()
            if profile.media2:
                request = _call(MEDIA2, "GetStreamUri", Protocol="RTSP", ProfileToken=profile.token)
                announced = soap.text_of(await self._ask(addresses[MEDIA2], request), "Uri")
            else:
                media = await self._service(MEDIA, _require(addresses, MEDIA))
                setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
                answer = await media.call("GetStreamUri", {"StreamSetup": setup, "ProfileToken": profile.token})
                announced = str(getattr(answer, "Uri", None) or "")
        return reachable_url(announced, endpoint=self._url, allowed=self._allowed, schemes=_RTSP)

    async def request_keyframe(self, profile: VideoProfile) -> None:
        """Ask SetSynchronizationPoint of the service that the profile came from (ONVIF Streaming 5.4)."""
        namespace = MEDIA2 if profile.media2 else MEDIA
        async with self._one_call:
            address = _require(await self._service_addresses(), namespace)
            await self._ask(address, _call(namespace, "SetSynchronizationPoint", ProfileToken=profile.token))

    async def _read_clock(self) -> ClockReading:
        device = await self._service(DEVICE, self._url)
        self._transport.take_date()
        asked = self._clock.now()
        failure: RegistryError | None = None
        try:
            answer = await device.call("GetSystemDateAndTime")
        except RegistryError as error:
            failure, answer = error, None
        ours = asked + (self._clock.now() - asked) / 2
        theirs = _utc(answer)
        if theirs is not None:
            return ClockReading((theirs - ours).total_seconds(), "soap")
        date = self._transport.take_date()
        if date is not None:
            return ClockReading((date.device - date.ours).total_seconds(), "http-date")
        raise failure or Malformed("the device tells no time")

    async def _service_addresses(self) -> Mapping[str, str]:
        """Return namespace → usable address of the services that the device announces."""
        if self._addresses is None:
            device = await self._service(DEVICE, self._url)
            try:
                announced = await self._from_services(device)
            except (NotSupported, Malformed):
                announced = await self._from_capabilities(device)
            self._addresses = self._usable(announced)
        return self._addresses

    def _usable(self, announced: Mapping[str, str]) -> dict[str, str]:
        """Return those addresses that can be used; Malformed if none can."""
        usable: dict[str, str] = {}
        failure: Malformed | None = None
        for namespace, url in announced.items():
            try:
                usable[namespace] = reachable_url(url, endpoint=self._url, allowed=self._allowed, schemes=_HTTP)
            except Malformed as error:
                failure = error
        if failure is not None and not usable:
            raise failure
        return usable

    async def _from_services(self, device: Service) -> dict[str, str]:
        answer = await device.call("GetServices", {"IncludeCapability": False})
        found = {_text(entry, "Namespace"): str(getattr(entry, "XAddr", None) or "") for entry in answer or ()}
        wanted = {namespace: url for namespace, url in found.items() if namespace in (MEDIA, MEDIA2) and url}
        if not wanted:
            raise NotSupported("the device announces no media service")
        return wanted

    async def _from_capabilities(self, device: Service) -> dict[str, str]:
        answer = await device.call("GetCapabilities", {"Category": "Media"})
        url = getattr(getattr(answer, "Media", None), "XAddr", None)
        if not url:
            raise NotSupported("the device announces no media service")
        return {MEDIA: str(url)}

    async def _media1_profiles(self, addresses: Mapping[str, str]) -> tuple[VideoProfile, ...]:
        media = await self._service(MEDIA, _require(addresses, MEDIA))
        found = []
        for profile in (await media.call("GetProfiles") or ())[:MAX_PROFILES]:
            encoder = getattr(profile, "VideoEncoderConfiguration", None)
            token = getattr(profile, "token", None)
            if encoder is None or not token:
                continue
            resolution = getattr(encoder, "Resolution", None)
            found.append(
                VideoProfile(
                    token=str(token),
                    codec=_text(encoder, "Encoding").upper(),
                    width=_whole(getattr(resolution, "Width", None)),
                    height=_whole(getattr(resolution, "Height", None)),
                    fps=float(_whole(getattr(getattr(encoder, "RateControl", None), "FrameRateLimit", None))),
                    media2=False,
                )
            )
        return tuple(found)

    async def _media2_profiles(self, address: str) -> tuple[VideoProfile, ...]:
        answer = await self._ask(address, _call(MEDIA2, "GetProfiles", Type="VideoEncoder"))
        found = []
        for profile in list(soap.children(answer, "Profiles"))[:MAX_PROFILES]:
            encoder = soap.first(profile, "Configurations", "VideoEncoder")
            token = profile.get("token")
            if encoder is None or not token:
                continue
            found.append(
                VideoProfile(
                    token=token,
                    codec=soap.text_of(encoder, "Encoding").upper()[:_TEXT_CHARACTERS],
                    width=_whole(soap.text_of(encoder, "Resolution", "Width")),
                    height=_whole(soap.text_of(encoder, "Resolution", "Height")),
                    fps=_number(soap.text_of(encoder, "RateControl", "FrameRateLimit")),
                    media2=True,
                )
            )
        return tuple(found)

    async def _ask(self, address: str, request: etree._Element) -> etree._Element:
        """Send a hand-written call; return the element in the answer's body."""
        reply = await self._transport.post_xml(address, soap.envelope(request), {})
        body = soap.first(soap.read_envelope(reply.content), "Body")
        if body is None or not len(body):
            raise Malformed("the answer is empty")
        return body[0]

    async def _service(self, namespace: str, url: str) -> Service:
        if namespace not in self._open:
            self._open[namespace] = await open_service(namespace, url, self._transport)
        return self._open[namespace]


def onvif_opener(
    *,
    allowed: AllowedHosts,
    guard: Guard,
    clock: Clock,
    random_bytes: Callable[[int], bytes],
    timeout_s: float = TIMEOUT_S,
    tls: ssl.SSLContext | bool = True,
) -> Callable[[str, Credentials | None], OnvifClient]:
    """Return a function that opens the device at a URL with its credentials; to be called in a running loop.

    One ``guard`` serves all who ask devices; ``tls`` False accepts any certificate over https, as self-signed ones
    need.
    """

    def open_device(url: str, credentials: Credentials | None) -> OnvifClient:
        transport = DeviceTransport(
            device=urlsplit(url).netloc,
            credentials=credentials,
            allowed=allowed,
            guard=guard,
            clock=clock,
            random_bytes=random_bytes,
            timeout_s=timeout_s,
            tls=tls,
        )
        return OnvifClient(url, transport, allowed=allowed, clock=clock)

    return open_device


def _call(namespace: str, operation: str, **parameters: str) -> etree._Element:
    root = etree.Element(f"{{{namespace}}}{operation}", nsmap={"q": namespace})
    for name, value in parameters.items():
        etree.SubElement(root, f"{{{namespace}}}{name}").text = value
    return root


def _require(addresses: Mapping[str, str], namespace: str) -> str:
    if namespace not in addresses:
        raise NotSupported("the device announces no media service")
    return addresses[namespace]


def _utc(answer: Any) -> datetime | None:
    """Return the UTC time of a GetSystemDateAndTime answer; devices set by NTP may leave it out."""
    moment = getattr(answer, "UTCDateTime", None)
    if moment is None or moment.Date is None or moment.Time is None:
        return None
    date, time = moment.Date, moment.Time
    try:
        told = datetime(date.Year, date.Month, date.Day, time.Hour, time.Minute, time.Second, tzinfo=UTC)
        return told + _HALF_A_SECOND
    except (TypeError, ValueError):
        return None


def _text(answer: Any, name: str) -> str:
    return str(getattr(answer, name, None) or "")[:_TEXT_CHARACTERS]


def _whole(value: object) -> int:
    return int(_number(value))


def _number(value: object) -> float:
    """Return a number that a device gave, 0 where it is none or cannot be a size or a rate."""
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if 0 <= number < 1_000_000 else 0.0
