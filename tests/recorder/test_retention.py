"""How long footage is kept, and when it goes (C03, C04, L02, L26); the register of it (L04). The clock is held."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.policy.convention import Convention
from auth.trace import Draft, Kind, TraceUnavailable
from camera_registry.errors import StoreUnavailable
from camera_registry.paris import days_before
from halfgateway.recorder.film import GapCause, MissingFootage
from halfgateway.recorder.keeper import ENOUGH, Keeper, Limits
from halfgateway.recorder.law import Law
from halfgateway.recorder.retention import AHEAD, Cause, Hold, Retention, Rule, Segment
from halfgateway.recorder.shelf import Room, Shelf
from halfgateway.segments.writing import Gap
from ops.notices.shouting import Alarm, Alarms
from tests.held_clock import HeldClock
from tests.recorder.filmed import LAYOUT

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
FILE_BYTES = 100
NOWHERE = Path("-")
SMALL_DISK = Limits(10 * FILE_BYTES, 0.0)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone


class Voice:
    """Remembers what it was told, and when in the order of all that happens."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    async def call(self, alarm: Alarm, now: datetime) -> None:
        self._told.append(f"alarm {alarm.kind}")


class House:
    """A recorder's disk, records and register, with one segment an hour for each camera.

    ``placed_at`` are holds that are placed when the register has come to so many entries.
    """

    def __init__(
        self,
        folder: Path,
        clock: HeldClock,
        *,
        keep_days: int = 10,
        limits: Limits = SMALL_DISK,
        has_disk: bool = False,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self._limits = limits
        self._has_disk = has_disk
        self._file_bytes = file_bytes
        self.clock = clock
        self.folder = folder / "footage"
        self.folder.mkdir()
        self.rules: Mapping[str, Rule] = {}
        self.holds: Sequence[Hold] = ()
        self.placed_at: dict[int, Sequence[Hold]] = {}
        self.reachable = True
        self.writable = True
        self.capacity_files = 1_000_000
        self.register: list[Draft] = []
        self.told: list[str] = []
        self.pauses: list[bool] = []
        self.shelf = Shelf(self.folder, LAYOUT)
        self.law_file = folder / "law.json"
        self.law = Law(self.law_file, self._read_rules, self._read_holds)
        self.keeper = self._keeper(keep_days)

    def _keeper(self, keep_days: int) -> Keeper:
        return Keeper(
            self.shelf,
            self.law,
            Retention(keep_days, segment_s=60),
            self._limits,
            record=self._record,
            alarms=Alarms(lambda: [Voice(self.told)]),
            pause=self.pauses.append,
            clock=self.clock,
            room=None if self._has_disk else self._room,
        )

    def restarted(self) -> None:
        self.law = Law(self.law_file, self._read_rules, self._read_holds)
        self.law.restore()
        self.keeper = self._keeper(10)

    def film(self, camera: str, start: datetime, lasts: timedelta = HOUR) -> Path:
        path = self.folder / camera / LAYOUT.path_of(start)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(self._file_bytes))
        end = (start + lasts).timestamp()
        os.utime(path, (end, end))
        return path

    def film_days(self, camera: str, days: int) -> None:
        """What was recorded until now."""
        for hours in range(24 * days, 0, -1):
            self.film(camera, self.clock.now() - timedelta(hours=hours))

    def starts(self, camera: str) -> list[datetime]:
        return [segment.start for segment in self.shelf.segments(camera)]

    def oldest(self, camera: str) -> datetime:
        return self.starts(camera)[0]

    def of_kind(self, kind: Kind) -> list[Draft]:
        return [entry for entry in self.register if entry.kind is kind]

    def files(self) -> int:
        return sum(1 for _ in self.folder.rglob("*.mp4"))

    async def _read_rules(self) -> Mapping[str, Rule]:
        if not self.reachable:
            raise StoreUnavailable("away")
        return self.rules

    async def _read_holds(self) -> Sequence[Hold]:
        if not self.reachable:
            raise StoreUnavailable("away")
        return self.holds

    async def _record(self, draft: Draft) -> None:
        if not self.writable:
            raise TraceUnavailable("away")
        assert draft.body()
        self.register.append(draft)
        self.told.append(f"entry {draft.kind}")
        self.holds = self.placed_at.pop(len(self.register), self.holds)

    def _room(self) -> Room:
        return Room((self.capacity_files - self.files()) * FILE_BYTES, self.capacity_files * FILE_BYTES)


