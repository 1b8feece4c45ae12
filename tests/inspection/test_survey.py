"""What a survey keeps: each camera by itself, only what has changed, and nothing that says nothing of the camera."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from auth.sealing import MASTER_KEY_BYTES, Sealing
from auth.trace import Kind
from camera_registry.cameras import CameraState
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord, Credentials, DeviceInformation
from camera_registry.errors import ClientLost, RegistryError, Unreachable
from camera_registry.onvif_port import ClockReading, VideoProfile
from camera_registry.store import CameraStore
from halfgateway.config import CameraSection
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.tracing import Tracer
from halfgateway.database import Database
from halfgateway.survey import CLOCK_NOISE_S, Survey, knock


class Counting(CameraStore):
    """A store that counts what is written."""

    written = 0

    async def upsert(self, record: CameraRecord) -> None:
        await super().upsert(record)
        self.written += 1


@dataclass
class Device:
    """A device without video whose clock, or its asking, is off."""

    offset_s: float = 0.0
    lost: bool = False

    async def clock(self) -> ClockReading:
        return ClockReading(self.offset_s, "soap")

    async def device_information(self) -> DeviceInformation:
        return DeviceInformation(manufacturer="Vigie")

    async def profiles(self) -> tuple[VideoProfile, ...]:
        if self.lost:
            raise ClientLost("the process has ended")
        return ()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Counting]:
    database = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    await database.migrate()
    sealing = Sealing(os.urandom(MASTER_KEY_BYTES), random_bytes=os.urandom)
    yield Counting(database.sessions, sealing, clock=SystemClock())
    await database.close()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Where something takes connections, and nothing is ever said."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def tracer() -> Mock:
    return Mock(spec=Tracer)


@pytest.fixture
def survey(store: Counting, device: Device, tracer: Mock) -> Survey:
    @asynccontextmanager
    async def opened(url: str, credentials: Credentials | None) -> AsyncIterator[Device]:
        yield device

    return Survey(store=store, descriptions=Mock(spec=Descriptions), tracer=tracer, open_device=opened)


async def taken(survey: Survey, cameras: list[CameraSection]) -> frozenset[str]:
    """Asked, as those that are configured."""
    survey.look_after(cameras)
    return await survey.take(cameras)


def section(name: str, address: str, folder: Path) -> CameraSection:
    password = folder / f"{name}.password"
    password.write_text("secret")
    return CameraSection(
        id=name,
        name="Essai",
        site="Essai",
        commune="Versailles",
        latitude=48.8,
        longitude=2.1,
        onvif_url=address,
        username="u",
        password_file=password,
    )


async def test_what_has_not_changed_is_not_written_again(
    survey: Survey, store: Counting, device: Device, tracer: Mock, address: str, tmp_path: Path
) -> None:
    camera = section("cam", address, tmp_path)
    await taken(survey, [camera])
    assert store.written == 1
    device.offset_s = CLOCK_NOISE_S / 2
    await taken(survey, [camera])
    assert store.written == 1
    device.offset_s = CLOCK_NOISE_S * 2
    await taken(survey, [camera])
    assert store.written == 2
    assert store.snapshot.records["cam"].connection.clock_offset_s == CLOCK_NOISE_S * 2
    assert [call.args[0].kind for call in tracer.eventual.call_args_list] == [Kind.REGISTRY_CHANGED]


async def test_a_lost_onvif_process_says_nothing_of_a_camera(
    survey: Survey, store: Counting, device: Device, address: str, tmp_path: Path
) -> None:
    camera = section("cam", address, tmp_path)
    await taken(survey, [camera])
    known = store.snapshot.records["cam"]
    await store.upsert(CameraRecord(replace(known.camera, state=CameraState.AVAILABLE, cause=None), known.connection))
    before = store.snapshot.records["cam"]
    device.lost = True
    assert await taken(survey, [camera]) == frozenset()
    assert store.snapshot.records["cam"] is before


async def test_a_camera_that_cannot_be_kept_or_asked_holds_no_other_back(
    survey: Survey, store: Counting, address: str, tmp_path: Path
) -> None:
    # C06: an identifier of old stays retired, although the configuration names it again
    cameras = [section(name, address, tmp_path) for name in ("retired", "unreadable", "good")]
    await taken(survey, cameras[:1])
    await store.retire("retired")
    cameras[1].password_file.unlink()
    await taken(survey, cameras)
    assert list(store.snapshot.records) == ["good"]


async def test_a_door_that_is_shut_is_a_declared_error(address: str) -> None:
    await knock(address)
    for nowhere in ("http://127.0.0.1:1/", f"http://{'a' * 300}/"):
        with pytest.raises(RegistryError) as refused:
            await knock(nowhere)
        assert refused.type is Unreachable
