"""Real players over UDP, and the way they come back to TCP where UDP is not offered or does not arrive (T3, T8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from auth.trace import Entry, Kind
from halfgateway.downstream.datagram_sink import DatagramSink
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtcp import SenderReport, parse_compound
from tests.depacketise import decoded_counters
from tests.e2e.conftest import Gateway, credentials_of, until
from tests.e2e.inventory import QUICK_FRAMES, record_of_simulated, simulated_camera
from tests.players import (
    FRAMES,
    Counters,
    counters_by_pyav,
    counters_of,
    ffmpeg_command,
    gstreamer_command,
    in_turn,
    needs_ffmpeg,
    needs_gstreamer,
    playing,
)
from tests.raw_player import Credentials

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.peer]

LARGE, SMALL = "large-packets", "small-packets"
LARGE_PACKET_BYTES = 4000
SILENCE_US = 2_000_000

PLAYERS = [
    pytest.param("ffmpeg", marks=needs_ffmpeg),
    pytest.param("gstreamer", marks=needs_gstreamer),
    "pyav",
]


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def cameras(module_gateway: Gateway) -> AsyncIterator[None]:
    """A camera whose packets no datagram holds, and one with a key frame every 0.4 s."""
    async with (
        simulated_camera(packet_bytes=LARGE_PACKET_BYTES) as large,
        simulated_camera(frames=QUICK_FRAMES) as small,
    ):
        for camera, name in ((large, LARGE), (small, SMALL)):
            await module_gateway.node.records.cameras.upsert(record_of_simulated(camera, name))
        yield


def transports_in_use(gateway: Gateway) -> list[str]:
    sessions = [session for connection in gateway.node.rtsp.connections for session in connection.sessions.values()]
    return ["UDP" if session.datagrams is not None else "TCP" for session in sessions]


async def play(gateway: Gateway, player: str, camera: str, credentials: Credentials, by: str | None) -> Counters:
    """Play a few pictures ``by`` udp or tcp, or as the player chooses by itself."""
    path = f"/live/{camera}"
    url = gateway.url(path, credentials)
    if player == "ffmpeg":
        return await counters_of(ffmpeg_command(url, transport=by))
    if player == "gstreamer":
        address = gateway.ready["rtsp"] + path
        return await counters_of(gstreamer_command(address, credentials, Codec.H264, protocols=by or "udp+tcp"))
    return await counters_by_pyav(url, options={"rtsp_transport": by or "udp+tcp"})


async def ended_by(gateway: Gateway, stream: str) -> str:
    (stopped,) = await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == stream)
    cause: str = stopped.detail["cause"]
    return cause


@pytest.mark.parametrize("player", PLAYERS)
async def test_a_player_decodes_every_picture_that_comes_by_udp(shared: Gateway, player: str) -> None:
    # row 35
    camera = shared.cameras[0]
    ticket = await shared.ticket(camera)
    counters = await play(shared, player, camera, credentials_of(ticket), "udp")
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)
    assert await ended_by(shared, ticket["id"]) == "teardown"


@needs_ffmpeg
@needs_gstreamer
async def test_players_that_choose_take_udp(shared: Gateway) -> None:
    # row 33: both ask for UDP first
    path = f"/live/{shared.cameras[0]}"
    by_ffmpeg = ffmpeg_command(shared.url(path, shared.machine), frames=None, transport=None)
    by_gstreamer = gstreamer_command(
        shared.ready["rtsp"] + path, shared.machine, Codec.H264, frames=None, protocols="udp+tcp"
    )
    async with playing(by_ffmpeg), playing(by_gstreamer):
        assert transports_in_use(shared) == ["UDP", "UDP"]
    await until(lambda: len(shared.node.control.table) == 0)


@pytest.mark.parametrize("player", PLAYERS)
async def test_a_player_falls_back_by_itself_where_packets_are_too_large(shared: Gateway, player: str) -> None:
    # T8, row 33: 461, then TCP, on the same ticket
    ticket = await shared.ticket(LARGE)
    counters = await play(shared, player, LARGE, credentials_of(ticket), None)
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)
    assert await ended_by(shared, ticket["id"]) == "teardown"
    entries = [entry for entry in await shared.trace() if entry.stream == ticket["id"]]
    assert [entry.kind for entry in entries].count(Kind.STREAM_REQUESTED) == 1
    await shared.traced(lambda entry: entry.refusal == "transport-not-offered" and is_of(entry, ticket["id"]))


def is_of(entry: Entry, stream: str) -> bool:
    """Whether an entry is of this stream, be it with others: identical refusals of a second are told in one."""
    return entry.stream == stream or stream in entry.detail.get("streams", [])


@needs_ffmpeg
async def test_a_machine_falls_back_on_one_slot(shared: Gateway) -> None:
    # T8: 461 loses no slot and takes no second
    url = shared.url(f"/live/{LARGE}", shared.machine)
    async with playing(ffmpeg_command(url, frames=None, transport=None)):
        assert transports_in_use(shared) == ["TCP"]
        assert await shared.slots_used() == 1
        assert len(shared.node.control.table) == 1
    await until(lambda: len(shared.node.control.table) == 0)


@needs_ffmpeg
async def test_ffmpeg_comes_back_by_tcp_when_no_datagram_arrives(
    shared: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # row 18: told to wait for so long, it then sends PAUSE, and gives up unless that is 200
    monkeypatch.setattr(DatagramSink, "write", lambda sink, data: None)
    ticket = await shared.ticket(SMALL)
    url = shared.url(f"/live/{SMALL}", credentials_of(ticket))
    ffmpeg, *options = ffmpeg_command(url, transport=None)
    counters = await counters_of([ffmpeg, "-timeout", str(SILENCE_US), *options])
    assert len(counters) == FRAMES
    assert await ended_by(shared, ticket["id"]) == "teardown"
    entries = [entry for entry in await shared.trace() if entry.stream == ticket["id"]]
    assert next(entry.detail for entry in entries if entry.kind is Kind.STREAM_MOVED)["to"] == "paused"
    assert [entry.kind for entry in entries].count(Kind.STREAM_REQUESTED) == 1


async def test_reports_of_the_camera_come_by_udp_within_seconds(shared: Gateway) -> None:
    # row 53: its clock, by the source of its packets
    async with shared.udp_player(shared.machine) as player:
        granted = await player.start(f"/live/{SMALL}")
        await player.packets_until(1)
        await player.packets_until(1, channel=1)
        sources = {int.from_bytes(data[8:12], "big") for channel, data, _ in player.packets if channel == 0}
        assert sources == {granted.ssrc}
        (first, *_) = [data for channel, data, _ in player.packets if channel == 1]
        (report,) = [packet for packet in parse_compound(first) if isinstance(packet, SenderReport)]
        assert report.ssrc == granted.ssrc
        assert (await player.tear_down(f"/live/{SMALL}")).status == 200


async def test_what_a_reader_over_udp_is_sent_can_be_decoded(shared: Gateway) -> None:
    async with shared.udp_player(shared.machine) as player:
        await player.start(f"/live/{SMALL}")
        await player.packets_until(60)
        assert (await player.tear_down(f"/live/{SMALL}")).status == 200
    video = [data for channel, data, _ in player.packets if channel == 0]
    counters = await asyncio.to_thread(decoded_counters, video, Codec.H264)
    whole = counters[:-1]  # the last picture may have been on its way
    assert len(whole) > QUICK_FRAMES
    assert in_turn(whole, loop=QUICK_FRAMES)


async def test_a_lost_reader_over_udp_keeps_its_slot_for_its_holder(shared: Gateway) -> None:
    # S15: the connection is the session's, whatever carries its packets
    ticket = await shared.ticket(SMALL)
    path = f"/live/{SMALL}"
    async with shared.udp_player(credentials_of(ticket)) as lost:
        await lost.start(path)
        await lost.packets_until(5)
        (stream,) = shared.node.control.table
        lost.vanish()
        await until(lambda: not stream.seats)
        assert await shared.slots_used() == 1
    async with shared.udp_player(credentials_of(ticket)) as back:
        await back.start(path)
        await back.packets_until(5)
        assert list(shared.node.control.table) == [stream]
        assert (await back.tear_down(path)).status == 200


async def test_a_setup_over_tcp_replaces_a_session_over_udp(shared: Gateway) -> None:
    ticket = await shared.ticket(SMALL)
    path = f"/live/{SMALL}"
    async with shared.udp_player(credentials_of(ticket)) as player:
        await player.start(path)
        await player.packets_until(5)
        assert (await player.set_up(path)).status == 200
        assert transports_in_use(shared) == ["TCP"]
        assert await shared.slots_used() == 1
        assert (await player.tear_down(path)).status == 200