@pytest.fixture
def house(tmp_path: Path, clock: HeldClock) -> House:
    return House(tmp_path, clock)


@given(INSTANTS, st.floats(0, 40), st.integers(10, 31), st.integers(0, 31), st.integers(0, 31), st.floats(0, 400))
def test_whatever_pp_may_ask_for_is_there_and_nothing_outlives_its_order(
    start: datetime, age_days: float, keep_days: int, one: int, other: int, later_days: float
) -> None:
    # C04: kept for ten days as C03 counts them, also when summer time begins and ends; L02: the order's maximum
    rule = Rule(*sorted((one, other)))
    retention = Retention(keep_days, 60)
    segment = Segment(start, start + timedelta(seconds=60), "cam", NOWHERE, 1)
    now = start + DAY * age_days
    cause = retention.due(segment, rule, now)
    if cause is Cause.RETENTION and segment.start >= retention.destroys_before(rule, now):
        for at in (now, now + DAY * later_days, now + timedelta(hours=1)):
            assert segment.end < days_before(at, 10)
            assert segment.end < days_before(at, min(rule.min_days, rule.max_days))
    if cause is Cause.ORDER_MAXIMUM:
        assert now + AHEAD >= start + DAY * rule.max_days - timedelta(hours=1)
    if cause is None:
        assert now - start < DAY * rule.max_days
        assert segment.start >= days_before(now, rule.max_days)
    if retention.is_spare(segment, rule, now):
        assert segment.end < days_before(now, rule.min_days)


@pytest.mark.parametrize(
    ("first", "last", "step"),
    [
        (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 6, tzinfo=UTC), timedelta(minutes=15)),
        (datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 29, 6, tzinfo=UTC), timedelta(minutes=15)),
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC), timedelta(hours=13)),
    ],
    ids=["an hour that comes twice", "an hour that is skipped", "months"],
)
async def test_at_any_time_ten_days_are_there_and_little_more(
    tmp_path: Path, first: datetime, last: datetime, step: timedelta
) -> None:
    # C03, C04: 25 October and 29 March
    clock = HeldClock()
    clock.advance(first - clock.now())
    house = House(tmp_path, clock)
    convention = Convention(id="syn-pp", in_force_from=datetime(2025, 1, 1, tzinfo=UTC))
    filmed = first - 11 * DAY
    while clock.now() < last:
        while filmed < clock.now() - step:
            house.film("cam", filmed, lasts=step)
            filmed += step
        await house.keeper.go_round()
        reachable = convention.accessible_from(clock.now())
        oldest = next(house.shelf.segments("cam")).start
        assert oldest <= reachable
        assert reachable - oldest <= timedelta(hours=2.5) + 2 * step
        clock.advance(step)
    destroyed = house.of_kind(Kind.RECORDING_DESTROYED)
    assert sum(entry.detail["segments"] for entry in destroyed) * step > 0.9 * (last - first)
    assert {entry.detail["cause"] for entry in destroyed} == {"retention"}


async def test_the_register_tells_what_was_destroyed(house: House) -> None:
    # L04
    now = house.clock.now()
    house.film_days("cam", 12)
    missing = house.folder / "cam" / LAYOUT.path_of(now - 11 * DAY)
    missing.unlink()
    oldest = house.oldest("cam")
    await house.keeper.go_round()
    entries = house.of_kind(Kind.RECORDING_DESTROYED)
    assert [entry.camera for entry in entries] == ["cam", "cam"]
    assert entries[0].detail["start"] == oldest.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert entries[0].detail["end"] == (now - 11 * DAY).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert sum(entry.detail["segments"] for entry in entries) == 12 * 24 - 1 - house.files()
    assert sum(entry.detail["bytes"] for entry in entries) == FILE_BYTES * (12 * 24 - 1 - house.files())


async def test_what_cannot_be_written_into_the_register_is_not_destroyed(house: House) -> None:
    house.film_days("cam", 12)
    house.writable = False
    await house.keeper.go_round()
    assert house.files() == 12 * 24
    assert "alarm not-destroyed" in house.told
    house.writable = True
    await house.keeper.go_round()
    assert house.files() < 12 * 24


