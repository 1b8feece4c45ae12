"""Two nodes of one convention, and what can be asked of them and said of them from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from tests.e2e.nodes import TIMINGS, Estate, ServedNode, estate
from tests.e2e.watching import Watcher, delivering_now, most_at_once
from tests.raw_player import Credentials

CAP = 10
WAIT_S = 30.0
LOG_CHARS = 6000
"""What pytest shows of each node's log when a test has failed."""


async def until(condition: Callable[[], Awaitable[bool]], limit_s: float = WAIT_S) -> None:
    """Wait until a coroutine function says yes."""
    async with asyncio.timeout(limit_s):
        while not await condition():
            await asyncio.sleep(0.05)


class Cluster:
    """Nodes and their players. What a test opens is closed at its end."""

    def __init__(self, shared: Estate, nodes: Sequence[ServedNode], http: aiohttp.ClientSession) -> None:
        self.estate = shared
        self.nodes = nodes
        self.http = http
        self.players = AsyncExitStack()

    async def start(self, node: ServedNode) -> None:
        """Start a node and wait until it knows every camera."""
        node.start()

        async def knows_cameras() -> bool:
            _, page, _ = await self.estate.call(node, self.http, "GET", "/cameras")
            return [camera["state"] for camera in page["items"]] == ["available"] * len(self.estate.cameras)

        await until(knows_cameras)

    async def enter(self, node: ServedNode, credentials: Credentials, camera: str) -> Watcher:
        """A connected player."""
        return await self.players.enter_async_context(node.watcher(credentials, camera))

    async def ticket(self, node: ServedNode, camera: str) -> Credentials:
        return await self.estate.ticket(node, self.http, camera)

    async def asked(self, node: ServedNode) -> tuple[int, str]:
        """Ask for a ticket and give it up: the status, and the reason code where it is refused."""
        status, answer, _ = await self.estate.ask(node, self.http, self.estate.camera_ids[0])
        if status != 201:
            return status, answer["type"].rpartition(":")[2]
        await self.estate.call(node, self.http, "DELETE", f"/streams/{answer['id']}?reason=essai")
        return status, ""

    async def playing(self, node: ServedNode, count: int) -> list[Watcher]:
        """So many streams that deliver, half of them by ticket and half by machine account."""
        players = []
        for number in range(count):
            camera = self.estate.camera_ids[number % 3]
            credentials = await self.ticket(node, camera) if number % 2 else self.estate.machine
            player = await self.enter(node, credentials, camera)
            answer = await player.start()
            assert answer.status == 200, answer
            players.append(player)
        await asyncio.gather(*(player.delivers() for player in players))
        return players

    async def ten_deliver(self) -> None:
        """Wait until the players have seen ten deliver at once; more have never been seen."""
        await until(self._seen_ten)
        assert most_at_once(self.estate.watch) == CAP

    async def grants_ten_and_no_more(self, node: ServedNode) -> None:
        """Ten can be had, and the eleventh is refused."""
        players = await self.playing(node, CAP)
        await self.ten_deliver()
        assert await self.asked(node) == (409, "cap-reached")
        for player in players:
            assert (await player.stop()).status == 200

    async def grants(self) -> bool:
        return (await self.asked(self.nodes[0]))[0] == 201

    async def free(self) -> bool:
        return await self.estate.slots_used() == 0

    async def nothing_open(self) -> bool:
        """Whether each intent in the traces has its result."""
        return not any([await node.open_acts() for node in self.nodes if node.runs])

    async def _seen_ten(self) -> bool:
        return delivering_now(self.estate.watch) >= CAP <= most_at_once(self.estate.watch)


@contextlib.contextmanager
def two_nodes(folder: Path, timings: dict[str, float] = TIMINGS) -> Iterator[tuple[Estate, list[ServedNode]]]:
    """Two nodes, configured; killed at the end if they still run."""
    with estate(folder, timings) as shared:
        nodes = [shared.node("a"), shared.node("b")]
        try:
            yield shared, nodes
        finally:
            for node in nodes:
                node.kill()


@contextlib.asynccontextmanager
async def open_cluster(shared: Estate, nodes: Sequence[ServedNode]) -> AsyncIterator[Cluster]:
    """The nodes running and no slot in use; at the end none is in use again, and each intent has its result (T02)."""
    shared.watch.clear()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        cluster = Cluster(shared, nodes, http)
        for node in nodes:
            if not node.runs:
                await cluster.start(node)
        await until(cluster.grants)
        await until(cluster.free)
        try:
            async with cluster.players:
                yield cluster
        finally:
            for node in nodes:
                print(f"--- {node.name} ---\n{node.log()[-LOG_CHARS:]}")
        await until(cluster.free)
        await until(cluster.nothing_open)
