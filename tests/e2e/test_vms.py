"""What a VMS does all day, against a whole gateway: its habits cost nothing and harm nobody (S13)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from auth.trace import Entry, Kind
from camera_registry.connections import Credentials
from halfgateway.control import rtsp_door
from halfgateway.protocol.sdp import parse
from halfgateway.relay.source import SourceKey
from tests.e2e.conftest import STEADY, Gateway, gateway, open_gateway, until
from tests.e2e.inventory import QUICK_FRAMES, record_of, simulated_camera
from tests.e2e.watching import Watcher
from tests.raw_player import Answer, RawPlayer

__all__ = ["gateway"]

CAP = 10
PROFILES = ("main", "sub")
DESCRIPTION = b"v=0\r\ns=-\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
AT_ONCE = 20
"""Cameras that the VMS asks about at the same time."""

MEMORY_GROWTH = 1.1
"""How much larger the process may be at the end: a leak of 1 kB a probe would be more."""


@dataclass(frozen=True, slots=True)
class Habits:
    """A VMS of ``cameras`` cameras that describes each every ``probe_s`` seconds, ``rounds`` times."""

    cameras: int
    probe_s: float
    rounds: int


GATE = Habits(cameras=100, probe_s=1.0, rounds=6)
GATE_MINUTE_S = 2.0
"""The gate's time runs thirty times faster: two probes in what stands for a minute."""

SOAK = Habits(cameras=500, probe_s=30.0, rounds=10)


@dataclass
class Exchange:
    """Stands before one simulated camera, and counts who dials it."""

    upstream: tuple[str, int]
    dials: int = 0
    port: int = 0
    open: int = 0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dials += 1
        self.open += 1
        upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
        await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
        self.open -= 1


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # one side is gone, and so shall be the other
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def exchange_before_a_camera() -> AsyncIterator[tuple[Exchange, str, Credentials]]:
    """The exchange, the camera's URL through it, and its credentials."""
    async with simulated_camera(frames=QUICK_FRAMES) as camera:
        camera.behaviour.session_limit = len(PROFILES) * CAP
        url = urlsplit(camera.rtsp_url)
        assert url.hostname is not None
        assert url.port is not None
        exchange = Exchange((url.hostname, url.port))
        server = await asyncio.start_server(exchange.connect, "127.0.0.1", 0)
        exchange.port = server.sockets[0].getsockname()[1]
        identity = camera.identity
        credentials = Credentials(username=identity.username, password=identity.password)
        try:
            yield exchange, url._replace(netloc=f"127.0.0.1:{exchange.port}").geturl(), credentials
        finally:
            server.close()
            await camera.stop()
            await until(lambda: exchange.open == 0)
            await server.wait_closed()


class Vms:
    """Knows cameras by name, and treats them as such a system does."""

    def __init__(self, gateway: Gateway, cameras: list[str]) -> None:
        self._gateway = gateway
        self._cameras = cameras
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def probe(self) -> None:
        """Describe both profiles of every camera, each camera on a connection of its own."""
        await asyncio.gather(*(self._probe(camera) for camera in self._cameras))

    async def probe_in_rounds(self, habits: Habits, players: list[Watcher]) -> None:
        """Probe again and again, and give every open stream a sign of life in between."""
        for _ in range(habits.rounds):
            next_s = time.monotonic() + habits.probe_s
            await self.probe()
            for player in players:
                answer = await player.ask("GET_PARAMETER", player.url(player.path), {"Session": player.session or ""})
                assert answer.status == 200, answer
            while (left_s := next_s - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, 0.05))

    async def open_all(self, players: AsyncExitStack) -> tuple[list[Watcher], list[Answer]]:
        """Open the main profile of every camera, as at its start: those that play, and the answers to the rest."""
        started = await asyncio.gather(*(self._open(camera, players) for camera in self._cameras))
        opened = [player for player, answer in started if answer.status == 200]
        return opened, [answer for _, answer in started if answer.status != 200]

    async def open_sub(self, main: Watcher, players: AsyncExitStack) -> Watcher:
        """The second profile of a camera that is watched already: the thumbnail beside the picture."""
        player, answer = await self._play(main.path.removesuffix("/main") + "/sub", players)
        assert answer.status == 200, answer
        return player

    async def _probe(self, camera: str) -> None:
        async with self._at_once, self._gateway.player(self._gateway.machine) as player:
            assert (await player.ask("OPTIONS", player.url(f"/live/{camera}"))).status == 200
            for profile in PROFILES:
                answer = await player.ask("DESCRIBE", player.url(f"/live/{camera}/{profile}"))
                assert answer.status == 200, answer

    async def _open(self, camera: str, players: AsyncExitStack) -> tuple[Watcher, Answer]:
        async with self._at_once:
            return await self._play(f"/live/{camera}/main", players)

    async def _play(self, path: str, players: AsyncExitStack) -> tuple[Watcher, Answer]:
        host, port = "127.0.0.1", self._gateway.node.endpoints.rtsp
        assert port is not None
        player = await players.enter_async_context(Watcher(host, port, self._gateway.machine, path=path))
        return player, await player.start()


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def register(gateway: Gateway, count: int, url: str, credentials: Credentials) -> list[str]:
    """Cameras that have once been described, as after a survey; they all stand behind one address."""
    names = [f"vms-{number:03}" for number in range(count)]
    for name in names:
        await gateway.node.records.cameras.upsert(record_of(name, url, credentials, profiles=PROFILES))
        for profile in PROFILES:
            gateway.node.control.descriptions.remember(SourceKey(name, profile), parse(DESCRIPTION))
    return names


