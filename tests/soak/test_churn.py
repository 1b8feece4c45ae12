"""Hours in minutes: what opens and closes all day must not grow (``make soak``)."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Gateway, credentials_of, gateway

__all__ = ["gateway"]

CYCLES = 2_000
WARM_UP = 100

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def rss_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def cycle(gateway: Gateway, number: int) -> None:
    """Connect, play by ticket or machine account, and leave, politely or not."""
    camera = gateway.cameras[number % len(gateway.cameras)]
    credentials = credentials_of(await gateway.ticket(camera)) if number % 10 == 0 else gateway.machine
    async with gateway.player(credentials) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        if number % 3:
            assert (await player.tear_down(f"/live/{camera}")).status == 200


async def test_memory_descriptors_and_tasks_stay_flat(gateway: Gateway) -> None:
    # T11 of rtsp.md, C01: no slot is lost either
    async def cycles(count: int) -> tuple[int, int, int]:
        for first in range(0, count, 3):
            await asyncio.gather(*(cycle(gateway, number) for number in range(first, first + 3)))
            while await gateway.slots_used() > 6:
                await asyncio.sleep(0.05)
        while await gateway.slots_used():
            await asyncio.sleep(0.05)
        gc.collect()
        return rss_kib(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    memory, descriptors, tasks = await cycles(WARM_UP)
    memory_after, descriptors_after, tasks_after = await cycles(CYCLES)
    assert descriptors_after <= descriptors + 5
    assert tasks_after <= tasks + 5
    assert memory_after <= memory * 1.2
