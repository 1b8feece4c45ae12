"""RTSP over HTTP: one connection of two, which takes one seat and ends as one (rows 9, 10, 21, 39)."""

from __future__ import annotations

import asyncio
import base64
import itertools
from contextlib import AsyncExitStack

import pytest

from halfgateway.downstream.connection import FIRST_REQUEST_TIMEOUT_S, IDLE_TIMEOUT_S, MAX_PIPELINED_REQUESTS
from halfgateway.protocol.wire import MAX_HEAD_BYTES, MAX_REQUEST_BODY_BYTES
from tests.downstream.stage import OTHER, PATH, STRANGER, Stage
from tests.downstream.tunnel_stage import eventually, opened, plays, refused, stage, tunnelled
from tests.tunnel_player import ended, head

__all__ = ["stage"]

TRANSPORT = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
FOREIGN = "127.0.0.2"
BOUND = 20
DEADLINE_S = int(FIRST_REQUEST_TIMEOUT_S)


# One place


async def test_through_a_tunnel_there_are_no_datagrams(stage: Stage) -> None:
    # rows 33, 39: who tunnels has no way for them, and goes on interleaved
    async with tunnelled(stage) as player:
        offer = "RTP/AVP;unicast;client_port=50000-50001"
        assert (await player.set_up(PATH, transport=offer)).status == 461
        both = await player.set_up(PATH, transport=f"{offer},RTP/AVP/TCP;unicast;interleaved=0-1")
        assert (both.status, both.header("transport")) == (200, "RTP/AVP/TCP;unicast;interleaved=0-1")


async def test_a_tunnel_is_one_connection_with_one_seat(stage: Stage) -> None:
    # rows 39, 21; C01: SETUP, PLAY, ping, PAUSE, TEARDOWN by the POST, answers and media on the GET
    stage.door.cap = 1
    async with tunnelled(stage) as player:
        assert player.opening.splitlines()[0] == "HTTP/1.0 200 OK"
        for field in (
            "Content-Type: application/x-rtsp-tunnelled",
            "Cache-Control: no-cache",
            "Connection: close",
        ):
            assert field in player.opening.splitlines()
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
        assert (await player.set_up(PATH)).status == 200
        assert (await player.play(PATH)).status == 200
        assert stage.door.occupied == 1
        assert len(stage.server.connections) == 2
        await plays(stage, player)
        session = {"Session": player.session or ""}
        assert (await player.ask("GET_PARAMETER", player.url(PATH), session)).status == 200
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        async with stage.player() as another:
            assert (await another.set_up(PATH)).status == 453
        assert (await player.tear_down(PATH)).status == 200
        assert stage.door.occupied == 0
        assert stage.door.seats[0].done == ["start", "flow", "leave"]
    await eventually(lambda: not stage.server.connections)


async def test_nothing_new_passes_the_door_inside_a_tunnel(stage: Stage) -> None:
    # Digest as on any connection, and for each request (rows 44, 48, 26)
    async with tunnelled(stage, None) as stranger:
        answer = await stranger.ask("SETUP", stranger.url(PATH), TRANSPORT)
        assert answer.status == 401
        assert len(answer.headers["www-authenticate"]) == 2
    async with tunnelled(stage, STRANGER) as wrong:
        assert (await wrong.set_up(PATH)).status == 401
    assert ("wrong-credentials", "viewer", "127.0.0.1") in stage.door.noted
    async with tunnelled(stage) as player, stage.player(OTHER) as other:
        await player.set_up(PATH)
        await other.ask("GET_PARAMETER", other.url(PATH))
        other.session = player.session
        assert (await other.play(PATH)).status == 454
        assert stage.door.seats[0].done == []


async def test_other_connections_are_what_they_were(stage: Stage) -> None:
    async with stage.player() as player:
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        assert (await player.set_up(PATH)).status == 200
        assert (await player.play(PATH)).status == 200
        await plays(stage, player)


# How the POST is cut


@pytest.mark.parametrize("first", range(0, 400, 20))
async def test_a_post_cut_anywhere_is_one_request(stage: Stage, first: int) -> None:
    # rows 4, 39
    async with tunnelled(stage) as player:
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        for cut in range(first, first + 20, 3):
            text = base64.b64encode(player.request("GET_PARAMETER", player.url(PATH)))
            await player.send_text(text[:cut])
            await asyncio.sleep(0.002)
            await player.send_text(text[cut:] + b"\r\n")
            assert (await player.next_answer()).status == 200