def told_of(entries: list[Entry], kind: Kind, cameras: list[str]) -> Counter[str]:
    """How many entries of a kind there are of each camera."""
    wanted = set(cameras)
    return Counter(each.camera for each in entries if each.kind is kind and each.camera in wanted)


async def lead_a_day(gateway: Gateway, habits: Habits, minute_s: float) -> None:
    """Probe, open all at once, go on probing while ten play, and close: with what S13 says of it asserted."""
    async with exchange_before_a_camera() as (exchange, url, credentials), AsyncExitStack() as players:
        cameras = await register(gateway, habits.cameras, url, credentials)
        vms = Vms(gateway, cameras)
        began_s = time.monotonic()
        await vms.probe_in_rounds(Habits(habits.cameras, habits.probe_s, 2), [])
        gc.collect()
        memory, descriptors = rss_bytes(), len(os.listdir("/proc/self/fd"))
        await vms.probe_in_rounds(habits, [])

        assert exchange.dials == 0
        assert await gateway.slots_used() == 0
        gc.collect()
        assert rss_bytes() < memory * MEMORY_GROWTH
        await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
        minutes = (time.monotonic() - began_s) / minute_s
        described = told_of(await gateway.trace(), Kind.STREAM_DESCRIBED, cameras)
        assert set(described) == set(cameras)
        assert 2 <= min(described.values()) <= max(described.values()) <= minutes + 1
        assert not any(each.account is None for each in await gateway.trace() if each.kind is Kind.STREAM_DESCRIBED)

        playing, refused = await vms.open_all(players)
        assert Counter(answer.status for answer in refused) == {453: habits.cameras - CAP}
        assert {answer.header("x-refusal") for answer in refused} == {"cap-reached"}
        assert exchange.dials == CAP
        await asyncio.gather(*(player.delivers() for player in playing))
        subs = [await vms.open_sub(player, players) for player in playing]
        await asyncio.gather(*(player.delivers() for player in subs))
        assert await gateway.slots_used() == CAP
        assert exchange.dials == 2 * CAP

        await vms.probe_in_rounds(habits, [*playing, *subs])
        assert exchange.dials == 2 * CAP
        assert await gateway.slots_used() == CAP
        await asyncio.gather(*(player.delivers() for player in [*playing, *subs]))
        for player in [*playing, *subs]:
            assert (await player.stop()).status == 200
    await until(lambda: is_free(gateway))
    refusals = [each for each in await gateway.trace() if each.kind is Kind.STREAM_REFUSED and each.camera in cameras]
    assert sum(each.detail.get("repeated", 1) for each in refusals) == habits.cameras - CAP


async def is_free(gateway: Gateway) -> bool:
    return await gateway.slots_used() == 0


async def test_a_vms_describes_opens_and_probes_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # S13, C01, C02: thirty times faster than in use
    monkeypatch.setattr(rtsp_door, "DESCRIBED_EVERY_S", GATE_MINUTE_S)
    async with open_gateway(tmp_path / "demo", STEADY) as gateway:
        await lead_a_day(gateway, GATE, GATE_MINUTE_S)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_five_minutes_of_five_hundred_cameras(tmp_path: Path) -> None:
    # S13
    async with open_gateway(tmp_path / "demo", STEADY) as gateway:
        await lead_a_day(gateway, SOAK, rtsp_door.DESCRIBED_EVERY_S)


async def test_a_snapshot_is_media_and_comes_through_the_door(gateway: Gateway) -> None:
    # S13: one picture, again and again; each takes a slot, and gives it back
    async with exchange_before_a_camera() as (exchange, url, credentials):
        (camera,) = await register(gateway, 1, url, credentials)
        for _ in range(CAP + 1):
            async with gateway.player(gateway.machine) as player:
                await one_picture(player, f"/live/{camera}/main")
        requested = told_of(await gateway.trace(), Kind.STREAM_REQUESTED, [camera])
        assert requested[camera] == CAP + 1
        assert await gateway.slots_used() == 0
        assert exchange.dials == 1


async def one_picture(player: RawPlayer, path: str) -> None:
    assert (await player.set_up(path)).status == 200
    assert (await player.play(path)).status == 200
    await player.packets_until(1)
    assert (await player.tear_down(path)).status == 200
