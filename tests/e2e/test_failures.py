"""What fails, row by row of the failure table: nothing new is granted, what runs goes on or closes, ten come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from auth.trace import Kind
from tests.e2e.cluster import CAP, WAIT_S, Cluster, open_cluster, two_nodes, until
from tests.e2e.nodes import LEASE_S, TIMINGS, Estate, ServedNode
from tests.e2e.watching import SKEW_S, Watcher

SOON_S = 12.0
"""What is bounded by two or three seconds, on a machine that is busy with other things."""

RENEW_S = TIMINGS["renew_s"]
USE_S = LEASE_S * 4 / 5
"""How long a node uses a lease that it cannot renew (halfgateway.control.slots)."""

STORE_GONE = (503, "state-store-unavailable")
TRACE_GONE = (503, "trace-unavailable")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Estate, list[ServedNode]]]:
    with two_nodes(tmp_path_factory.mktemp("estate")) as both:
        yield both


@pytest.fixture
async def cluster(both: tuple[Estate, list[ServedNode]]) -> AsyncIterator[Cluster]:
    async with open_cluster(*both) as cluster:
        yield cluster


async def all_ended(players: list[Watcher]) -> None:
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*(player.ended.wait() for player in players))


async def all_deliver(players: list[Watcher]) -> None:
    assert [player.ended.is_set() for player in players] == [False] * len(players)
    await asyncio.gather(*(player.delivers() for player in players))


async def stop(players: list[Watcher]) -> None:
    for player in players:
        assert (await player.stop()).status == 200


async def killed(cluster: Cluster) -> None:
    cluster.estate.valkey.kill()
    cluster.estate.valkey.start()


async def flushed(cluster: Cluster) -> None:
    await cluster.estate.valkey.flush()


@pytest.mark.parametrize("lose", [killed, flushed])
async def test_a_store_that_lost_its_leases_grants_nothing_for_one_lease_and_then_up_to_ten_again(
    cluster: Cluster, lose: Callable[[Cluster], Awaitable[None]]
) -> None:
    # C01: failure table, Valkey restarted empty
    a, b = cluster.nodes
    running = [*await cluster.playing(a, 4), *await cluster.playing(b, 4)]
    lost_s = time.monotonic()
    await lose(cluster)
    refusals = set()
    while (answer := await cluster.asked(b))[0] != 201:
        refusals.add(answer)
        await asyncio.sleep(0.05)
    assert LEASE_S - SKEW_S < time.monotonic() - lost_s < LEASE_S + SOON_S
    assert refusals == {STORE_GONE}
    await all_deliver(running)
    running += await cluster.playing(a, CAP - 8)
    assert await cluster.asked(b) == (409, "cap-reached")
    await cluster.ten_deliver()
    assert await cluster.estate.slots_used() == CAP
    await stop(running)


async def test_with_the_store_frozen_nothing_is_granted_and_what_runs_ends_with_its_lease(cluster: Cluster) -> None:
    # section 1.7; C01: failure table, Valkey down or partitioned
    a, b = cluster.nodes
    running = [*await cluster.playing(a, 5), *await cluster.playing(b, 5)]
    await cluster.ten_deliver()
    newcomer = await cluster.enter(a, cluster.estate.machine, cluster.estate.camera_ids[0])
    with cluster.estate.valkey.frozen():
        frozen_s = time.monotonic()
        assert await cluster.asked(a) == STORE_GONE
        assert (await newcomer.set_up(newcomer.path)).header("x-refusal") == STORE_GONE[1]
        assert time.monotonic() - frozen_s < 2 * SOON_S
        await all_ended(running)
        assert await cluster.asked(b) == STORE_GONE
    thawed_s = time.monotonic()
    for player in running:
        last_s = player.deliveries[-1].last_s
        assert frozen_s + (USE_S - RENEW_S) / 2 < last_s < frozen_s + LEASE_S + SKEW_S
    assert newcomer.media_packets == 0
    await until(cluster.grants)
    assert time.monotonic() - thawed_s < LEASE_S + SOON_S
    await cluster.grants_ten_and_no_more(b)
    causes = {entry.detail["cause"] for entry in (await a.trace())[-60:] if entry.kind is Kind.STREAM_STOPPED}
    assert "state-store-unavailable" in causes


async def test_a_node_frozen_for_longer_than_a_lease_delivers_nothing_more(cluster: Cluster) -> None:
    # C01: others may have its slots by then
    a, b = cluster.nodes
    frozen = await cluster.playing(a, CAP)
    await cluster.ten_deliver()
    with a.frozen():
        frozen_s = time.monotonic()
        while (await cluster.asked(b))[0] != 201:
            assert time.monotonic() - frozen_s < LEASE_S + SOON_S
        running = await cluster.playing(b, CAP)
    await all_ended(frozen)
    await cluster.ten_deliver()
    for player in frozen:
        assert player.deliveries[-1].last_s < frozen_s + SKEW_S
    await stop(running)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Not one block is left where the trace lies."""
    filler = folder / "filler.lock"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def folder_gone(folder: Path) -> Iterator[None]:
    """Somebody has moved the trace away."""
    away = folder.with_name("moved")
    folder.rename(away)
    try:
        yield
    finally:
        away.rename(folder)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of two megabytes under ``folder``."""
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("disk", "fail"), [(small_disk, full_disk), (contextlib.nullcontext, folder_gone)])
async def test_without_a_trace_nothing_plays_and_what_plays_stops(
    cluster: Cluster,
    disk: Callable[[Path], contextlib.AbstractContextManager[None]],
    fail: Callable[[Path], contextlib.AbstractContextManager[None]],
) -> None:
    # section 1.7; T01 T02: failure table, trace cannot be written
    node = cluster.estate.node(fail.__name__.replace("_", "-"))
    with disk(node.folder.trace):
        async with running(cluster, node):
            await lose_the_trace(cluster, node, fail)
        assert await asyncio.to_thread(node.verify) == 6


async def lose_the_trace(
    cluster: Cluster, node: ServedNode, fail: Callable[[Path], contextlib.AbstractContextManager[None]]
) -> None:
    players = await cluster.playing(node, 4)
    newcomer = await cluster.enter(node, cluster.estate.machine, cluster.estate.camera_ids[0])
    with fail(node.folder.trace):
        failed_s = time.monotonic()
        while await cluster.asked(node) != TRACE_GONE:
            assert time.monotonic() - failed_s < SOON_S
        answer = await newcomer.set_up(newcomer.path)
        assert (answer.status, answer.header("x-refusal")) == TRACE_GONE
        await all_ended(players)
        assert await cluster.asked(node) == TRACE_GONE
        async with cluster.http.get(f"{node.ready.http}/metrics") as answer:
            assert "halfgateway_trace_writable 0.0" in await answer.text()
        assert "CRITICAL halfgateway.control.enforcement trace.unwritable" in node.log()
    assert newcomer.media_packets == 0
    for player in players:
        assert player.deliveries[-1].last_s - failed_s < TIMINGS["trace_grace_s"] + SOON_S

    async def works_again() -> bool:
        return (await cluster.asked(node))[0] == 201

    await until(works_again)
    await cluster.grants_ten_and_no_more(node)

    async def told() -> bool:
        return await node.open_acts() == []

    await until(told)
    ended = [entry.detail for entry in await node.trace() if entry.kind is Kind.STREAM_STOPPED]
    assert sum(how["cause"] == TRACE_GONE[1] and how["packets"] > 0 for how in ended) == len(players)
    assert node.end() == 0


@contextlib.asynccontextmanager
async def running(cluster: Cluster, node: ServedNode) -> AsyncIterator[None]:
    try:
        await cluster.start(node)
        yield
    finally:
        node.kill()
