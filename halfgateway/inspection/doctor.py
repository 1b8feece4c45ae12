"""What works between here and one camera, step by step: ONVIF, clock, profiles, RTSP, and some seconds of its stream.

The doctor pulls the camera itself and measures packets; it decodes nothing and shows nobody a picture.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from camera_registry.clock import Clock
from camera_registry.errors import NoVideo, RegistryError, Unreachable
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.inventory import CLOCK_ANOMALY_S, CLOCK_CAUSE, Device, exposed_profiles, ranked
from camera_registry.onvif_client import onvif_opener
from camera_registry.onvif_port import OnvifPort, VideoProfile
from halfgateway.errors import RemoteProtocolError
from halfgateway.inspection.meter import Measurements, StreamMeter
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.sdp import first_video
from halfgateway.protocol.sps import described_sps, picture_size
from halfgateway.protocol.uri import redacted
from halfgateway.relay.reports import CLOCK_WARNING_S
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import CONNECT_TIMEOUT_S, CameraClient, Target
from halfgateway.upstream.presentation import Presentation, describe
from halfgateway.upstream.setup import Granted, set_up

GROUP_PATIENCE_S = 15.0
"""How long at most, in seconds, a stream is watched for one whole group of pictures to pass."""

STEPS = (
    "onvif-connect",
    "onvif-clock",
    "onvif-device-information",
    "onvif-profiles",
    "onvif-stream-uri",
    "rtsp-connect",
    "rtsp-options",
    "rtsp-describe",
    "rtsp-setup",
    "rtsp-play",
    "rtsp-teardown",
)
"""Everything that is tried, in order."""

MAX_UDP_PAYLOAD_BYTES = 1472
"""What one UDP datagram holds on Ethernet over IPv4: a camera with larger packets cannot be relayed over UDP."""

_POLL_S = 0.05


@dataclass(slots=True)
class Step:
    """One thing that was tried: how long it took, what it told, and why it failed where it did.

    ``ok`` is None for a step that could not be tried because an earlier one had failed. ``warnings`` are words, not
    sentences: ``clock-drift``, ``no-sender-report`` …
    """

    name: str
    ok: bool | None = None
    ms: float = 0.0
    fault: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """All steps, in order."""

    camera: str
    profile: str | None
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether every step went well."""
        return all(step.ok for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """The report as ``doctor --json`` prints it."""
        return {
            "camera": self.camera,
            "profile": self.profile,
            "ok": self.ok,
            "steps": [asdict(step) for step in self.steps],
        }


class _StepFailed(Exception):
    """What a step needs is not there; the step itself says why."""


class Doctor:
    """Examines one device; ``streams`` are the addresses of its profiles as they are on record."""

    def __init__(self, device: Device, streams: Mapping[str, str], *, clock: Clock) -> None:
        self._device = device
        self._streams = dict(streams)
        self._clock = clock
        self._steps: list[Step] = []
        self._profile: str | None = None

    async def examine(self, *, profile: str | None, seconds: float) -> Report:
        """Try everything, the stream of ``profile`` (the best one if None) for ``seconds`` at least."""
        hosts = AllowedHosts([urlsplit(self._device.onvif_url).hostname or ""])
        opened = onvif_opener(
            allowed=hosts, guard=CredentialGuard(self._clock), clock=self._clock, random_bytes=os.urandom
        )
        try:
            async with opened(self._device.onvif_url, self._device.credentials) as port:
                await self._ask_device(port)
            await self._pull(profile, seconds)
        except _StepFailed:
            tried = {step.name for step in self._steps}
            self._steps += [Step(name) for name in STEPS if name not in tried]
        return Report(self._device.id, self._profile, tuple(self._steps))

    async def _ask_device(self, port: OnvifPort) -> None:
        async with self._step("onvif-connect") as step:
            await reach(self._device.onvif_url)
        if not step.ok:
            self._steps += [Step(name) for name in STEPS if name.startswith("onvif-") and name != step.name]
            return
        async with self._step("onvif-clock") as step:
            reading = await port.clock()
            step.detail = {"offset_s": round(reading.offset_s, 1), "source": reading.source}
            if abs(reading.offset_s) > CLOCK_ANOMALY_S:
                step.fault = CLOCK_CAUSE
            elif abs(reading.offset_s) > CLOCK_WARNING_S:
                step.warnings.append("clock-drift")
        async with self._step("onvif-device-information") as step:
            step.detail = asdict(await port.device_information())
        found: tuple[VideoProfile, ...] = ()
        async with self._step("onvif-profiles") as step:
            found = await port.profiles()
            step.detail = {"profiles": [asdict(each) for each in found]}
            if not found:
                raise NoVideo("the device has no profile with video")
        async with self._step("onvif-stream-uri") as step:
            exposed = exposed_profiles(found, self._device.masked_profile)
            named = ranked([(each, await port.stream_url(each)) for each in exposed])
            step.detail = {"streams": {each.id: redacted(url) for each, url in named}}
            if not named:
                raise NoVideo("the device announces no stream")
            self._streams = {each.id: url for each, url in named}

    async def _pull(self, profile: str | None, seconds: float) -> None:
        self._profile = profile or next(iter(self._streams), None)
        url = self._streams.get(self._profile or "")
        async with self._needed("rtsp-connect"):
            if url is None:
                raise CameraFailure("La caméra n'a pas d'adresse connue pour ce profil.")
            credentials = self._device.credentials
            target = Target(url, credentials.username, credentials.password) if credentials else Target(url)
            stream = _Stream(self._clock)
            client = await CameraClient.connect(target, stream.take)
        try:
            await self._converse(client, target, stream, seconds)
        finally:
            client.close()

    async def _converse(self, client: CameraClient, target: Target, stream: _Stream, seconds: float) -> None:
        async with self._needed("rtsp-options") as step:
            answer = await client.request("OPTIONS", target.url)
            step.detail = {"public": answer.headers.get("Public") or "", "server": answer.headers.get("Server") or ""}
        async with self._needed("rtsp-describe") as step:
            presentation = await describe(client, target)
            step.detail = _described(presentation)
        async with self._needed("rtsp-setup") as step:
            granted = await set_up(client, presentation, stream.take, now=self._clock.monotonic)
            transport = "tcp-interleaved" if granted.datagrams is None else "udp"
            step.detail = {"transport": transport, "session_timeout_s": granted.session.timeout_s}
        with closing(granted):
            await self._play(client, presentation, granted, stream, seconds)

    async def _play(
        self, client: CameraClient, presentation: Presentation, granted: Granted, stream: _Stream, seconds: float
    ) -> None:
        headers = {"Session": granted.session.id}
        async with self._step("rtsp-play") as step:
            video = presentation.video
            stream.meter = StreamMeter(video.codec, video.clock_rate_hz, granted.channels, wall_ns=self._wall_ns)
            asked_s = self._clock.monotonic()
            await client.request("PLAY", presentation.aggregate_url, headers | {"Range": "npt=0.000-"})
            await stream.watch(client, seconds)
            measured = stream.meter.result()
            step.detail = asdict(measured) | {"first_packet_ms": stream.first_packet_ms(asked_s)}
            step.warnings = _doubts(measured, presentation)
            if not measured.packets:
                step.fault = "no-media"
            elif not measured.key_frames:
                step.fault = "no-key-frame"
        async with self._step("rtsp-teardown"):
            await client.request("TEARDOWN", presentation.aggregate_url, headers)

    def _wall_ns(self) -> int:
        return round(self._clock.now().timestamp() * 1e9)

    @asynccontextmanager
    async def _needed(self, name: str) -> AsyncIterator[Step]:
        """A step without which no further one can be tried."""
        async with self._step(name) as step:
            yield step
        if not step.ok:
            raise _StepFailed(name)

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[Step]:
        step = Step(name)
        self._steps.append(step)
        began_s = self._clock.monotonic()
        try:
            yield step
        except RegistryError as error:
            step.fault = error.cause
        except CameraFailure as failure:
            step.fault = _fault_of(failure)
        except RemoteProtocolError:
            step.fault = "malformed"
        step.ms = round((self._clock.monotonic() - began_s) * 1000, 1)
        step.ok = step.fault is None


class _Stream:
    """The media of one connection, from PLAY on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first_s: float | None = None
        self.meter: StreamMeter | None = None

    def take(self, batch: InterleavedBatch) -> bool:
        """Take what the camera sent; each packet is to be timed, so none is waited for."""
        if self.meter is not None:
            now_s = self._clock.monotonic()
            self._first_s = self._first_s or now_s
            self.meter.feed(batch, now_s)
        return False

    def first_packet_ms(self, asked_s: float) -> float | None:
        """How long after PLAY was asked the first packet came."""
        return None if self._first_s is None else round((self._first_s - asked_s) * 1000, 1)

    async def watch(self, client: CameraClient, seconds: float) -> None:
        """Return after ``seconds``, and one whole group of pictures unless that takes too long.

        Raises CameraFailure when the camera closes the connection first.
        """
        began_s = self._clock.monotonic()
        while (passed_s := self._clock.monotonic() - began_s) < max(seconds, GROUP_PATIENCE_S):
            if passed_s >= seconds and self.meter is not None and self.meter.saw_a_group:
                return
            if client.closed.done():
                raise CameraFailure("La caméra a fermé la connexion.")
            await asyncio.sleep(_POLL_S)


def _fault_of(failure: CameraFailure) -> str:
    if failure.status is not None:
        return f"rtsp-{failure.status}"
    return "malformed" if isinstance(failure.__cause__, RemoteProtocolError) else "unreachable"


async def reach(url: str) -> None:
    """See whether anything listens where a device's address says. Raises Unreachable."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        raise Unreachable("nothing listens at the device's address") from error
    writer.close()


def _described(presentation: Presentation) -> dict[str, Any]:
    media = first_video(presentation.description)
    parameters = media.fmtp.get(media.payload_types[0], "")
    sps = described_sps(presentation.video.codec, parameters)
    width = height = None
    if sps is not None:
        with suppress(RemoteProtocolError):
            width, height = picture_size(presentation.video.codec, sps)
    return {
        "codec": presentation.video.codec.value,
        "clock_hz": presentation.video.clock_rate_hz,
        "width": width,
        "height": height,
        "parameter_sets_in_sdp": sps is not None,
        "audio_offered": any(each.kind == "audio" for each in presentation.description.media),
        "audio_set_up": False,
    }


def _doubts(measured: Measurements, presentation: Presentation) -> list[str]:
    """What is not wrong, and may explain what somebody sees."""
    described = _described(presentation)
    found = {
        "no-sender-report": not measured.sender_reports,
        "report-clock-off": abs(measured.clock_offset_s or 0.0) > CLOCK_WARNING_S,
        "no-whole-gop": measured.gop_frames is None,
        "packets-lost": measured.lost_packets > 0,
        "no-parameter-sets": not (measured.parameter_sets_in_band or described["parameter_sets_in_sdp"]),
        "packets-exceed-mtu": measured.largest_packet_bytes > MAX_UDP_PAYLOAD_BYTES,
    }
    return [word for word, doubtful in found.items() if doubtful]
