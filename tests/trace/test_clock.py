"""Time in the trace: UTC, never back without saying so, and every step an entry (T08)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.trace import Entry, Journal, Kind, Status, TraceUnavailable, verify_folder
from auth.trace.stamp import Stamper
from camera_registry.clock import rfc3339
from tests.trace.journals import NODE, FaultyStorage, draft, open_journal

START = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
SECOND_US = 1_000_000


class SteppingClock:
    """Two clocks that a test moves apart."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic_s = 50.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.monotonic_s

    def pass_(self, seconds: float, *, step: float = 0.0) -> None:
        self.monotonic_s += seconds
        self.wall += timedelta(seconds=seconds + step)


@pytest.fixture
def stepping() -> SteppingClock:
    return SteppingClock()


async def told(journal: Journal) -> list[tuple[Kind, datetime]]:
    page = await journal.reader().entries()
    return [(entry.kind, entry.at) for entry in reversed(page.items)]


@pytest.mark.parametrize("step", [-3600.0, -0.6, 0.6, 7200.0])
async def test_a_step_is_an_entry_before_the_entries_it_concerns(
    tmp_path: Path, stepping: SteppingClock, step: float
) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
        stepping.pass_(10, step=step)
        entries = await asyncio.gather(*(journal.record(draft()) for _ in range(3)))
        assert [entry.n for entry in entries] == [2, 3, 4]
        noted = await journal.reader().entry(1)
        assert (noted.kind, noted.at) == (Kind.CLOCK_STEPPED, stepping.wall)
        old, new = (rfc3339(stepping.wall - timedelta(seconds=by)) for by in (step, 0))
        told = {"after": "2026-11-21T10:15:00.000000Z", "old": old, "new": new, "step_us": round(step * SECOND_US)}
        assert noted.detail == told
        stepping.pass_(10)
        assert (await journal.record(draft())).n == 5
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED


@pytest.mark.parametrize(("elapsed", "step"), [(1, 0.4), (1, -0.4), (3600, 3.6), (3600, -3.6)])
async def test_slewing_is_not_a_step(tmp_path: Path, stepping: SteppingClock, elapsed: float, step: float) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
        stepping.pass_(elapsed, step=step)
        await journal.record(draft())
        assert [kind for kind, _ in await told(journal)] == [Kind.STREAM_REQUESTED] * 2


async def test_time_stands_still_rather_than_going_back_a_little(tmp_path: Path, stepping: SteppingClock) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        first = await journal.record(draft())
        stepping.pass_(0.1, step=-0.3)
        second = await journal.record(draft())
        assert second.at == first.at > stepping.wall


async def test_many_small_steps_back_become_one_that_is_told(tmp_path: Path, stepping: SteppingClock) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
        for _ in range(3):
            stepping.pass_(0, step=-0.3)
            await journal.record(draft())
        assert Kind.CLOCK_STEPPED in [kind for kind, _ in await told(journal)]
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED


async def test_a_step_back_over_a_restart_is_told_by_the_new_run(tmp_path: Path, stepping: SteppingClock) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
    stepping.monotonic_s = 3.0
    stepping.wall -= timedelta(hours=1)
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
        assert [kind for kind, _ in await told(journal)] == [
            Kind.STREAM_REQUESTED,
            Kind.CLOCK_STEPPED,
            Kind.STREAM_REQUESTED,
        ]
        assert (await journal.reader().entry(1)).detail["step_us"] == -3600 * SECOND_US
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED


async def test_a_wait_over_a_restart_is_no_step(tmp_path: Path, stepping: SteppingClock) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
    stepping.monotonic_s = 3.0
    stepping.wall += timedelta(days=3)
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        await journal.record(draft())
        assert [kind for kind, _ in await told(journal)] == [Kind.STREAM_REQUESTED] * 2


async def test_any_time_zone_is_recorded_as_utc(tmp_path: Path, stepping: SteppingClock) -> None:
    # T08
    stepping.wall = START.astimezone(timezone(timedelta(hours=2)))
    async with await open_journal(tmp_path / "trace", clock=stepping) as journal:
        entry = await journal.record(draft())
        assert entry.at == START
        assert entry.to_json()["at"] == "2026-11-21T10:15:00.000000Z"


async def test_a_step_that_cannot_be_recorded_refuses_what_it_concerns(tmp_path: Path, stepping: SteppingClock) -> None:
    # T01, T08
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", clock=stepping, storage=storage) as journal:
        await journal.record(draft())
        stepping.pass_(1, step=60)
        storage.break_("write", ".payloads")
        refused = await asyncio.gather(*(journal.record(draft()) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in refused] == [TraceUnavailable] * 3
        storage.mend()
        assert (await journal.record(draft())).n == 2
        assert [kind for kind, _ in await told(journal)].count(Kind.CLOCK_STEPPED) == 1


@given(st.lists(st.tuples(st.floats(0, 1e5), st.one_of(st.just(0.0), st.floats(-1e5, 1e5))), max_size=20))
def test_time_never_goes_back_without_an_entry_that_says_so(moves: list[tuple[float, float]]) -> None:
    # T08
    clock = SteppingClock()
    stamper = Stamper(NODE, clock, bytes, None)
    stamped: list[Entry] = []
    for elapsed, step in [(0.0, 0.0), *moves]:
        clock.pass_(elapsed, step=step)
        reading = stamper.read()
        drafts = [stepped] if (stepped := stamper.step(reading)) else []
        for each in [*drafts, draft()]:
            [(entry, record)] = stamper.stamp([(each, each.body())], len(stamped), reading)
            stamper.keep(reading, record.at_us)
            stamped.append(entry)
    for before, after in pairwise(stamped):
        assert after.at >= before.at or after.kind is Kind.CLOCK_STEPPED
