"""At the cap the stream that has been idle the longest gives way, by PP's rule, and only then (S16)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.control.streams import Stream
from halfgateway.control.terms import IdleRule
from halfgateway.errors import CapReached
from tests.control.doors import BY_MACHINE, LEASE_S, Place, Player, open_place, wish
from tests.control.valkeys import Nodes

RULE = IdleRule(after_s=600, reference="PP-2026-4")
CAP = 3
LIMIT_S = 10.0


@asynccontextmanager
async def a_place(nodes: Nodes, folder: Path, node: str, *, first: bool = False) -> AsyncIterator[Place]:
    slots = nodes.table(node, cap=CAP, lease_s=LEASE_S)
    if first:
        await slots.open_epoch()
    async with open_place(nodes, folder, node, slots=slots) as place:
        place.house.terms.idle_rule = RULE
        yield place


@pytest.fixture
async def here(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(nodes, tmp_path, "a", first=True) as place:
        yield place


@pytest.fixture
async def there(nodes: Nodes, tmp_path: Path, here: Place) -> AsyncIterator[Place]:
    async with a_place(nodes, tmp_path, "b") as place:
        following = asyncio.create_task(here.handover.follow(here.renew))
        yield place
        following.cancel()
        await asyncio.wait([following])


async def idle_for(place: Place, stream: Stream, seconds: float) -> None:
    """The stream has been idle for so long, and all nodes know it."""
    stream._went_at_s = time.monotonic() - seconds
    await place.renew()


async def full(place: Place) -> list[Stream]:
    """As many streams as there are slots, reserved and not playing."""
    return [(await place.open())[0] for _ in range(CAP)]


async def ended(place: Place) -> dict[str | None, str]:
    await place.settle()
    stopped = [entry for entry in await place.told() if entry.kind is Kind.STREAM_STOPPED]
    return {entry.stream: entry.detail["cause"] for entry in stopped}


async def test_the_longest_idle_gives_way_and_no_other(here: Place) -> None:
    # S16, C01, T10: both entries tell of it
    _, idlest, idle = await full(here)
    await idle_for(here, idle, 700)
    await idle_for(here, idlest, 800)
    newcomer, _ = await here.open()
    assert await ended(here) == {idlest.id: "gave-way"}
    assert len(here.table) == CAP
    assert (await here.slots.usage()) == (CAP, CAP)
    (requested,) = [entry for entry in await here.told(newcomer.id) if entry.kind is Kind.STREAM_REQUESTED]
    assert (requested.detail["gave_way"], requested.detail["rule"]) == (idlest.id, RULE.reference)
    (stopped,) = [entry for entry in await here.told(idlest.id) if entry.kind is Kind.STREAM_STOPPED]
    assert stopped.detail["why"] == "Flux inactif depuis 800 s ; sa place est reprise (règle PP-2026-4)."
    await here.holds_only("gave way", *here.table)


@pytest.mark.parametrize("rule", [None, RULE])
async def test_without_a_rule_or_below_its_time_nobody_gives_way(here: Place, rule: IdleRule | None) -> None:
    # S16: off unless PP has decided
    streams = await full(here)
    await idle_for(here, streams[0], 590 if rule else 10_000)
    here.house.terms.idle_rule = rule
    with pytest.raises(CapReached, match="3 inactifs"):
        await here.open()
    assert await ended(here) == {}


async def test_who_plays_on_since_it_was_told_keeps_its_slot(here: Place) -> None:
    # S16: the stream's own node decides, not what was told of it seconds ago
    stream, holder = await here.open()
    player = Player()
    reader = await here.play(await here.sit(holder, player))
    for _ in range(CAP - 1):
        await here.open()
    await idle_for(here, stream, 900)
    reader.sent_packets += 1
    with pytest.raises(CapReached):
        await here.open()
    assert player.ended_by is None
    assert await ended(here) == {}


async def test_a_stalled_reader_and_a_paused_stream_are_idle(here: Place) -> None:
    # S16: no progress is idle, whatever the state
    stalled, holder = await here.open()
    await here.play(await here.sit(holder))
    await here.sit(BY_MACHINE)
    await here.open()
    await idle_for(here, stalled, 900)
    await here.open()
    assert await ended(here) == {stalled.id: "gave-way"}


async def test_a_stream_of_another_node_gives_way_too(here: Place, there: Place) -> None:
    # S16, C01: its node ends it before the newcomer's has the slot
    idle, *_ = await full(here)
    await idle_for(here, idle, 900)
    async with asyncio.timeout(LIMIT_S):
        newcomer, _ = await there.open()
    assert await ended(here) == {idle.id: "gave-way"}
    assert list(there.table) == [newcomer]
    held = {holder.slot_id: holder.node for holder in await there.slots.holders()}
    assert held == {**{stream.id: "a" for stream in here.table}, newcomer.id: "b"}


async def test_of_many_newcomers_each_ends_one_stream_at_the_most(here: Place, there: Place) -> None:
    # S16, C01
    streams = await full(here)
    for stream in streams[:2]:
        await idle_for(here, stream, 900)
    async with asyncio.timeout(LIMIT_S):
        asked = [place.desk.open(wish()) for place in (here, there, here, there, here)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, CapReached) for answer in answers) == 3
    assert await ended(here) == {stream.id: "gave-way" for stream in streams[:2]}
    assert len(here.table) + len(there.table) == CAP
    assert await here.slots.usage() == (CAP, CAP)


async def test_a_node_that_does_not_answer_keeps_its_slot(here: Place, nodes: Nodes, tmp_path: Path) -> None:
    # S16: frozen, it may still deliver
    idle, *_ = await full(here)
    await idle_for(here, idle, 900)
    async with a_place(nodes, tmp_path, "c") as third:
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(CapReached):
                await third.open()
    assert len(here.table) == CAP
