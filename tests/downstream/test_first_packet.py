"""The first packet after PLAY is where a decoder can start, and RTP-Info tells which it is (T14, row 16)."""

from __future__ import annotations

import pytest

from halfgateway.protocol.rtp import RtpView
from halfgateway.protocol.rtp_info import StreamInfo, parse_rtp_info
from tests.downstream.stage import PATH, Stage
from tests.raw_player import Answer, RawPlayer
from tests.relay.packets import IDR, NON_IDR, chunk, rtp


def feed(stage: Stage, sequence: int, payload: bytes) -> None:
    stage.source.feed(chunk((0, rtp(sequence, sequence * 3600, payload))))


@pytest.fixture(autouse=True)
def opens_at_once(stage: Stage) -> None:
    stage.door.opens_at_once = True


async def started(player: RawPlayer) -> Answer:
    assert (await player.set_up(PATH)).status == 200
    answer = await player.play(PATH)
    assert answer.status == 200
    return answer


def told(answer: Answer) -> StreamInfo:
    (info,) = parse_rtp_info(answer.header("rtp-info"))
    return info


def received(player: RawPlayer) -> list[RtpView]:
    return [RtpView(packet) for channel, packet, _ in player.packets if channel == 0]


async def test_rtp_info_is_the_first_packet_of_the_group_and_live_follows_without_a_gap(stage: Stage) -> None:
    # T14, rows 16 and 52
    feed(stage, 65533, IDR)
    feed(stage, 65534, NON_IDR)
    async with stage.player() as player:
        info = told(await started(player))
        feed(stage, 65535, NON_IDR)
        feed(stage, 0, NON_IDR)
        await player.packets_until(4)
        packets = received(player)
        assert [packet.sequence for packet in packets] == [65533, 65534, 65535, 0]
        assert bytes(packets[0].payload) == IDR
        assert info == StreamInfo(player.url(PATH) + "/trackID=0", packets[0].sequence, packets[0].timestamp)


async def test_no_packet_comes_before_the_answer_that_announces_it(stage: Stage) -> None:
    # rows 6 and 16
    feed(stage, 1, IDR)
    async with stage.player() as player:
        await started(player)
        await player.packets_until(1)
        assert player.captured.index(b"RTP-Info") < player.captured.index(b"$\x00")


async def test_where_the_first_packet_is_not_known_nothing_is_claimed(stage: Stage) -> None:
    # T14: before the first key picture
    feed(stage, 1, NON_IDR)
    async with stage.player() as player:
        answer = await started(player)
        assert "rtp-info" not in answer.headers
        feed(stage, 2, NON_IDR)
        feed(stage, 3, IDR)
        await player.packets_until(1)
        assert received(player)[0].sequence == 3


async def test_each_reader_of_one_camera_has_its_own_opening(stage: Stage) -> None:
    # T14
    feed(stage, 1, IDR)
    async with stage.player() as early, stage.player() as late:
        assert told(await started(early)).sequence == 1
        feed(stage, 2, IDR)
        feed(stage, 3, NON_IDR)
        assert told(await started(late)).sequence == 2
        await early.packets_until(3)
        await late.packets_until(2)
        assert [packet.sequence for packet in received(early)] == [1, 2, 3]
        assert [packet.sequence for packet in received(late)] == [2, 3]


async def test_credentials_in_the_url_are_not_told_again(stage: Stage) -> None:
    # row 43, S01
    feed(stage, 1, IDR)
    async with stage.player() as player:
        assert (await player.set_up(PATH)).status == 200
        url = player.url(PATH).replace("//", "//viewer:secret@")
        answer = await player.ask("PLAY", url, {"Session": player.session or ""})
        assert "secret" not in answer.header("rtp-info")
        assert told(answer).url == player.url(PATH) + "/trackID=0"
