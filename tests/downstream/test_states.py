"""Every method in every state, against the running server: its answer, and whether media flows after it."""

from __future__ import annotations

import asyncio

import pytest

from halfgateway.protocol.states import PUBLIC_METHODS, ServerState, allowed
from tests.downstream.stage import PATH, Stage
from tests.raw_player import Answer, RawPlayer

INIT, READY, PLAYING = ServerState.INIT, ServerState.READY, ServerState.PLAYING
TRACK_HEADERS = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}

NOT_YET = {"PLAY": 455, "PAUSE": 455, "TEARDOWN": 454}
"""In INIT: nothing to play or pause (row 17), no session to tear down (row 25)."""

FLOWS_AFTER = {
    (READY, "PLAY"),
    *((PLAYING, method) for method in PUBLIC_METHODS if method not in {"PAUSE", "TEARDOWN"}),
}


async def bring_to(state: ServerState, player: RawPlayer) -> None:
    if state is not INIT:
        assert (await player.set_up(PATH)).status == 200
    if state is PLAYING:
        assert (await player.play(PATH)).status == 200


async def ask(player: RawPlayer, method: str) -> Answer:
    headers = {"Session": player.session} if player.session is not None else {}
    if method == "SETUP":
        return await player.ask(method, player.url(PATH) + "/trackID=0", headers | TRACK_HEADERS)
    return await player.ask(method, player.url(PATH), headers)


async def copies_of_a_packet(stage: Stage, player: RawPlayer) -> int:
    """How often a packet that the camera sends now reaches the player."""
    before = len(player.packets)
    packet = stage.send()
    assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
    return sum(data == packet for _, data, _ in player.packets[before:])


@pytest.mark.parametrize("method", PUBLIC_METHODS)
@pytest.mark.parametrize("state", ServerState, ids=lambda state: state.value)
async def test_each_method_in_each_state(stage: Stage, state: ServerState, method: str) -> None:
    # rows 11-22: RFC 2326 appendix A
    async with stage.player() as player:
        await bring_to(state, player)
        answer = await ask(player, method)
        assert answer.status == (NOT_YET.get(method, 200) if state is INIT else 200)
        if answer.status == 455:
            assert answer.header("allow") == ", ".join(allowed(INIT))
        assert await copies_of_a_packet(stage, player) == ((state, method) in FLOWS_AFTER)


async def test_a_session_set_up_again_while_it_plays_delivers_once(stage: Stage) -> None:
    async with stage.player() as player:
        await bring_to(PLAYING, player)
        again = {"Session": player.session or "", "Transport": "RTP/AVP/TCP;unicast;interleaved=4-5"}
        answer = await player.ask("SETUP", player.url(PATH) + "/trackID=0", again)
        assert (answer.status, answer.header("transport")) == (200, "RTP/AVP/TCP;unicast;interleaved=0-1")
        assert (await player.play(PATH)).status == 200
        assert await copies_of_a_packet(stage, player) == 1
        assert {channel for channel, _, _ in player.packets} == {0}


async def test_a_session_set_up_again_before_it_plays_takes_the_new_channels(stage: Stage) -> None:
    async with stage.player() as player:
        await bring_to(READY, player)
        again = {"Session": player.session or "", "Transport": "RTP/AVP/TCP;unicast;interleaved=4-5"}
        answer = await player.ask("SETUP", player.url(PATH) + "/trackID=0", again)
        assert answer.header("transport") == "RTP/AVP/TCP;unicast;interleaved=4-5"
        assert answer.header("session") == f"{player.session};timeout=60"
        assert (await player.play(PATH)).status == 200
        assert await copies_of_a_packet(stage, player) == 1
        assert {channel for channel, _, _ in player.packets} == {4}
    assert len(stage.door.seats) == 1


async def test_a_pause_that_stops_nothing_holds_nothing(stage: Stage) -> None:
    # C01: a session that never played gains no time by pausing
    async with stage.player() as player:
        await bring_to(READY, player)
        assert (await ask(player, "PAUSE")).status == 200
        assert stage.door.seats[0].done == []


async def test_a_paused_session_plays_on(stage: Stage) -> None:
    # row 18
    async with stage.player() as player:
        await bring_to(PLAYING, player)
        assert (await ask(player, "PAUSE")).status == 200
        assert await copies_of_a_packet(stage, player) == 0
        assert (await ask(player, "PLAY")).status == 200
        assert await copies_of_a_packet(stage, player) == 1
    assert stage.door.seats[0].done[:5] == ["start", "flow", "pause", "start", "flow"]


async def test_a_session_torn_down_is_no_more(stage: Stage) -> None:
    # rows 19, 25
    async with stage.player() as player:
        await bring_to(PLAYING, player)
        assert (await ask(player, "TEARDOWN")).status == 200
        assert stage.door.occupied == 0
        for method in ("PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"):
            assert (await ask(player, method)).status == 454
        player.session = None
        await bring_to(PLAYING, player)
        assert await copies_of_a_packet(stage, player) == 1


async def test_one_session_of_a_connection_ends_without_the_other(stage: Stage) -> None:
    # row 20
    async with stage.player() as player:
        await bring_to(PLAYING, player)
        first, player.session = player.session, None
        assert (await player.set_up(PATH, transport="RTP/AVP/TCP;unicast;interleaved=2-3")).status == 200
        assert (await player.play(PATH)).status == 200
        assert await copies_of_a_packet(stage, player) == 2
        assert (await player.ask("TEARDOWN", player.url(PATH), {"Session": first or ""})).status == 200
        assert await copies_of_a_packet(stage, player) == 1
        assert player.packets[-1][0] == 2


@pytest.mark.parametrize("suffix", ["", "/", "/trackID=0"], ids=["aggregate", "slash", "media"])
async def test_nothing_follows_the_answer_to_a_teardown(stage: Stage, suffix: str) -> None:
    # row 19: of the whole or of its only media; the place is free before the answer, media ends before both
    async with stage.player() as player:
        await bring_to(PLAYING, player)
        stage.door.may_leave.clear()
        stage.send()
        await player.send(player.request("TEARDOWN", player.url(PATH) + suffix, {"Session": player.session or ""}))
        while stage.door.seats[0].done[-1] != "leave":
            await asyncio.sleep(0)
        late = [stage.send() for _ in range(10)]
        stage.door.may_leave.set()
        assert (await player.next_answer()).status == 200
        assert stage.door.seats[0].done[-1] == "left"
        late.append(stage.send())
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        assert not {packet for _, packet, _ in player.packets} & set(late)
        assert len(player.packets) == 1
