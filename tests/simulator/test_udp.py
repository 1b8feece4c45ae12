"""The simulated cameras by UDP: what SETUP grants, what the datagrams hold, how a session lives and ends."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from simulated_cameras import player_of, url_with_credentials

from halfgateway.net.datagrams import DatagramPair, open_pair
from halfgateway.protocol import rtcp
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.rtp import RtpView, sequence_distance
from halfgateway.protocol.rtp_info import parse_rtp_info
from halfgateway.protocol.transport import Pair, parse_transports
from halfgateway.simulator.behaviour import Behaviour, LowerTransport
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from tests.players import counters_of, ffmpeg_command, gstreamer_command, in_turn, needs_ffmpeg, needs_gstreamer
from tests.raw_player import Answer, Credentials, RawPlayer
from tests.simulator.test_kinds import UDP_ONLY, camera_of_kind
from tests.simulator.test_rtsp import eventually

TIMEOUT_S = 20.0
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"
LOOP = 10


@pytest.fixture
async def camera(short_clip: Clip) -> AsyncIterator[SimulatedCamera]:
    """A camera that sounds, and that has nothing but UDP."""
    sounding = replace(short_clip, audio=(b"\xd5" * 160,))
    behaviour = Behaviour(transports=frozenset({LowerTransport.UDP}))
    async with camera_of_kind(0, sounding, behaviour) as running:
        yield running


@pytest.fixture
def pair() -> Iterator[DatagramPair]:
    with closing(open_pair("127.0.0.1")) as opened:
        yield opened


def asked_for(pair: DatagramPair) -> str:
    return "RTP/AVP;unicast;client_port={}-{}".format(*pair.ports)


def server_ports(answer: Answer) -> Pair:
    assert answer.status == 200
    (granted,) = parse_transports(answer.header("transport"))
    assert granted.server_port is not None
    return granted.server_port


async def received(sock: socket.socket, count: int) -> list[tuple[bytes, int]]:
    """So many datagrams, each with the port that it came from."""
    found: list[tuple[bytes, int]] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(found) < count:
            try:
                data, sender = sock.recvfrom(65536)
            except BlockingIOError:
                await asyncio.sleep(0.005)
            else:
                found.append((data, sender[1]))
    return found


async def playing(player: RawPlayer, camera: SimulatedCamera, pair: DatagramPair) -> tuple[Pair, Answer]:
    path = camera.identity.stream_path
    ports = server_ports(await player.set_up(path, transport=asked_for(pair)))
    played = await player.play(path)
    assert played.status == 200
    return ports, played


async def test_packets_and_reports_come_from_the_ports_that_it_names(
    camera: SimulatedCamera, pair: DatagramPair
) -> None:
    # rows 35, 53
    async with player_of(camera) as player:
        ports, played = await playing(player, camera, pair)
        video = await received(pair.rtp, 40)
        ((report, report_port),) = await received(pair.rtcp, 1)
    packets = [RtpView(data) for data, _ in video]
    assert {port for _, port in video} == {ports[0]}
    assert report_port == ports[1] == ports[0] + 1
    assert all(sequence_distance(a.sequence, b.sequence) == 1 for a, b in itertools.pairwise(packets))
    (info,) = parse_rtp_info(played.header("rtp-info"))
    assert (packets[0].sequence, packets[0].timestamp) == (info.sequence, info.rtp_timestamp)
    told = rtcp.parse_compound(report)[0]
    assert isinstance(told, rtcp.SenderReport)
    assert {packet.ssrc for packet in packets} == {told.ssrc}
    assert player.packets == [], "nothing of it on the connection"


async def test_sound_goes_its_own_way_to_those_who_set_it_up(camera: SimulatedCamera, pair: DatagramPair) -> None:
    # L08
    with closing(open_pair("127.0.0.1")) as sound:
        async with player_of(camera) as player:
            path = camera.identity.stream_path
            assert (await player.set_up(path, transport=asked_for(pair))).status == 200
            wanted = {"Transport": asked_for(sound), "Session": player.session or ""}
            server_ports(await player.ask("SETUP", f"{camera.rtsp_url}/trackID=1", wanted))
            assert (await player.play(path)).status == 200
            assert {RtpView(data).payload_type for data, _ in await received(sound.rtp, 5)} == {8}
            assert {RtpView(data).payload_type for data, _ in await received(pair.rtp, 5)} == {96}


async def test_what_it_does_not_have_is_461(camera: SimulatedCamera, pair: DatagramPair) -> None:
    # row 33, and a list of which one is had (row 32)
    path = camera.identity.stream_path
    async with player_of(camera) as player:
        assert (await player.set_up(path, transport=TCP)).status == 461
        assert (await player.set_up(path, transport="RTP/AVP;unicast")).status == 461
        camera.behaviour.transports = frozenset({LowerTransport.TCP})
        assert (await player.set_up(path, transport=asked_for(pair))).status == 461
        assert camera.session_count == 0
        chosen = await player.set_up(path, transport=f"{asked_for(pair)},{TCP}")
        assert chosen.header("transport").startswith("RTP/AVP/TCP;")
        camera.behaviour.transports = frozenset(LowerTransport)
        other = {"Transport": asked_for(pair), "Session": player.session or ""}
        answer = await player.ask("SETUP", f"{camera.rtsp_url}/trackID=1", other)
        assert answer.status == 461, "one session, one way"
        assert (await player.set_up(path, transport=asked_for(pair))).status == 200, "a session of its own"
        assert camera.session_count == 1


async def test_a_report_is_a_sign_of_life(camera: SimulatedCamera, pair: DatagramPair) -> None:
    # row 27
    camera.behaviour.session_timeout_s = 0.8
    report = rtcp.receiver_report(rtcp.ReceiverReport(1), "player")
    with closing(open_pair("127.0.0.1")) as unheard:
        async with player_of(camera) as lively, player_of(camera) as silent:
            ports, _ = await playing(lively, camera, pair)
            await playing(silent, camera, unheard)
            end = asyncio.ensure_future(silent.read_to_end())
            while not end.done():
                pair.rtcp.sendto(report, ("127.0.0.1", ports[1]))
                await received(pair.rtp, 5)
            assert camera.session_count == 1
            assert (await lively.tear_down(camera.identity.stream_path)).status == 200


async def test_a_session_that_ends_sends_no_more_and_gives_its_ports_back(
    camera: SimulatedCamera, pair: DatagramPair
) -> None:
    async with player_of(camera) as player:
        ports, _ = await playing(player, camera, pair)
        await received(pair.rtp, 1)
        player.vanish()
        await eventually(lambda: camera.session_count == 0)
    open_pair("127.0.0.1", range(ports[0], ports[1] + 1)).close()


async def test_a_client_that_hears_nothing_harms_nobody(camera: SimulatedCamera, pair: DatagramPair) -> None:
    # its kernel answers each datagram with an error
    gone = open_pair("127.0.0.1")
    async with player_of(camera) as deaf, player_of(camera) as player:
        await playing(deaf, camera, gone)
        gone.close()
        await playing(player, camera, pair)
        await received(pair.rtp, 50)
        assert (await deaf.ask("GET_PARAMETER", camera.rtsp_url)).status == 200


async def test_the_twelfth_kind_has_nothing_but_udp(short_clip: Clip, pair: DatagramPair) -> None:
    async with camera_of_kind(UDP_ONLY, short_clip) as camera, player_of(camera) as player:
        assert (await player.set_up(camera.identity.stream_path, transport=TCP)).status == 461
        await playing(player, camera, pair)
        await received(pair.rtp, 5)


@needs_ffmpeg
@pytest.mark.peer
async def test_ffmpeg_plays_it(short_camera: SimulatedCamera) -> None:
    counters = await counters_of(ffmpeg_command(url_with_credentials(short_camera), frames=20, transport="udp"))
    assert len(counters) == 20
    assert in_turn(counters, loop=LOOP)


@needs_gstreamer
@pytest.mark.peer
async def test_gstreamer_plays_it(short_camera: SimulatedCamera) -> None:
    short_camera.behaviour.transports = frozenset({LowerTransport.UDP})
    credentials = Credentials(short_camera.identity.username, short_camera.identity.password)
    command = gstreamer_command(short_camera.rtsp_url, credentials, Codec.H264, frames=20, protocols="tcp+udp")
    counters = await counters_of(command)
    assert len(counters) >= 19
    assert in_turn(counters, loop=LOOP)