async def test_an_order_stands_above_what_is_configured(tmp_path: Path, clock: HeldClock) -> None:
    # L02, C04: kept longer where the order says so, destroyed by its maximum where that is sooner
    house = House(tmp_path, clock, keep_days=15)
    house.rules = {"long": Rule(20, 30), "short": Rule(0, 7), "month": Rule(0, 31)}
    for camera in ("long", "short", "month", "unknown"):
        house.film_days(camera, 33)
    await house.keeper.go_round()
    kept = {camera: (clock.now() - house.oldest(camera)) / DAY for camera in house.shelf.cameras()}
    assert 20 < kept["long"] < 20.2
    assert 6.9 < kept["short"] <= 7
    assert 15 < kept["month"] < 15.2
    assert 15 < kept["unknown"] < 15.2
    (short,) = {entry.detail["cause"] for entry in house.register if entry.camera == "short"} - {"retention"}
    assert short == "order-maximum"


async def test_what_is_held_stays_and_goes_once_the_hold_has_ended(house: House) -> None:
    # L26
    now = house.clock.now()
    house.rules = {"cam": Rule(0, 12)}
    house.film_days("cam", 14)
    hold = Hold("cam", now - 13 * DAY, now - 13 * DAY + timedelta(hours=5))
    house.holds = (hold, Hold("other", now - 20 * DAY, now))
    await house.keeper.go_round()
    held = [start for start in house.starts("cam") if start < now - 12 * DAY]
    assert held
    assert min(held) <= hold.start
    assert max(held) <= hold.end <= max(held) + 2 * HOUR
    house.holds = ()
    await house.keeper.go_round()
    assert house.oldest("cam") > now - 11 * DAY
    assert house.register[-1].detail["cause"] == "hold-ended"
    assert house.register[-1].detail["segments"] == len(held)


async def test_a_hold_that_is_placed_during_a_round_counts_in_it(house: House) -> None:
    # L26: of another camera, and of the same one
    now = house.clock.now()
    for camera in ("a", "b"):
        house.film_days(camera, 13)
        (house.folder / camera / LAYOUT.path_of(now - 12 * DAY)).unlink()
    of_a = Hold("a", now - 11 * DAY - 6 * HOUR, now - 11 * DAY - 4 * HOUR)
    of_b = Hold("b", now - 13 * DAY, now - 12 * DAY)
    house.placed_at = {1: (of_a, of_b)}
    await house.keeper.go_round()
    assert [start for start in house.starts("a") if start < now - 11 * DAY] == [
        of_a.start + hours * HOUR for hours in range(-1, 3)
    ]
    assert len([start for start in house.starts("b") if start < now - 11 * DAY]) == 24
    told = [(entry.camera, entry.detail["segments"]) for entry in house.of_kind(Kind.RECORDING_DESTROYED)]
    assert [camera for camera, _ in told] == ["a", "a", "a", "b"]
    assert sum(segments for _, segments in told) == 2 * (13 * 24 - 1) - house.files()


async def test_a_hold_that_is_placed_as_the_disk_fills_keeps_what_would_go_early(house: House) -> None:
    # L26, C04
    house.rules = {"cam": Rule(2, 31)}
    house.film_days("cam", 9)
    house.capacity_files = house.files() + 5
    house.placed_at = {1: (Hold("cam", house.clock.now() - 9 * DAY, house.clock.now()),)}
    await house.keeper.go_round()
    assert (house.of_kind(Kind.RECORDING_PURGED_EARLY), house.files()) == ([], 9 * 24)
    assert house.told[-1] == "alarm not-recording"


async def test_without_the_records_what_was_last_known_holds_also_after_a_restart(house: House) -> None:
    now = house.clock.now()
    house.rules = {"cam": Rule(0, 12), "short": Rule(0, 3)}
    house.holds = (Hold("cam", now, now + timedelta(hours=1)),)
    house.film_days("cam", 3)
    await house.keeper.go_round()
    house.reachable, house.rules, house.holds = False, {}, ()
    house.restarted()
    for _ in range(14):
        house.clock.advance(DAY)
        house.film_days("short", 1)
        await house.keeper.go_round()
    assert not house.law.is_current
    assert [start for start in house.starts("cam") if start < now - timedelta(hours=1)] == []
    assert len(house.starts("cam")) in {1, 2}
    assert house.clock.now() - house.oldest("short") <= 3 * DAY


async def test_while_no_hold_was_ever_heard_of_only_the_month_that_the_law_sets_destroys(house: House) -> None:
    house.reachable = False
    house.film_days("cam", 33)
    await house.keeper.go_round()
    assert 30.9 < (house.clock.now() - house.oldest("cam")) / DAY <= 31


