"""The interconnection as a node enforces it: its view, the cut, and a record that holds it (article 8, C10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from held_clock import HeldClock

from auth.trace import Draft, Kind
from halfgateway.control.interconnection import ANOTHER_NODE, COMMAND_LINE, Interconnection
from halfgateway.control.streams import Stream, StreamTable
from halfgateway.errors import ConventionNotInForce, InterconnectionCut, Refusal, StateStoreUnavailable
from ops.errors import DegradationRefused, LocalRecordError, WrongIncident
from ops.interconnection import Author, Ground, InterconnectionState, cut, first_open, merge, restore
from ops.local_record import LocalRecord
from tests.control.doors import wish

BY_SYN: dict[str, Any] = {"by": Author.OPS, "actor": "syn-ops-01", "source": "198.51.100.1"}


class Ledger:
    """Ends streams and takes entries, and remembers both."""

    def __init__(self, table: StreamTable) -> None:
        self.table = table
        self.causes: list[Refusal] = []
        self.told: list[Draft] = []

    def end(self, stream: Stream, cause: Refusal) -> None:
        self.table.remove(stream, cause)
        self.causes.append(cause)

    def eventual(self, draft: Draft) -> None:
        self.told.append(draft)


class Shared:
    """The store that the nodes share."""

    def __init__(self) -> None:
        self.state: InterconnectionState | None = None
        self.is_down = False

    async def publish(self, state: InterconnectionState) -> InterconnectionState:
        await asyncio.sleep(0)
        if self.is_down:
            raise StateStoreUnavailable
        self.state = merge(state, self.state)
        return self.state


class Record(LocalRecord):
    """The node's own record, on a disk that can fail."""

    is_broken = False

    def update(self, change: Callable[[InterconnectionState], InterconnectionState]) -> InterconnectionState:
        if self.is_broken:
            raise LocalRecordError("the disk is full")
        return super().update(change)


@dataclass
class NodeView:
    """One node's interconnection and what it stands on."""

    clock: HeldClock
    record: Record
    shared: Shared
    table: StreamTable
    ledger: Ledger
    interconnection: Interconnection

    def serve(self, count: int) -> None:
        for _ in range(count):
            self.table.add(Stream(wish(), "1/10", 1e9, self.clock.now()))

    def grants(self) -> bool:
        try:
            self.interconnection.require_open()
        except Refusal:
            return False
        return True

    def kinds(self) -> list[Kind]:
        return [draft.kind for draft in self.ledger.told]


@pytest.fixture
async def node(tmp_path: Path, clock: HeldClock) -> AsyncIterator[NodeView]:
    record, shared, table = Record(tmp_path / "record", clock=clock), Shared(), StreamTable(now=clock.monotonic)
    record.initialise(first_open(clock.now()))
    ledger = Ledger(table)
    interconnection = Interconnection(
        record=record,
        publish=shared.publish,
        table=table,
        closer=ledger,  # type: ignore[arg-type]
        tracer=ledger,  # type: ignore[arg-type]
        clock=clock,
        now=clock.monotonic,
    )
    yield NodeView(clock, record, shared, table, ledger, interconnection)
    await interconnection.settle()


def a_cut(state: InterconnectionState, clock: HeldClock, incident: str = "i-1") -> InterconnectionState:
    at = clock.now()
    return cut(state, ground=Ground.CRITICAL_INCIDENT, reason="fuite", by=Author.OPS, since=at, incident=incident)


async def test_nothing_is_granted_before_the_shared_state_was_seen_nor_long_after(node: NodeView) -> None:
    # C01: ADR 2, Numbers: 15 s
    assert not node.grants()
    node.interconnection.observe(None)
    node.clock.advance(timedelta(seconds=15))
    assert node.grants()
    node.clock.advance(timedelta(milliseconds=1))
    with pytest.raises(StateStoreUnavailable):
        node.interconnection.require_open()
    node.interconnection.observe(node.interconnection.state)
    assert node.grants()


async def test_a_store_that_was_emptied_is_told_the_state_again(node: NodeView) -> None:
    # C10
    node.interconnection.observe(None)
    await node.interconnection.settle()
    assert node.shared.state == node.interconnection.state


async def test_a_cut_stops_everything_is_durable_and_shared(node: NodeView) -> None:
    # C10
    node.interconnection.observe(None)
    node.serve(10)
    occurred_at = node.clock.now() - timedelta(minutes=5)
    cutting = await node.interconnection.cut(
        ground=Ground.SECURITY, reason="intrusion", **BY_SYN, occurred_at=occurred_at
    )
    assert (cutting.streams_closed, len(node.table), cutting.at) == (10, 0, node.clock.now())
    assert {type(cause) for cause in node.ledger.causes} == {InterconnectionCut}
    with pytest.raises(InterconnectionCut):
        node.interconnection.require_open()
    assert node.record.load().incident == cutting.incident
    await node.interconnection.settle()
    assert node.shared.state == node.interconnection.state
    (told,) = node.ledger.told
    assert (told.kind, told.account) == (Kind.INTERCONNECTION_CUT, "syn-ops-01")
    assert (told.detail["streams_closed"], told.detail["ground"]) == (10, "security")
    assert told.detail["occurred_at"] == "2026-11-21T10:10:00.000000Z"


