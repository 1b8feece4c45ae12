"""Silence proves absence: heartbeats, what they tell of the clock, and the last instant that they prove (T07, T08)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.trace import Entry, Journal, Kind, TraceUnavailable
from halfgateway.control.clock_reference import ClockReading, interpreted, read_kernel_clock
from halfgateway.control.heartbeat import Heartbeat, last_proven_good, offset_from_store
from halfgateway.control.store import StateStore
from halfgateway.errors import InterconnectionCut, StateStoreUnavailable
from halfgateway.net.valkey import connect
from tests.control.valkeys import until
from tests.held_clock import HeldClock
from tests.trace.journals import LEAVES, FaultyStorage, draft, open_journal

TRUE = ClockReading(synchronised=True, offset_us=-12, estimated_error_us=40, max_error_us=900)
LOST = ClockReading(synchronised=False, offset_us=None, estimated_error_us=None, max_error_us=None)


class House:
    """A node that serves, or not, with a clock that is true, or not."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.cut = False
        self.kernel: ClockReading | None = TRUE
        self.store: dict[str, Any] | None = None
        self.heartbeat = Heartbeat(
            record=journal.record,
            node=self,
            period_s=lambda: 0.001,
            kernel_clock=lambda: self.kernel,
            store_clock=self.store_clock,
        )

    def streams(self) -> int:
        return 3

    def checkpoint(self) -> int:
        return self.journal.checkpoint.size if self.journal.checkpoint else 0

    def require_serving(self) -> None:
        if self.cut:
            raise InterconnectionCut

    async def store_clock(self) -> dict[str, Any]:
        if self.store is None:
            raise StateStoreUnavailable
        return self.store

    async def told(self) -> list[Entry]:
        return (await self.journal.reader().following(0))[0]


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage()


@pytest.fixture
async def house(tmp_path: Path, clock: HeldClock, storage: FaultyStorage) -> AsyncIterator[House]:
    async with await open_journal(tmp_path / "trace", clock=clock, storage=storage) as journal:
        yield House(journal)


async def test_a_heartbeat_says_what_is_known_at_its_instant(house: House) -> None:
    # T07, T08
    await house.journal.record(draft())
    await house.journal.write_checkpoint()
    beaten = await house.heartbeat.beat()
    assert beaten.kind is Kind.HEARTBEAT
    assert beaten.detail == {
        "serving": True,
        "streams": 3,
        "checkpoint": 1,
        "period_s": 0.001,
        "clock": {"synchronised": True, "offset_us": -12, "estimated_error_us": 40, "max_error_us": 900},
    }


async def test_a_clock_that_loses_its_reference_is_an_entry_once(house: House) -> None:
    # T08: and meanwhile the store's clock is what there is
    await house.heartbeat.beat()
    for house.kernel, house.store in ((LOST, {"store_offset_us": 7}), (None, None), (TRUE, None), (TRUE, None)):
        await house.heartbeat.beat()
    kinds = [(entry.kind, entry.detail.get("clock", entry.detail)) for entry in await house.told()]
    lost = {"synchronised": False, "store_offset_us": 7}
    assert [clock for kind, clock in kinds if kind is Kind.CLOCK_REFERENCE] == [lost, TRUE.to_detail()]
    beats = [clock for kind, clock in kinds if kind is Kind.HEARTBEAT]
    assert beats == [TRUE.to_detail(), lost, {"synchronised": False}, TRUE.to_detail(), TRUE.to_detail()]


async def test_a_step_of_the_clock_is_seen_by_the_next_heartbeat(house: House, clock: HeldClock) -> None:
    # T08: from what to what, and by how much
    await house.heartbeat.beat()
    old = clock.now()
    clock._now += timedelta(seconds=-90)
    after = await house.heartbeat.beat()
    stepped = (await house.told())[-2]
    assert (stepped.kind, after.at) == (Kind.CLOCK_STEPPED, clock.now())
    assert stepped.detail == {
        "after": "2026-11-21T10:15:00.000000Z",
        "old": "2026-11-21T10:15:00.000000Z",
        "new": "2026-11-21T10:13:30.000000Z",
        "step_us": -90_000_000,
    }
    assert old - clock.now() == timedelta(seconds=90)


async def test_the_last_proven_instant_is_that_of_the_last_sign_of_service(house: House, clock: HeldClock) -> None:
    # N02: not of a heartbeat that says that nothing could be granted, nor of what is no sign of service
    reader = house.journal.reader()
    assert await last_proven_good(reader) is None
    good = await house.heartbeat.beat()
    clock.advance(timedelta(minutes=1))
    house.cut = True
    await house.heartbeat.beat()
    await house.journal.record(draft())
    assert await last_proven_good(reader) == good.at
    clock.advance(timedelta(minutes=1))
    granted = await house.journal.record(draft(kind=Kind.STREAM_GRANTED))
    assert await last_proven_good(reader) == granted.at


async def test_a_heartbeat_that_cannot_be_written_is_not_written_later(house: House, storage: FaultyStorage) -> None:
    # T01, T07
    storage.break_("sync", LEAVES, errno.EIO)
    with pytest.raises(TraceUnavailable):
        await house.heartbeat.beat()
    task = asyncio.create_task(house.heartbeat.run())
    storage.mend()

    await until(lambda: house.journal.size >= 3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert {entry.kind for entry in await house.told()} == {Kind.HEARTBEAT}


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ((0, 0x2001, -12_400, 40, 900), TRUE),
        ((0, 0x0001, -12, 40, 900), TRUE),
        ((5, 0x2001, -12_400, 40, 900), LOST),
        ((0, 0x0040, 0, 16_000_000, 16_000_000), LOST),
    ],
)
def test_the_kernels_answer_is_understood(answer: tuple[int, int, int, int, int], read: ClockReading) -> None:
    # adjtimex(2): STA_NANO, TIME_ERROR, STA_UNSYNC
    assert interpreted(*answer) == read


def test_this_machines_kernel_answers_or_says_that_it_does_not() -> None:
    reading = read_kernel_clock()
    assert reading is None or reading.synchronised == (reading.max_error_us is not None)


async def test_the_stores_clock_is_compared(clock: HeldClock) -> None:
    class Client:
        async def time(self) -> tuple[int, int]:
            clock.advance(timedelta(milliseconds=10))
            return int(clock.now().timestamp()) + 2, 0

    store = StateStore(connect("redis://127.0.0.1:1"), "syn-pp")
    store.client = Client()  # type: ignore[assignment]
    told = await offset_from_store(store, clock)
    assert told == {"store_offset_us": 2_000_000 - 10_000 + 5_000, "store_error_us": 5_000}
