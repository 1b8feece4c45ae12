"""The one way out: the slot goes back and the result is told, whatever ends a stream and whatever is down."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.control.endings import ClosedOnRequest, MovedToAnotherNode, NotPlayed
from tests.control.doors import BY_MACHINE, Place, open_place
from tests.control.valkeys import Nodes


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


async def test_an_end_gives_back_slot_and_ticket_and_tells_what_was_sent(place: Place) -> None:
    # C01 T02 L10
    stream, holder = await place.open()
    reader = await place.play(await place.sit(holder))
    reader.sent_bytes, reader.sent_packets, reader.lost_packets = 1000, 10, 2
    place.closer.end(stream, ClosedOnRequest("fin de quart"), by="superviseur")
    place.closer.end(stream, NotPlayed())
    await place.holds_only("ended")
    assert await place.tickets.get(holder.username) is None
    (result,) = [entry for entry in await place.told(stream.id) if entry.kind is Kind.STREAM_STOPPED]
    told = {name: result.detail[name] for name in ("cause", "why", "by", "bytes", "packets", "lost")}
    assert told == {
        "cause": "closed-on-request",
        "why": "fin de quart",
        "by": "superviseur",
        "bytes": 1000,
        "packets": 10,
        "lost": 2,
    }
    assert result.detail["duration_s"] >= 0


async def test_what_moved_to_another_node_keeps_slot_and_ticket(place: Place) -> None:
    # C01
    stream, holder = await place.open()
    place.closer.end(stream, MovedToAnotherNode())
    await place.settle()
    assert len(place.table) == 0
    assert [held.slot_id for held in await place.slots.holders()] == [stream.id]
    assert await place.tickets.get(holder.username) is not None


async def test_a_machines_goodbye_frees_its_slot_at_once(place: Place) -> None:
    # C01
    seat = await place.sit(BY_MACHINE)
    await seat.leave()
    assert (await place.slots.usage())[0] == 0
    await place.holds_only("said goodbye")


async def test_a_store_that_is_gone_delays_no_end(place: Place, nodes: Nodes) -> None:
    # C01 C10: the lease lapses by itself
    stream, holder = await place.open()
    seat = await place.sit(holder)
    other, _ = await place.open()
    await nodes.killed()
    await seat.leave()
    place.closer.end(other, ClosedOnRequest())
    await place.settle()
    assert len(place.table) == 0
    told = [(entry.stream, entry.kind) for entry in await place.told() if entry.kind is Kind.STREAM_STOPPED]
    assert told == [(stream.id, Kind.STREAM_STOPPED), (other.id, Kind.STREAM_STOPPED)]
    assert await place.open_acts() == []


async def test_a_frozen_store_is_waited_for_no_longer_than_a_call_may_take(place: Place, nodes: Nodes) -> None:
    # C10
    stream, _ = await place.open()
    await place.settle()
    assert nodes.server.pid is not None
    os.kill(nodes.server.pid, signal.SIGSTOP)
    try:
        place.closer.end(stream, ClosedOnRequest())
        assert len(place.table) == 0
        async with asyncio.timeout(30):
            await place.closer.settle()
    finally:
        os.kill(nodes.server.pid, signal.SIGCONT)
    assert (await place.slots.usage())[0] == 0
