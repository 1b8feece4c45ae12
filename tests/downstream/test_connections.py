"""How connections live and end: deadlines, bounds, half-closed ones, those who ask and do not read."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from halfgateway.downstream.answers import MAX_SESSIONS
from halfgateway.downstream.connection import FIRST_REQUEST_TIMEOUT_S, IDLE_TIMEOUT_S, MAX_UNREAD_BYTES
from halfgateway.errors import InterconnectionCut
from halfgateway.protocol.rtcp import Goodbye, parse_compound
from tests.downstream.stage import PATH, SDP, SSRC, Stage
from tests.raw_player import RawPlayer

BOUND = 20
SMALL_BYTES = 64 * 1024


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def small_stage() -> AsyncIterator[Stage]:
    stage = Stage(max_connections=BOUND)
    await stage.open()
    yield stage
    await stage.server.close()


async def is_closed(player: RawPlayer) -> bool:
    return await player.read_to_end() in {"fin", "reset"}


async def test_a_stranger_is_closed_after_the_deadline(stage: Stage) -> None:
    # row 9: slow loris, and one who asks again and again without proof
    async with stage.player(None) as silent, stage.player(None) as asking, stage.player() as known:
        await silent.send(b"OPTIONS rtsp://")
        assert (await asking.ask("DESCRIBE", asking.url(PATH))).status == 401
        assert (await known.ask("DESCRIBE", known.url(PATH))).status == 200
        stage.clocks.monotonic_s += FIRST_REQUEST_TIMEOUT_S
        stage.server.sweep()
        assert len(stage.server.connections) == 3
        stage.clocks.monotonic_s += 0.1
        assert (await asking.ask("OPTIONS", asking.url(PATH))).status == 200
        stage.server.sweep()
        assert await is_closed(silent)
        assert await is_closed(asking)
        assert (await known.ask("DESCRIBE", known.url(PATH))).status == 200


async def test_a_connection_without_session_may_not_idle_and_one_with_may(stage: Stage) -> None:
    # rows 27, 28: a reader over TCP that never sends a keep-alive lives
    async with stage.player() as idle, stage.player() as watching:
        await idle.ask("DESCRIBE", idle.url(PATH))
        await watching.set_up(PATH)
        await watching.play(PATH)
        stage.clocks.monotonic_s += IDLE_TIMEOUT_S + 0.1
        stage.server.sweep()
        assert await is_closed(idle)
        packet = stage.send()
        await watching.packets_until(1)
        assert watching.packets[-1][1] == packet


async def test_strangers_past_the_bound_push_out_strangers_and_keep_no_player_out(small_stage: Stage) -> None:
    # row 9: those without credentials take no slot, and give their place back
    stage = small_stage
    crowd = [socket.create_connection(("127.0.0.1", stage.port)) for _ in range(BOUND)]
    await eventually(lambda: len(stage.server.connections) == BOUND)
    async with stage.player() as player:
        assert (await player.set_up(PATH)).status == 200
        await eventually(lambda: len(stage.server.connections) == BOUND)
        assert stage.door.occupied == 1
        crowd += [socket.create_connection(("127.0.0.1", stage.port)) for _ in range(2 * BOUND)]
        await eventually(lambda: len(stage.server.connections) == BOUND)
        assert (await player.ask("OPTIONS", player.url(PATH))).status == 200, "strangers push out strangers alone"
    for silent in crowd:
        silent.close()
    await eventually(lambda: not stage.server.connections)


async def test_a_house_full_of_players_resets_the_newcomer(small_stage: Stage) -> None:
    # row 9
    async with contextlib.AsyncExitStack() as crowd:
        for _ in range(BOUND):
            player = await crowd.enter_async_context(small_stage.player())
            assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
        async with small_stage.player() as late:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await late.ask("OPTIONS", late.url(PATH))
        assert len(small_stage.server.connections) == BOUND


async def test_a_client_that_asks_and_never_reads_is_aborted(stage: Stage) -> None:
    # its answers would fill the memory
    async with stage.player() as player:
        await player.ask("GET_PARAMETER", player.url(PATH))
        asked = player.request("DESCRIBE", player.url(PATH)) * 200
        with pytest.raises(ConnectionError):
            await ask_and_never_read(stage.port, asked, at_most_bytes=100 * MAX_UNREAD_BYTES)
        assert stage.door.described * len(SDP) < 2 * MAX_UNREAD_BYTES
        await eventually(lambda: len(stage.server.connections) == 1)
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200


async def ask_and_never_read(port: int, data: bytes, *, at_most_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", port))
        greedy.setblocking(False)
        for _ in range(at_most_bytes // len(data)):
            async with asyncio.timeout(20):
                await loop.sock_sendall(greedy, data)


async def test_an_answer_that_cannot_be_made_ends_its_connection_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    # a bug is told and holds nothing; the others go on
    async with stage.player() as unlucky, stage.player() as player:
        await unlucky.set_up(PATH)
        stage.door.refuses_start = ZeroDivisionError("a bug")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await unlucky.play(PATH)
        await eventually(lambda: stage.door.occupied == 0)
        assert "connection.failed" in caplog.text
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200


async def test_sessions_of_one_connection_are_bounded(stage: Stage) -> None:
    stage.door.cap = 2 * MAX_SESSIONS
    async with stage.player() as player:
        statuses = [(await player.set_up(PATH)).status for _ in range(MAX_SESSIONS + 1)]
        assert statuses == [200] * MAX_SESSIONS + [461]
        assert stage.door.occupied == MAX_SESSIONS
        await player.tear_down(PATH)
        assert (await player.set_up(PATH)).status == 200


async def test_a_session_that_ends_while_it_starts_does_not_flow(stage: Stage) -> None:
    # C10: the cut comes between the durable entry and the answer
    async with stage.player() as one:
        await one.set_up(PATH, transport="RTP/AVP/TCP;unicast;interleaved=2-3")
        await one.set_up(PATH)
        seat = stage.door.seats[1]
        stage.door.on_start = lambda: seat.end(InterconnectionCut())
        assert (await one.play(PATH)).status == 454
        assert "flow" not in seat.done


async def test_a_reader_that_vanishes_loses_its_seat_and_only_its_own(stage: Stage) -> None:
    # rows 20, 29
    async with stage.player() as gone, stage.player() as stays:
        for player in (gone, stays):
            await player.set_up(PATH)
            await player.play(PATH)
        gone.vanish()
        await eventually(lambda: stage.door.occupied == 1)
        assert [seat.done[-1] for seat in stage.door.seats] == ["lose", "flow"]
        packet = stage.send()
        await stays.packets_until(1)
        assert stays.packets[-1][1] == packet


async def test_a_client_that_says_goodbye_and_closes_its_half_has_its_answers(stage: Stage) -> None:
    # row 19: ffmpeg sends TEARDOWN and closes at once
    async with stage.player() as player:
        await player.set_up(PATH)
        await player.play(PATH)
        stage.door.may_leave.clear()
        session = {"Session": player.session or ""}
        await player.send(player.request("TEARDOWN", player.url(PATH), session))
        player.end_sending()
        await eventually(lambda: stage.door.occupied == 0)
        await asyncio.sleep(0.02)
        stage.door.may_leave.set()
        assert (await player.next_answer()).status == 200
        assert await player.read_to_end() == "fin"
    await eventually(lambda: not stage.server.connections)


async def test_a_goodbye_that_came_with_the_reset_is_heard(stage: Stage) -> None:
    # row 19: media was being written to it at that moment, and the write failed
    loop, url = asyncio.get_running_loop(), f"rtsp://127.0.0.1:{stage.port}{PATH}"
    async with stage.player() as signer:
        await signer.ask("GET_PARAMETER", url)
        with socket.create_connection(("127.0.0.1", stage.port)) as hasty:
            hasty.setblocking(False)
            transport = {"Transport": "RTP/AVP/TCP;unicast"}
            await loop.sock_sendall(hasty, signer.request("SETUP", url, transport))
            found = re.search(rb"Session: (\w+)", await loop.sock_recv(hasty, 4096))
            assert found is not None
            session = {"Session": found[1].decode()}
            await loop.sock_sendall(hasty, signer.request("PLAY", url, session))
            await loop.sock_recv(hasty, 4096)
            stage.send()
            hasty.send(signer.request("TEARDOWN", url, session))
        stage.send()
        await eventually(lambda: stage.door.occupied == 0)
        assert stage.door.seats[0].done == ["start", "flow", "leave"]
    await eventually(lambda: not stage.server.connections)


async def test_a_goodbye_in_hand_is_finished_though_the_client_is_gone(stage: Stage) -> None:
    # row 19: what it gives back is given back, and only then is the rest lost
    async with stage.player() as player:
        for channels in ("0-1", "2-3"):
            await player.set_up(PATH, transport=f"RTP/AVP/TCP;unicast;interleaved={channels}")
        stage.door.may_leave.clear()
        await player.send(player.request("TEARDOWN", player.url(PATH), {"Session": player.session or ""}))
        await eventually(lambda: stage.door.occupied == 1)
        player.vanish()
        await asyncio.sleep(0.02)
        assert [seat.done for seat in stage.door.seats] == [[], ["leave"]]
        stage.door.may_leave.set()
        await eventually(lambda: stage.door.occupied == 0)
        assert [seat.done for seat in stage.door.seats] == [["lose"], ["leave", "left"]]


async def test_an_end_stops_media_says_bye_and_resets(stage: Stage) -> None:
    # C10, section 1.7: nothing comes after the BYE
    async with stage.player() as player:
        await player.set_up(PATH)
        await player.play(PATH)
        sent = [stage.send() for _ in range(3)]
        stage.door.seats[0].end(InterconnectionCut())
        stage.send()
        assert await player.read_to_end() == "reset"
    *media, (channel, last, _) = player.packets
    assert [packet for _, packet, _ in media] == sent
    assert channel == 1
    goodbyes = [packet for packet in parse_compound(last) if isinstance(packet, Goodbye)]
    assert [goodbye.ssrcs for goodbye in goodbyes] == [(SSRC,)]
    assert stage.door.seats[0].done[-1] != "lose"


async def test_an_end_of_one_session_leaves_the_connection_to_the_others(stage: Stage) -> None:
    async with stage.player() as player:
        await player.set_up(PATH)
        await player.play(PATH)
        await player.set_up(PATH, transport="RTP/AVP/TCP;unicast;interleaved=2-3")
        await player.play(PATH)
        stage.send()
        await player.packets_until(1)
        stage.door.seats[0].end(InterconnectionCut())
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        packet = stage.send()
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        assert [data for channel, data, _ in player.packets if channel == 2][-1] == packet
        assert [data for channel, data, _ in player.packets if channel == 0][-1] != packet


async def test_a_full_reader_gets_no_bye_inside_a_frame(stage: Stage) -> None:
    # section 1.7; C10: what is queued is dropped, not delivered
    async with stage.player(receive_buffer_bytes=SMALL_BYTES) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        connection = next(iter(stage.server.connections))
        while connection.writable:
            stage.send(60_000)
        stage.door.seats[0].end(InterconnectionCut())
        assert await player.read_to_end() == "reset"
    assert {channel for channel, _, _ in player.packets} <= {0}


async def test_a_slow_reader_loses_pictures_and_no_other_does(stage: Stage) -> None:
    # L10, T10: counted, never in part
    async with stage.player(receive_buffer_bytes=SMALL_BYTES) as slow, stage.player() as prompt:
        for player in (slow, prompt):
            await player.set_up(PATH)
            await player.play(PATH)
        sent = []
        for _ in range(40):
            sent += [stage.send(60_000) for _ in range(5)]
            await prompt.packets_until(len(sent))
        assert [packet for _, packet, _ in prompt.packets] == sent
        reader = stage.door.seats[0].reader
        assert reader is not None
        while reader.queued_bytes:
            await slow.packets_until(len(slow.packets) + 1)
        sent.append(stage.send())
        await slow.packets_until(reader.sent_packets)
        received = [packet for _, packet, _ in slow.packets]
    assert received[-1] == sent[-1]
    assert set(received) < set(sent)
    assert (reader.sent_packets, reader.sent_packets + reader.lost_packets) == (len(received), len(sent))
