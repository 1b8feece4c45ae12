"""How sessions over UDP end: by every way out, by silence, by a cut (T3, T7)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from halfgateway.downstream.server import SESSION_GRACE_S
from halfgateway.downstream.session import SESSION_TIMEOUT_S
from halfgateway.errors import InterconnectionCut
from halfgateway.protocol.rtcp import Goodbye, ReceiverReport, bye, parse_compound, receiver_report
from tests.downstream.stage import PATH, SSRC, Stage
from tests.downstream.udp_stage import TCP, eventually, open_datagram_sockets, opened, seat_of, udp_player
from tests.udp_player import UdpPlayer

REPORT = receiver_report(ReceiverReport(7), "player")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as stage:
        yield stage


LEAVE: dict[str, Callable[[UdpPlayer, Stage], object]] = {
    "teardown": lambda player, stage: player.tear_down(PATH),
    "vanish": lambda player, stage: player.vanish(),
    "cut": lambda player, stage: seat_of(stage).end(InterconnectionCut()),
    "by-tcp": lambda player, stage: player.ask(
        "SETUP", player.url(PATH) + "/trackID=0", {"Session": player.session or "", "Transport": TCP}
    ),
}


@pytest.mark.parametrize("way", LEAVE)
async def test_every_way_out_closes_the_sockets(stage: Stage, way: str) -> None:
    before = open_datagram_sockets()
    async with udp_player(stage) as player:
        await player.start(PATH)
        assert open_datagram_sockets() == before + 4
        if way == "by-tcp":
            await player.ask("PAUSE", player.url(PATH), {"Session": player.session or ""})
        leaving = LEAVE[way](player, stage)
        if asyncio.iscoroutine(leaving):
            assert (await leaving).status == 200
        await eventually(lambda: open_datagram_sockets() == before + 2)
        stage.send()


async def test_a_cut_says_goodbye_and_sends_no_datagram_more(stage: Stage) -> None:
    # T3, C10, row 53
    async with udp_player(stage) as player:
        await player.start(PATH)
        packet = stage.send()
        seat = seat_of(stage)
        seat.end(InterconnectionCut())
        stage.send()
        assert await player.read_to_end() == "reset"
        await player.packets_until(1, channel=1)
        assert [data for channel, data, _ in player.packets if channel == 0] == [packet]
        (goodbye,) = [data for channel, data, _ in player.packets if channel == 1]
        assert Goodbye((SSRC,)) in parse_compound(goodbye)
        assert seat.reader is not None
        assert seat.reader.sent_bytes == len(packet) + 4


async def test_a_reader_that_was_sent_nothing_is_sent_no_goodbye(stage: Stage) -> None:
    async with udp_player(stage) as player:
        assert (await player.set_up_udp(PATH)).status == 200
        seat_of(stage).end(InterconnectionCut())
        assert await player.read_to_end() == "reset"
        assert player.packets == []


async def test_nothing_is_sent_once_the_gate_is_closed(stage: Stage) -> None:
    # C10: also of a lease that has lapsed and nobody has noticed
    async with udp_player(stage) as player:
        await player.start(PATH)
        packet = stage.send()
        seat_of(stage).gate.until = stage.clocks.monotonic_s
        stage.send()
        await player.packets_until(1)
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        assert [data for _, data, _ in player.packets] == [packet]


TIMEOUT_S = SESSION_TIMEOUT_S + SESSION_GRACE_S


async def test_a_silent_reader_is_lost_at_the_timeout(stage: Stage) -> None:
    # T7, row 27
    async with udp_player(stage) as player:
        await player.start(PATH)
        stage.send()
        stage.clocks.monotonic_s += TIMEOUT_S
        stage.server.sweep()
        assert "lose" not in seat_of(stage).done
        stage.clocks.monotonic_s += 0.1
        stage.server.sweep()
        assert seat_of(stage).done == ["start", "flow", "lose"]
        stage.send()
        assert await player.read_to_end() == "reset"
        await player.packets_until(1, channel=1)
        assert [channel for channel, _, _ in player.packets] in ([0, 1], [1, 0])


@pytest.mark.parametrize(
    ("datagram", "lives"),
    [
        (REPORT, True),
        (b"", False),
        (b"\x80", False),
        (b"\xce\xfa\xed\xfe", False),  # what ffmpeg opens firewalls with
        (REPORT[:-1], False),
        (REPORT + b"\x00" * 2000, False),
        (bye(7)[8:], False),
        (b"\xff" * 100, False),
    ],
    ids=["report", "empty", "short", "punch", "cut", "long", "bye", "rubbish"],
)
async def test_a_report_is_a_sign_of_life_and_rubbish_is_not(stage: Stage, datagram: bytes, lives: bool) -> None:
    # T7: only RTCP RR; hostile bytes are passed over
    async with udp_player(stage) as player:
        await player.start(PATH)
        for _ in range(3):
            stage.clocks.monotonic_s += TIMEOUT_S * 0.6
            player.report(datagram)
            stage.server.sweep()
        assert ("lose" not in seat_of(stage).done) == lives


async def test_requests_keep_a_reader_over_udp_alive(stage: Stage) -> None:
    # T7: only GET_PARAMETER
    async with udp_player(stage) as player:
        await player.start(PATH)
        for _ in range(3):
            stage.clocks.monotonic_s += TIMEOUT_S * 0.6
            assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
            stage.server.sweep()
        assert "lose" not in seat_of(stage).done


async def test_reports_of_a_stranger_are_not_heard(stage: Stage) -> None:
    async with udp_player(stage) as player:
        granted = await player.start(PATH)
        assert granted.server_port is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(2):
                stage.clocks.monotonic_s += TIMEOUT_S * 0.6
                stranger.sendto(REPORT, ("127.0.0.1", granted.server_port[1]))
                stage.server.sweep()
        assert "lose" in seat_of(stage).done


async def test_a_flood_of_reports_is_heard_in_small_helpings(stage: Stage) -> None:
    async with udp_player(stage) as player:
        await player.start(PATH)
        for _ in range(2_000):
            player.report(REPORT)
        stage.server.sweep()
        packet = stage.send()
        await player.packets_until(1)
        assert player.packets[-1][1] == packet
