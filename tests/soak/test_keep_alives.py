"""Players of every habit for ten real minutes, ten thousand answers under load, a pulled cable (``make soak``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from halfgateway.config_terms import TimingsSection
from halfgateway.downstream.session import SESSION_TIMEOUT_S
from halfgateway.protocol.rtcp import ReceiverReport, receiver_report
from tests.downstream.stage import Stage
from tests.downstream.under_load import pinged_under_load
from tests.e2e.conftest import Gateway, open_gateway
from tests.e2e.watching import Watcher
from tests.pulled_cable import pull_the_cable

TEN_MINUTES_S = 600.0
STALL_S = 5.0
"""Without a packet for so long a picture has stopped: a hundred times a camera's pause between two."""

SIGNS = ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "report", "none")
PULLED_S = 10.0
SLACK_S = 5.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with the timings that are in use."""
    async with open_gateway(tmp_path / "demo", TimingsSection()) as opened:
        yield opened


def watcher(gateway: Gateway, number: int) -> Watcher:
    player = gateway.player(gateway.machine)
    camera = gateway.cameras[number % len(gateway.cameras)]
    return Watcher(player.host, player.port, player.credentials, path=f"/live/{camera}")


async def live(player: Watcher, sign: str, until_s: float) -> None:
    """Watch until then, with one sign of life at each half of the announced timeout, and see every minute of it."""
    report = receiver_report(ReceiverReport(1), "player")
    while time.monotonic() < until_s:
        await asyncio.sleep(SESSION_TIMEOUT_S / 2)
        if sign == "report":
            await player.send(b"$\x01" + len(report).to_bytes(2, "big") + report)
        elif sign != "none":
            answer = await player.ask(sign, player.url(player.path), {"Session": player.session or ""})
            assert answer.status == 200, sign
        assert not player.ended.is_set(), sign
        assert time.monotonic() - player.deliveries[-1].last_s < STALL_S, sign


async def test_players_of_every_habit_watch_for_ten_minutes(gateway: Gateway) -> None:
    # T7, rows 27 and 28: VLC says nothing at all over TCP for as long as it plays
    players = [watcher(gateway, number) for number in range(len(SIGNS))]
    until_s = time.monotonic() + TEN_MINUTES_S
    try:
        for player in players:
            await player.__aenter__()
            assert (await player.start()).status == 200
            await player.delivers()
        await asyncio.gather(*(live(player, sign, until_s) for player, sign in zip(players, SIGNS, strict=True)))
        assert await gateway.slots_used() == len(players)
        for player in players:
            await player.delivers()
            assert (await player.stop()).status == 200
    finally:
        for player in players:
            await player.__aexit__()


@pytest.mark.parametrize("paused", [False, True], ids=["playing", "paused"])
async def test_a_pulled_cable_gives_its_slot_back_after_the_resume_grace(gateway: Gateway, paused: bool) -> None:
    # row 29, T2, C01: noticed within ten seconds, then kept for its holder as after any lost connection
    async with watcher(gateway, 0) as player:
        assert (await player.start()).status == 200
        await player.delivers()
        if paused:
            assert (await player.pause()).status == 200
        (stream,) = gateway.node.control.table
        pull_the_cable(player)
        pulled_s = time.monotonic()
        async with asyncio.timeout(PULLED_S + SLACK_S):
            while stream.seats:
                await asyncio.sleep(0.05)
        noticed_s = time.monotonic() - pulled_s
        print(f"a pulled cable was noticed after {noticed_s:.1f} s")
        assert noticed_s <= PULLED_S
        assert await gateway.slots_used() == 1
        async with asyncio.timeout(TimingsSection().resume_s + SLACK_S):
            while await gateway.slots_used():
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("receive_buffer_bytes", [None, 64 * 1024], ids=["prompt", "narrow"])
async def test_ten_thousand_answers_fall_into_no_frame(receive_buffer_bytes: int | None) -> None:
    # row 6, T12
    stage = Stage()
    await stage.open()
    try:
        async with stage.player(receive_buffer_bytes=receive_buffer_bytes) as player:
            await pinged_under_load(stage, player, 10_000)
    finally:
        await stage.server.close()
