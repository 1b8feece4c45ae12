"""The numbers that the prefecture's side may rely on, waited for as they are in use (ADR 2, Numbers)."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from halfgateway.control.slots import LEASE_S
from halfgateway.control.streams import Timings
from tests.e2e.cluster import CAP, Cluster, open_cluster, two_nodes, until
from tests.e2e.nodes import Estate, ServedNode
from tests.e2e.watching import Watcher, most_at_once

DEFAULTS = Timings()

SLACK_S = 6.0
"""What the waiting itself may add: a sweep, a question, a busy machine."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Estate, list[ServedNode]]]:
    with two_nodes(tmp_path_factory.mktemp("estate"), timings={}) as both:
        yield both


@pytest.fixture
async def cluster(both: tuple[Estate, list[ServedNode]]) -> AsyncIterator[Cluster]:
    async with open_cluster(*both) as cluster:
        yield cluster


async def seconds_until(condition: Callable[[], Awaitable[bool]], limit_s: float) -> float:
    began_s = time.monotonic()
    await until(condition, limit_s)
    return time.monotonic() - began_s


async def granted_by(cluster: Cluster, node: ServedNode) -> bool:
    return (await cluster.asked(node))[0] == 201


async def test_a_vanished_client_keeps_its_slot_for_twenty_seconds(cluster: Cluster) -> None:
    # C01
    node = cluster.nodes[0]
    for player in await cluster.playing(node, CAP):
        player.vanish()
    waited_s = await seconds_until(lambda: granted_by(cluster, node), DEFAULTS.resume_s + SLACK_S)
    print(f"a vanished client's slot was free after {waited_s:.1f} s")
    assert DEFAULTS.resume_s == 20
    assert waited_s > DEFAULTS.resume_s - SLACK_S
    await until(cluster.free, SLACK_S)
    await cluster.grants_ten_and_no_more(node)


async def test_a_ticket_that_is_not_played_keeps_its_slot_for_thirty_seconds(cluster: Cluster) -> None:
    # C01, T2
    a, b = cluster.nodes
    for number in range(CAP):
        await cluster.ticket((a, b)[number % 2], cluster.estate.camera_ids[number % 3])
    waited_s = await seconds_until(lambda: granted_by(cluster, b), DEFAULTS.play_before_s + SLACK_S)
    print(f"an unplayed ticket's slot was free after {waited_s:.1f} s")
    assert DEFAULTS.play_before_s == 30
    assert waited_s > DEFAULTS.play_before_s - SLACK_S


async def test_a_machine_that_does_not_play_keeps_its_slot_for_ten_seconds(cluster: Cluster) -> None:
    # C01, T2: SETUP without PLAY
    node = cluster.nodes[0]
    for number in range(CAP):
        player = await cluster.enter(node, cluster.estate.machine, cluster.estate.camera_ids[number % 3])
        assert (await player.set_up(player.path)).status == 200
    waited_s = await seconds_until(lambda: granted_by(cluster, node), DEFAULTS.setup_to_play_s + SLACK_S)
    print(f"a slot that was set up and not played was free after {waited_s:.1f} s")
    assert DEFAULTS.setup_to_play_s == 10
    assert waited_s > DEFAULTS.setup_to_play_s - SLACK_S


async def test_a_killed_node_gives_its_ten_back_within_a_lease(cluster: Cluster) -> None:
    # C01: failure table, node killed
    a, b = cluster.nodes
    await cluster.playing(a, CAP)
    assert await cluster.asked(b) == (409, "cap-reached")
    a.kill()
    waited_s = await seconds_until(lambda: granted_by(cluster, b), LEASE_S + SLACK_S)
    print(f"a killed node's first slot was free after {waited_s:.1f} s")
    assert LEASE_S == 15
    await until(cluster.free, LEASE_S + SLACK_S - waited_s)  # each was last renewed at its own instant
    await cluster.grants_ten_and_no_more(b)


async def test_a_ticket_of_a_killed_node_plays_on_the_other_within_a_lease(cluster: Cluster) -> None:
    # C01, S15
    (a, b), camera = cluster.nodes, cluster.estate.camera_ids[0]
    ticket = await cluster.ticket(a, camera)
    assert (await (await cluster.enter(a, ticket, camera)).start()).status == 200
    a.kill()
    came_back: list[Watcher] = []

    async def plays_again() -> bool:
        player = await cluster.enter(b, ticket, camera)
        answer = await player.start()
        assert answer.status in {200, 503}, answer
        came_back.append(player)
        return answer.status == 200

    waited_s = await seconds_until(plays_again, LEASE_S + SLACK_S)
    print(f"a killed node's ticket played on the other one after {waited_s:.1f} s")
    await came_back[-1].delivers()


async def test_an_emptied_store_grants_nothing_for_a_lease_and_what_plays_goes_on(cluster: Cluster) -> None:
    # C01: failure table, Valkey emptied
    a, b = cluster.nodes
    players = [*await cluster.playing(a, 5), *await cluster.playing(b, 4)]
    await cluster.estate.valkey.flush()
    waited_s = await seconds_until(lambda: granted_by(cluster, b), LEASE_S + SLACK_S)
    print(f"an emptied store granted again after {waited_s:.1f} s")
    assert waited_s > LEASE_S - SLACK_S
    await asyncio.gather(*(player.delivers() for player in players))
    assert not any(player.ended.is_set() for player in players)
    assert most_at_once(cluster.estate.watch) <= CAP


async def test_with_the_store_frozen_what_plays_ends_when_its_lease_would(cluster: Cluster) -> None:
    # C01: failure table, Valkey down
    players = await cluster.playing(cluster.nodes[0], CAP)
    began_s = time.monotonic()
    cluster.estate.valkey.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(LEASE_S + SLACK_S):
            await asyncio.gather(*(player.ended.wait() for player in players))
        print(f"streams ended {time.monotonic() - began_s:.1f} s after the store froze")
    finally:
        cluster.estate.valkey.signal(signal.SIGCONT)
