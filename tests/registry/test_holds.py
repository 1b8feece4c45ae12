"""Judicial holds on record: what may be held, once placed, extracted and ended (L26)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from camera_registry.cameras import Camera
from camera_registry.connections import CameraRecord, Connection
from camera_registry.errors import HoldRefused, UnknownCamera, UnknownHold
from camera_registry.hold_store import HoldStore
from camera_registry.holds import Hold
from camera_registry.order_store import OrderStore
from camera_registry.paris import days_before
from camera_registry.store import CameraStore
from halfgateway.database import Database
from halfgateway.recorder import retention as recorder
from halfgateway.recording import Records
from tests.held_clock import HeldClock
from tests.rights import order

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Unwritable(Exception):
    """The trace cannot be written."""


@dataclass
class Desk:
    """The holds of one database, with two cameras; one is under an order of 20 days, the other under none."""

    database: Database
    clock: HeldClock
    told: list[Hold] = field(default_factory=list)
    broken: bool = False

    async def open(self) -> None:
        cameras = CameraStore(self.database.sessions, NoSecrets(), clock=self.clock)
        for name in ("cam-1", "cam-2"):
            camera = Camera(id=name, name=name, site="Mairie", commune="Trappes", latitude=48.8, longitude=2.0)
            await cameras.upsert(CameraRecord(camera, Connection(onvif_url="http://192.0.2.1/onvif/device_service")))
        limit = order(["cam-1"], retention_max_days=20)
        await OrderStore(self.database.sessions, self.clock).add([limit], by="officer", witness=nothing)

    @property
    def holds(self) -> HoldStore:
        return HoldStore(self.database.sessions, self.clock)

    async def tell(self, hold: Hold) -> None:
        if self.broken:
            raise Unwritable
        self.told.append(hold)

    async def place(self, begins: timedelta, ends: timedelta, camera: str = "cam-1", **more: Any) -> Hold:
        now = self.clock.now()
        usual: dict[str, Any] = {"reference": "TJ78-2026-1", "until": None, "by": "officer"}
        period = {"camera": camera, "start": now - begins, "end": now - ends}
        return await self.holds.place(traced=self.tell, **period, **(usual | more))


class NoSecrets:
    """These cameras have none."""

    def seal(self, secret: bytes, *, owner: str, purpose: str) -> bytes:
        return secret

    def unseal(self, sealed: bytes, *, owner: str, purpose: str) -> bytes:
        return sealed


@pytest.fixture
async def desk(database: Database, clock: HeldClock) -> Desk:
    desk = Desk(database, clock)
    await desk.open()
    return desk


async def test_a_hold_keeps_its_story_and_is_in_force_until_it_is_ended(desk: Desk) -> None:
    # L26
    placed = await desk.place(5 * DAY, 4 * DAY)
    assert await desk.holds.in_force() == [placed]
    desk.clock.advance(HOUR)
    sealed = await desk.holds.extracted(placed.number, medium="scellé 12", sha256="0" * 64, by="rssi", traced=desk.tell)
    assert (sealed.extraction and sealed.extraction.medium, sealed.to_be_extracted(desk.clock.now())) == (
        "scellé 12",
        False,
    )
    assert await desk.holds.in_force() == [sealed]  # our recorder goes on keeping it
    desk.clock.advance(HOUR)
    ended = await desk.holds.release(placed.number, reason="mainlevée", by="rssi", traced=desk.tell)
    assert (ended.released_by, ended.release, ended.in_force(desk.clock.now())) == ("rssi", "mainlevée", False)
    assert await desk.holds.in_force() == []
    assert await desk.holds.list_all() == [ended]
    assert desk.told == [placed, sealed, ended]
    for again in (
        desk.holds.release(placed.number, reason="encore", by="rssi", traced=desk.tell),
        desk.holds.extracting(placed.number, desk.tell),
        desk.holds.extracted(placed.number, medium="b", sha256="1" * 64, by="rssi", traced=desk.tell),
    ):
        with pytest.raises(HoldRefused):
            await again
    assert await desk.holds.list_all() == [ended]  # never edited


async def test_our_recorder_is_told_of_the_holds_in_force(desk: Desk) -> None:
    # L26
    records = Records(desk.database, CameraStore(desk.database.sessions, NoSecrets(), clock=desk.clock), desk.clock)
    placed = await desk.place(2 * HOUR, HOUR)
    assert await records.holds() == [recorder.Hold("cam-1", placed.start, placed.end)]
    await desk.holds.release(placed.number, reason="mainlevée", by="rssi", traced=desk.tell)
    assert await records.holds() == []


async def test_the_orders_maximum_wins_unless_a_hold_is_in_force(desk: Desk) -> None:
    # C04, CSI L252-5
    limit = days_before(desk.clock.now(), 20)
    with pytest.raises(HoldRefused, match="durée maximale"):
        await desk.place(21 * DAY, 19 * DAY)
    edge = desk.clock.now() - limit
    first = await desk.place(edge, 10 * DAY)
    desk.clock.advance(5 * DAY)
    again = await desk.place(edge + 5 * DAY, 12 * DAY)  # what the first one kept
    assert [hold.number for hold in await desk.holds.in_force()] == [first.number, again.number]
    with pytest.raises(HoldRefused, match="durée maximale"):
        await desk.place(edge + 6 * DAY, 12 * DAY)  # a day more than it kept
    with pytest.raises(HoldRefused, match="durée maximale"):
        await desk.place(32 * DAY, 20 * DAY, "cam-2")  # without an order, the law's own month
    assert (await desk.place(30 * DAY, 20 * DAY, "cam-2")).camera == "cam-2"


@pytest.mark.parametrize(
    ("begins", "ends", "until"),
    [
        (HOUR, 2 * HOUR, None),
        (HOUR, HOUR, None),
        (-40 * DAY, -80 * DAY, None),
        (2 * HOUR, HOUR, -HOUR),
        (HOUR, -2 * DAY, DAY),
    ],
)
async def test_what_cannot_be_a_hold_is_refused(
    desk: Desk, begins: timedelta, ends: timedelta, until: timedelta | None
) -> None:
    term = None if until is None else desk.clock.now() + until
    with pytest.raises(HoldRefused):
        await desk.place(begins, ends, until=term)
    assert (await desk.holds.list_all(), desk.told) == ([], [])


async def test_a_hold_ends_at_its_term(desk: Desk) -> None:
    placed = await desk.place(5 * DAY, 4 * DAY, until=desk.clock.now() + 30 * DAY)
    desk.clock.advance(30 * DAY)
    assert await desk.holds.in_force() == []
    with pytest.raises(HoldRefused):
        await desk.holds.release(placed.number, reason="r", by="rssi", traced=desk.tell)


async def test_an_interval_that_is_not_over_is_extracted_once_it_is(desk: Desk) -> None:
    placed = await desk.place(HOUR, -HOUR)
    assert not placed.to_be_extracted(desk.clock.now())
    with pytest.raises(HoldRefused, match="pas achevée"):
        await desk.holds.extracted(placed.number, medium="m", sha256="0" * 64, by="rssi", traced=desk.tell)
    desk.clock.advance(HOUR)
    assert placed.to_be_extracted(desk.clock.now())


async def test_unknown_cameras_and_holds_are_said_to_be_unknown(desk: Desk) -> None:
    with pytest.raises(UnknownCamera):
        await desk.place(2 * HOUR, HOUR, "cam-9")
    for act in (
        desk.holds.release(7, reason="r", by="rssi", traced=desk.tell),
        desk.holds.extracted(7, medium="m", sha256="0" * 64, by="rssi", traced=desk.tell),
        desk.holds.extracting(7, desk.tell),
    ):
        with pytest.raises(UnknownHold):
            await act


async def test_without_its_entry_nothing_is_held_nor_ended(desk: Desk) -> None:
    # T01
    placed = await desk.place(2 * HOUR, HOUR)
    desk.broken = True
    with pytest.raises(Unwritable):
        await desk.place(4 * HOUR, 3 * HOUR)
    with pytest.raises(Unwritable):
        await desk.holds.release(placed.number, reason="r", by="rssi", traced=desk.tell)
    with pytest.raises(Unwritable):
        await desk.holds.remind(placed.number, desk.clock.now().date(), desk.tell)
    desk.broken = False
    assert await desk.holds.list_all() == [placed]
    assert await desk.holds.remind(placed.number, desk.clock.now().date(), desk.tell)
    assert not await desk.holds.remind(placed.number, desk.clock.now().date(), desk.tell)


async def nothing() -> None:
    """The trace has taken the entry."""
