"""Clients that say a byte a second: each is dropped at its deadline, however busily it drips (row 9)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from halfgateway.downstream.connection import IDLE_TIMEOUT_S
from halfgateway.protocol.rtcp import ReceiverReport, receiver_report
from tests.downstream.stage import PATH, Stage
from tests.raw_player import RawPlayer

DEADLINE_S = 5.0
LATE_BYTES = 2
"""What may still go when the deadline has passed: until the next sweep, and until its reset has arrived."""

HEADER = b"X: " + b"y" * 2_000


@pytest.fixture
async def hasty_stage() -> AsyncIterator[Stage]:
    stage = Stage(first_request_timeout_s=DEADLINE_S)
    await stage.open()
    yield stage
    await stage.server.close()


async def dripped_until_dropped(stage: Stage, player: RawPlayer, data: bytes) -> int:
    """Send a byte for each second of the stage's clock, swept each time; how many went before the end."""
    ended = asyncio.create_task(player.read_to_end())
    for sent in range(len(data)):
        if not stage.server.connections:
            assert await ended in {"fin", "reset"}
            return sent
        with contextlib.suppress(ConnectionResetError):  # it has been told before the loop has closed it
            await player.send(data[sent : sent + 1])
        for _ in range(5):
            await asyncio.sleep(0)
        stage.clocks.monotonic_s += 1.0
        stage.server.sweep()
    raise AssertionError("it was never dropped")


async def test_a_stranger_that_drips_is_dropped_at_the_deadline(hasty_stage: Stage) -> None:
    # row 9
    async with hasty_stage.player(None) as loris:
        request = b"OPTIONS rtsp://h/ RTSP/1.0\r\n" + HEADER
        assert await dripped_until_dropped(hasty_stage, loris, request) <= DEADLINE_S + LATE_BYTES
    assert hasty_stage.door.occupied == 0


async def test_one_that_has_authenticated_may_not_drip_either(stage: Stage) -> None:
    # row 9
    async with stage.player() as loris:
        assert (await loris.ask("DESCRIBE", loris.url(PATH))).status == 200
        assert (
            await dripped_until_dropped(stage, loris, b"OPTIONS * RTSP/1.0\r\n" + HEADER) <= IDLE_TIMEOUT_S + LATE_BYTES
        )


@pytest.mark.parametrize("whole", ["request", "report"])
async def test_whole_requests_and_reports_are_signs_of_life(stage: Stage, whole: str) -> None:
    # row 27
    async with stage.player() as player:
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
        report = receiver_report(ReceiverReport(1), "player")
        for _ in range(3):
            stage.clocks.monotonic_s += IDLE_TIMEOUT_S - 1
            if whole == "report":
                await player.send(b"$\x01" + len(report).to_bytes(2, "big") + report)
                (connection,) = stage.server.connections
                async with asyncio.timeout(20):
                    while connection.last_heard_s < stage.clocks.monotonic_s:
                        await asyncio.sleep(0.001)
            else:
                assert (await player.ask("OPTIONS", player.url(PATH))).status == 200
            stage.server.sweep()
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
