"""Records in SQL: a node with each kind of database, and with one that is gone or stands still (failure table)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from auth.trace import Kind
from camera_registry.sql import TRANSACTION_LIMIT_S
from halfgateway.database import POOL_OVERFLOW, POOL_SIZE
from tests.databases import Kind as DatabaseKind
from tests.databases import databases
from tests.e2e.cluster import CAP, Cluster, open_cluster, two_nodes, until
from tests.e2e.nodes import Estate, ServedNode
from tests.e2e.watching import Watcher, most_at_once
from tests.postgresql import postgresql

SOON_S = 2 * (TRANSACTION_LIMIT_S + 2.0)
"""Twice what a database is waited for, and then its broken connection."""

CROWD = POOL_SIZE + POOL_OVERFLOW + 5

RECORDS_GONE = (503, "state-store-unavailable")


@pytest.fixture
def both(database_kind: DatabaseKind, tmp_path: Path) -> Iterator[tuple[Estate, list[ServedNode]]]:
    """Two nodes that share their records."""
    with two_nodes(tmp_path / "estate") as both:
        yield both


@pytest.fixture
async def cluster(both: tuple[Estate, list[ServedNode]]) -> AsyncIterator[Cluster]:
    async with open_cluster(*both) as cluster:
        yield cluster


async def all_deliver(players: list[Watcher]) -> None:
    assert [player.ended.is_set() for player in players] == [False] * len(players)
    await asyncio.gather(*(player.delivers() for player in players))


async def story_is_whole(node: ServedNode, streams: int) -> bool:
    told = await node.trace()
    stopped = {entry.stream for entry in told if entry.kind is Kind.STREAM_STOPPED}
    started = {entry.stream for entry in told if entry.kind is Kind.STREAM_STARTED}
    assert len(started) == streams
    return started <= stopped


async def test_without_sql_what_runs_goes_on_and_tickets_are_good(cluster: Cluster) -> None:
    # C10 T01: failure table, SQL down
    node, camera = cluster.nodes[0], cluster.estate.camera_ids[0]
    players = await cluster.playing(node, 4)
    waiting = await cluster.enter(node, await cluster.ticket(node, camera), camera)
    with databases.lost(cluster.estate.records):
        async with asyncio.timeout(SOON_S):
            assert await cluster.asked(node) == RECORDS_GONE
        assert (await waiting.start()).status == 200
        await all_deliver([*players, waiting])
        for player in (*players, waiting):
            assert (await player.stop()).status == 200
    await until(lambda: story_is_whole(node, 5))
    assert most_at_once(cluster.estate.watch) <= CAP


@pytest.mark.parametrize("lose", ["gone", "frozen"])
@pytest.mark.parametrize("database_kind", [DatabaseKind.POSTGRESQL], indirect=True)
async def test_nodes_on_one_postgresql_wait_for_it_no_longer_than_they_may_and_grant_again_once_it_is_back(
    cluster: Cluster, lose: str
) -> None:
    # C10 T01: failure table, SQL down; more ask than a node has connections for
    a, b = cluster.nodes
    players = [*await cluster.playing(a, 2), *await cluster.playing(b, 2)]
    records = cluster.estate.records
    with databases.lost(records) if lose == "gone" else postgresql().frozen():
        async with asyncio.timeout(SOON_S):
            answers = await asyncio.gather(*(cluster.asked(node) for node in (a, b) for _ in range(CROWD)))
        assert set(answers) == {RECORDS_GONE}
        await all_deliver(players)
    for node in (a, b):
        await until(lambda node=node: granted_by(cluster, node))
    await all_deliver(players)
    await cluster.players.aclose()
    await until(cluster.free)
    await cluster.grants_ten_and_no_more(b)


async def granted_by(cluster: Cluster, node: ServedNode) -> bool:
    status, _ = answer = await cluster.asked(node)
    assert status == 201 or answer == RECORDS_GONE
    return status == 201
