"""Three hundred players that report while they are sent media (T12)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from halfgateway.protocol.rtcp import ReceiverReport, ReportBlock, receiver_report
from tests.downstream.stage import PATH, SSRC, Stage
from tests.raw_player import RawPlayer

SESSIONS = 300
REPORTS = 20
PACKETS = 20


def report(number: int, place: int) -> bytes:
    """A receiver's report as players send it, framed; each reports as another source."""
    block = ReportBlock(SSRC, highest_sequence=place)
    payload = receiver_report(ReceiverReport(number, (block,)), f"player-{number}")
    return b"$\x01" + len(payload).to_bytes(2, "big") + payload


async def reports_and_asks(player: RawPlayer, number: int) -> None:
    """Reports in pieces that end anywhere, and a request in their midst."""
    for place in range(REPORTS):
        data = report(number, place)
        if place == REPORTS // 2:
            data += player.request("GET_PARAMETER", player.url(PATH), {"Session": player.session or ""})
        cut = (number + place) % len(data)
        await player.send(data[:cut])
        await asyncio.sleep(0)
        await player.send(data[cut:])
    assert (await player.next_answer()).status == 200


async def test_three_hundred_sessions_of_reports_disturb_no_picture(stage: Stage) -> None:
    # T12: each is sent every packet, whole and once, while all of them report and ask
    stage.door.cap = SESSIONS
    async with AsyncExitStack() as life:
        players = [await life.enter_async_context(stage.player()) for _ in range(SESSIONS)]
        for player in players:
            assert (await player.set_up(PATH)).status == 200
            assert (await player.play(PATH)).status == 200
        reporting = [asyncio.create_task(reports_and_asks(player, number)) for number, player in enumerate(players)]
        sent = []
        for _ in range(PACKETS):
            sent.append(stage.send(1_200))
            await asyncio.sleep(0.001)
        await asyncio.gather(*reporting)
        for player in players:
            await player.packets_until(PACKETS)
            assert [packet for _, packet, _ in player.packets] == sent
        assert stage.door.occupied == len(stage.server.connections) == SESSIONS
        for player in players[::2]:
            assert (await player.tear_down(PATH)).status == 200
        sent.append(stage.send())
        for player in players[1::2]:
            await player.packets_until(PACKETS + 1)
            assert player.packets[-1][1] == sent[-1]
        assert stage.door.occupied == SESSIONS // 2
