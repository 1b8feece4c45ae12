"""From devices to cameras on record: a failed call is a field, what was known stays, and the state says why."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from simulated_cameras import H264, H264_WITH_AUDIO, H265

from camera_registry.cameras import CameraState, Profile
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord, Credentials, DeviceInformation, StreamSource
from camera_registry.errors import (
    AuthRejected,
    Malformed,
    NotSupported,
    RegistryError,
    Timeout,
    Unreachable,
)
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.inventory import DEVICES_AT_ONCE, KNOCKS_AT_ONCE, Device, Finding, Knock, StreamFacts, inventory
from camera_registry.onvif_client import onvif_opener
from camera_registry.onvif_port import ClockReading, VideoProfile
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.simulator import Simulator

Answer = TypeVar("Answer")

DEVICE = Device(
    id="syn-78646-01",
    name="Place d'Armes",
    site="Place d'Armes",
    commune="Versailles",
    latitude=48.803,
    longitude=2.1262,
    onvif_url="http://10.78.1.20/onvif/device_service",
    credentials=Credentials(username="passerelle", password="secret"),
    recorded=True,
)


def profile(token: str, width: int, height: int, codec: str = "H264") -> VideoProfile:
    return VideoProfile(token=token, codec=codec, width=width, height=height, fps=25.0, media2=True)


@dataclass
class Port:
    """A device as the inventory sees it: each answer, or the error given instead of it."""

    clock_answer: ClockReading | RegistryError = field(default_factory=lambda: ClockReading(0.2, "soap"))
    information: DeviceInformation | RegistryError = field(
        default_factory=lambda: DeviceInformation(manufacturer="Vigie", serial="V-1")
    )
    offered: Sequence[VideoProfile] | RegistryError = field(
        default_factory=lambda: [profile("P2", 640, 360), profile("P1", 1920, 1080)]
    )
    urls: dict[str, RegistryError] = field(default_factory=dict)

    async def clock(self) -> ClockReading:
        return _or_raise(self.clock_answer)

    async def device_information(self) -> DeviceInformation:
        return _or_raise(self.information)

    async def profiles(self) -> tuple[VideoProfile, ...]:
        return tuple(_or_raise(self.offered))

    async def stream_url(self, profile: VideoProfile) -> str:
        if profile.token in self.urls:
            raise self.urls[profile.token]
        return f"rtsp://10.78.1.20/{profile.token}"


def _or_raise(answer: Answer | RegistryError) -> Answer:
    if isinstance(answer, RegistryError):
        raise answer
    return answer


@dataclass
class Streams:
    """What each stream says of itself, by URL."""

    facts: dict[str, StreamFacts | RegistryError] = field(default_factory=dict)
    asked: list[StreamSource] = field(default_factory=list)

    async def __call__(self, source: StreamSource) -> StreamFacts:
        self.asked.append(source)
        return _or_raise(self.facts.get(source.url, StreamFacts(codec="H264")))


async def anyone_in(url: str) -> None:
    """Every device takes a connection."""


async def surveyed(devices: Sequence[Device], **ways: Any) -> list[Finding]:
    """What was found, in the order of the devices."""
    kept: dict[str, Finding] = {}

    async def keep(finding: Finding) -> None:
        assert kept.setdefault(finding.record.camera.id, finding) is finding

    await inventory(devices, **{"knock": anyone_in, "keep": keep} | ways)
    return [kept[device.id] for device in devices]


async def found(
    port: Port,
    streams: Streams | None = None,
    known: CameraRecord | None = None,
    *,
    device: Device = DEVICE,
    knock: Knock = anyone_in,
) -> Finding:
    @asynccontextmanager
    async def opened(url: str, credentials: Credentials | None) -> AsyncIterator[Port]:
        assert (url, credentials) == (DEVICE.onvif_url, DEVICE.credentials)
        yield port

    (finding,) = await surveyed(
        [device],
        knock=knock,
        onvif=opened,
        probe_stream=streams or Streams(),
        known={DEVICE.id: known} if known else {},
    )
    return finding


async def test_profiles_are_named_by_rank_so_that_links_outlive_the_device() -> None:  # C06
    first = await found(Port())
    replaced = await found(Port(offered=[profile("Profile_1", 3840, 2160), profile("x", 704, 576)]))
    assert [each.id for each in first.record.camera.profiles] == ["main", "sub"]
    assert [each.id for each in replaced.record.camera.profiles] == ["main", "sub"]
    assert dict(first.record.connection.streams) == {"main": "rtsp://10.78.1.20/P1", "sub": "rtsp://10.78.1.20/P2"}
    third = await found(Port(offered=[profile(str(n), 100 * n, 100) for n in range(1, 5)]))
    assert [each.id for each in third.record.camera.profiles] == ["main", "sub", "p3", "p4"]


async def test_a_camera_in_order_is_available() -> None:
    finding = await found(Port())
    camera, connection = finding.record.camera, finding.record.connection
    assert (camera.state, camera.cause, dict(finding.faults)) == (CameraState.AVAILABLE, None, {})
    assert (camera.id, camera.name, camera.commune, camera.recorded) == (DEVICE.id, DEVICE.name, "Versailles", True)
    assert connection.device.serial == "V-1"
    assert connection.clock_offset_s == 0.2
    assert connection.credentials == DEVICE.credentials


async def test_the_stream_corrects_what_onvif_says_of_it() -> None:
    facts = StreamFacts(codec="H265", width=2560, height=1440, fps=12.5, audio=True)
    finding = await found(Port(), Streams({"rtsp://10.78.1.20/P1": facts}))
    assert finding.record.camera.profiles[0] == Profile(id="main", codec="H265", width=2560, height=1440, fps=12.5)
    assert finding.record.camera.profiles[1].codec == "H264"
    assert finding.audio


@pytest.mark.parametrize(
    ("port", "fault"),
    [
        (Port(clock_answer=Malformed("x")), ("clock", "malformed")),
        (Port(information=NotSupported("x")), ("device-information", "not-supported")),
        (Port(urls={"P2": Timeout("x")}), ("stream-url P2", "timeout")),
    ],
)
async def test_a_failed_call_is_a_field_and_the_camera_stays_available(port: Port, fault: tuple[str, str]) -> None:
    finding = await found(port)
    assert dict(finding.faults) == dict([fault])
    assert finding.record.camera.state is CameraState.AVAILABLE


@pytest.mark.parametrize(
    ("port", "cause"),
    [
        (Port(offered=AuthRejected("x")), "auth-rejected"),
        (Port(offered=Unreachable("x")), "unreachable"),
        (Port(offered=[]), "no-video"),
        (Port(urls={"P1": Malformed("x"), "P2": Malformed("x")}), "no-video"),
    ],
)
async def test_a_device_that_names_no_stream_is_unavailable_and_says_why(port: Port, cause: str) -> None:
    finding = await found(port)
    camera = finding.record.camera
    assert (camera.state, camera.cause, camera.profiles) == (CameraState.UNAVAILABLE, cause, ())


async def test_a_best_stream_that_does_not_answer_makes_it_unavailable_another_does_not() -> None:
    broken = await found(Port(), Streams({"rtsp://10.78.1.20/P1": Unreachable("x")}))
    assert (broken.record.camera.state, broken.record.camera.cause) == (CameraState.UNAVAILABLE, "unreachable")
    assert len(broken.record.camera.profiles) == 2
    half = await found(Port(), Streams({"rtsp://10.78.1.20/P2": Unreachable("x")}))
    assert half.record.camera.state is CameraState.AVAILABLE
    assert dict(half.faults) == {"probe sub": "unreachable"}


@pytest.mark.parametrize("offset_s", [61.0, -7200.0])
async def test_a_clock_that_is_far_off_is_an_anomaly(offset_s: float) -> None:
    finding = await found(Port(clock_answer=ClockReading(offset_s, "soap")))
    assert (finding.record.camera.state, finding.record.camera.cause) == (CameraState.ANOMALY, "clock-offset")
    assert finding.record.connection.clock_offset_s == offset_s


async def test_what_was_known_stays_where_the_device_is_silent() -> None:
    known = (await found(Port())).record
    silent = Port(clock_answer=Unreachable("x"), information=Unreachable("x"), offered=Unreachable("x"))
    gone = Streams(dict.fromkeys(("rtsp://10.78.1.20/P1", "rtsp://10.78.1.20/P2"), Unreachable("x")))
    off = await found(silent, gone, known)
    assert off.record.camera.profiles == known.camera.profiles
    assert off.record.connection.streams == known.connection.streams
    assert off.record.connection.device == known.connection.device
    assert (off.record.camera.state, off.record.camera.cause) == (CameraState.UNAVAILABLE, "unreachable")
    onvif_only = await found(silent, Streams(), known)
    assert (onvif_only.record.camera.state, onvif_only.record.camera.cause) == (CameraState.ANOMALY, "unreachable")


async def nobody_in(url: str) -> None:
    raise Unreachable("no connection")


async def test_a_device_that_takes_no_connection_is_not_asked() -> None:
    asked = Port(clock_answer=Malformed("it was asked"))
    finding = await found(asked, knock=nobody_in)
    assert dict(finding.faults) == {"connect": "unreachable", "profiles": "unreachable"}
    assert (finding.record.camera.state, finding.record.camera.cause) == (CameraState.UNAVAILABLE, "unreachable")
    known = (await found(Port())).record
    playing = await found(asked, Streams(), known, knock=nobody_in)
    assert (playing.record.camera.state, playing.record.camera.cause) == (CameraState.ANOMALY, "unreachable")
    assert playing.record.camera.profiles == known.camera.profiles
    gone = Streams(dict.fromkeys(("rtsp://10.78.1.20/P1", "rtsp://10.78.1.20/P2"), Unreachable("x")))
    off = await found(asked, gone, known, knock=nobody_in)
    assert off.record.camera == replace(known.camera, state=CameraState.UNAVAILABLE, cause="unreachable")
    assert off.record.connection.streams == known.connection.streams
    assert [source.profile for source in gone.asked] == ["main"]


async def test_what_was_found_is_kept_although_another_device_keeps_its_asker_waiting() -> None:
    slow, fast = replace(DEVICE, onvif_url="http://10.78.1.21/"), replace(DEVICE, id="fast")
    kept: list[str] = []
    first_kept = asyncio.Event()

    async def keep(finding: Finding) -> None:
        kept.append(finding.record.camera.id)
        first_kept.set()

    async def knock(url: str) -> None:
        if url == slow.onvif_url:
            await first_kept.wait()

    @asynccontextmanager
    async def opened(url: str, credentials: Credentials | None) -> AsyncIterator[Port]:
        yield Port()

    async with asyncio.timeout(20):
        await inventory([slow, fast], knock=knock, onvif=opened, probe_stream=Streams(), keep=keep)
    assert kept == ["fast", slow.id]


async def test_few_doors_are_tried_at_once() -> None:
    trying, most = 0, 0

    async def knock(url: str) -> None:
        nonlocal trying, most
        trying += 1
        most = max(most, trying)
        await asyncio.sleep(0)
        trying -= 1
        raise Unreachable("no connection")

    devices = [replace(DEVICE, id=f"cam-{n}") for n in range(100)]
    findings = await surveyed(devices, knock=knock, onvif=None, probe_stream=Streams())
    assert len(findings) == 100
    assert 1 < most <= KNOCKS_AT_ONCE


async def test_a_bug_is_not_taken_for_a_fault() -> None:
    async def broken(source: StreamSource) -> StreamFacts:
        raise ZeroDivisionError

    @asynccontextmanager
    async def opened(url: str, credentials: Credentials | None) -> AsyncIterator[Port]:
        yield Port()

    with pytest.raises(ExceptionGroup) as raised:
        await surveyed([DEVICE], onvif=opened, probe_stream=broken)
    assert raised.group_contains(ZeroDivisionError)


async def test_few_devices_are_asked_at_once() -> None:
    open_now, most = 0, 0

    @asynccontextmanager
    async def opened(url: str, credentials: Credentials | None) -> AsyncIterator[Port]:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        yield Port()
        open_now -= 1

    devices = [replace(DEVICE, id=f"cam-{n}") for n in range(40)]
    findings = await surveyed(devices, onvif=opened, probe_stream=Streams())
    assert [finding.record.camera.id for finding in findings] == [device.id for device in devices]
    assert 1 < most <= DEVICES_AT_ONCE


async def test_only_the_masked_profile_is_ever_on_record() -> None:  # L07
    port = Port(offered=(profile("open", 1920, 1080), profile("masked", 640, 360)))
    finding = await found(port, device=replace(DEVICE, masked_profile="masked"))
    (only,) = finding.record.camera.profiles
    assert (only.id, only.width) == ("main", 640)
    assert list(finding.record.connection.streams) == ["main"]
    assert finding.record.camera.state is CameraState.AVAILABLE


@pytest.mark.parametrize("offered", [(profile("open", 1920, 1080),), Unreachable("gone")])
async def test_without_its_masked_profile_a_camera_shows_nothing(
    record: CameraRecord, offered: Sequence[VideoProfile] | RegistryError
) -> None:  # L07: what is on record may be from before the profile was marked
    finding = await found(Port(offered=offered), known=record, device=replace(DEVICE, masked_profile="masked"))
    assert finding.record.camera.profiles == ()
    assert not finding.record.connection.streams
    assert finding.record.camera.state is CameraState.UNAVAILABLE
    assert finding.record.camera.cause in {"masked-profile-missing", "unreachable"}


def listed(camera: SimulatedCamera, *, password: str | None = None) -> Device:
    identity = camera.identity
    return Device(
        id=identity.id,
        name=identity.name,
        site=identity.site,
        commune=identity.commune,
        latitude=identity.latitude,
        longitude=identity.longitude,
        onvif_url=camera.onvif_url,
        credentials=Credentials(username=identity.username, password=password or identity.password),
    )


async def test_the_simulated_cameras_come_into_the_registry(simulator: Simulator) -> None:
    first, second, third = (simulator.cameras[number] for number in (H264, H265, H264_WITH_AUDIO))
    second.behaviour.clock_offset_s = -7200.0
    third.behaviour.announces_internal_address = True
    streams = Streams({camera.rtsp_url: StreamFacts(codec="") for camera in simulator.cameras})
    clock = SystemClock()
    findings = await surveyed(
        [listed(first), listed(second), listed(third)],
        onvif=onvif_opener(
            allowed=AllowedHosts(["127.0.0.1"]),
            guard=CredentialGuard(clock),
            clock=clock,
            random_bytes=os.urandom,
        ),
        probe_stream=streams,
    )
    cameras = [finding.record.camera for finding in findings]
    assert [(each.state, each.cause) for each in cameras] == [
        (CameraState.AVAILABLE, None),
        (CameraState.ANOMALY, "clock-offset"),
        (CameraState.AVAILABLE, None),
    ]
    assert [(each.profiles[0].codec, each.profiles[0].height) for each in cameras] == [
        ("H264", 720),
        ("H265", 1080),
        ("H264", 720),
    ]
    assert sorted(source.url for source in streams.asked) == sorted(each.rtsp_url for each in simulator.cameras)
    assert all(not finding.faults for finding in findings)
    for camera, finding in zip(simulator.cameras, findings, strict=True):
        assert finding.record.connection.device.serial == camera.identity.serial


async def test_a_wrong_password_takes_one_try_of_each_camera(simulator: Simulator) -> None:
    clock = SystemClock()
    findings = await surveyed(
        [listed(camera, password="wrong") for camera in simulator.cameras],
        onvif=onvif_opener(
            allowed=AllowedHosts(["127.0.0.1"]),
            guard=CredentialGuard(clock),
            clock=clock,
            random_bytes=os.urandom,
        ),
        probe_stream=Streams(),
    )
    for finding in findings:
        assert dict(finding.faults) == {"device-information": "auth-rejected", "profiles": "locked"}
        assert finding.record.camera.state is CameraState.UNAVAILABLE


async def test_a_device_that_is_silent_at_its_new_address_is_not_sought_at_the_old_one(record: CameraRecord) -> None:
    # C16: its password may be another, and the old address somebody else's by now
    device = replace(DEVICE, id=record.camera.id)
    gone = Port(offered=Unreachable("gone"))
    kept = replace(record, connection=replace(record.connection, onvif_url=DEVICE.onvif_url))
    assert (await found(gone, known=kept, device=device)).record.connection.streams == kept.connection.streams
    elsewhere = replace(record, connection=replace(record.connection, onvif_url="http://10.78.1.99/onvif"))
    assert elsewhere.connection.streams
    assert not (await found(gone, known=elsewhere, device=device)).record.connection.streams