async def test_a_full_disk_alarms_before_it_purges_the_oldest_early(tmp_path: Path, clock: HeldClock) -> None:
    # C04: early, oldest first, past the order's minimum
    house = House(tmp_path, clock, keep_days=31)
    house.rules = {"a": Rule(10, 31), "b": Rule(20, 31)}
    house.film_days("a", 25)
    house.film_days("b", 25)
    house.capacity_files = house.files() + 15
    await house.keeper.go_round()
    assert house.told == ["alarm disk-low", "entry recording.disk-low"]
    house.capacity_files -= 8
    files = house.files()
    await house.keeper.go_round()
    purged = house.of_kind(Kind.RECORDING_PURGED_EARLY)
    assert house.files() == files - round(10 * ENOUGH - 7)
    assert {entry.camera for entry in purged} == {"a", "b"}
    assert {entry.detail["cause"] for entry in purged} == {"disk-full"}
    assert not any(entry.detail["within_ten_days"] for entry in purged)
    assert house.told.count("entry recording.disk-low") == 1
    assert house.pauses == []


async def test_below_ten_days_footage_goes_only_after_an_alarm_and_where_its_order_lets_it(house: House) -> None:
    house.rules = {"a": Rule(2, 31), "b": Rule(10, 31)}
    house.film_days("a", 9)
    house.film_days("b", 9)
    house.holds = (Hold("a", house.clock.now() - 9 * DAY, house.clock.now() - 8 * DAY),)
    house.capacity_files = house.files() + 5
    await house.keeper.go_round()
    purged = house.of_kind(Kind.RECORDING_PURGED_EARLY)
    assert [entry.camera for entry in purged] == ["a"]
    assert purged[0].detail["within_ten_days"]
    assert house.told.index("alarm disk-low") < house.told.index("entry recording.purged-early")
    assert house.told.index("entry recording.disk-low") < house.told.index("entry recording.purged-early")
    assert house.oldest("a") < house.clock.now() - 8 * DAY
    assert house.oldest("b") == house.clock.now() - 9 * DAY
    assert house.pauses == []


async def test_where_nothing_may_go_nothing_new_is_written_until_there_is_room(house: House) -> None:
    house.rules = {"cam": Rule(10, 31)}
    house.film_days("cam", 9)
    house.capacity_files = house.files() + 5
    await house.keeper.go_round()
    await house.keeper.go_round()
    assert house.pauses == [True]
    assert house.keeper.is_paused
    assert house.told.count("alarm not-recording") == 1
    assert house.files() == 9 * 24
    house.capacity_files += 100
    await house.keeper.go_round()
    assert house.pauses == [True, False]


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can be mounted by root alone")
async def test_a_disk_that_is_really_full_is_seen(tmp_path: Path, clock: HeldClock) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        house = House(disk, clock, keep_days=31, has_disk=True, limits=Limits(0, 0.2), file_bytes=4096)
        with pytest.raises(OSError, match="No space"):
            house.film_days("cam", 20)
        oldest = house.oldest("cam")
        await house.keeper.go_round()
        room = house.shelf.room()
        assert 0.2 <= room.free_bytes / room.total_bytes < 0.3
        assert house.oldest("cam") > oldest
        assert house.told.index("entry recording.disk-low") < house.told.index("entry recording.purged-early")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_gaps_are_told_until_they_are_written(house: House) -> None:
    now = house.clock.now()
    house.keeper.missing(MissingFootage("cam", Gap(now - timedelta(minutes=5), now), GapCause.CAMERA))
    house.writable = False
    await house.keeper.go_round()
    assert house.register == []
    house.writable = True
    await house.keeper.go_round()
    await house.keeper.go_round()
    (entry,) = house.of_kind(Kind.RECORDING_GAP)
    assert entry.camera == "cam"
    assert entry.detail == {
        "start": "2026-11-21T10:10:00.000000Z",
        "end": "2026-11-21T10:15:00.000000Z",
        "cause": "camera-lost",
    }


def test_the_shelf_passes_over_what_is_no_segment(house: House) -> None:
    now = house.clock.now()
    path = house.film("cam", now)
    (path.parent / "notes.txt").write_text("")
    (house.folder / "cam" / "elsewhere").mkdir()
    (house.folder / "cam" / "elsewhere" / path.name).write_bytes(b"")
    (house.folder / "lost+found").mkdir()
    (house.folder / "cam.toml").write_text("")
    assert house.shelf.cameras() == ["cam"]
    (segment,) = house.shelf.segments("cam")
    assert (segment.start, segment.end) == (now, now + HOUR)
    assert house.shelf.last_end("cam") == segment.end
    assert house.shelf.last_end("none") is None
    house.shelf.destroy([segment])
    assert house.files() == 1
