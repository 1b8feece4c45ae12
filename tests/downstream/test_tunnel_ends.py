"""How a tunnel ends: as one connection does, whichever of its two ends first (row 39)."""

from __future__ import annotations

import asyncio

import pytest

from halfgateway.downstream import tunnel
from halfgateway.errors import InterconnectionCut
from halfgateway.protocol.rtcp import Goodbye, parse_compound
from tests.downstream.stage import PATH, VIEWER, Stage
from tests.downstream.tunnel_stage import eventually, plays, stage, tunnelled
from tests.tunnel_player import TunnelPlayer, ended

__all__ = ["stage"]


async def test_an_end_stops_media_says_bye_and_resets_both(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # C10, section 1.7: at once, not when the POST has been heard out
    monkeypatch.setattr(tunnel, "PARTING_S", 1000.0)
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        sent = [stage.send() for _ in range(3)]
        stage.door.seats[0].end(InterconnectionCut())
        stage.send()
        assert await player.read_to_end() == "reset"
        assert await player.post_ended() == "reset"
    *media, (channel, last, _) = player.packets
    assert [packet for _, packet, _ in media] == sent
    assert channel == 1
    assert any(isinstance(packet, Goodbye) for packet in parse_compound(last))
    await eventually(lambda: not stage.server.connections)


async def test_an_end_reaches_a_tunnel_without_its_post(stage: Stage) -> None:
    # C10
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        await player.close_post()
        await eventually(lambda: len(stage.server.connections) == 1)
        stage.door.seats[0].end(InterconnectionCut())
        assert await player.read_to_end() == "reset"


async def test_a_full_reader_pauses_and_goes_on(stage: Stage) -> None:
    # L10: writes are the GET's, and so is what stops them
    async with TunnelPlayer("127.0.0.1", stage.port, VIEWER, receive_buffer_bytes=64 * 1024) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        reader = stage.door.seats[0].reader
        assert reader is not None
        while not reader.queued_bytes:
            stage.send(60_000)
        while reader.queued_bytes:
            await player.packets_until(len(player.packets) + 1)
        last = stage.send()
        await player.packets_until(reader.sent_packets)
        assert player.packets[-1][1] == last


async def test_the_end_of_the_get_ends_all(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # row 29: the seat is kept for its holder's return; the POST that stays has a moment, and no more
    monkeypatch.setattr(tunnel, "PARTING_S", 0.02)
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        player.vanish_from_get()
        await eventually(lambda: stage.door.occupied == 0)
        assert stage.door.seats[0].done == ["start", "flow", "lose"]
        assert await player.post_ended() == "reset"
    await eventually(lambda: not stage.server.connections)


async def test_a_goodbye_that_comes_after_the_end_of_the_get_is_heard(stage: Stage) -> None:
    # row 19: a player says TEARDOWN on the one and closes both, in any order
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        goodbye = player.request("TEARDOWN", player.url(PATH), {"Session": player.session or ""})
        player.vanish_from_get()
        connections = stage.server.connections
        await eventually(lambda: all(getattr(each, "writable", False) is False for each in connections))
        await player.send(goodbye)
        await player.close_post()
        await eventually(lambda: not stage.server.connections)
    assert stage.door.seats[0].done == ["start", "flow", "leave"]


async def test_a_cut_between_the_end_of_the_get_and_that_of_the_post(stage: Stage) -> None:
    # C10: what has ended already is no obstacle
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        (connection,) = [each for each in stage.server.connections if hasattr(each, "writable")]
        player.vanish_from_get()
        await eventually(lambda: not connection.writable)
        stage.door.seats[0].end(InterconnectionCut())
        assert await player.post_ended() == "reset"
        await eventually(lambda: not stage.server.connections)
    assert stage.door.seats[0].done == ["start", "flow"]


async def test_one_that_vanishes_loses_its_seat_at_once(stage: Stage) -> None:
    # row 29
    async with tunnelled(stage) as player, stage.player() as stays:
        for each in (player, stays):
            await each.set_up(PATH)
            await each.play(PATH)
        player.vanish()
        await eventually(lambda: stage.door.occupied == 1)
        assert [seat.done[-1] for seat in stage.door.seats] == ["lose", "flow"]
        await plays(stage, stays)


async def test_a_client_that_closes_its_half_of_the_get_has_its_answers(stage: Stage) -> None:
    # row 19
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        stage.door.may_leave.clear()
        await player.send(player.request("TEARDOWN", player.url(PATH), {"Session": player.session or ""}))
        await eventually(lambda: stage.door.occupied == 0)
        player.end_sending()
        await asyncio.sleep(0.02)
        stage.door.may_leave.set()
        assert (await player.next_answer()).status == 200
        assert await player.read_to_end() == "fin"
    await eventually(lambda: not stage.server.connections)


async def test_the_server_closes_what_it_has_not_yet_understood(stage: Stage) -> None:
    async with tunnelled(stage, None) as player:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET / HTT")
        await eventually(lambda: len(stage.server.connections) == 3)
        await stage.server.close()
        assert await ended(reader) == await player.read_to_end() == await player.post_ended() == "reset"
