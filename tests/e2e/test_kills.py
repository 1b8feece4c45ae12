"""kill -9 at any instant of a node that serves players: no media without its intent on disk, no intent without its
result after the next start, and slots that come back within a lease (T01, T02, C01; failure table)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from auth.trace import Entry, Kind, Status, verify_folder
from auth.trace.acts import open_streams
from auth.trace.reader import TraceReader
from tests.conftest import uncounted_environment
from tests.e2e.nodes import START_LIMIT_S, TIMINGS, Estate, Ready, ServedNode, estate
from tests.e2e.watching import SKEW_S
from tests.raw_player import Credentials, RawPlayer

KILLS = 20
"""In the gate; ``KILLS`` in the environment says how many ``make soak`` does."""

SOAK_KILLS = 10_000
VERIFIED_EVERY = 500
LEASE_S = 2.0
PLAYERS = 2
BEFORE_READY = 0.2
"""How many of the kills come before the node says that it is ready: while it recovers, above all."""

STARTING_S = 0.5
SERVING_S = 0.5
"""Within which a kill comes, at a random instant: a player needs a tenth of it for its first picture."""

Watched = tuple[str, str]
"""How the intent of who saw a picture is known: by the ticket's stream, or by the address that only they came from."""


@dataclass
class Mortal:
    """A node, life after life, and what its trace has told since it was last asked."""

    node: ServedNode
    lines: StreamReader
    orders: StreamWriter
    pid: int = 0
    size: int = 0
    watched: set[Watched] = field(default_factory=set)
    crashed: int = 0

    async def begin(self) -> None:
        self.orders.write(b"live\n")
        self.pid = int(await self._line())

    async def serves(self) -> None:
        said: dict[str, Any] = json.loads(await self._line())
        self.node.ready = Ready(said["http"], said["https"], said["rtsp"])

    async def end(self, number: signal.Signals) -> None:
        """Send it a signal and wait until it is gone."""
        os.kill(self.pid, number)
        while await self._line() != "dead":
            pass

    async def check(self) -> None:
        """What was watched in the lives before this one is in their trace, and every intent has its result."""
        entries = await self._new_entries()
        (*_, started) = (index for index, entry in enumerate(entries) if entry.kind is Kind.NODE_STARTED)
        past = entries[:started]
        requested = [entry for entry in past if entry.kind is Kind.STREAM_REQUESTED]
        intended = {("stream", entry.stream) for entry in requested} | {("source", entry.source) for entry in requested}
        assert self.watched <= intended
        assert open_streams(past) == []
        self.crashed += sum(entry.detail.get("cause") == "node-crashed" for entry in past)
        self.watched.clear()
        self.size += started

    async def _new_entries(self) -> list[Entry]:
        reader, cursor, entries = TraceReader.of(self.node.folder.trace, self.node.name), None, list[Entry]()
        while True:
            page = await reader.entries(limit=100, cursor=cursor)
            entries += page.items
            if page.next is None or page.items[-1].n < self.size:
                return [entry for entry in entries[::-1] if entry.n >= self.size]
            cursor = page.next

    async def _line(self) -> str:
        async with asyncio.timeout(START_LIMIT_S):
            line = await self.lines.readline()
        assert line, self.node.log()[-3000:]
        return line.decode().strip()


@contextlib.asynccontextmanager
async def mortal(house: Estate) -> AsyncIterator[Mortal]:
    node = house.node("a")
    command = (sys.executable, "-m", "tests.e2e.killed_node", str(node.config))
    with (house.folder / "a.log").open("ab") as log:
        keeper = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=log, env=uncounted_environment()
        )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    being = Mortal(node, keeper.stdout, keeper.stdin)
    try:
        yield being
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(being.pid, signal.SIGKILL)
        keeper.stdin.close()
        await keeper.wait()


