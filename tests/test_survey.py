"""The survey follows the configuration: who is asked, at once or not, and what is found for a former one is dropped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from auth.sealing import MASTER_KEY_BYTES, Sealing
from auth.trace import Draft
from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials, StreamSource
from camera_registry.inventory import StreamFacts
from camera_registry.store import CameraStore
from halfgateway.config import CameraSection
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.tracing import Tracer
from halfgateway.database import Database
from halfgateway.survey import Survey
from tests.registry.test_inventory import Port, profile

LIMIT_S = 20.0
HOUR_S = 3600.0


class FollowedSurvey(Survey):
    """Takes each stream's word for granted."""

    async def _probe(self, stream: StreamSource) -> StreamFacts:
        return StreamFacts(codec="H264")


@dataclass
class Estate:
    """Devices that answer when they may, and what was asked of them and told of them."""

    store: CameraStore
    folder: Path
    asked: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()
        tracer = Mock(spec=Tracer)
        tracer.eventual.side_effect = self._note
        self.survey = FollowedSurvey(
            store=self.store,
            descriptions=Mock(spec=Descriptions),
            tracer=tracer,
            open_device=self._open,  # type: ignore[arg-type]  # as much of a device as is asked
            moved=self.moved.append,
        )

    def section(self, camera_id: str, *, password: str = "right", **values: Any) -> CameraSection:
        file = self.folder / f"{camera_id}.password"
        file.write_text(password)
        described: dict[str, Any] = {
            "id": camera_id,
            "name": camera_id,
            "site": "Essai",
            "commune": "Versailles",
            "latitude": 48.8,
            "longitude": 2.1,
            "onvif_url": f"http://{camera_id}/onvif",
            "username": "u",
            "password_file": file,
        }
        return CameraSection(**(described | values))

    async def take(self, cameras: Sequence[CameraSection]) -> None:
        self.survey.look_after(cameras)
        await self.survey.take(cameras)

    @property
    def names(self) -> list[str]:
        return [camera.name for camera in self.store.list()]

    @asynccontextmanager
    async def _open(self, url: str, credentials: Credentials | None) -> AsyncIterator[Port]:
        self.asked.append(url.split("/")[2])
        await self.may_answer.wait()
        yield Port(offered=(profile("open", 1920, 1080), profile("masked", 640, 360)))

    def _note(self, draft: Draft) -> None:
        self.told.append((draft.camera or "", draft.detail["change"]))


async def somebody_is_there(url: str) -> None:
    """No host of these exists: each is taken to accept a connection."""


@pytest.fixture
async def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Estate]:
    monkeypatch.setattr("halfgateway.survey.knock", somebody_is_there)
    database = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    await database.migrate()
    sealing = Sealing(os.urandom(MASTER_KEY_BYTES), random_bytes=os.urandom)
    yield Estate(CameraStore(database.sessions, sealing, clock=SystemClock()), tmp_path)
    await database.close()


async def until_told(estate: Estate, count: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(estate.told) < count:
            await asyncio.sleep(0.01)


async def test_what_has_changed_is_asked_at_once_and_the_rest_in_its_time(estate: Estate) -> None:
    a, b, c = (estate.section(name) for name in "abc")
    estate.survey.look_after([a, b])
    running = asyncio.create_task(estate.survey.run(look_s=HOUR_S))
    await until_told(estate, 2)
    assert estate.asked == ["a", "b"]
    estate.survey.look_after([a, estate.section("b", name="Place"), c], due={"b", "c"})
    await until_told(estate, 4)
    running.cancel()
    assert estate.asked[2:] == ["b", "c"]
    assert estate.names == ["a", "Place", "c"]
    assert estate.told == [("a", "added"), ("b", "added"), ("b", "changed"), ("c", "added")]


@pytest.mark.parametrize("change", ["removed", "masked", "renamed"])
async def test_what_was_found_for_a_former_configuration_is_dropped(estate: Estate, change: str) -> None:
    # L07, C16
    before = estate.section("a")
    await estate.take([before])
    estate.may_answer.clear()
    asking = asyncio.create_task(estate.survey.take([before]))
    async with asyncio.timeout(LIMIT_S):
        while len(estate.asked) < 2:
            await asyncio.sleep(0)
    after = {"removed": [], "masked": [estate.section("a", masked_profile="masked")]}
    estate.survey.look_after(after.get(change, [estate.section("a", name="Place")]))
    if change != "renamed":
        estate.survey.withdraw(["a"])
    estate.may_answer.set()
    await asking
    assert estate.names == (["a"] if change == "renamed" else [])


async def test_a_camera_that_is_withdrawn_while_it_is_being_kept_is_not_served(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert, a = estate.store.upsert, estate.section("a")

    async def withdrawn_meanwhile(record: Any) -> None:
        estate.survey.look_after([])
        estate.survey.withdraw(["a"])
        await upsert(record)

    monkeypatch.setattr(estate.store, "upsert", withdrawn_meanwhile)
    await estate.take([a])
    assert estate.names == []


async def test_who_pulls_is_told_of_another_way_and_of_nothing_else(estate: Estate) -> None:
    # quirk 7: a password that was refused is not tried again for a clock that has drifted
    await estate.take([estate.section("a")])
    await estate.take([estate.section("a", name="Place")])
    assert estate.moved == []
    await estate.take([estate.section("a", password="another")])
    assert estate.moved == ["a"]


async def test_a_password_that_cannot_be_read_leaves_out_its_camera_alone(
    estate: Estate, caplog: pytest.LogCaptureFixture
) -> None:
    cameras = [estate.section("a"), estate.section("b")]
    (estate.folder / "a.password").write_bytes(b"\xff")
    await estate.take(cameras)
    assert (estate.asked, estate.names) == (["b"], ["b"])
    assert "survey.no_password id=a error=UnicodeDecodeError" in caplog.text
