"""The cap as a property: whatever nodes do and the store suffers, never more slots in use than the convention has."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from halfgateway.control.holders import SlotsTaken
from halfgateway.control.slots import Heir, Lease, SlotTable
from halfgateway.errors import StateStoreUnavailable
from halfgateway.net.valkey import EmbeddedValkey
from tests.control.valkeys import Nodes

CAP = 3
LEASE_S = 0.25
NODES = st.sampled_from(["a", "b", "c"])
SLOTS = st.sampled_from([f"s{n}" for n in range(7)])

T = TypeVar("T")


async def _await(act: Awaitable[T]) -> T:
    return await act


class Cap(RuleBasedStateMachine):
    """Three nodes and seven wishes for three slots. ``in_use``: what each node may deliver, until when."""

    server: ClassVar[EmbeddedValkey]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.in_use: dict[tuple[str, str], float] = {}
        self.nodes = Nodes(self.server, self.run(self.server.start()))
        self.tables = {node: self.table(node) for node in ("a", "b", "c")}

    def run(self, act: Awaitable[T]) -> T:
        return self.runner.run(_await(act))

    def table(self, node: str) -> SlotTable:
        return self.nodes.table(node, cap=CAP, lease_s=LEASE_S)

    def has(self, node: str, lease: Lease) -> None:
        self.in_use[node, lease.slot_id] = lease.deadline

    @initialize(owner=NODES)
    def begin(self, owner: str) -> None:
        self.run(self.tables[owner].open_epoch())

    @rule(node=NODES, slot=SLOTS)
    def acquire(self, node: str, slot: str) -> None:
        with contextlib.suppress(SlotsTaken, StateStoreUnavailable):
            self.has(node, self.run(self.tables[node].acquire(slot, {"mode": "live"})))

    @rule(slots=st.sets(SLOTS, min_size=4))
    def rush(self, slots: set[str]) -> None:
        """Everyone at once, each node for its own share."""

        async def all_at_once() -> list[tuple[str, Lease | BaseException]]:
            wishes = [("abc"[n % 3], slot) for n, slot in enumerate(sorted(slots))]
            asked = (self.tables[node].acquire(slot, {"mode": "live"}) for node, slot in wishes)
            answers = await asyncio.gather(*asked, return_exceptions=True)
            return [(node, answer) for (node, _), answer in zip(wishes, answers, strict=True)]

        for node, answer in self.run(all_at_once()):
            if isinstance(answer, Lease):
                self.has(node, answer)
            else:
                assert isinstance(answer, SlotsTaken | StateStoreUnavailable)

    @rule(node=NODES)
    def renew(self, node: str) -> None:
        mine = [slot for (holder, slot) in self.in_use if holder == node]
        renewal = self.run(self.tables[node].renew(mine))
        assert renewal.used <= CAP
        assert {*renewal.deadlines} | renewal.lost | renewal.moved == set(mine)
        for slot in mine:
            del self.in_use[node, slot]
        self.in_use |= {(node, slot): deadline for slot, deadline in renewal.deadlines.items()}
        for slot in renewal.moved:
            self.run(self.tables[node].let_go(slot))

    @rule(node=NODES, slot=SLOTS)
    def claim(self, node: str, slot: str) -> None:
        with contextlib.suppress(StateStoreUnavailable):
            claimed = self.run(self.tables[node].claim(slot))
            if isinstance(claimed, Lease):
                self.has(node, claimed)

    @rule(node=NODES, slot=SLOTS)
    def release(self, node: str, slot: str) -> None:
        self.in_use.pop((node, slot), None)
        self.run(self.tables[node].release(slot))

    @rule(node=NODES, slot=SLOTS, to=NODES, heir=SLOTS)
    def bequeath(self, node: str, slot: str, to: str, heir: str) -> None:
        self.in_use.pop((node, slot), None)
        with contextlib.suppress(StateStoreUnavailable):
            if self.run(self.tables[node].bequeath(slot, Heir(heir, to, {"mode": "live"}, 0))):
                self.acquire(to, heir)

    @rule(node=NODES)
    def node_restarts(self, node: str) -> None:
        """A process that is gone uses nothing; the one after it bears its name and remembers nothing."""
        self.in_use = {key: until for key, until in self.in_use.items() if key[0] != node}
        self.tables[node] = self.table(node)

    @rule(part=st.integers(1, 4))
    def time_passes(self, part: int) -> None:
        self.run(asyncio.sleep(part * LEASE_S / 4))

    @rule()
    def store_is_emptied(self) -> None:
        self.run(self.nodes.clients[0].flushall())

    @rule(key=st.sampled_from(["leases", "records", "epoch", "nodes"]))
    def store_evicts(self, key: str) -> None:
        store = self.nodes.store()
        self.run(store.client.delete(store.key(key)))

    @rule()
    def store_is_killed_and_started(self) -> None:
        self.run(self.nodes.killed())
        self.run(self.server.start())

    @invariant()
    def no_more_than_the_cap(self) -> None:
        now = time.monotonic()
        delivered = [key for key, until in self.in_use.items() if now < until]
        assert len(delivered) <= CAP, self.in_use

    def teardown(self) -> None:
        """When all have let go, the whole cap can be had again, after a hold and a lease at most."""
        self.run(self.whole_cap_again())
        self.run(self.nodes.aclose())

    async def whole_cap_again(self) -> None:
        last = self.table("last")
        had = 0
        async with asyncio.timeout(40 * LEASE_S):
            while had < CAP:
                try:
                    await last.acquire(f"last{had}", {"mode": "live"})
                    had += 1
                except (SlotsTaken, StateStoreUnavailable):
                    await last.renew([f"last{n}" for n in range(had)])
                    await asyncio.sleep(LEASE_S / 10)


@pytest.fixture
def server() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="hg-") as folder, asyncio.Runner() as runner:
        Cap.server, Cap.runner = EmbeddedValkey(Path(folder)), runner
        yield
        runner.run(Cap.server.stop())


@pytest.mark.usefixtures("server")
def test_never_more_than_the_cap_and_always_the_cap_again() -> None:
    # C01
    few = settings(max_examples=15, stateful_step_count=25, deadline=None, database=None)
    run_state_machine_as_test(Cap, settings=few)