class Players:
    """Those who come as long as the node lives: by the machine's account and by tickets, each from its own address."""

    def __init__(self, being: Mortal, house: Estate, http: aiohttp.ClientSession, chance: random.Random) -> None:
        self._being, self._house, self._http, self._chance = being, house, http, chance
        self._addresses = self._every_address()

    @contextlib.asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        """Players come one after the other, until this is left."""
        coming = [asyncio.create_task(self._come(by_ticket=number == 0)) for number in range(PLAYERS)]
        yield
        for task in coming:
            task.cancel()
        ended = await asyncio.gather(*coming, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError | OSError | EOFError) for each in ended), ended

    async def _come(self, *, by_ticket: bool) -> None:
        camera = self._house.camera_ids[0]
        for address in self._addresses:
            if by_ticket:
                try:
                    status, ticket, _ = await self._house.ask(self._being.node, self._http, camera)
                except aiohttp.ClientError as error:
                    raise ConnectionResetError from error
                if status == 201:
                    credentials = Credentials(ticket["username"], ticket["password"])
                    await self._play(camera, credentials, address, ("stream", ticket["id"]))
            else:
                await self._play(camera, self._house.machine, address, ("source", address))
            await asyncio.sleep(0.01)

    async def _play(self, camera: str, credentials: Credentials, address: str, watched: Watched) -> None:
        """SETUP, PLAY, some packets; TEARDOWN, or not."""
        path = f"/live/{camera}"
        async with RawPlayer(*self._being.node.ready.rtsp_address, credentials, source=address) as player:
            try:
                if (await player.set_up(path)).status != 200 or (await player.play(path)).status != 200:
                    return
                await player.packets_until(self._chance.randrange(1, 10))
                if self._chance.random() < 0.7:
                    await player.tear_down(path)
            finally:
                if any(channel == 0 for channel, _, _ in player.packets):
                    self._being.watched.add(watched)

    @staticmethod
    def _every_address() -> Iterator[str]:
        """Addresses of this machine that nobody else comes from."""
        for number in itertools.count(1):
            yield f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path / "estate", TIMINGS | {"lease_s": LEASE_S, "renew_s": LEASE_S / 8}) as house:
        yield house


async def kill_again_and_again(house: Estate, kills: int) -> None:
    chance, killed, early, died_s = random.Random(kills), 0, 0, 0.0
    async with mortal(house) as being, aiohttp.ClientSession() as http:
        players = Players(being, house, http, chance)
        await being.begin()
        await being.serves()
        async with players.around(), asyncio.timeout(START_LIMIT_S):
            while not being.watched:  # a camera is known once it has been asked
                await asyncio.sleep(0.02)
        while killed < kills:
            async with players.around():
                await asyncio.sleep(chance.uniform(0, SERVING_S))
                await being.end(signal.SIGKILL)
            killed, died_s = killed + 1, time.monotonic()
            await being.begin()
            while killed < kills and chance.random() < BEFORE_READY:
                await asyncio.sleep(chance.uniform(0, STARTING_S))
                await being.end(signal.SIGKILL)
                killed, early = killed + 1, early + 1
                await being.begin()
            await being.serves()
            await being.check()
            if killed % VERIFIED_EVERY == 0:
                assert verify_folder(being.node.folder.trace).entries >= being.size
        while await house.slots_used():
            assert time.monotonic() - died_s < LEASE_S + SKEW_S
            await asyncio.sleep(0.02)
        assert early
        assert being.crashed >= kills // 4, "most of those who were served were served to the end"
        await being.end(signal.SIGTERM)
    assert verify_folder(being.node.folder.trace).status is Status.UNANCHORED


async def test_whenever_a_node_is_killed_its_trace_says_who_watched_and_that_it_ended(house: Estate) -> None:
    # T01, T02, C01
    await kill_again_and_again(house, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
async def test_ten_thousand_times(house: Estate) -> None:
    # T01, T02, C01
    await kill_again_and_again(house, int(os.environ.get("KILLS", SOAK_KILLS)))
