"""The cap when the store fails, forgets, or tells another time: never an eleventh, and slots again afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from camera_registry.clock import SystemClock
from halfgateway.control import slots
from halfgateway.control.holders import SlotsTaken
from halfgateway.control.lease_script import Limits
from halfgateway.control.slots import Lease, Moving, SlotTable
from halfgateway.errors import StateStoreUnavailable
from tests.control.valkeys import LEASE_S, LONG_S, Nodes, SkewedClock, until

HOLDER = {"camera": "c1", "mode": "live"}
CALL_LIMIT_S = 0.5


async def granted_again(table: SlotTable, slot_id: str, keep: Callable[[], Coroutine[Any, Any, object]]) -> Lease:
    """Ask until the hold is over, keeping what runs meanwhile."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await table.acquire(slot_id, HOLDER)
            except StateStoreUnavailable:
                await keep()
                await asyncio.sleep(LEASE_S / 20)


async def take(table: SlotTable, slot_ids: Iterable[str]) -> None:
    for slot_id in slot_ids:
        await table.acquire(slot_id, HOLDER)


async def each_question(table: SlotTable) -> list[Coroutine[Any, Any, object]]:
    return [
        table.acquire("new", HOLDER),
        table.claim("s"),
        table.renew(["s"]),
        table.release("s"),
        table.holders(),
        table.usage(),
        table.open_epoch(),
    ]


async def test_a_store_that_was_never_used_grants_nothing_for_one_lease(nodes: Nodes) -> None:
    # C01
    a = nodes.table("a", lease_s=LEASE_S)
    started = time.monotonic()
    with pytest.raises(StateStoreUnavailable) as refused:
        await a.acquire("s", HOLDER)
    assert refused.value.retry_after_s == 1
    assert (await a.renew([])).hold_s > 0
    await granted_again(a, "s", lambda: a.renew([]))
    assert time.monotonic() - started >= LEASE_S


async def test_the_owner_of_an_embedded_store_begins_at_once_and_without_its_dead_leases(nodes: Nodes) -> None:
    # C01
    before = await nodes.opened("a", cap=1)
    await before.acquire("s", HOLDER)
    restarted = await nodes.opened("a", cap=1)
    assert (await restarted.acquire("t", HOLDER)).used == 1


