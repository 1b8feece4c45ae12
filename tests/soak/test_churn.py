"""What opens and closes all day must not grow: weeks of connections in minutes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from camera_registry.connections import Credentials as CameraCredentials
from tests.e2e.conftest import SWIFT, Gateway, credentials_of, open_gateway, until
from tests.e2e.holdings import at_rest, descriptors, descriptors_at_rest, resident_kib, settled, tasks
from tests.e2e.inventory import QUICK_FRAMES, record_of, record_of_simulated, simulated_camera

CYCLES, DESCRIPTIONS = 40_000, 10_000
"""T11."""

CYCLES_OF_THE_GATE, DESCRIPTIONS_OF_THE_GATE = 2_000, 500

WARM_UP = 500
"""Cycles after which every pool, cache and table is as large as it gets."""

AT_ONCE = 5
"""Half of the convention's streams: the other half are those whose players have just vanished."""

TICKET_EVERY, VANISH_EVERY = 10, 7
COLD_EVERY = 250
"""Whenever so many have come and gone the cameras are let go of, and are called anew by the next."""

GROWTH_KIB, GROWTH_BLOCKS = 8 * 1024, 2_000
"""What memory may vary by, however long it goes on: two hundred bytes a cycle of the soak would show, and what is lost
in room that was free before shows in the blocks that Python holds: one a cycle of the gate's. Blocks, not
``gc.get_objects()``: that refers to tuples which other threads are still building, and CPython then refuses to go on
with them (gh-59313); it ended the journal's thread here."""

TIMINGS = SWIFT.model_copy(update={"resume_s": 0.1})
"""A vanished player's slot is soon another's."""

CAMERAS = ("churn-1", "churn-2", "churn-3")
REFUSING, SILENT = "churn-refusing", "churn-hangs-up"

pytestmark = pytest.mark.usefixtures("uncounted")


@dataclass(frozen=True)
class Held:
    """What the process, and the state store for it, hold."""

    resident_kib: int
    blocks: int
    descriptors: Counter[str]
    tasks: Counter[str]
    keys: int

    def __str__(self) -> str:
        counts = f"{self.descriptors.total()} descriptors, {self.tasks.total()} tasks, {self.keys} keys"
        return f"{self.resident_kib / 1024:.1f} MiB, {self.blocks} blocks, {counts}"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with three quick cameras, one at whose address nobody listens, and one that hangs up on each call."""
    of_the_camera = CameraCredentials(username="admin", password="of-the-camera")
    async with AsyncExitStack() as life:
        gateway = await life.enter_async_context(open_gateway(tmp_path / "demo", TIMINGS))
        records = gateway.node.records.cameras
        for camera_id in CAMERAS:
            camera = await life.enter_async_context(simulated_camera(frames=QUICK_FRAMES))
            await records.upsert(record_of_simulated(camera, camera_id))
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = f"rtsp://127.0.0.1:{closed.getsockname()[1]}/live"
        await records.upsert(record_of(REFUSING, nobody, of_the_camera))
        rude = await life.enter_async_context(await asyncio.start_server(hang_up, "127.0.0.1", 0))
        address = f"rtsp://127.0.0.1:{rude.sockets[0].getsockname()[1]}/live"
        await records.upsert(record_of(SILENT, address, of_the_camera))
        yield gateway


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def held(gateway: Gateway) -> Held:
    """What is held once nobody is served and the last ticket has lapsed."""
    store = gateway.node.control.store

    async def no_ticket_is_left() -> bool:
        return [key async for key in store.client.scan_iter(match=store.key("ticket:*"))] == []

    await gateway.node.control.hub.close()
    await at_rest(gateway)
    await until(no_ticket_is_left)
    keys = await store.client.dbsize()
    gc.collect()
    found = await descriptors_at_rest(gateway)
    return Held(resident_kib(), sys.getallocatedblocks(), found, tasks(), keys)


async def play(gateway: Gateway, number: int) -> None:
    """Connect, play by ticket or machine account, and leave, politely or not."""
    camera = CAMERAS[number % len(CAMERAS)]
    credentials = gateway.machine if number % TICKET_EVERY else credentials_of(await gateway.ticket(camera))
    async with gateway.player(credentials) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        if number % VANISH_EVERY:
            assert (await player.tear_down(f"/live/{camera}")).status == 200


async def describe_the_dead(gateway: Gateway, number: int) -> None:
    async with gateway.player(gateway.machine) as player:
        answer = await player.ask("DESCRIBE", player.url(f"/live/{(REFUSING, SILENT)[number % 2]}"))
        assert (answer.status, answer.header("x-refusal")) == (503, "camera-unreachable")


async def repeat(gateway: Gateway, act: Callable[[Gateway, int], Awaitable[None]], count: int) -> None:
    """Do it so many times, some at once, and never so many that one is refused for want of a slot."""
    numbers = itertools.count()

    async def has_room() -> bool:
        return await gateway.slots_used() <= AT_ONCE

    while (first := next(numbers)) < count:
        batch = [first, *itertools.islice(numbers, min(AT_ONCE, count - first) - 1)]
        await until(has_room)
        if first % COLD_EVERY == 0:
            await gateway.node.control.hub.close()
        await asyncio.gather(*(act(gateway, number) for number in batch))


async def assert_flat(gateway: Gateway, cycles: int, descriptions: int) -> None:
    await repeat(gateway, play, WARM_UP)
    await repeat(gateway, describe_the_dead, WARM_UP // 10)
    before = await held(gateway)
    print(f"warm: {before}")
    for act, count in ((play, cycles), (describe_the_dead, descriptions)):
        for done in range(0, count, CYCLES_OF_THE_GATE):
            began_s = time.monotonic()
            await repeat(gateway, act, min(CYCLES_OF_THE_GATE, count - done))
            lasted_s = time.monotonic() - began_s
            now = await held(gateway)
            print(f"{act.__name__} {min(done + CYCLES_OF_THE_GATE, count)}: {now}, {lasted_s:.1f} s", flush=True)
            assert now.resident_kib - before.resident_kib <= GROWTH_KIB
            assert now.blocks - before.blocks <= GROWTH_BLOCKS
            assert now.keys <= before.keys
            await settled(lambda: descriptors() <= before.descriptors and tasks() <= before.tasks)
            assert (descriptors() - before.descriptors, tasks() - before.tasks) == (Counter(), Counter())


async def test_memory_descriptors_and_tasks_stay_flat(gateway: Gateway) -> None:
    # T11, C01: no slot is lost either
    await assert_flat(gateway, CYCLES_OF_THE_GATE, DESCRIPTIONS_OF_THE_GATE)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_they_stay_flat_for_forty_thousand_players(gateway: Gateway) -> None:
    # T11, C01
    await assert_flat(gateway, CYCLES, DESCRIPTIONS)