async def test_a_cut_holds_with_the_store_down_and_is_shared_when_it_is_back(node: NodeView) -> None:
    # C10
    node.shared.is_down = True
    await node.interconnection.cut(ground=Ground.CRITICAL_INCIDENT, reason="panne", **BY_SYN)
    await node.interconnection.settle()
    assert node.shared.state is None
    node.shared.is_down = False
    node.interconnection.observe(None)
    await node.interconnection.settle()
    assert node.shared.state == node.interconnection.state


async def test_a_cut_holds_on_a_broken_disk_and_becomes_durable_when_it_is_well(
    node: NodeView, caplog: pytest.LogCaptureFixture
) -> None:
    # C10: a cut restarts cut
    node.record.is_broken = True
    with pytest.raises(LocalRecordError):
        await node.interconnection.cut(ground=Ground.CRITICAL_INCIDENT, reason="panne", **BY_SYN)
    assert not node.grants()
    node.interconnection.observe(None)
    await node.interconnection.settle()
    assert "interconnection.not_durable" in caplog.text
    assert not node.record.load().closed
    node.record.is_broken = False
    node.interconnection.observe(None)
    await node.interconnection.settle()
    assert node.record.load() == node.interconnection.state
    caplog.clear()
    node.interconnection.observe(node.interconnection.state)
    await node.interconnection.settle()
    assert caplog.text == ""


async def test_another_nodes_cut_is_enforced_kept_and_told_once(node: NodeView) -> None:
    # C10
    node.serve(3)
    node.shared.state = a_cut(node.interconnection.state, node.clock)
    for _ in range(2):
        node.interconnection.observe(node.shared.state)
    await node.interconnection.settle()
    assert len(node.table) == 0
    assert node.record.load() == node.shared.state
    assert [(draft.kind, draft.account) for draft in node.ledger.told] == [(Kind.INTERCONNECTION_CUT, ANOTHER_NODE)]


async def test_a_record_that_another_process_wrote_is_followed(node: NodeView) -> None:
    # C10: the command line
    node.serve(2)
    node.record.update(lambda current: a_cut(current, node.clock))
    assert await node.interconnection.follow_record() == 2
    assert await node.interconnection.follow_record() == 0
    assert not node.grants()
    await node.interconnection.settle()
    assert node.shared.state == node.record.load()
    assert [(draft.kind, draft.account) for draft in node.ledger.told] == [(Kind.INTERCONNECTION_CUT, COMMAND_LINE)]


async def test_what_is_on_disk_is_enforced_where_it_is_more_closed_than_memory(node: NodeView) -> None:
    # C10: the command line wrote while the API did
    node.record.update(lambda current: a_cut(current, node.clock, "theirs"))
    node.serve(1)
    drill = await node.interconnection.cut(ground=Ground.DRILL, reason="exercice", **BY_SYN)
    assert drill.streams_closed == 0
    assert len(node.table) == 0
    assert node.interconnection.state.closed


async def test_a_restoration_names_its_incident_and_opens_once_it_is_durable(node: NodeView) -> None:
    # C10 C12
    node.interconnection.observe(None)
    cutting = await node.interconnection.cut(ground=Ground.MAINTENANCE, reason="travaux", **BY_SYN)
    with pytest.raises(WrongIncident):
        await node.interconnection.restore(incident="another", reason="fini", **BY_SYN)
    assert not node.grants()
    state = await node.interconnection.restore(incident=cutting.incident, reason="fini", **BY_SYN)
    assert node.grants()
    assert node.record.load() == state
    await node.interconnection.settle()
    assert node.shared.state == state
    told = node.ledger.told[-1]
    assert (told.kind, told.detail["incident"]) == (Kind.INTERCONNECTION_RESTORED, cutting.incident)


async def test_a_degraded_mode_is_durable_told_and_shared_and_closes_nothing(node: NodeView) -> None:
    # P01
    node.interconnection.observe(None)
    await node.interconnection.degrade(mode="live-only", reason="enregistreur en panne", **BY_SYN)
    assert (node.interconnection.mode, node.grants()) == ("live-only", True)
    assert node.record.load().mode == "live-only"
    await node.interconnection.settle()
    assert node.shared.state is not None
    assert node.shared.state.mode == "live-only"
    with pytest.raises(DegradationRefused):
        await node.interconnection.degrade(mode="live-only", reason="encore", **BY_SYN)
    await node.interconnection.degrade(mode=None, reason="réparé", **BY_SYN)
    assert node.interconnection.mode is None
    assert node.kinds() == [Kind.INTERCONNECTION_DEGRADED, Kind.INTERCONNECTION_RESTORED]


async def test_the_conventions_end_is_its_own_refusal(node: NodeView) -> None:
    # C18
    node.interconnection.observe(None)
    await node.interconnection.cut(
        ground=Ground.END, reason="fin", by=Author.CALENDAR, actor="calendar", source="local"
    )
    with pytest.raises(ConventionNotInForce):
        node.interconnection.require_open()


async def test_a_node_that_starts_cut_says_so_where_its_trace_does_not(node: NodeView, clock: HeldClock) -> None:
    # C10 T02: cut while it was stopped
    node.interconnection.trace_untold(0)
    assert node.kinds() == []
    node.record.update(lambda current: a_cut(current, clock))
    restored = node.record.update(
        lambda current: restore(current, incident="i-1", reason="fini", by=Author.OPS, since=clock.now())
    )
    assert await node.interconnection.follow_record() == 0
    node.interconnection.trace_untold(restored.serial - 1)
    assert node.kinds() == [Kind.INTERCONNECTION_RESTORED] * 2