async def test_an_embedded_store_that_died_is_opened_again_with_what_runs(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a", cap=2)
    await take(a, ["s"])
    await nodes.killed()
    await nodes.server.start()
    await a.open_epoch()
    assert (await a.acquire("t", HOLDER)).used == 2
    with pytest.raises(SlotsTaken):
        await a.acquire("u", HOLDER)
    assert (await a.renew(["s", "t"])).deadlines.keys() == {"s", "t"}


async def test_emptied_nothing_is_granted_until_what_runs_is_back(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a", cap=3, lease_s=LEASE_S), nodes.table("b", cap=3, lease_s=LEASE_S)
    await take(a, ["a1", "a2"])
    await nodes.store().client.flushall()
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("b1", HOLDER)
    renewal = await a.renew(["a1", "a2"])
    assert renewal.deadlines.keys() == {"a1", "a2"}
    assert renewal.hold_s > 0
    assert [holder.info for holder in await b.holders()] == [HOLDER, HOLDER]
    lease = await granted_again(b, "b1", lambda: a.renew(["a1", "a2"]))
    assert (lease.used, lease.cap) == (3, 3)
    with pytest.raises(SlotsTaken):
        await b.acquire("b2", HOLDER)


async def test_emptied_the_ten_that_run_stay_the_ten(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a", lease_s=LEASE_S), nodes.table("b", lease_s=LEASE_S)
    ids = [f"a{n}" for n in range(10)]
    await take(a, ids)
    await nodes.store().client.flushall()
    until_s = time.monotonic() + 2 * LEASE_S
    while time.monotonic() < until_s:
        with pytest.raises((StateStoreUnavailable, SlotsTaken)):
            await b.acquire("eleventh", HOLDER)
        assert (await a.renew(ids)).deadlines.keys() == set(ids)
        await asyncio.sleep(LEASE_S / 10)
    with pytest.raises(SlotsTaken):
        await b.acquire("eleventh", HOLDER)


async def test_what_was_not_put_back_in_time_is_lost(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a", cap=1, lease_s=LEASE_S), nodes.table("b", cap=1, lease_s=LEASE_S)
    await take(a, ["s"])
    await nodes.store().client.flushall()
    await granted_again(b, "t", lambda: b.renew([]))
    assert (await a.renew(["s"])).lost == {"s"}


async def test_a_slot_given_back_in_the_hold_is_not_put_back(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a")
    await take(a, ["s", "t"])
    await nodes.store().client.flushall()
    await a.release("s")
    assert (await a.renew(["s", "t"])).lost == {"s"}
    assert await a.usage() == (1, 10)


async def test_a_slot_of_ours_is_taken_again_in_the_hold(nodes: Nodes) -> None:
    # C01, S15
    a = await nodes.opened("a")
    await take(a, ["s"])
    await nodes.store().client.flushall()
    assert (await a.acquire("s", HOLDER)).used == 1


async def test_a_slot_whose_deadline_has_passed_is_not_ours_in_the_hold(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a", lease_s=LEASE_S)
    lease = await a.acquire("s", HOLDER)
    await nodes.store().client.flushall()
    await until(lambda: time.monotonic() >= lease.deadline)
    with pytest.raises(StateStoreUnavailable):
        await a.acquire("s", HOLDER)
    assert (await a.renew(["s"])).lost == {"s"}


async def test_a_renewal_that_comes_after_the_deadline_is_none(nodes: Nodes) -> None:
    # C01: its stream is being closed
    a = await nodes.opened("a", lease_s=LEASE_S)
    lease = await a.acquire("s", HOLDER)
    await nodes.store().client.flushall()
    nodes.signal(signal.SIGSTOP)
    try:
        renewing = asyncio.create_task(a.renew(["s"]))
        await until(lambda: time.monotonic() >= lease.deadline)
    finally:
        nodes.signal(signal.SIGCONT)
    assert (await renewing).lost == {"s"}
    assert await a.usage() == (0, 10)


@pytest.mark.parametrize("key", ["leases", "records", "epoch"])
async def test_a_part_that_is_lost_is_seen_as_a_loss(nodes: Nodes, key: str) -> None:
    # C01: a store that evicts, whatever it was told
    a, b = await nodes.opened("a", cap=2), nodes.table("b", cap=2)
    await take(a, ["s", "t"])
    store = nodes.store()
    await store.client.delete(store.key(key))
    with pytest.raises((StateStoreUnavailable, SlotsTaken)):
        await b.acquire("u", HOLDER)
    assert (await a.renew(["s", "t"])).deadlines.keys() == {"s", "t"}
    assert await b.usage() == (2, 2)


async def test_one_lease_that_is_lost_is_seen_as_a_loss(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a", cap=1), nodes.table("b", cap=1)
    await take(a, ["s"])
    store = nodes.store()
    await store.client.zrem(store.key("leases"), "s")
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("t", HOLDER)
    assert (await a.renew(["s"])).deadlines.keys() == {"s"}


async def test_killed_and_started_again_it_grants_after_one_lease(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a", cap=2, lease_s=LEASE_S), nodes.table("b", cap=2, lease_s=LEASE_S)
    await take(a, ["s"])
    await nodes.killed()
    with pytest.raises(StateStoreUnavailable):
        await a.renew(["s"])
    await nodes.server.start()
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("t", HOLDER)
    assert (await a.renew(["s"])).deadlines.keys() == {"s"}
    assert (await granted_again(b, "t", lambda: a.renew(["s"]))).used == 2


async def test_failed_over_to_a_replica_it_grants_after_one_lease(nodes: Nodes) -> None:
    # C01: a promoted replica may lack what its primary acknowledged; here it says so by its replication id alone
    a, b = await nodes.opened("a", cap=2, lease_s=LEASE_S), nodes.table("b", cap=2, lease_s=LEASE_S)
    await take(a, ["s"])
    client = nodes.store().client
    await client.replicaof("127.0.0.1", "1")
    with pytest.raises(StateStoreUnavailable):
        await a.renew(["s"])
    await client.replicaof("NO", "ONE")
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("t", HOLDER)
    assert (await a.renew(["s"])).deadlines.keys() == {"s"}
    assert (await granted_again(b, "t", lambda: a.renew(["s"]))).used == 2


async def test_a_claim_that_the_store_forgot_still_holds(nodes: Nodes) -> None:
    # S15
    a, b = await nodes.opened("a"), nodes.table("b")
    await take(a, ["s"])
    await b.claim("s")
    assert (await a.renew(["s"])).moved == {"s"}
    await a.let_go("s")
    assert isinstance(await b.claim("s"), Lease)
    await nodes.store().client.flushall()
    assert (await b.renew(["s"])).deadlines.keys() == {"s"}
    assert await a.usage() == (1, 10)


async def test_a_slot_that_moves_while_the_store_forgets_is_still_its_former_nodes(nodes: Nodes) -> None:
    # C01, S15: who delivers puts it back, and is asked again
    a, b = await nodes.opened("a"), nodes.table("b")
    await take(a, ["s"])
    assert isinstance(await b.claim("s"), Moving)
    await nodes.store().client.flushall()
    assert (await a.renew(["s"])).deadlines.keys() == {"s"}
    assert isinstance(await b.claim("s"), Moving)
    assert (await a.renew(["s"])).moved == {"s"}


async def test_a_claim_in_the_hold_is_asked_to_come_again(nodes: Nodes) -> None:
    # S15
    a, b = await nodes.opened("a"), nodes.table("b")
    await take(a, ["s"])
    await nodes.store().client.flushall()
    with pytest.raises(StateStoreUnavailable):
        await b.claim("s")
    await a.renew(["s"])
    assert await b.claim("s") is not None


async def test_a_store_that_hangs_is_unavailable_in_time_and_comes_back(nodes: Nodes) -> None:
    # C01
    await nodes.opened("a")
    table = nodes.table("a", call_limit_s=CALL_LIMIT_S)
    await take(table, ["s"])
    nodes.signal(signal.SIGSTOP)
    try:
        for question in await each_question(table):
            started = time.monotonic()
            with pytest.raises(StateStoreUnavailable) as refused:
                await question
            assert refused.value.__cause__ is not None
            assert time.monotonic() - started < 10 * CALL_LIMIT_S
    finally:
        nodes.signal(signal.SIGCONT)
    assert (await table.acquire("t", HOLDER)).cap == 10


async def test_a_question_that_is_read_after_its_caller_gave_up_takes_nothing(nodes: Nodes) -> None:
    # C01
    await nodes.opened("a", cap=2)
    table = nodes.table("a", cap=2, call_limit_s=CALL_LIMIT_S)
    await table.renew([])
    nodes.signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    try:
        answers = await asyncio.gather(*(table.acquire(f"s{n}", HOLDER) for n in range(2)), return_exceptions=True)
        assert all(isinstance(answer, StateStoreUnavailable) for answer in answers)
        await until(lambda: time.monotonic() - stopped_at > 1.2 * CALL_LIMIT_S)
    finally:
        nodes.signal(signal.SIGCONT)
    assert await nodes.table("b", cap=2).usage() == (0, 2)


async def test_a_store_that_is_not_there_is_unavailable_at_once(nodes: Nodes) -> None:
    # C01
    table = await nodes.opened("a")
    await nodes.server.stop()
    for question in await each_question(table):
        with pytest.raises(StateStoreUnavailable):
            await question


async def test_a_server_that_answers_nonsense_is_unavailable(nodes: Nodes) -> None:
    # C01
    table = await nodes.opened("a")
    store = nodes.store()
    await store.client.set(store.key("leases"), "not a sorted set")
    with pytest.raises(StateStoreUnavailable):
        await table.acquire("s", HOLDER)


async def test_a_full_server_is_unavailable(nodes: Nodes) -> None:
    # C01
    table = await nodes.opened("a", lease_s=LEASE_S)
    client = nodes.store().client
    await client.config_set("maxmemory", "1")
    with pytest.raises(StateStoreUnavailable):
        await table.acquire("s", HOLDER)
    await client.config_set("maxmemory", "64mb")
    async with asyncio.timeout(10):
        await granted_again(table, "s", lambda: table.renew([]))


async def test_a_clock_set_forward_frees_nothing(nodes: Nodes) -> None:
    # C01: seen from a node, a server whose clock jumps and a clock of its own that stands still look the same
    clock = SkewedClock()
    await nodes.opened("a", cap=2, lease_s=LEASE_S)
    a = nodes.table("a", cap=2, call_limit_s=CALL_LIMIT_S, clock=clock, lease_s=LEASE_S)
    b = nodes.table("b", cap=2, lease_s=LEASE_S)
    await take(a, ["s"])
    clock.behind_s += 10 * LEASE_S
    with pytest.raises(StateStoreUnavailable):
        await a.acquire("t", HOLDER)
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("t", HOLDER)
    assert (await a.renew(["s"])).deadlines.keys() == {"s"}
    assert (await granted_again(b, "t", lambda: a.renew(["s"]))).used == 2


ASKED_LATE = [0.0, 10 * CALL_LIMIT_S]
"""The readings of a renewal that stood for long between its own clock and the wire."""


async def test_a_node_that_is_late_itself_holds_nobody_up(nodes: Nodes) -> None:
    # C01: its event loop stood still with a question under way, as that of a node that starts on a busy machine may
    clock = SkewedClock()
    await nodes.opened("a")
    a, b = nodes.table("a", call_limit_s=CALL_LIMIT_S, clock=clock), nodes.table("b")
    await take(a, ["s"])
    clock.stale_s = ASKED_LATE.copy()
    with pytest.raises(StateStoreUnavailable):
        await a.renew([])
    assert (await b.acquire("t", HOLDER)).used == 2
    assert (await a.renew(["s"])).hold_s == 0


async def test_a_clock_set_forward_shows_also_after_a_late_question(nodes: Nodes) -> None:
    # C01
    clock = SkewedClock()
    await nodes.opened("a", lease_s=LEASE_S)
    a = nodes.table("a", call_limit_s=CALL_LIMIT_S, clock=clock, lease_s=LEASE_S)
    await take(a, ["s"])
    clock.behind_s += 10 * LEASE_S
    clock.stale_s = ASKED_LATE.copy()
    with pytest.raises(StateStoreUnavailable):
        await a.renew([])
    renewal = await a.renew(["s"])
    assert renewal.hold_s > 0
    assert renewal.deadlines.keys() == {"s"}


async def test_a_node_that_slept_puts_back_only_where_there_is_room(nodes: Nodes) -> None:
    # C01: its own clock stood still, its leases lapsed, and another node has taken one of the two slots
    clock = SkewedClock()
    await nodes.opened("a", cap=2, lease_s=LEASE_S)
    a = nodes.table("a", cap=2, call_limit_s=CALL_LIMIT_S, clock=clock, lease_s=LEASE_S)
    b = nodes.table("b", cap=2, lease_s=LEASE_S)
    await take(a, ["s", "t"])
    slept_at = time.monotonic()
    async with asyncio.timeout(10):
        while True:
            try:
                await b.acquire("u", HOLDER)
                break
            except SlotsTaken:
                await asyncio.sleep(0.01)
    clock.behind_s += time.monotonic() - slept_at
    renewal = await a.renew(["s", "t"])
    assert (len(renewal.deadlines), len(renewal.lost)) == (1, 1)
    assert await b.usage() == (2, 2)


async def test_a_clock_set_back_does_not_keep_slots_for_ever(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a", cap=1, lease_s=LEASE_S)
    await take(a, ["s"])
    store = nodes.store()
    await store.client.zadd(store.key("leases"), {"s": (time.time() + 3600) * 1000})
    await store.client.hset(store.key("epoch"), "hold_until", str(int((time.time() + 3600) * 1000)))
    await store.client.hset(
        store.key("nodes"), "gone", f'{{"cap":0,"lease":{int(LEASE_S * 1000)},"lapse":{(time.time() + 3600) * 1000}}}'
    )
    b = nodes.table("b", cap=1, lease_s=LEASE_S)
    async with asyncio.timeout(10):
        while True:
            try:
                await b.acquire("t", HOLDER)
                break
            except (SlotsTaken, StateStoreUnavailable):
                await asyncio.sleep(0.02)


async def test_a_slot_granted_to_nobodys_knowledge_goes_back_with_the_next_question(nodes: Nodes) -> None:
    # C01: the table's first question, so that the script cannot tell that it comes too late
    b = await nodes.opened("b", cap=1)
    store = nodes.store(call_limit_s=CALL_LIMIT_S)
    a = SlotTable(store, node="a", limits=lambda: Limits(1), clock=SystemClock(), lease_s=LONG_S)
    await store.client.ping()
    nodes.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StateStoreUnavailable):
            await a.acquire("s", HOLDER)
    finally:
        nodes.signal(signal.SIGCONT)
    assert await b.usage() == (1, 1)
    assert (await a.acquire("t", HOLDER)).used == 1


@pytest.mark.parametrize("steps", range(24))
async def test_cancelled_anywhere_no_slot_is_kept_and_no_answer_goes_astray(nodes: Nodes, steps: int) -> None:
    # C01
    table = await nodes.opened("a", cap=2)
    if steps % 2:
        await table.renew([])
    await take(table, ["kept"])
    questions = [table.acquire("s", HOLDER), table.renew(["kept"]), table.claim("kept"), table.release("gone")]
    tasks = [asyncio.create_task(question) for question in questions]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(not isinstance(answer, Exception) for answer in answers)
    if isinstance(answers[0], Lease):
        await table.release("s")
    renewal = await table.renew(["kept"])
    assert renewal.deadlines.keys() == {"kept"}
    assert (renewal.used, renewal.cap) == (1, 2)
    assert [holder.slot_id for holder in await table.holders()] == ["kept"]


async def test_slots_that_are_owed_are_bounded_and_forgotten_after_a_lease(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C01: the bound is a small one here, as each question to a server that is gone takes its time
    monkeypatch.setattr(slots, "MAX_OWED", 8)
    clock = SkewedClock()
    table = nodes.table("a", clock=clock)
    await table.open_epoch()
    await nodes.server.stop()
    for n in range(12):
        with pytest.raises(StateStoreUnavailable):
            await table.release(f"s{n}")
    assert list(table._owed) == [f"s{n}" for n in range(4, 12)]
    clock.behind_s -= LONG_S
    with pytest.raises(StateStoreUnavailable):
        await table.usage()
    assert table._owed == {}
