"""The cap on one server, from several nodes, in fair weather."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from camera_registry.clock import SystemClock
from halfgateway.control.holders import MAX_HOLDER_BYTES, HolderInfo, SlotsTaken
from halfgateway.control.lease_script import Limits
from halfgateway.control.slots import Lease, Moving, SlotTable
from halfgateway.errors import CapReached, StateStoreUnavailable
from tests.control.valkeys import LEASE_S, LONG_S, Nodes, until

HOLDER: dict[str, str | int | bool | None] = {"camera": "c1", "mode": "live", "service": "DOPC", "since": None}


async def test_the_eleventh_is_refused_and_told_who_holds_the_ten(nodes: Nodes) -> None:
    # C01, S16
    a = await nodes.opened("a")
    b = nodes.table("b")
    for n in range(5):
        assert (await a.acquire(f"a{n}", HOLDER)).used == 2 * n + 1
        assert (await b.acquire(f"b{n}", HOLDER | {"mode": "recorded"})).used == 2 * n + 2
    for table in (a, b):
        with pytest.raises(SlotsTaken) as refused:
            await table.acquire("one-more", HOLDER)
        assert isinstance(refused.value, CapReached)
        assert (refused.value.used, refused.value.cap, refused.value.retry_after_s) == (10, 10, 5)
        assert [holder.info["mode"] for holder in refused.value.holders].count("recorded") == 5
        assert {holder.node for holder in refused.value.holders} == {"a", "b"}
    assert await b.usage() == (10, 10)


async def test_two_hundred_at_once_on_two_nodes_are_exactly_ten(nodes: Nodes) -> None:
    # C01
    tables = [await nodes.opened("a"), nodes.table("b")]
    asked = [tables[n % 2].acquire(f"s{n}", HOLDER) for n in range(200)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    granted = [answer for answer in answers if isinstance(answer, Lease)]
    assert sorted(lease.used for lease in granted) == list(range(1, 11))
    assert sum(isinstance(answer, SlotsTaken) for answer in answers) == 190
    assert len(await tables[0].holders()) == 10


async def test_a_slot_given_back_is_free_at_once_and_giving_it_back_again_is_nothing(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a", cap=1)
    await a.acquire("s", HOLDER)
    await a.release("s")
    await a.release("s")
    assert (await nodes.table("b", cap=1).acquire("t", HOLDER)).used == 1


async def test_only_its_node_gives_a_slot_back(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a"), nodes.table("b")
    await a.acquire("s", HOLDER)
    await b.release("s")
    assert await b.usage() == (1, 10)
    assert (await a.renew(["s"])).deadlines.keys() == {"s"}


async def test_taking_a_slot_again_keeps_it_and_changes_its_holder(nodes: Nodes) -> None:
    # C02, S15
    a = await nodes.opened("a")
    first = await a.acquire("s", HOLDER)
    again = await a.acquire("s", HOLDER | {"service": "DRPJ"})
    assert (again.used, again.deadline >= first.deadline) == (1, True)
    (holder,) = await a.holders()
    assert (holder.slot_id, holder.node, holder.info["service"]) == ("s", "a", "DRPJ")
    assert 0 < holder.lapses_in_s <= LONG_S


async def test_a_slot_that_another_node_holds_is_not_taken_beside_it(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a"), nodes.table("b")
    await a.acquire("s", HOLDER)
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("s", HOLDER)
    assert await a.usage() == (1, 10)
    assert "s" in (await a.renew(["s"])).deadlines


async def test_deadlines_count_from_before_the_question_and_renewing_moves_them(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a")
    before = time.monotonic()
    lease = await a.acquire("s", HOLDER)
    assert before < lease.deadline < time.monotonic() + LONG_S
    (holder,) = await a.holders()
    assert lease.deadline < time.monotonic() + holder.lapses_in_s
    renewal = await a.renew(["s", "never-had"])
    assert renewal.deadlines.keys() == {"s"}
    assert lease.deadline < renewal.deadlines["s"] < renewal.asked_at + LONG_S
    assert renewal.lost == {"never-had"}
    assert (renewal.used, renewal.cap, renewal.hold_s, renewal.state) == (1, 10, 0, None)


async def test_a_slot_taken_again_or_given_back_while_it_is_renewed(nodes: Nodes) -> None:
    # C01, S15
    a = await nodes.opened("a")
    await a.acquire("again", HOLDER)
    await a.acquire("gone", HOLDER)
    nodes.signal(signal.SIGSTOP)
    renewing = asyncio.create_task(a.renew(["again", "gone"]))
    await asyncio.sleep(0)
    giving_back = asyncio.create_task(a.release("gone"))
    taking_again = asyncio.create_task(a.acquire("again", HOLDER | {"service": "DRPJ"}))
    await asyncio.sleep(0)
    nodes.signal(signal.SIGCONT)
    renewal, _, lease = await asyncio.gather(renewing, giving_back, taking_again)
    assert renewal.deadlines.keys() == {"again"}
    assert renewal.deadlines["again"] <= lease.deadline
    assert renewal.lost == {"gone"}
    assert [holder.slot_id for holder in await a.holders()] == ["again"]


async def test_a_node_that_dies_gives_its_slots_back_within_a_lease(nodes: Nodes) -> None:
    # C01
    dead, alive = await nodes.opened("dead", cap=1, lease_s=LEASE_S), nodes.table("alive", cap=1, lease_s=LEASE_S)
    lease = await dead.acquire("s", HOLDER)
    while True:
        try:
            await alive.acquire("t", HOLDER)
            break
        except SlotsTaken:
            await asyncio.sleep(0.02)
    assert time.monotonic() >= lease.deadline
    assert (await dead.renew(["s"])).lost == {"s"}


async def test_a_deadline_that_has_passed_is_not_renewed_and_its_slot_is_free(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a", cap=1, lease_s=LEASE_S)
    lease = await a.acquire("s", HOLDER)
    await until(lambda: time.monotonic() >= lease.deadline)
    assert (await a.renew(["s"])).lost == {"s"}
    assert await a.usage() == (0, 1)


async def test_a_ticket_that_moves_takes_its_slot_along_once_its_node_has_let_go(nodes: Nodes) -> None:
    # C01, S15
    a, b = await nodes.opened("a", cap=1), nodes.table("b", cap=1)
    await a.acquire("s", HOLDER)
    moving = await b.claim("s")
    assert isinstance(moving, Moving)
    assert moving.formers == ("a",)
    assert 0 < moving.free_in_s <= LONG_S
    (holder,) = await a.holders()
    assert (holder.node, holder.info) == ("b", HOLDER)
    renewal = await a.renew(["s"])
    assert renewal.moved == {"s"}
    assert not renewal.lost
    assert not renewal.deadlines
    await a.release("s")
    assert await claimed_after(b, "s", moving) is None
    await a.let_go("s")
    claimed = await b.claim("s")
    assert isinstance(claimed, Lease)
    assert (claimed.used, claimed.cap) == (1, 1)
    assert (await b.renew(["s"])).deadlines.keys() == {"s"}
    assert isinstance(await a.claim("s"), Moving)
    assert (await b.renew(["s"])).moved == {"s"}


async def claimed_after(table: SlotTable, slot: str, moving: Moving) -> Lease | None:
    """Claim it again; None while it still is moving, from the same nodes and until no later an instant."""
    again = await table.claim(slot)
    if isinstance(again, Moving):
        assert set(again.formers) == set(moving.formers)
        assert again.free_in_s <= moving.free_in_s
        return None
    return again


async def test_a_slot_given_back_while_its_former_node_may_deliver_is_nobodys(nodes: Nodes) -> None:
    # C01
    a, b = await nodes.opened("a", cap=1), nodes.table("b", cap=1)
    await a.acquire("s", HOLDER)
    await b.claim("s")
    await b.release("s")
    assert await b.usage() == (1, 1)
    with pytest.raises(SlotsTaken):
        await b.acquire("t", HOLDER)
    with pytest.raises(StateStoreUnavailable):
        await b.acquire("s", HOLDER)
    assert (await a.renew(["s"])).moved == {"s"}
    await a.let_go("s")
    assert await b.usage() == (0, 1)
    assert (await b.acquire("t", HOLDER)).used == 1


async def test_a_slot_that_comes_back_before_it_was_let_go_is_used_again(nodes: Nodes) -> None:
    # C01, S15: what its node still delivers is its own
    a, b = await nodes.opened("a"), nodes.table("b")
    await a.acquire("s", HOLDER)
    await b.claim("s")
    assert isinstance(await a.claim("s"), Moving)
    await b.let_go("s")
    assert isinstance(await a.claim("s"), Lease)
    await a.release("s")
    assert await a.usage() == (0, 10)


async def test_a_slot_is_not_taken_while_the_store_may_still_give_it_back(nodes: Nodes) -> None:
    # C01: the wish and the release are on two connections, and either may come first
    a = await nodes.opened("a")
    await a.acquire("s", HOLDER)
    a._give_up("s")
    renewing = asyncio.create_task(a.renew([]))
    await asyncio.sleep(0)
    for wish in (a.acquire("s", HOLDER), a.claim("s")):
        with pytest.raises(StateStoreUnavailable):
            await wish
    await renewing
    assert (await a.acquire("s", HOLDER)).used == 1


async def test_claiming_twice_is_once_and_claiming_nothing_is_none(nodes: Nodes) -> None:
    # S15
    a = await nodes.opened("a")
    assert await a.claim("s") is None
    await a.acquire("s", HOLDER)
    assert await a.claim("s") is not None
    assert "s" in (await a.renew(["s"])).deadlines
    assert await a.usage() == (1, 10)


async def test_the_smallest_cap_that_a_live_node_knows_is_in_force(nodes: Nodes) -> None:
    # C01: an avenant raises the cap; one node has been told, the other not yet
    old, new = await nodes.opened("old", cap=1), nodes.table("new", cap=2)
    await old.acquire("s", HOLDER)
    with pytest.raises(SlotsTaken) as refused:
        await new.acquire("t", HOLDER)
    assert refused.value.cap == 1
    told = nodes.table("old", cap=2)
    assert await told.usage() == (1, 2)
    assert (await new.acquire("t", HOLDER)).used == 2


async def test_a_lower_cap_takes_nothing_from_who_is_in_and_lets_nobody_in(nodes: Nodes) -> None:
    # C01: until there is room, on every node
    cap = 3
    here = SlotTable(nodes.store(), node="a", limits=lambda: Limits(cap), clock=SystemClock(), lease_s=LONG_S)
    await here.open_epoch()
    for slot in ("s", "t", "u"):
        await here.acquire(slot, HOLDER)
    cap = 2
    assert here.holds("s")
    assert (await here.renew(["s", "t", "u"])).deadlines.keys() == {"s", "t", "u"}
    elsewhere = nodes.table("b", cap=3)
    assert await elsewhere.usage() == (3, 2)
    assert isinstance(await elsewhere.claim("u"), Moving), "a ticket that moves to another node keeps its slot"
    await here.let_go("u")
    assert isinstance(await elsewhere.claim("u"), Lease)
    for slot in ("s", "t"):
        with pytest.raises(SlotsTaken) as refused:
            await here.acquire("v", HOLDER)
        assert refused.value.cap == 2
        await here.release(slot)
    assert (await here.acquire("v", HOLDER)).used == 2


async def test_a_node_that_has_gone_no_longer_lowers_the_cap(nodes: Nodes) -> None:
    # C01
    await (await nodes.opened("gone", cap=1, lease_s=LEASE_S)).usage()
    new = nodes.table("new", cap=2, lease_s=LEASE_S)
    async with asyncio.timeout(10):
        while (await new.usage())[1] != 2:
            await asyncio.sleep(0.02)


async def test_nodes_with_different_leases_do_not_mix(nodes: Nodes) -> None:
    # C01
    a = await nodes.opened("a")
    await a.acquire("s", HOLDER)
    with pytest.raises(StateStoreUnavailable):
        await nodes.table("b", lease_s=LONG_S / 2).acquire("t", HOLDER)
    assert await a.usage() == (1, 10)


async def test_conventions_do_not_share_their_slots(nodes: Nodes) -> None:
    # C01
    here = await nodes.opened("a", cap=1)
    elsewhere = await Nodes(nodes.server, nodes.address, clients=nodes.clients).opened("a", cap=1)
    await here.acquire("s", HOLDER)
    assert (await elsewhere.acquire("s", HOLDER)).used == 1


async def test_a_holder_is_bounded(nodes: Nodes) -> None:
    a = await nodes.opened("a")
    with pytest.raises(ValueError, match="bytes"):
        await a.acquire("s", {"camera": "x" * MAX_HOLDER_BYTES})
    assert await a.usage() == (0, 10)


async def test_any_text_is_shown_of_a_holder_as_it_was_given(nodes: Nodes) -> None:
    a = await nodes.opened("a")
    info: HolderInfo = {"camera": 'é"\\\x00\ud800😀', "n": 1, "idle": False, "reference": None}
    await a.acquire("s", info)
    assert [holder.info for holder in await a.holders()] == [info]


@pytest.mark.parametrize("convention", ["", "a b", "{a}", "é", "x" * 65])
async def test_a_convention_is_named_plainly(nodes: Nodes, convention: str) -> None:
    with pytest.raises(ValueError, match="convention"):
        Nodes(nodes.server, nodes.address, convention, nodes.clients).store()
