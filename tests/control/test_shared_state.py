"""The interconnection's state as the nodes share it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from halfgateway.control import shared_state
from halfgateway.control.shared_state import SharedInterconnection
from halfgateway.errors import StateStoreUnavailable
from ops.interconnection import Author, Ground, InterconnectionState, cut, first_open, merge, restore
from tests.control.valkeys import Nodes, until

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPEN = first_open(NOON)


def a_cut(current: InterconnectionState, incident: str) -> InterconnectionState:
    return cut(current, ground=Ground.CRITICAL_INCIDENT, reason="fuite", by=Author.OPS, since=NOON, incident=incident)


def a_restoration(current: InterconnectionState) -> InterconnectionState:
    assert current.incident is not None
    return restore(current, incident=current.incident, reason="résolu", by=Author.OPS, since=NOON)


@contextlib.asynccontextmanager
async def following(
    nodes: Nodes, *, call_limit_s: float = 2.0, quiet_s: float = 5.0
) -> AsyncIterator[list[InterconnectionState]]:
    """What a node is delivered while it follows."""
    seen: list[InterconnectionState] = []

    async def deliver(state: InterconnectionState) -> None:
        seen.append(state)

    shared = SharedInterconnection(nodes.store(call_limit_s=call_limit_s))
    task = asyncio.create_task(shared.follow(deliver, quiet_s=quiet_s))
    yield seen
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def subscribed(nodes: Nodes, count: int = 1) -> None:
    store = nodes.store()
    async with asyncio.timeout(10):
        while (await store.client.pubsub_numsub(store.key("interconnection")))[0][1] != count:
            await asyncio.sleep(0.01)


def shows(seen: list[InterconnectionState], state: InterconnectionState) -> Callable[[], bool]:
    return lambda: bool(seen) and seen[-1] == state


async def test_what_one_publishes_all_read(nodes: Nodes) -> None:
    # C10
    here, there = SharedInterconnection(nodes.store()), SharedInterconnection(nodes.store())
    assert await there.read() is None
    state = a_cut(OPEN, "i1")
    assert await here.publish(state) == state
    assert await there.read() == state
    assert await there.publish(OPEN) == state
    assert await here.publish(a_restoration(state)) == await there.read() == a_restoration(state)


async def test_the_renewal_shows_the_state_too(nodes: Nodes) -> None:
    # C10
    table = await nodes.opened("a")
    shared = SharedInterconnection(nodes.store())
    await shared.publish(a_cut(OPEN, "i1"))
    assert (await table.renew([])).state == a_cut(OPEN, "i1")


async def test_a_cut_is_never_published_over_by_what_does_not_know_it(nodes: Nodes) -> None:
    # C10
    shared = SharedInterconnection(nodes.store())
    await shared.publish(a_cut(OPEN, "alone"))
    unknowing = a_restoration(a_cut(OPEN, "theirs"))
    held = await shared.publish(unknowing)
    assert (held.closed, held.incident, held.serial) == (True, "alone", unknowing.serial)


async def test_all_who_publish_at_once_agree(nodes: Nodes) -> None:
    # C10
    states = [a_cut(OPEN, f"i{n}") for n in range(8)] + [replace(OPEN, serial=1, reason="?")]
    shared = [SharedInterconnection(nodes.store()) for _ in states]
    await asyncio.gather(*(one.publish(state) for one, state in zip(shared, states, strict=True)))
    expected = OPEN
    for state in states:
        expected = merge(expected, state)
    assert await shared[0].read() == expected
    assert expected.closed


async def test_followers_are_told_at_once_and_begin_with_what_is(nodes: Nodes) -> None:
    # C10
    shared = SharedInterconnection(nodes.store())
    await shared.publish(OPEN)
    async with following(nodes, quiet_s=30) as seen:
        await until(shows(seen, OPEN))
        state = a_cut(OPEN, "i1")
        await shared.publish(state)
        await until(shows(seen, state))


async def test_a_follower_lives_through_silence(nodes: Nodes) -> None:
    # C10
    async with following(nodes, quiet_s=0.02) as seen:
        await subscribed(nodes)
        client = nodes.store().client
        async with asyncio.timeout(10):
            while (await client.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"] < 5:
                await asyncio.sleep(0.01)
        await subscribed(nodes)
        state = await SharedInterconnection(nodes.store()).publish(a_cut(OPEN, "i1"))
        await until(shows(seen, state))


async def test_a_follower_comes_back_after_the_store_and_misses_nothing_that_lasts(nodes: Nodes) -> None:
    # C10
    shared = SharedInterconnection(nodes.store())
    async with following(nodes) as seen:
        await shared.publish(OPEN)
        await until(shows(seen, OPEN))
        await nodes.killed()
        await nodes.server.start()
        state = await shared.publish(a_cut(OPEN, "i1"))
        await until(shows(seen, state))


async def test_a_follower_notices_a_store_that_hangs(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # C10
    monkeypatch.setattr(shared_state, "LONGEST_RETRY_S", 0.2)
    shared = SharedInterconnection(nodes.store())
    await shared.publish(OPEN)
    async with following(nodes, call_limit_s=0.2, quiet_s=0.05) as seen:
        await until(shows(seen, OPEN))
        nodes.signal(signal.SIGSTOP)
        await until(lambda: caplog.text.count("interconnection.follow.failed") >= 2)
        nodes.signal(signal.SIGCONT)
        state = await shared.publish(a_cut(OPEN, "i1"))
        await until(shows(seen, state))


async def test_what_is_not_a_state_is_unavailable_and_gives_way_to_a_cut_only(nodes: Nodes) -> None:
    # C10
    store = nodes.store()
    shared, table = SharedInterconnection(store), await nodes.opened("a")
    await store.client.set(store.key("interconnection"), b'{"state":"open"}\xff')
    for question in (shared.read(), shared.publish(OPEN), table.renew([])):
        with pytest.raises(StateStoreUnavailable):
            await question
    state = a_cut(OPEN, "i1")
    assert await shared.publish(state) == state
    assert (await table.renew([])).state == state


async def test_a_follower_goes_on_after_what_is_not_a_state(nodes: Nodes) -> None:
    # C10
    store = nodes.store()
    async with following(nodes) as seen:
        await subscribed(nodes)
        await store.client.publish(store.key("interconnection"), "nonsense")
        state = await SharedInterconnection(store).publish(a_cut(OPEN, "i1"))
        await until(shows(seen, state))


async def test_what_a_delivery_raises_ends_the_task(nodes: Nodes) -> None:
    shared = SharedInterconnection(nodes.store())
    await shared.publish(OPEN)

    async def deliver(_: InterconnectionState) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await shared.follow(deliver)


async def test_a_store_that_hangs_or_is_not_there_is_unavailable(nodes: Nodes) -> None:
    # C10
    shared = SharedInterconnection(nodes.store(call_limit_s=0.2))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        nodes.signal(number)
        for question in (shared.read(), shared.publish(OPEN)):
            with pytest.raises(StateStoreUnavailable):
                await question


@pytest.mark.parametrize("steps", range(0, 30, 3))
async def test_cancelled_anywhere_the_shared_state_is_whole(nodes: Nodes, steps: int) -> None:
    # C10
    shared = SharedInterconnection(nodes.store())
    await shared.publish(OPEN)
    tasks = [asyncio.create_task(shared.publish(a_cut(OPEN, f"i{n}"))) for n in range(3)]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    state = await shared.read()
    assert state is not None
    assert await shared.publish(a_cut(state, "last")) == await shared.read() == a_cut(state, "last")
