"""A camera of which only a masked profile may be shown shows none until its device has named it (L07)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import Mock

import pytest

from auth.sealing import MASTER_KEY_BYTES, Sealing
from camera_registry.cameras import CameraState
from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.schedule import Schedule
from camera_registry.store import CameraStore
from halfgateway.config import CameraSection
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.tracing import Tracer
from halfgateway.database import Database
from halfgateway.survey import Survey
from tests.e2e.inventory import record_of


@pytest.fixture
def store(database: Database) -> CameraStore:
    sealing = Sealing(os.urandom(MASTER_KEY_BYTES), random_bytes=os.urandom)
    return CameraStore(database.sessions, sealing, clock=SystemClock())


def section(camera_id: str, tmp_path: Path, masked: str | None) -> CameraSection:
    return CameraSection(
        id=camera_id,
        name="Essai",
        site="Essai",
        commune="Versailles",
        latitude=48.8,
        longitude=2.1,
        onvif_url="http://127.0.0.1/",
        username="u",
        password_file=tmp_path / "password",
        masked_profile=masked,
    )


async def test_a_camera_that_shows_nothing_is_asked_again_soon(store: CameraStore, tmp_path: Path) -> None:
    await store.upsert(record_of("known", "rtsp://127.0.0.1/a", Credentials(username="u", password="p")))
    rounds: list[list[str]] = []
    enough = asyncio.Event()

    class Noted(Survey):
        async def take(self, cameras: Iterable[CameraSection]) -> frozenset[str]:
            rounds.append([camera.id for camera in cameras])
            if len(rounds) == 3:
                enough.set()
            return frozenset({"known"})

    survey = Noted(store=store, descriptions=Mock(spec=Descriptions), tracer=Mock(spec=Tracer), open_device=Mock())
    cameras = [section("known", tmp_path, None), section("masked", tmp_path, "P2")]
    survey.look_after(cameras)
    schedule = Schedule(time.monotonic(), chance=lambda: 0.0, first_retry_s=0.01)
    running = asyncio.create_task(survey.run(schedule=schedule, look_s=0.01))
    async with asyncio.timeout(20):
        await enough.wait()
    running.cancel()
    assert rounds[:3] == [["known", "masked"], ["masked"], ["masked"]]


async def test_what_was_on_record_before_is_shown_no_more(store: CameraStore, tmp_path: Path) -> None:
    credentials = Credentials(username="u", password="p")
    for name in ("free", "masked", "unmarked"):
        await store.upsert(record_of(name, "rtsp://127.0.0.1/a", credentials, profiles=("main", "sub")))
    survey = Survey(store=store, descriptions=Mock(spec=Descriptions), tracer=Mock(spec=Tracer), open_device=Mock())
    await survey.withdraw_unproven(
        [section("free", tmp_path, None), section("masked", tmp_path, "P2"), section("new", tmp_path, "P2")]
    )
    assert store.snapshot.source("free") is not None
    assert store.snapshot.source("unmarked") is not None
    hidden = store.get("masked")
    assert hidden is not None
    assert (hidden.state, hidden.cause) == (CameraState.UNAVAILABLE, "masked-profile-missing")
    assert store.snapshot.source("masked") is None
    assert store.snapshot.source("masked", "sub") is None
    assert store.get("new") is None
