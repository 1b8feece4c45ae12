"""A ticket that comes to another node: never do two nodes deliver its stream, whatever has become of the first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.control import errands
from halfgateway.downstream.door import Caller
from halfgateway.errors import StateStoreUnavailable
from tests.control.doors import LEASE_S, Place, Player, open_place
from tests.control.valkeys import LEASE_S as SHORT_LEASE_S
from tests.control.valkeys import Nodes, until

LIMIT_S = 10.0


@pytest.fixture
async def here(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path, "a") as place:
        yield place


@pytest.fixture
async def there(nodes: Nodes, tmp_path: Path, here: Place) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path, "b", slots=nodes.table("b", lease_s=LEASE_S)) as place:
        yield place


@asynccontextmanager
async def listening(place: Place, renew: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(place.handover.follow(renew or place.renew))
    yield
    task.cancel()
    await asyncio.wait([task])


async def played(place: Place) -> tuple[Caller, Player]:
    """A ticket whose stream plays at this node."""
    _, holder = await place.open()
    player = Player()
    await place.play(await place.sit(holder, player))
    return holder, player


async def test_the_former_node_has_let_go_when_the_new_one_may_deliver(here: Place, there: Place) -> None:
    # C01 C02
    async with listening(here):
        holder, player = await played(here)
        (stream,) = here.table
        async with asyncio.timeout(LIMIT_S):
            seat = await there.sit(holder)
        assert len(here.table) == 0
        assert player.ended_by is not None
        assert player.ended_by.code == "moved-to-another-node"
        await there.play(seat)
        (moved,) = there.table
        await there.holds_only("moved", moved, users=1)
        await here.settle()
        assert (await here.kinds(stream.id))[-1] is Kind.STREAM_STOPPED
        assert (await there.kinds(stream.id))[:2] == [Kind.STREAM_RESUMED, Kind.STREAM_STARTED]
        assert here.slots._held == {}


async def test_a_ticket_may_go_to_and_fro(here: Place, there: Place) -> None:
    # C01
    async with listening(here), listening(there), asyncio.timeout(LIMIT_S):
        holder, _ = await played(here)
        for place, other in ((there, here), (here, there), (there, here)):
            await place.play(await place.sit(holder))
            assert (len(place.table), len(other.table)) == (1, 0)
            assert (await place.slots.usage())[0] == 1


async def test_many_tickets_move_at_once(here: Place, there: Place) -> None:
    # C01
    async with listening(here), asyncio.timeout(LIMIT_S):
        holders = [(await played(here))[0] for _ in range(10)]
        await asyncio.gather(*(there.sit(holder) for holder in holders))
        assert (len(here.table), len(there.table)) == (0, 10)
        assert (await there.slots.usage())[0] == 10


async def refused(place: Place, holder: Caller) -> StateStoreUnavailable:
    place.handover._answer_limit_s = 0.05
    with pytest.raises(StateStoreUnavailable) as refusal:
        await place.sit(holder)
    return refusal.value


async def test_a_node_that_does_not_answer_may_still_deliver_until_its_lease_has_lapsed(
    here: Place, there: Place, caplog: pytest.LogCaptureFixture
) -> None:
    # C01: failure table, Valkey partitioned: it is out of the store's reach, and its players are not
    holder, player = await played(here)
    (stream,) = here.table
    refusal = await refused(there, holder)
    assert refusal.retry_after_s is not None
    assert 1 <= refusal.retry_after_s <= LEASE_S
    assert "handover.unanswered" in caplog.text
    assert stream.gate.allows(time.monotonic())
    assert player.ended_by is None
    assert len(there.table) == 0
    assert (await there.slots.usage())[0] == 1


async def test_a_node_that_is_back_in_reach_lets_go_with_its_next_renewal(here: Place, there: Place) -> None:
    # C01
    holder, player = await played(here)
    await refused(there, holder)
    await here.renew()
    await here.settle()
    assert player.ended_by is not None
    assert player.ended_by.code == "moved-to-another-node"
    await there.sit(holder)
    (moved,) = there.table
    await there.holds_only("moved", moved, users=1)


async def test_a_third_node_waits_for_the_first_although_the_second_has_let_go(
    nodes: Nodes, tmp_path: Path, here: Place, there: Place
) -> None:
    # C01
    async with open_place(nodes, tmp_path, "c", slots=nodes.table("c", lease_s=LEASE_S)) as third, listening(there):
        holder, _ = await played(here)
        await refused(there, holder)
        await refused(third, holder)
        await here.renew()
        await here.settle()
        await third.sit(holder)
        assert [len(place.table) for place in (here, there, third)] == [0, 0, 1]


async def test_the_ticket_of_a_dead_node_plays_again_once_its_lease_has_lapsed(nodes: Nodes, tmp_path: Path) -> None:
    # C01: failure table, node killed
    async with (
        open_place(nodes, tmp_path, "a", slots=await nodes.opened("a", lease_s=SHORT_LEASE_S)) as dead,
        open_place(nodes, tmp_path, "b", slots=nodes.table("b", lease_s=SHORT_LEASE_S)) as alive,
    ):
        holder, _ = await played(dead)
        await refused(alive, holder)
        async with asyncio.timeout(LIMIT_S):
            while not len(alive.table):
                with contextlib.suppress(StateStoreUnavailable):
                    await alive.sit(holder)
        assert (await alive.slots.usage())[0] == 1


async def test_a_node_that_could_not_find_out_does_not_say_that_it_has_let_go(
    here: Place, there: Place, caplog: pytest.LogCaptureFixture
) -> None:
    # C01: its renewal failed
    tried: list[None] = []

    async def fail() -> None:
        tried.append(None)

    async with listening(here, fail):
        holder, _ = await played(here)
        await refused(there, holder)
        await until(lambda: bool(tried))
    assert "handover.unanswered" in caplog.text
    assert (len(here.table), len(there.table)) == (1, 0)


async def test_a_node_that_is_about_to_grant_the_stream_does_not_say_that_it_has_let_go(
    here: Place, there: Place, caplog: pytest.LogCaptureFixture
) -> None:
    # C01: the ticket came to both at once; here its slot is taken, and its intent not yet durable
    async with listening(here):
        _, holder = await here.open()
        (stream,) = here.table
        here.table._streams.clear()
        assert here.slots.holds(stream.id)
        await refused(there, holder)
        assert "handover.unanswered" in caplog.text
        here.table.add(stream)
        await here.renew()
        await here.settle()
        assert len(here.table) == 0
        await there.sit(holder)
        assert len(there.table) == 1


async def test_a_ticket_that_comes_back_to_its_own_node_asks_nobody(
    here: Place, caplog: pytest.LogCaptureFixture
) -> None:
    # C01: also to one that was restarted, whose slot is not yet free
    _, holder = await here.open()
    (stream,) = here.table
    here.table._streams.clear()
    async with asyncio.timeout(LIMIT_S):
        await here.sit(holder)
    assert caplog.text == ""
    assert [again.id for again in here.table] == [stream.id]


async def test_listening_outlives_the_store(
    here: Place, there: Place, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C01: failure table, Valkey down
    monkeypatch.setattr(errands, "RETRY_S", 0.01)
    async with listening(here):
        await nodes.killed()
        await nodes.server.start()
        await here.slots.open_epoch()
        holder, _ = await played(here)
        async with asyncio.timeout(LIMIT_S):
            await there.sit(holder)
        assert len(here.table) == 0


async def test_a_frozen_store_ends_no_listening(here: Place, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    # C01: failure table, Valkey down
    monkeypatch.setattr(errands, "RETRY_S", 0.01)
    here.errands._store.call_limit_s = 0.05
    renewed: list[None] = []

    async def renew() -> None:
        renewed.append(None)

    assert nodes.server.pid is not None
    async with listening(here, renew):
        os.kill(nodes.server.pid, signal.SIGSTOP)
        await asyncio.sleep(0.09)
        os.kill(nodes.server.pid, signal.SIGCONT)
        here.errands._store.call_limit_s = 2.0
        await here.errands._leave(
            here.errands._errands_for("a"), {"verb": "let-go", "about": {"slot": "s"}, "answer_to": "answer"}
        )
        await until(lambda: bool(renewed))