async def test_heads_and_bodies_byte_by_byte(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    for byte in head("GET", "drip"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.0 200 OK\r\n")
    _, post = await asyncio.open_connection("127.0.0.1", stage.port)
    for byte in head("POST", "drip") + base64.b64encode(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n"):
        post.write(bytes([byte]))
        await asyncio.sleep(0)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"RTSP/1.0 200 OK\r\n")
    assert b"CSeq: 7\r\n" in answer
    writer.transport.abort()
    post.transport.abort()
    await eventually(lambda: not stage.server.connections)


async def test_padding_in_mid_stream_and_many_requests_in_one_segment(stage: Stage) -> None:
    # rows 3, 39: each request padded by itself, and all as one
    async with tunnelled(stage) as player:
        await player.ask("GET_PARAMETER", player.url(PATH))
        asked = [player.request("GET_PARAMETER", player.url(PATH), {"X": "y" * extra}) for extra in range(6)]
        padded = [base64.b64encode(each) for each in asked]
        assert {text.count(b"=") for text in padded} == {0, 1, 2}
        await player.send_text(b"".join(padded))
        assert [(await player.next_answer()).status for _ in asked] == [200] * 6
        asked = [player.request("GET_PARAMETER", player.url(PATH)) for _ in range(6)]
        await player.send(b"".join(asked))
        assert [(await player.next_answer()).status for _ in asked] == [200] * 6


async def test_more_requests_than_are_read_ahead_are_all_answered_over_two_posts(stage: Stage) -> None:
    async with tunnelled(stage) as player:
        await player.ask("GET_PARAMETER", player.url(PATH))
        asked = [player.request("GET_PARAMETER", player.url(PATH)) for _ in range(4 * MAX_PIPELINED_REQUESTS)]
        half = len(asked) // 2
        await player.send(b"".join(asked[:half]))
        assert (await player.next_answer()).status == 200
        await player.open_post()
        await player.send(b"".join(asked[half:]))
        answers = [await player.next_answer() for _ in asked[1:]]
    assert {answer.status for answer in answers} == {200}
    assert [int(answer.header("cseq")) for answer in answers] == list(range(4, 3 + len(asked)))


async def test_a_post_that_comes_while_nothing_is_read_waits_and_the_last_is_heard(stage: Stage) -> None:
    # memory is bounded: no number of POSTs gets around what waits already
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        stage.door.may_leave.clear()
        asked = [player.request("TEARDOWN", player.url(PATH), {"Session": player.session or ""})]
        asked += [player.request("GET_PARAMETER", player.url(PATH)) for _ in range(2 * MAX_PIPELINED_REQUESTS)]
        await player.send(b"".join(asked))
        await eventually(lambda: stage.door.occupied == 0)
        for number in range(2):
            await player.open_post(base64.b64encode(player.request("GET_PARAMETER", player.url(PATH))))
            assert await player.post_ended(number) in {"fin", "reset"}
        assert len(stage.server.connections) == 2
        stage.door.may_leave.set()
        answers = [await player.next_answer() for _ in [*asked, "the last POST"]]
        numbers = [int(answer.header("cseq")) for answer in answers]
        assert numbers == [*range(numbers[0], numbers[0] + len(asked)), numbers[0] + len(asked) + 1]
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200


async def test_a_post_may_end_and_another_goes_on(stage: Stage) -> None:
    # row 39: also in the middle of a request, and while media flows on the GET
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.play(PATH)
        ping = player.request("GET_PARAMETER", player.url(PATH))
        await player.send(ping[:30])
        await player.close_post()
        await eventually(lambda: len(stage.server.connections) == 1)
        await plays(stage, player)
        await player.open_post()
        await player.send(ping[30:])
        assert (await player.next_answer()).status == 200
        assert (await player.tear_down(PATH)).status == 200
    assert stage.door.seats[0].done == ["start", "flow", "leave"]


async def test_a_new_post_takes_the_place_of_one_that_is_still_open(stage: Stage) -> None:
    # the client knows better than we whether the old one is dead
    async with tunnelled(stage) as player:
        await player.ask("GET_PARAMETER", player.url(PATH))
        await player.open_post()
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        assert await player.post_ended(0) == "fin"
        await eventually(lambda: len(stage.server.connections) == 2)
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200


async def test_what_is_said_on_the_get_is_heard_by_nobody(stage: Stage) -> None:
    # live555 sends its reports there, and a back-channel would come there (row 31)
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        await player.send_on_get(player.request("TEARDOWN", player.url(PATH), {"Session": player.session or ""}))
        await player.send_on_get(b"$\x01\x00\x04abcd\xff\xff")
        assert (await player.play(PATH)).status == 200
        assert stage.door.occupied == 1


# Who may join


async def test_a_post_without_its_get_is_refused(stage: Stage) -> None:
    # every client waits for the answer to its GET; no POST is kept for one that may come
    told = await refused(stage, head("POST", "nobody's") + base64.b64encode(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"))
    assert told.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    await eventually(lambda: not stage.server.connections)


async def test_a_post_from_another_address_is_refused(stage: Stage) -> None:
    # a stolen cookie is good for nothing elsewhere; the tunnel does not notice
    async with tunnelled(stage) as player:
        await player.set_up(PATH)
        told = await player.told_on_a_post(source=FOREIGN)
        assert told.startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert (await player.play(PATH)).status == 200
        await plays(stage, player)


async def test_a_cookie_in_use_opens_no_second_tunnel_and_one_of_the_past_does(stage: Stage) -> None:
    async with tunnelled(stage) as player:
        told = await refused(stage, head("GET", player.cookie))
        assert told.startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
    await eventually(lambda: not stage.server.connections)
    async with tunnelled(stage) as again:
        assert (await again.ask("DESCRIBE", again.url(PATH))).status == 200


async def test_the_same_cookie_of_two_addresses_is_two_tunnels(stage: Stage) -> None:
    # nobody keeps another out by taking its cookie first
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, local_addr=(FOREIGN, 0))
    writer.write(head("GET", "one"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.0 200 OK\r\n")
    async with tunnelled(stage) as player:
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
    writer.transport.abort()
    assert await ended(reader) in {"reset", "fin"}


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nCSeq: 77\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        b"HEAD / HTTP/1.1\r\nx-sessioncookie: c\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: " + b"c" * 200 + b"\r\n\r\n",
        b"GET / HTTP/1.0\r\nx-sessioncookie: c\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
    ],
    ids=["get", "post", "head", "cookie", "long"],
)
async def test_http_that_is_no_tunnel_is_refused_as_ever(stage: Stage, said: bytes) -> None:
    # row 10
    assert (await refused(stage, said)).startswith(b"RTSP/1.0 400 Bad Request\r\n")
    await eventually(lambda: not stage.server.connections)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_where_it_is_switched_off_there_are_no_tunnels(method: str) -> None:
    # row 10
    async with opened(Stage()) as stage:
        assert (await refused(stage, head(method, "one"))).startswith(b"RTSP/1.0 400 Bad Request\r\n")
        await eventually(lambda: not stage.server.connections)


# Hostile


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"!!!!", 400),
        (b"QQ=Q", 400),
        (base64.b64encode(b"\xff\xff rubbish\r\n\r\n"), 400),
        (base64.b64encode(b"OPTIONS * RTSP/1.0\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BODY_BYTES + 1)), 413),
        (base64.b64encode(b"OPTIONS * RTSP/1.0\r\nX: " + b"y" * MAX_HEAD_BYTES), 400),
        (base64.b64encode(head("GET", "inside")), 400),
    ],
    ids=["no-base64", "bad-padding", "no-rtsp", "large-body", "large-head", "http"],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused_and_ends_both(stage: Stage, text: bytes, status: int) -> None:
    # rows 7, 9: after all that was asked before it
    async with tunnelled(stage) as player:
        await player.ask("GET_PARAMETER", player.url(PATH))
        asked = base64.b64encode(player.request("DESCRIBE", player.url(PATH)))
        await player.send_text(asked + text)
        statuses = [(await player.next_answer()).status]
        if statuses == [200]:
            statuses.append((await player.next_answer()).status)
        assert statuses[-1] == status
        assert await player.read_to_end() in {"fin", "reset"}
        assert await player.post_ended() in {"fin", "reset"}
    await eventually(lambda: not stage.server.connections)


async def test_half_open_tunnels_take_no_seat_and_are_closed_at_the_deadline(stage: Stage) -> None:
    # row 9: no POST; a POST and no word; a POST that drips; a head that drips
    async with tunnelled(stage, None) as silent, tunnelled(stage, None, "two") as dripping, stage.player() as known:
        lonely, loris = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(2)]
        lonely[1].write(head("GET", "lonely"))
        await lonely[0].readuntil(b"\r\n\r\n")
        assert (await known.ask("DESCRIBE", known.url(PATH))).status == 200
        for letter, byte in itertools.islice(zip(b"T1BUSU9OUyAq", head("GET", "drip"), strict=False), DEADLINE_S):
            await dripping.send_text(bytes([letter]))
            loris[1].write(bytes([byte]))
            stage.clocks.monotonic_s += 1.0
            stage.server.sweep()
        await eventually(lambda: len(stage.server.connections) == 7)
        stage.clocks.monotonic_s += 0.1
        stage.server.sweep()
        for player in (silent, dripping):
            assert await player.read_to_end() == "reset"
            assert await player.post_ended() == "reset"
        assert await ended(lonely[0]) == await ended(loris[0]) == "reset"
        assert len(stage.server.connections) == 1
        assert (await known.ask("DESCRIBE", known.url(PATH))).status == 200
    assert stage.door.seats == []


async def test_a_post_that_comes_late_buys_no_time(stage: Stage) -> None:
    async with tunnelled(stage, None) as stranger:
        stage.clocks.monotonic_s += FIRST_REQUEST_TIMEOUT_S
        await stranger.open_post()
        assert (await stranger.ask("OPTIONS", "*")).status == 200
        stage.clocks.monotonic_s += 0.1
        stage.server.sweep()
        assert await stranger.read_to_end() == "reset"
        assert await stranger.post_ended() == "reset"


@pytest.mark.parametrize("said", [b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", head("GET", "slow")], ids=["rtsp", "get"])
async def test_nor_does_a_first_word_that_comes_late(stage: Stage, said: bytes) -> None:
    # row 9: the deadline is that of the TCP connection, whatever it turns out to be
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(said[:2])
    await eventually(lambda: len(stage.server.connections) == 1)
    stage.clocks.monotonic_s += FIRST_REQUEST_TIMEOUT_S
    writer.write(said[2:])
    assert b" 200 OK\r\n" in await reader.readuntil(b"\r\n\r\n")
    stage.clocks.monotonic_s += 0.1
    stage.server.sweep()
    assert await ended(reader) == "reset"
    writer.close()


async def test_an_idle_tunnel_is_closed_as_one_and_a_playing_one_is_not(stage: Stage) -> None:
    # rows 27, 28
    async with tunnelled(stage) as idle, tunnelled(stage, cookie="two") as watching:
        await idle.ask("DESCRIBE", idle.url(PATH))
        await watching.set_up(PATH)
        await watching.play(PATH)
        stage.clocks.monotonic_s += IDLE_TIMEOUT_S + 0.1
        stage.server.sweep()
        assert await idle.read_to_end() == "reset"
        assert await idle.post_ended() == "reset"
        await plays(stage, watching)
        assert (await watching.ask("GET_PARAMETER", watching.url(PATH))).status == 200


async def test_strangers_past_the_bound_push_out_whole_tunnels_of_strangers() -> None:
    # row 9: both halves count, and neither keeps a player out
    async with opened(Stage(max_connections=BOUND, rtsp_over_http=True)) as stage:
        async with AsyncExitStack() as crowd:
            strangers = []
            for number in range(BOUND // 2):
                stranger = tunnelled(stage, None, f"stranger-{number}")
                strangers.append(await crowd.enter_async_context(stranger))
                await eventually(lambda: len(stage.server.connections) == 2 * len(strangers))
                stage.clocks.monotonic_s += 0.1
            player = await crowd.enter_async_context(tunnelled(stage))
            assert (await player.set_up(PATH)).status == 200
            assert len(stage.server.connections) <= BOUND
            assert await strangers[0].read_to_end() == "reset"
            assert await strangers[0].post_ended() == "reset"
            assert (await player.play(PATH)).status == 200
            await plays(stage, player)
        await eventually(lambda: not stage.server.connections)


async def test_a_house_full_of_players_resets_the_newcomer() -> None:
    # row 9
    async with opened(Stage(max_connections=2, rtsp_over_http=True)) as stage, tunnelled(stage) as player:
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        assert await ended(reader) == "reset"
        writer.close()
        assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
