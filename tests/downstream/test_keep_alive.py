"""What keeps a session, and what ends it: over TCP the connection is the sign of life (rows 27-29; T2, T7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from halfgateway.downstream.connection import IDLE_TIMEOUT_S
from halfgateway.downstream.session import SESSION_TIMEOUT_S
from halfgateway.net import sockets
from halfgateway.protocol.rtcp import ReceiverReport, receiver_report
from halfgateway.relay.reader import Reader
from tests.downstream.stage import PATH, SSRC, Stage
from tests.pulled_cable import pull_the_cable
from tests.raw_player import RawPlayer

TEN_MINUTES_S = 600.0
SIGNS = ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "DESCRIBE", "report", "none")
"""By which players say that they are there: ffmpeg, retina, VMS; some by reports alone, VLC by nothing over TCP."""

DEAD_AFTER_S = 1.5
"""For :data:`sockets.DEAD_PEER_MS` in these tests; ``make soak`` waits for the real one."""


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def say(stage: Stage, player: RawPlayer, sign: str) -> None:
    """One sign of life, heard by the server."""
    if sign == "report":
        report = receiver_report(ReceiverReport(SSRC), "player")
        await player.send(b"$\x01" + len(report).to_bytes(2, "big") + report)
        (connection,) = stage.server.connections
        await eventually(lambda: connection.last_heard_s == stage.clocks.monotonic_s)
    elif sign != "none":
        headers = {} if sign == "DESCRIBE" else {"Session": player.session or ""}
        assert (await player.ask(sign, player.url(PATH), headers)).status == 200


@pytest.mark.parametrize("paused", [False, True], ids=["playing", "paused"])
@pytest.mark.parametrize("sign", SIGNS)
async def test_each_sign_of_life_keeps_a_session_and_over_tcp_so_does_none(
    stage: Stage, sign: str, paused: bool
) -> None:
    # T7, rows 27 and 28: ten minutes by the server's clock, swept at each half of the announced timeout
    async with stage.player() as player:
        await player.set_up(PATH)
        await player.play(PATH)
        session = {"Session": player.session or ""}
        if paused:
            assert (await player.ask("PAUSE", player.url(PATH), session)).status == 200
        began_s = stage.clocks.monotonic_s
        while stage.clocks.monotonic_s < began_s + TEN_MINUTES_S:
            stage.clocks.monotonic_s += SESSION_TIMEOUT_S / 2
            await say(stage, player, sign)
            stage.server.sweep()
        if paused:
            assert (await player.play(PATH)).status == 200
        packet = stage.send()
        await player.packets_until(1)
        assert player.packets[-1][1] == packet
        assert stage.door.occupied == 1


async def test_a_connection_that_has_given_its_session_back_is_not_kept_by_it(stage: Stage) -> None:
    # row 27: what kept it was its session
    async with stage.player() as player:
        await player.set_up(PATH)
        stage.clocks.monotonic_s += 10 * IDLE_TIMEOUT_S
        stage.server.sweep()
        assert (await player.tear_down(PATH)).status == 200
        stage.clocks.monotonic_s += IDLE_TIMEOUT_S + 0.1
        stage.server.sweep()
        assert await player.read_to_end() == "reset"


@pytest.fixture
async def swift_stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A stage whose connections notice a dead peer in :data:`DEAD_AFTER_S`."""
    monkeypatch.setattr(sockets, "DEAD_PEER_MS", int(DEAD_AFTER_S * 1000))
    monkeypatch.setattr(sockets, "PROBE_AFTER_S", 1)
    stage = Stage()
    await stage.open()
    yield stage
    await stage.server.close()


@pytest.mark.parametrize("doing", ["playing", "paused", "set-up", "described"])
async def test_a_cable_that_is_pulled_is_noticed_whatever_was_going_on(swift_stage: Stage, doing: str) -> None:
    # row 29, T2: by what is not acknowledged, and in silence by the kernel's own questions
    stage = swift_stage
    async with stage.player() as player, stage.player() as other:
        await bring_to(doing, player)
        await bring_to("playing", other)
        pull_the_cable(player)
        pulled_s = time.monotonic()
        while len(stage.server.connections) == 2:
            stage.send()
            stage.clocks.monotonic_s += 0.01
            stage.server.sweep()
            await asyncio.sleep(0.01)
            assert time.monotonic() < pulled_s + 10 * DEAD_AFTER_S
        assert time.monotonic() > pulled_s + DEAD_AFTER_S / 2, "it was not closed, it was noticed"
        seat = stage.door.seats[0]
        assert seat.done[-1] == ("flow" if doing == "described" else "lose"), "kept for its holder, as any that is lost"
        assert (await other.ask("GET_PARAMETER", other.url(PATH))).status == 200
        assert stage.door.occupied == 1


async def test_a_reader_that_reads_nothing_for_a_while_is_not_dead(swift_stage: Stage) -> None:
    # T10: its window is shut and its kernel answers; it goes on at a key picture
    stage = swift_stage
    async with stage.player(receive_buffer_bytes=4096) as player:
        await bring_to("playing", player)
        shut_s = time.monotonic()
        while time.monotonic() < shut_s + 2 * DEAD_AFTER_S:
            stage.send(60_000)
            stage.server.sweep()
            await asyncio.sleep(0.01)
        last = stage.send(1000)
        read = 0
        while not player.packets or player.packets[-1][1] != last:
            read += 1
            await player.packets_until(read)
        assert seat_reader(stage).lost_packets > 0


def seat_reader(stage: Stage) -> Reader:
    reader = stage.door.seats[0].reader
    assert reader is not None
    return reader


async def bring_to(doing: str, player: RawPlayer) -> None:
    assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
    if doing != "described":
        assert (await player.set_up(PATH)).status == 200
    if doing in {"playing", "paused"}:
        assert (await player.play(PATH)).status == 200
    if doing == "paused":
        assert (await player.ask("PAUSE", player.url(PATH), {"Session": player.session or ""})).status == 200


def test_a_pulled_cable_is_noticed_within_ten_seconds() -> None:
    # row 29: the number itself; make soak waits for it
    assert sockets.PROBE_AFTER_S + 2 * sockets.PROBE_EVERY_S < sockets.DEAD_PEER_MS / 1000 < 10
