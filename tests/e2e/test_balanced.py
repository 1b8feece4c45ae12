"""Two nodes as a site runs them: behind haproxy with PROXY v2, one Valkey, one PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from auth.demo_authority import LOOPBACK_HOSTS
from auth.trace import Entry, Kind
from tests.databases import Kind as DatabaseKind
from tests.databases import databases
from tests.e2e.balancer import Balancer, addresses, balanced_nodes, needs_haproxy
from tests.e2e.cluster import CAP, WAIT_S, until
from tests.e2e.nodes import LEASE_S, OPERATOR, TIMINGS, Estate, ServedNode, estate
from tests.e2e.watching import Watcher, delivering_now, most_at_once
from tests.raw_player import Credentials

pytestmark = needs_haproxy

CLIENTS = [f"127.0.0.{host}" for host in range(2, 13)]
"""Eleven viewing sites."""

CUT_REACHES_BYTES = 1024 * 1024
"""What a player that reads nothing may find after a cut: up to half of it in this test's own buffers (TLS, stream,
kernel), the rest what the balancer had taken. A balancer as it comes would hold many times as much."""


@dataclass
class Site:
    """Two nodes behind their balancer, and who comes by it."""

    shared: Estate
    balancer: Balancer
    nodes: list[ServedNode]
    players: AsyncExitStack = field(default_factory=AsyncExitStack)
    token: str = ""

    async def call(self, source: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """One API call from ``source``, by the balancer."""
        connector = aiohttp.TCPConnector(local_addr=(source, 0), force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            if not self.token:
                self.token = await self._log_in(http)
            headers = {"Authorization": f"Bearer {self.token}"}
            url = f"{self.balancer.ready.https}/api/v1{path}"
            tls = self.balancer.trust(card=False)
            async with http.request(method, url, json=body, headers=headers, ssl=tls) as answer:
                text = await answer.text()
                return answer.status, json.loads(text) if text else {}

    async def _log_in(self, http: aiohttp.ClientSession) -> str:
        tls = self.balancer.trust(card=False)
        tls.load_cert_chain(self.shared.operator["certificate"], self.shared.operator["key"])
        body = {"id": OPERATOR, "password": self.shared.operator["password"]}
        async with http.post(f"{self.balancer.ready.https}/api/v1/login", json=body, ssl=tls) as answer:
            assert answer.status == 200, await answer.text()
            token: str = (await answer.json())["token"]
            return token

    async def ticket(self, source: str, camera: str) -> dict[str, Any]:
        status, ticket = await self.call(
            source, "POST", "/streams", {"camera": camera, "mode": "live", "reason": "L251-2-5"}
        )
        assert status == 201, ticket
        return ticket

    async def enter(self, source: str, camera: str, credentials: Credentials | None = None) -> Watcher:
        """A connected player: the machine, or the holder of a ticket."""
        player = self.balancer.watcher(credentials or self.shared.machine, camera, source)
        return await self.players.enter_async_context(player)

    async def plays(self, source: str, camera: str, credentials: Credentials | None = None) -> Watcher:
        player = await self.enter(source, camera, credentials)
        answer = await player.start()
        assert answer.status == 200, answer
        await player.delivers()
        return player

    async def entries(self, kind: Kind) -> list[Entry]:
        return [entry for node in self.nodes for entry in await node.trace() if entry.kind is kind]

    async def free(self) -> bool:
        return await self.shared.slots_used() == 0

    async def grants(self) -> bool:
        """Whether the store, which was new, is trusted again: nothing is granted for one lease."""
        wish = {"camera": self.shared.camera_ids[0], "mode": "live", "reason": "L251-2-5"}
        status, ticket = await self.call("127.0.0.1", "POST", "/streams", wish)
        if status == 201:
            assert (await self.call("127.0.0.1", "DELETE", f"/streams/{ticket['id']}"))[0] == 204
        return status == 201

    async def is_ready(self) -> bool:
        """Whether every node knows its cameras and the balancer has seen that it is ready."""
        try:
            for _ in self.nodes:  # the one that has fewer connections is asked: each in turn
                _, page = await self.call("127.0.0.1", "GET", "/cameras")
                if [camera["state"] for camera in page["items"]] != ["available"] * len(self.shared.cameras):
                    return False
        except OSError:
            return False
        log = self.balancer.log()
        return all(log.rfind(f"streams/{name} is UP") >= log.rfind(f"streams/{name} is DOWN") for name in "ab")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Estate, Balancer, list[ServedNode]]]:
    folder = tmp_path_factory.mktemp("site")
    with databases.using(DatabaseKind.POSTGRESQL), estate(folder, TIMINGS) as shared:
        shared.authority.server(datetime.now(UTC), [*LOOPBACK_HOSTS, addresses()[0]])
        with balanced_nodes(shared) as (balancer, nodes):
            yield shared, balancer, nodes


@asynccontextmanager
async def open_site(shared: Estate, balancer: Balancer, nodes: list[ServedNode]) -> AsyncIterator[Site]:
    shared.watch.clear()
    site = Site(shared, balancer, nodes)
    started = [node for node in nodes if not node.runs]
    for node in started:
        node.start()
    if not balancer.runs:
        balancer.start()
    await until(site.is_ready)
    await until(site.grants)
    await until(site.free)
    try:
        async with site.players:
            yield site
    finally:
        print(f"--- balancer ---\n{balancer.log()[-3000:]}")
        for node in nodes:
            print(f"--- {node.name} ---\n{node.log()[-3000:]}")
    await until(site.free)


@pytest.fixture
async def site(both: tuple[Estate, Balancer, list[ServedNode]]) -> AsyncIterator[Site]:
    async with open_site(*both) as opened:
        yield opened


async def test_of_eleven_streams_ten_play_and_the_trace_names_their_clients(site: Site) -> None:
    # C01, T1
    cameras = site.shared.camera_ids
    players = []
    for number, source in enumerate(CLIENTS[:CAP]):
        credentials, camera = None, cameras[number % 3]
        if number % 2:
            ticket = await site.ticket(source, camera)
            assert ticket["rtsps_url"].startswith(site.balancer.ready.rtsps)
            credentials = Credentials(ticket["username"], ticket["password"])
        players.append(await site.plays(source, camera, credentials))
    eleventh = await site.enter(CLIENTS[CAP], cameras[0])
    assert (await eleventh.set_up(eleventh.path)).status == 453

    async def ten_deliver() -> bool:
        return delivering_now(site.shared.watch) >= CAP <= most_at_once(site.shared.watch)

    await until(ten_deliver)
    assert most_at_once(site.shared.watch) == CAP

    for kind in (Kind.STREAM_REQUESTED, Kind.STREAM_STARTED):
        assert {entry.source for entry in await site.entries(kind)} >= set(CLIENTS[:CAP]), kind
    (refused,) = [entry for entry in await site.entries(Kind.STREAM_REFUSED) if entry.source != "127.0.0.1"]
    assert (refused.source, refused.refusal) == (CLIENTS[CAP], "cap-reached")
    per_node = [len([e for e in await node.trace() if e.kind is Kind.STREAM_STARTED]) for node in site.nodes]
    assert min(per_node) > 0, per_node  # both were used
    told = {entry.source for node in site.nodes for entry in await node.trace() if entry.source and entry.stream}
    assert told - {"127.0.0.1"} == set(CLIENTS)
    for player in players:
        assert (await player.stop()).status == 200


async def test_a_node_that_is_killed_leaves_its_players_to_the_other(site: Site) -> None:
    # C01: its slots come back within a lease; who comes again is served by the other at once
    dying, living = site.nodes
    camera = site.shared.camera_ids[0]
    players = [await site.plays(source, camera) for source in CLIENTS[:4]]
    dying.kill()
    ended = [player for player in players if player.ended.is_set() or not await lives(player)]
    assert 0 < len(ended) < len(players)
    again = [await site.plays(player.source or "", camera) for player in ended]
    assert len(again) == len(ended)
    sources = [entry.source for entry in await living.trace() if entry.kind is Kind.STREAM_STARTED]
    assert {player.source for player in ended} <= set(sources)
    for player in [*again, *(player for player in players if player not in ended)]:
        assert (await player.stop()).status == 200

    async def slots_are_back() -> bool:
        return await site.shared.slots_used() == 0

    await until(slots_are_back, WAIT_S + LEASE_S)


async def lives(player: Watcher) -> bool:
    """Whether a player is still sent pictures; one whose node has died is soon told."""
    try:
        await player.delivers()
    except ConnectionResetError:
        return False
    return True


async def test_nodes_that_are_not_ready_still_say_why(site: Site) -> None:
    # fail closed, the failure table: 503 and its reason, where a balancer alone would hang up
    player = await site.enter(CLIENTS[0], site.shared.camera_ids[0])
    with site.shared.valkey.frozen():

        async def none_is_ready() -> bool:
            return site.balancer.log().count("backend 'streams' has no server available") > downs

        downs = site.balancer.log().count("backend 'streams' has no server available")
        await until(none_is_ready)
        newcomer = await site.enter(CLIENTS[1], site.shared.camera_ids[0])
        answer = await newcomer.set_up(newcomer.path)
        assert (answer.status, answer.header("x-refusal")) == (503, "state-store-unavailable")
        assert (await player.ask("OPTIONS", "*")).status == 200  # who was connected still is


async def test_a_cut_is_not_outlived_by_what_the_balancer_holds(site: Site) -> None:
    # C10, T3: what the balancer and its kernel hold is little, and is dropped when the node resets
    camera = site.shared.camera_ids[0]
    prompt = await site.plays(CLIENTS[0], camera)
    slow = await site.players.enter_async_context(site.balancer.player(site.shared.machine, CLIENTS[1]))
    path = f"/live/{camera}"
    assert (await slow.set_up(path)).status == 200
    assert (await slow.play(path)).status == 200
    await slow.packets_until(1)
    slow.pause_reading()

    async def is_held_back() -> bool:
        return any("readers.slow" in node.log() for node in site.nodes)

    await until(is_held_back, 2 * WAIT_S)
    said = await run(site.nodes[0], "cut", "--ground", "maintenance", "--reason", "essai", "--json")
    async with asyncio.timeout(WAIT_S):
        await prompt.ended.wait()
    before_bytes = len(slow.captured)
    slow.resume_reading()
    ended = await slow.read_to_end()
    after_bytes = len(slow.captured) - before_bytes
    print(f"after the cut: {after_bytes} bytes, {ended}")
    assert after_bytes < CUT_REACHES_BYTES
    newcomer = await site.enter(CLIENTS[1], camera)
    answer = await newcomer.set_up(newcomer.path)
    assert (answer.status, answer.header("x-refusal")) == (503, "interconnection-cut")
    await run(site.nodes[0], "restore", "--incident", json.loads(said)["incident"], "--reason", "essai")


async def run(node: ServedNode, *arguments: str) -> bytes:
    """One of the node's commands."""
    command = [sys.executable, "-m", "halfgateway", *arguments, "--config", str(node.config)]
    pipe, nobody = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL  # a terminal would be asked
    running = await asyncio.create_subprocess_exec(*command, stdin=nobody, stdout=pipe)
    said, _ = await running.communicate()
    assert running.returncode == 0
    return said
