"""Requests however they are cut or mixed with frames, and answers that never fall inside one."""

from __future__ import annotations

import asyncio

import pytest

from halfgateway.downstream.connection import MAX_PIPELINED_REQUESTS, RtspConnection
from halfgateway.protocol.rtcp import ReceiverReport, receiver_report
from tests.downstream.stage import PATH, SSRC, Stage
from tests.downstream.under_load import pinged_under_load
from tests.raw_player import RawPlayer

TRANSPORT = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
REPORT = receiver_report(ReceiverReport(SSRC), "player")
UNDER_LOAD = 300


def interleaved(channel: int, payload: bytes) -> bytes:
    return b"$" + bytes([channel]) + len(payload).to_bytes(2, "big") + payload


async def challenged(player: RawPlayer) -> None:
    """Learn the server's nonce, so that what follows is signed at once."""
    assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200


async def test_requests_in_one_segment_are_answered_in_turn(stage: Stage) -> None:
    # row 3
    async with stage.player() as player:
        await challenged(player)
        url = player.url(PATH)
        asked = [
            player.request("OPTIONS", url),
            player.request("DESCRIBE", url, {"Accept": "application/sdp"}),
            player.request("SETUP", url + "/trackID=0", TRANSPORT),
            player.request("PLAY", url),
            player.request("FLY", url),
            player.request("GET_PARAMETER", url),
        ]
        await player.send(b"".join(asked))
        answers = [await player.next_answer() for _ in asked]
    assert [answer.status for answer in answers] == [200, 200, 200, 454, 501, 200]
    numbers = [int(answer.header("cseq")) for answer in answers]
    assert numbers == list(range(numbers[0], numbers[0] + len(asked)))


async def test_more_requests_than_are_read_ahead_are_all_answered(stage: Stage) -> None:
    # row 3
    async with stage.player() as player:
        await challenged(player)
        asked = [player.request("GET_PARAMETER", player.url(PATH)) for _ in range(4 * MAX_PIPELINED_REQUESTS)]
        half = len(asked) // 2
        await player.send(b"".join(asked[:half]))
        await player.send(b"".join(asked[half:]))
        answers = [await player.next_answer() for _ in asked]
    assert {answer.status for answer in answers} == {200}
    assert [int(answer.header("cseq")) for answer in answers] == list(range(3, 3 + len(asked)))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what the server has read."""
    sizes: list[int] = []

    def data_received(connection: RtspConnection, data: bytes) -> None:
        sizes.append(len(data))
        receive(connection, data)

    receive = RtspConnection.data_received
    monkeypatch.setattr(RtspConnection, "data_received", data_received)
    return sizes


@pytest.mark.parametrize("before", [b"", b"$\x01\x00\x02rr"], ids=["alone", "after-a-frame"])
async def test_a_request_cut_anywhere_is_one_request(stage: Stage, heard: list[int], before: bytes) -> None:
    # rows 1 and 4, T12: at each of its boundaries, in the Digest and the body too; each first part is read
    async with stage.player() as player:
        await challenged(player)
        size, cut = 2, 0
        while (cut := cut + 1) < size:
            data = before + player.request("GET_PARAMETER", player.url(PATH), {"X-Folded": "a\r\n b"}, b"\r\n")
            size = len(data)
            heard.clear()
            await player.send(data[:cut])
            while sum(heard) < cut:
                await asyncio.sleep(0)
            await player.send(data[cut:])
            assert (await player.next_answer()).status == 200
        assert size > 250


async def test_a_request_byte_by_byte(stage: Stage) -> None:
    # row 4
    async with stage.player() as player:
        await challenged(player)
        data = player.request("DESCRIBE", player.url(PATH), {"X-Folded": "a\r\n b"})
        for place in range(len(data)):
            await player.send(data[place : place + 1])
            await asyncio.sleep(0)
        assert (await player.next_answer()).status == 200


@pytest.mark.parametrize("payload", [b"", b"\0", REPORT, bytes(65535)], ids=["empty", "one", "report", "largest"])
async def test_frames_of_the_client_come_between_requests(stage: Stage, payload: bytes) -> None:
    # rows 5, 27
    async with stage.player() as player:
        await player.set_up(PATH)
        await player.play(PATH)
        url = player.url(PATH)
        ping = [player.request("GET_PARAMETER", url) for _ in range(3)]
        noise = interleaved(1, payload)
        await player.send(noise + ping[0] + noise + noise + ping[1] + noise[:3])
        await asyncio.sleep(0.002)
        await player.send(noise[3:] + ping[2])
        assert [(await player.next_answer()).status for _ in ping] == [200, 200, 200]
        packet = stage.send()
        await player.packets_until(1)
        assert player.packets[0][:2] == (0, packet)


@pytest.mark.parametrize(
    ("rubbish", "status"),
    [
        (b"\xff\xfe\x00\x01 what is this\r\n\r\n", 400),
        (b"no request at all\r\nCSeq: 77\r\n\r\n", 400),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 77\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCSeq: 77\r\n\r\n", 400),
        (b"DESCRIBE rtsp://h/" + b"a" * 5000 + b" RTSP/1.0\r\nCSeq: 77\r\n\r\n", 414),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 77\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 77\r\nContent-Length: -1\r\n\r\n", 400),
        (b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n", 400),
    ],
)
async def test_what_is_not_rtsp_is_refused_and_ends_the_connection(stage: Stage, rubbish: bytes, status: int) -> None:
    # rows 7, 9, 10, 39
    async with stage.player() as player:
        await player.send(rubbish)
        answer = await player.next_answer()
        assert (answer.status, answer.header("connection")) == (status, "close")
        assert answer.headers.get("cseq") in (None, ["77"])
        await player.read_to_end()
    assert not stage.server.connections


async def test_what_was_asked_before_the_rubbish_is_answered_first(stage: Stage) -> None:
    # row 7
    async with stage.player() as player:
        await challenged(player)
        await player.send(player.request("DESCRIBE", player.url(PATH)) + b"\xff\xff rubbish\r\n\r\n")
        assert (await player.next_answer()).status == 200
        assert (await player.next_answer()).status == 400
        await player.read_to_end()


@pytest.mark.parametrize("receive_buffer_bytes", [None, 64 * 1024], ids=["prompt", "narrow"])
async def test_answers_never_fall_inside_a_frame(stage: Stage, receive_buffer_bytes: int | None) -> None:
    # row 6, T12: the player takes every byte apart, and each packet is whole; 10,000 of them in make soak
    async with stage.player(receive_buffer_bytes=receive_buffer_bytes) as player:
        await pinged_under_load(stage, player, UNDER_LOAD)
