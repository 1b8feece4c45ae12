"""What watches over recordings: the alarm of holds to be extracted, and the retention probe (C04, L02, L26)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from auth.register import Actor
from auth.trace import Draft, Kind
from camera_registry.cameras import Camera
from camera_registry.connections import CameraRecord, Connection
from camera_registry.hold_store import HoldStore
from camera_registry.holds import Hold
from camera_registry.retention import Breach
from camera_registry.retention_store import RetentionStore
from camera_registry.store import CameraStore
from halfgateway.control.hold_watch import HoldWatch
from halfgateway.control.retention_probe import RetentionProbe
from halfgateway.database import Database
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.replay.footage import Footage, Interval
from tests.held_clock import HeldClock
from tests.registry.test_holds import NoSecrets

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OFFICER = Actor(account="officer", source="198.51.100.7", agent=None)


@dataclass
class Shelf:
    """What one recorder says of one camera; ``fault`` is raised instead."""

    intervals: Sequence[Interval] = ()
    fault: Exception | None = None
    asked: int = 0
    reverses = False

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return self.intervals

    async def describe(self, at: datetime) -> Any:
        raise NoRecording

    async def open(self, at: datetime) -> Any:
        raise NoRecording


@dataclass
class House:
    """Cameras on record for a month, recorders, and the trace that is told."""

    database: Database
    clock: HeldClock
    shelves: dict[str, Shelf] = field(default_factory=dict)
    told: list[Draft] = field(default_factory=list)
    cameras: list[Camera] = field(default_factory=list)

    async def open(self, *names: str) -> None:
        store = CameraStore(self.database.sessions, NoSecrets(), clock=self.clock)
        for name in names:
            camera = Camera(id=name, name=name, site="Mairie", commune="Trappes", latitude=48.8, longitude=2.0)
            await store.upsert(CameraRecord(camera, Connection(onvif_url="http://192.0.2.1/onvif/device_service")))
        self.cameras = list(store.list())
        self.clock.advance(30 * DAY)

    def of(self, camera: str) -> Footage | None:
        return self.shelves.get(camera)

    async def record(self, draft: Draft) -> None:
        self.told.append(draft)

    def has(self, camera: str, begins: timedelta) -> None:
        """It is recorded since then, and for days to come."""
        self.shelves[camera] = Shelf([Interval(self.clock.now() - begins, self.clock.now() + 5 * DAY)])

    def probe(self) -> RetentionProbe:
        return RetentionProbe(
            recorders=self,
            recorded=lambda: self.cameras,
            store=RetentionStore(self.database.sessions, self.clock),
            record=self.record,
            clock=self.clock,
        )

    def kinds(self) -> list[Kind]:
        return [draft.kind for draft in self.told]


@pytest_asyncio.fixture
async def house(database: Database, clock: HeldClock) -> House:
    house = House(database, clock)
    await house.open("cam-1", "cam-2", "cam-3", "cam-4")
    return house


@pytest_asyncio.fixture
async def probe(house: House) -> AsyncIterator[RetentionProbe]:
    """A probe that runs."""
    probe = house.probe()
    running = asyncio.create_task(probe.run())
    yield probe
    running.cancel()
    await asyncio.wait({running})


async def test_whoever_asks_has_the_recorders_asked_and_each_breach_is_told_once(
    house: House, probe: RetentionProbe
) -> None:
    # C04, L02
    house.has("cam-1", 20 * DAY)
    house.has("cam-2", 3 * DAY)
    house.has("cam-3", 40 * DAY)
    await probe.ask(OFFICER)
    told = {draft.camera: (draft.detail["breach"], draft.detail["state"]) for draft in house.told[:-1]}
    assert told == {"cam-2": ("early-purge", "begun"), "cam-3": ("late-purge", "begun")}
    probed = house.told[-1]
    assert (probed.kind, probed.account, probed.source) == (Kind.RETENTION_PROBED, "officer", "198.51.100.7")
    assert probed.detail == {"cameras": 3, "unreached": 0, "breaches": {"early-purge": 1, "late-purge": 1}}
    assert probe.tally.breaches == {Breach.EARLY_PURGE: 1, Breach.LATE_PURGE: 1}
    house.told.clear()
    house.has("cam-3", 25 * DAY)
    await probe.ask(OFFICER)
    assert [(draft.camera, draft.detail.get("state")) for draft in house.told] == [("cam-3", "mended"), (None, None)]


async def test_a_recorder_that_does_not_answer_is_not_judged_and_keeps_no_other_from_being(
    house: House, probe: RetentionProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfgateway.control.retention_probe.ANSWER_LIMIT_S", 0.05)
    stuck = Shelf()
    monkeypatch.setattr(stuck, "find", lambda *_: asyncio.Event().wait())
    house.shelves |= {"cam-1": Shelf(fault=RecorderUnreachable()), "cam-2": stuck, "cam-3": Shelf(fault=NoRecording())}
    house.has("cam-4", 20 * DAY)
    await probe.ask(OFFICER)
    assert house.told[-1].detail == {"cameras": 4, "unreached": 2, "breaches": {"no-footage": 1}}
    assert probe.tally.unreached == 2


async def test_the_calendars_round_is_made_once_a_day_over_all_nodes_after_five_in_paris(house: House) -> None:
    house.has("cam-1", 20 * DAY)
    one, other = house.probe(), house.probe()
    house.clock.advance(timedelta(hours=17, minutes=44))  # 4:59 in Paris
    assert not await one.probe_if_due()
    house.clock.advance(timedelta(minutes=1))
    assert sorted(await asyncio.gather(one.probe_if_due(), other.probe_if_due())) == [False, True]
    assert (house.kinds(), house.told[0].account, house.told[0].detail["by"]) == (
        [Kind.RETENTION_PROBED],
        None,
        "calendar",
    )
    house.clock.advance(12 * HOUR)
    assert not await other.probe_if_due()
    house.clock.advance(12 * HOUR)
    assert await other.probe_if_due()
    assert house.shelves["cam-1"].asked == 2


async def test_without_a_recorder_nothing_is_probed_by_itself(house: House) -> None:
    assert not await house.probe().probe_if_due()
    assert house.told == []


async def test_a_hold_that_no_recorder_obeys_is_told_of_each_day_until_it_is_extracted(house: House) -> None:
    # L26
    holds, ours = HoldStore(house.database.sessions, house.clock), {"cam-2"}
    watch = HoldWatch(holds=holds, obeys=ours.__contains__, record=house.record, clock=house.clock)

    async def placed(camera: str) -> Hold:
        now = house.clock.now()
        return await holds.place(
            camera=camera,
            start=now - 2 * HOUR,
            end=now - HOUR,
            reference="TJ78-1",
            until=None,
            by="officer",
            traced=nothing,
        )

    waiting, obeyed = await placed("cam-1"), await placed("cam-2")
    await watch.look()
    await watch.look()
    assert [(draft.kind, draft.camera, draft.detail["hold"]) for draft in house.told] == [
        (Kind.HOLD_ALARMED, "cam-1", waiting.number)
    ]
    assert (watch.waiting, watch.alarmed([obeyed])) == (1, [])
    house.clock.advance(DAY)
    await watch.look()
    assert house.kinds() == [Kind.HOLD_ALARMED] * 2
    await holds.extracted(waiting.number, medium="scellé 12", sha256="0" * 64, by="officer", traced=nothing)
    house.clock.advance(DAY)
    await watch.look()
    assert (watch.waiting, len(house.told)) == (0, 2)


async def nothing(_hold: Hold) -> None:
    """The trace has taken the entry."""
