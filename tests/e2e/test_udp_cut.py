"""Ten readers over UDP, and none of them past the cut (T1, T2, T3; C01, C10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from auth.trace import Kind
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtcp import Goodbye, parse_compound
from tests.e2e.conftest import Gateway, credentials_of, until
from tests.players import LIMIT_S, ffmpeg_command, gstreamer_command, needs_ffmpeg, needs_gstreamer, playing
from tests.raw_player import RawPlayer
from tests.udp_player import UdpPlayer

GROUND = {"ground": "critical-incident", "reason": "essai"}


@asynccontextmanager
async def ten_streams(gateway: Gateway) -> AsyncIterator[list[UdpPlayer]]:
    """Five streams by ticket and five by machine account, over the three cameras, all by UDP."""
    async with AsyncExitStack() as players:
        opened = []
        for number in range(10):
            camera = gateway.cameras[number % len(gateway.cameras)]
            credentials = credentials_of(await gateway.ticket(camera)) if number % 2 else gateway.machine
            player = await players.enter_async_context(gateway.udp_player(credentials))
            await player.start(f"/live/{camera}")
            opened.append(player)
        await asyncio.gather(*(player.packets_until(5) for player in opened))
        yield opened


def goodbyes(player: UdpPlayer) -> list[int]:
    packets = [packet for channel, data, _ in player.packets if channel == 1 for packet in parse_compound(data)]
    return [source for packet in packets if isinstance(packet, Goodbye) for source in packet.ssrcs]


async def test_of_eleven_readers_ten_are_served_and_a_cut_sends_none_of_them_a_datagram_more(gateway: Gateway) -> None:
    path = f"/live/{gateway.cameras[0]}"
    async with ten_streams(gateway) as players:
        assert await gateway.slots_used() == 10
        async with gateway.udp_player(gateway.machine) as eleventh:
            refused = await eleventh.set_up_udp(path)
            assert (refused.status, refused.header("x-refusal")) == (453, "cap-reached")
        reading = [asyncio.create_task(player.read_to_end()) for player in players]
        status, answer = await gateway.call("ops", "POST", "/interconnection/cut", GROUND)
        cut_at_s = time.monotonic()
        assert (status, answer["nodes"]) == (200, [{"id": "demo", "streams_closed": 10}])
        assert await asyncio.gather(*reading) == ["reset"] * 10
        await until(lambda: all(goodbyes(player) for player in players))
        handed_over = await results(gateway, 10)
        for player in players:
            sources = {int.from_bytes(data[8:12], "big") for channel, data, _ in player.packets if channel == 0}
            assert set(goodbyes(player)) == sources
            assert len(goodbyes(player)) == 1
            assert max(at_s for _, _, at_s in player.packets) <= cut_at_s + 1.0
        received = sum(channel == 0 for player in players for channel, _, _ in player.packets)
        assert received <= sum(packets for _, packets in handed_over)
        assert {cause for cause, _ in handed_over} == {"interconnection-cut"}
    async with gateway.udp_player(gateway.machine) as player:
        refused = await player.set_up_udp(path)
        assert (refused.status, refused.header("x-refusal")) == (503, "interconnection-cut")


async def results(gateway: Gateway, count: int) -> list[tuple[str, int]]:
    async def stopped() -> list[tuple[str, int]]:
        entries = [entry for entry in await gateway.trace() if entry.kind is Kind.STREAM_STOPPED]
        return [(entry.detail["cause"], entry.detail["packets"]) for entry in entries]

    async def are_told() -> bool:
        return len(await stopped()) >= count

    await until(are_told)
    return await stopped()


async def test_readers_that_follow_one_another_take_one_slot_each_time(gateway: Gateway) -> None:
    # T2: TEARDOWN and immediate SETUP, by either transport
    path = f"/live/{gateway.cameras[0]}"
    async with ten_streams(gateway) as players:
        leaving = players[0]
        assert (await leaving.tear_down(f"/live/{gateway.cameras[0]}")).status == 200
        for _ in range(3):
            async with gateway.udp_player(gateway.machine) as next_one:
                await next_one.start(path)
                await next_one.packets_until(1)
                assert await gateway.slots_used() == 10
                assert (await next_one.tear_down(path)).status == 200
        async with gateway.player(gateway.machine) as by_tcp:
            assert (await RawPlayer.set_up(by_tcp, path)).status == 200


@needs_ffmpeg
@needs_gstreamer
@pytest.mark.peer
async def test_players_over_udp_end_by_themselves_on_a_cut(gateway: Gateway) -> None:
    # T3: ffmpeg and GStreamer, by BYE and by their connection's end
    path = f"/live/{gateway.cameras[0]}"
    by_ffmpeg = ffmpeg_command(gateway.url(path, gateway.machine), frames=None, transport="udp")
    by_gstreamer = gstreamer_command(
        gateway.ready["rtsp"] + path, gateway.machine, Codec.H264, frames=None, protocols="udp"
    )
    async with playing(by_ffmpeg) as ffmpeg, playing(by_gstreamer) as gstreamer:
        assert (await gateway.call("ops", "POST", "/interconnection/cut", GROUND))[0] == 200
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(ffmpeg.communicate(), gstreamer.communicate())
