"""The line to the prefecture has a ceiling, for all nodes together: what would not fit is refused (L10)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from auth.trace import Kind
from camera_registry.clock import SystemClock
from halfgateway.config import ConfigurationError, parse_configuration
from halfgateway.control.bandwidth import Rates
from halfgateway.control.lease_script import Limits
from halfgateway.control.slots import LineFull, SlotTable
from halfgateway.control.streams import Stream, StreamState, Traffic
from halfgateway.errors import BandwidthReached
from tests.control.doors import open_place, wish
from tests.control.valkeys import LEASE_S, Nodes

HOLDER: dict[str, str | int | bool | None] = {"camera": "c1"}


def table(nodes: Nodes, node: str, line_kbps: int | None) -> SlotTable:
    limits = Limits(10, line_kbps)
    return SlotTable(nodes.store(), node=node, limits=lambda: limits, clock=SystemClock(), lease_s=LEASE_S)


async def test_a_stream_that_does_not_fit_is_refused_and_says_by_how_much(nodes: Nodes) -> None:
    a = table(nodes, "a", 10_000)
    await a.open_epoch()
    for slot in ("s", "t"):
        await a.acquire(slot, HOLDER, kbps=4_000)
    with pytest.raises(LineFull, match=r"8,0 Mbit/s sont pris, ce Flux en demande 4,0 et la liaison en admet 10,0"):
        await a.acquire("u", HOLDER, kbps=4_000)
    assert await a.usage() == (2, 10)
    await a.release("s")
    assert (await a.acquire("u", HOLDER, kbps=4_000)).used == 2


async def test_what_streams_really_take_counts_on_every_node(nodes: Nodes) -> None:
    a, b = table(nodes, "a", 10_000), table(nodes, "b", 10_000)
    await a.open_epoch()
    for slot in ("s", "t"):
        await a.acquire(slot, HOLDER, kbps=4_000)
    await a.renew(["s", "t"], kbps={"s": 1_000, "t": 4_900})
    assert (await b.acquire("u", HOLDER, kbps=4_000)).used == 3
    await a.renew(["s", "t"], kbps={"s": 9_000})  # who is in stays, whatever it takes
    with pytest.raises(LineFull, match="17,9 Mbit/s"):
        await b.acquire("v", HOLDER, kbps=1)


async def test_the_smallest_line_that_a_node_knows_is_in_force(nodes: Nodes) -> None:
    a, b = table(nodes, "a", None), table(nodes, "b", 4_000)
    await a.open_epoch()
    await a.acquire("s", HOLDER, kbps=50_000)
    await b.renew([])
    with pytest.raises(LineFull, match="admet 4,0"):
        await a.acquire("t", HOLDER, kbps=1)


async def test_a_lost_lease_is_put_back_whatever_the_line(nodes: Nodes) -> None:
    a = table(nodes, "a", 4_000)
    await a.open_epoch()
    await a.acquire("s", HOLDER, kbps=4_000)
    await nodes.store().client.flushall()
    assert set((await a.renew(["s"], kbps={"s": 9_000})).deadlines) == {"s"}


@dataclass
class Sent:
    """A stream, as far as its rate goes."""

    id: str
    bytes: int = 0
    state: StreamState = StreamState.PLAYING

    def traffic(self) -> Traffic:
        return Traffic(bytes=self.bytes)


def test_a_rate_is_assumed_then_measured_then_forgotten_slowly() -> None:
    rates, sent = Rates(), Sent("s", state=StreamState.RESERVED)
    streams = [cast(Stream, sent)]
    assert rates.look(streams, 0.0, 4_000) == {"s": 4_000}
    assert rates.look(streams, 5.0, 4_000) == {"s": 4_000}
    sent.state, sent.bytes = StreamState.PLAYING, 1_000_000
    assert rates.look(streams, 10.0, 4_000) == {"s": 4_000}, "it may have begun a moment ago"
    sent.bytes += 5_000_000
    assert rates.look(streams, 15.0, 4_000) == {"s": 8_000}
    sent.bytes += 500_000
    assert rates.look(streams, 20.0, 4_000) == {"s": 7_200}
    assert rates.look([], 25.0, 4_000) == {}
    assert rates.look(streams, 30.0, 4_000) == {"s": 4_000}, "what has gone is forgotten"


async def test_the_door_refuses_it_and_tells_the_trace(nodes: Nodes, tmp_path: Path) -> None:
    slots = table(nodes, "a", 7_000)
    await slots.open_epoch()
    async with open_place(nodes, tmp_path, slots=slots) as place:
        stream, _, _ = await place.desk.open(wish())
        with pytest.raises(BandwidthReached):
            await place.desk.open(wish())
        await place.settle()
        refused = [entry.refusal for entry in await place.told() if entry.kind is Kind.STREAM_REFUSED]
        assert refused == ["bandwidth-reached"]
        assert list(place.table) == [stream]


def test_a_line_on_which_nothing_fits_is_a_fault() -> None:
    document = {
        "node": {"data": "/tmp/nowhere"},
        "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
        "line": {"ceiling_mbps": 2},
    }
    with pytest.raises(ConfigurationError, match="nothing could ever be granted"):
        parse_configuration(document)
