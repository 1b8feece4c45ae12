"""Who joins a long group of pictures has a keyframe asked for, of the device itself (ADR 4)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from auth.sealing import MASTER_KEY_BYTES, Sealing
from camera_registry.cameras import Camera, Profile
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord, Connection, Credentials
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import onvif_opener
from camera_registry.store import CameraStore
from halfgateway.database import Database
from halfgateway.keyframes import ASKED_EVERY_S, REST_S, Keyframes
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.keyframe import starts_keyframe
from halfgateway.relay.hub import Hub
from halfgateway.relay.source import SourceKey
from halfgateway.simulator import sites
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from tests.databases import databases
from tests.upstream.line import KEY, Line, Watcher, eventually, target_of

A_MINUTE_OF_PICTURES = 1500


@pytest.fixture
async def long_camera(small_clip: Clip) -> AsyncIterator[SimulatedCamera]:
    """A camera that makes a keyframe a minute, unless it is asked for one."""
    key, *others = small_clip.access_units[:10]
    rest = (others * (A_MINUTE_OF_PICTURES // len(others)))[:A_MINUTE_OF_PICTURES]
    clip = replace(small_clip, access_units=(key, *rest))
    camera = SimulatedCamera(
        sites.identity(0, random_bytes=os.urandom), clip, Behaviour(), clock=SystemClock(), random_bytes=os.urandom
    )
    await camera.start("127.0.0.1")
    yield camera
    await camera.stop()


@pytest.fixture
async def store(tmp_path: Path, long_camera: SimulatedCamera) -> AsyncIterator[CameraStore]:
    """The records, and the camera in them."""
    database = Database(databases.url(tmp_path / "records.sqlite"))
    await database.migrate()
    store = CameraStore(
        database.sessions, Sealing(os.urandom(MASTER_KEY_BYTES), random_bytes=os.urandom), clock=SystemClock()
    )
    await store.upsert(record_of(long_camera, long_camera.rtsp_url))
    yield store
    await database.close()


def record_of(camera: SimulatedCamera, url: str) -> CameraRecord:
    identity = camera.identity
    described = Camera(
        id=KEY.camera,
        name="Essai",
        site="Essai",
        commune="Versailles",
        latitude=48.8,
        longitude=2.1,
        profiles=(Profile(id=KEY.profile, codec="H264", width=320, height=180, fps=25.0),),
    )
    connection = Connection(
        onvif_url=camera.onvif_url,
        credentials=Credentials(username=identity.username, password=identity.password),
        streams={KEY.profile: url},
    )
    return CameraRecord(described, connection)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def now() -> Clock:
    return Clock()


@pytest.fixture
async def keyframes(store: CameraStore, now: Clock) -> AsyncIterator[Keyframes]:
    clock = SystemClock()
    opener = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    keyframes = Keyframes(store=store, open_device=opener, now=now)
    yield keyframes
    await keyframes.close()


async def test_who_joins_past_the_caches_bound_does_not_wait_a_minute(
    long_camera: SimulatedCamera, keyframes: Keyframes, now: Clock
) -> None:
    line = Line(target_of(long_camera))
    line.hub = Hub(line.puller.pull, now=line.now, keyframe_wanted=keyframes.wanted)
    early = await line.watch()
    await early.packets(10)
    (source,) = line.hub
    line.skipped_s = 3.0
    now.now_s += 3.0
    await eventually(lambda: source.opening() is None)
    late = Watcher()
    source.attach(late.reader, late.ended.append)
    await late.packets(1)
    assert starts_keyframe(Codec.H264, late.video[0].payload)
    assert early.sequence_steps == {1}
    await line.hub.close()


async def test_within_the_bound_the_camera_is_not_asked(line: Line) -> None:
    asked: list[SourceKey] = []
    line.hub = Hub(line.puller.pull, now=line.now, keyframe_wanted=asked.append)
    early = await line.watch()
    await early.packets(5)
    before = len(asked)
    (source,) = line.hub
    opening = source.opening()
    assert opening is not None
    joining = Watcher()
    joining.reader.open(opening)
    source.attach(joining.reader, joining.ended.append)
    await joining.packets(5)
    assert len(asked) == before
    await line.hub.close()


async def test_it_is_asked_once_a_second_however_many_wait(keyframes: Keyframes, now: Clock) -> None:
    asked: list[str] = []
    for _ in range(5):
        keyframes.wanted(KEY)
    asked += [task.get_name() for task in keyframes._asking.values()]
    assert len(asked) == 1
    await eventually(lambda: not keyframes._asking)
    keyframes.wanted(KEY)
    assert not keyframes._asking
    now.now_s += ASKED_EVERY_S
    keyframes.wanted(KEY)
    assert keyframes._asking
    await eventually(lambda: not keyframes._asking)


async def test_a_device_that_cannot_is_left_alone_for_a_while(
    keyframes: Keyframes, store: CameraStore, long_camera: SimulatedCamera, now: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await store.upsert(record_of(long_camera, "rtsp://127.0.0.1/elsewhere"))
    keyframes.wanted(KEY)
    await eventually(lambda: not keyframes._asking)
    assert "keyframe.refused" in caplog.text
    now.now_s += REST_S - 1
    keyframes.wanted(KEY)
    assert not keyframes._asking
    now.now_s += 1
    keyframes.wanted(KEY)
    assert keyframes._asking


async def test_a_camera_that_is_not_on_record_is_not_asked(keyframes: Keyframes) -> None:
    keyframes.wanted(SourceKey("another", "main"))
    assert not keyframes._asking


async def test_a_device_that_is_reached_otherwise_begins_anew(
    keyframes: Keyframes, store: CameraStore, long_camera: SimulatedCamera, now: Clock
) -> None:
    right = record_of(long_camera, long_camera.rtsp_url)
    wrong = replace(right, connection=replace(right.connection, onvif_url="http://127.0.0.1:9/onvif"))
    await store.upsert(wrong)
    keyframes.wanted(KEY)
    await eventually(lambda: not keyframes._asking)
    await store.upsert(right)
    keyframes.wanted(KEY)
    assert keyframes._asking
    await eventually(lambda: not keyframes._asking)
    now.now_s += ASKED_EVERY_S
    opened = keyframes._open[KEY]
    credentials = Credentials(username="another", password="password")
    await store.upsert(replace(right, connection=replace(right.connection, credentials=credentials)))
    keyframes.wanted(KEY)
    await eventually(lambda: not keyframes._asking)
    assert keyframes._open.get(KEY) is not opened
