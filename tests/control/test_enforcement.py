"""While streams run: leases are followed, tickets kept, ends noticed, and the trace and the records watched."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auth.errors import RecordsUnavailableError
from auth.trace import Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from halfgateway.control import enforcement
from halfgateway.control.enforcement import Enforcement
from halfgateway.control.freshness import Freshness
from halfgateway.control.slots import Renewal
from halfgateway.control.streams import Timings
from halfgateway.errors import StateStoreUnavailable
from halfgateway.metrics import NodeCollector
from ops.interconnection import InterconnectionState
from tests.control.doors import Place, Player, open_place
from tests.control.valkeys import Nodes, until
from tests.trace.journals import FaultyStorage, open_journal

TIMINGS = Timings(lease_s=10, renew_s=0.01, trace_grace_s=5, play_before_s=600)


@dataclass
class Surroundings:
    """What is watched, as a test wants it to be."""

    seen: list[InterconnectionState | None] = field(default_factory=list)
    trace_fails: bool = False
    records_fail: Exception | None = None
    swept: int = 0
    now_s: float = 0.0

    def observe(self, state: InterconnectionState | None) -> None:
        self.seen.append(state)

    async def probe(self) -> None:
        if self.trace_fails:
            raise JournalUnavailable("the disk is full")

    async def check_records(self) -> None:
        if self.records_fail is not None:
            raise self.records_fail

    def sweep(self) -> None:
        self.swept += 1


class Answers:
    """A slot table that says what a test wants it to."""

    def __init__(self, *, lost: Collection[str] = (), moved: Collection[str] = ()) -> None:
        self.lost, self.moved = frozenset(lost), frozenset(moved)

    async def renew(self, slot_ids: Collection[str], **_: object) -> Renewal:
        kept = {slot_id: time.monotonic() + 100 for slot_id in slot_ids if slot_id not in self.lost | self.moved}
        return Renewal(0.0, kept, self.lost, self.moved, None, 0.0, len(kept), 10)


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path, timings=TIMINGS) as place:
        yield place


@pytest.fixture
def enforced(place: Place, around: Surroundings) -> Enforcement:
    return Enforcement(
        table=place.table,
        slots=place.slots,
        tickets=place.tickets,
        closer=place.closer,
        interconnection=around,  # type: ignore[arg-type]
        journal=around,
        check_records=around.check_records,
        rights=place.rights,
        terms=place.house.terms,
        now=lambda: around.now_s,
        sweepers=(around.sweep,),
    )


async def causes(place: Place) -> dict[str | None, str]:
    """Why each stream ended."""
    await place.settle()
    return {entry.stream: entry.detail["cause"] for entry in await place.told() if entry.kind is Kind.STREAM_STOPPED}


async def test_a_renewal_prolongs_leases_and_tickets_and_shows_the_state(
    place: Place, enforced: Enforcement, around: Surroundings
) -> None:
    # C01
    stream, holder = await place.open()
    stream.gate.until = time.monotonic() + 0.5
    await enforced.renew()
    assert stream.gate.until > time.monotonic() + 2
    assert 15 < await place.ticket_life_s(holder.username) <= 20
    assert around.seen == [None]


async def test_a_ticket_that_the_store_has_forgotten_is_put_back(
    place: Place, enforced: Enforcement, nodes: Nodes
) -> None:
    # C01: failure table, Valkey restarted empty
    _, holder = await place.open()
    await nodes.store().client.flushall()
    await enforced.renew()
    assert await place.tickets.get(holder.username) is not None
    assert (await place.slots.usage())[0] == 1


async def test_what_is_lost_or_moved_ends_and_the_rest_goes_on(place: Place, enforced: Enforcement) -> None:
    # C01
    (lost, _), (moved, _), (kept, _) = [await place.open() for _ in range(3)]
    enforced._slots = Answers(lost=[lost.id], moved=[moved.id])  # type: ignore[assignment]
    await enforced.renew()
    assert list(place.table) == [kept]
    assert kept.gate.until > time.monotonic() + 50
    assert await causes(place) == {lost.id: "state-store-unavailable", moved.id: "moved-to-another-node"}


async def test_a_renewal_is_followed_also_where_tickets_cannot_be_kept(
    place: Place, enforced: Enforcement, around: Surroundings
) -> None:
    # C01: a store that fails half-way
    (lost, _), (kept, _) = [await place.open() for _ in range(2)]

    class Unreachable:
        async def keep(self, *_: object) -> bool:
            raise StateStoreUnavailable

    enforced._slots, enforced._tickets = Answers(lost=[lost.id]), Unreachable()  # type: ignore[assignment]
    await enforced.renew()
    assert list(place.table) == [kept]
    assert kept.gate.until > time.monotonic() + 50
    assert around.seen == [None]


async def test_with_the_store_gone_streams_run_until_their_leases_lapse(
    place: Place, enforced: Enforcement, around: Surroundings, nodes: Nodes
) -> None:
    # C01: failure table, Valkey down
    stream, holder = await place.open()
    player = Player()
    await place.sit(holder, player)
    before_s = stream.gate.until
    await nodes.killed()
    await enforced.renew()
    place.closer.end_what_is_over()
    assert list(place.table) == [stream]
    assert stream.gate.until == before_s
    assert around.seen == []
    stream.gate.until = time.monotonic()
    place.closer.end_what_is_over()
    assert len(place.table) == 0
    assert player.ended_by is not None
    assert player.ended_by.code == "state-store-unavailable"


async def test_an_unwritable_trace_closes_what_plays_after_the_grace(
    place: Place, enforced: Enforcement, around: Surroundings
) -> None:
    # T01
    await place.open()
    around.trace_fails = True
    for around.now_s in (100.0, 104.9):
        await enforced.probe_trace()
        assert len(place.table) == 1
    around.trace_fails = False
    await enforced.probe_trace()
    around.trace_fails = True
    for around.now_s in (106.0, 110.9):
        await enforced.probe_trace()
        assert len(place.table) == 1
    around.now_s = 111.0
    await enforced.probe_trace()
    assert len(place.table) == 0
    assert set((await causes(place)).values()) == {"trace-unavailable"}


@pytest.mark.parametrize(
    ("call", "error"),
    [("write", errno.ENOSPC), ("write", errno.EIO), ("sync", errno.EIO), ("write", errno.EROFS), ("gate", 0)],
    ids=["full", "broken", "fsync fails", "read-only", "slow"],
)
async def test_a_disk_that_fails_is_an_alarm_on_stderr_and_by_a_gauge(
    enforced: Enforcement, around: Surroundings, tmp_path: Path, caplog: pytest.LogCaptureFixture, call: str, error: int
) -> None:
    # T01, S06: whether anybody writes an entry or not, and once for as long as it lasts
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "faulty", storage=storage, write_deadline_s=0.2) as journal:
        house: dict[str, Any] = {
            "table": (),
            "hub": (),
            "rtsp": SimpleNamespace(connections=()),
            "interconnection": SimpleNamespace(state=SimpleNamespace(closed=False)),
        }
        collector = NodeCollector(
            **house,
            trace_size=lambda: journal.size,
            trace_writable=lambda: journal.unwritable_since_s is None,
            reports_due=lambda: 0,
            anchors=SimpleNamespace(anchored=0, failing=0),
            windows_held=lambda: 0,
        )

        def gauge() -> float:
            (metric,) = [each for each in collector.collect() if each.name == "halfgateway_trace_writable"]
            return metric.samples[0].value

        around.probe = journal.probe  # type: ignore[method-assign]
        await enforced.probe_trace()
        assert (gauge(), caplog.text.count("trace.unwritable")) == (1.0, 0)
        if call == "gate":
            storage.gate.clear()
        else:
            storage.break_(call, "", error)
        for _ in range(2):
            await enforced.probe_trace()
        assert (gauge(), caplog.text.count("trace.unwritable")) == (0.0, 1)
        assert "CRITICAL" in {each.levelname for each in caplog.records if "trace.unwritable" in each.message}
        storage.gate.set()
        storage.mend()

        async def healed() -> bool:
            await enforced.probe_trace()
            return gauge() == 1.0

        while not await healed():
            await asyncio.sleep(0.01)
        assert caplog.text.count("trace.writable_again") == 1


async def test_records_are_fresh_only_while_they_answer(
    place: Place, enforced: Enforcement, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C09: failure table, SQL down
    def fresh() -> bool:
        return enforced._rights.holds

    async def never() -> None:
        await asyncio.Event().wait()

    enforced._rights = Freshness(now=lambda: around.now_s)
    assert not fresh()
    await enforced.probe_records()
    around.now_s = 15.0
    assert fresh()
    around.now_s = 15.1
    assert not fresh()
    around.records_fail = RecordsUnavailableError("locked")
    await enforced.probe_records()
    assert not fresh()
    around.records_fail = None
    await enforced.probe_records()
    assert fresh()
    around.now_s = 31.0
    monkeypatch.setattr(enforcement, "RECORDS_TIMEOUT_S", 0.01)
    enforced._check_records = never
    await enforced.probe_records()
    assert not fresh()


async def test_it_all_goes_on_until_it_is_cancelled(
    place: Place, enforced: Enforcement, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C01
    monkeypatch.setattr(enforcement, "SWEEP_AT_REST_S", 0.001)
    running = asyncio.create_task(enforced.run())
    await until(lambda: around.swept > 3 and len(around.seen) > 3)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
