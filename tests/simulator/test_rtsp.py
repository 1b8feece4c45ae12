"""RTSP as a simulated camera speaks it, on a bare socket: what it serves, what it refuses, how it misbehaves."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest
from raw_player import RawPlayer
from simulated_cameras import H264, H264_WITH_AUDIO, H265, player_of

from halfgateway.protocol import rtcp, sdp
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.digest import Algorithm
from halfgateway.protocol.rtp import RtpView, sequence_distance, timestamp_distance
from halfgateway.protocol.rtp_info import parse_rtp_info
from halfgateway.simulator.behaviour import Refusal
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from halfgateway.simulator.simulator import Simulator

TIMEOUT_S = 20.0
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


async def playing(player: RawPlayer, camera: SimulatedCamera) -> None:
    path = camera.identity.stream_path
    assert (await player.set_up(path)).status == 200
    assert (await player.play(path)).status == 200


def video(player: RawPlayer) -> list[RtpView]:
    return [RtpView(packet) for channel, packet, _ in player.packets if channel == 0]


@pytest.mark.parametrize(
    ("number", "codec", "kinds"),
    [(H264, Codec.H264, ["video"]), (H265, Codec.H265, ["video"]), (H264_WITH_AUDIO, Codec.H264, ["video", "audio"])],
)
async def test_a_description_has_all_that_a_gateway_must_hide_or_keep(
    simulator: Simulator, number: int, codec: Codec, kinds: list[str]
) -> None:
    camera = simulator.cameras[number]
    async with player_of(camera) as player:
        answer = await player.ask("DESCRIBE", camera.rtsp_url, {"Accept": "application/sdp"})
    assert answer.header("content-type") == "application/sdp"
    assert answer.header("content-base") == f"{camera.rtsp_url}/"
    description = sdp.parse(answer.body)
    media = sdp.first_video(description)
    assert media.codec is codec
    assert [each.kind for each in description.media] == kinds
    assert "sprop-" in media.fmtp[96]
    assert f"IN IP4 {camera.identity.internal_address}" in answer.body.decode()


async def test_options_are_open_and_all_else_wants_credentials(camera: SimulatedCamera) -> None:
    async with player_of(camera, password="wrong") as player:
        assert "GET_PARAMETER" in (await player.ask("OPTIONS", camera.rtsp_url)).header("public")
        for method in ("DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"):
            assert (await player.ask(method, camera.rtsp_url)).status == 401
    assert camera.session_count == 0


@pytest.mark.parametrize(
    ("offered", "names"),
    [
        ((Algorithm.MD5,), [False]),
        ((Algorithm.SHA256, Algorithm.MD5), [True, False]),
        ((Algorithm.SHA256,), [True]),
    ],
)
async def test_the_challenge_offers_what_the_camera_is_set_to(
    camera: SimulatedCamera, offered: tuple[Algorithm, ...], names: list[bool]
) -> None:
    camera.behaviour.digest = offered
    async with player_of(camera) as player:
        player.credentials = None
        answer = await player.ask("DESCRIBE", camera.rtsp_url)
    assert ["algorithm=SHA-256" in each for each in answer.headers["www-authenticate"]] == names


async def test_the_first_packet_is_the_announced_one_and_begins_a_key_frame(camera: SimulatedCamera) -> None:
    async with player_of(camera) as player:
        granted = await player.set_up(camera.identity.stream_path)
        (info,) = parse_rtp_info((await player.play(camera.identity.stream_path)).header("rtp-info"))
        await player.packets_until(1)
    first = video(player)[0]
    assert (first.sequence, first.timestamp) == (info.sequence, info.rtp_timestamp)
    assert granted.header("transport").endswith(f"ssrc={first.ssrc:08X}")
    assert first.payload[0] & 0x1F in {7, 24}


async def test_the_loop_has_no_seam_in_rtp(short_camera: SimulatedCamera, short_clip: Clip) -> None:
    async with player_of(short_camera) as player:
        await playing(player, short_camera)
        await player.packets_until(sum(len(unit.packets) for unit in short_clip.access_units) * 3)
    packets = video(player)
    assert all(sequence_distance(a.sequence, b.sequence) == 1 for a, b in itertools.pairwise(packets))
    steps = {timestamp_distance(a.timestamp, b.timestamp) for a, b in itertools.pairwise(packets)}
    assert steps == {0, 3600}
    assert len({packet.ssrc for packet in packets}) == 1


async def test_sender_reports_map_the_cameras_clock(camera: SimulatedCamera) -> None:
    camera.behaviour.clock_offset_s = -3600.0
    async with player_of(camera) as player:
        await playing(player, camera)
        await player.packets_until(20)
    compound = next(packet for channel, packet, _ in player.packets if channel == 1)
    report = rtcp.parse_compound(compound)[0]
    assert isinstance(report, rtcp.SenderReport)
    first = video(player)[0]
    assert report.ssrc == first.ssrc
    assert abs(timestamp_distance(report.rtp_timestamp, first.timestamp)) < 90_000
    now_s = time.time()
    told_s = rtcp.unix_ns(report.ntp_timestamp, round(now_s * 1e9)) / 1e9
    assert abs(now_s - 3600 - told_s) < 60


async def test_sound_is_sent_only_to_those_who_set_it_up(simulator: Simulator) -> None:  # L08
    camera = simulator.cameras[H264_WITH_AUDIO]
    path = camera.identity.stream_path
    async with player_of(camera) as silent, player_of(camera) as listening:
        await playing(silent, camera)
        await silent.packets_until(60)
        assert camera.media_counters.audio_packets == 0
        assert camera.rtsp_counters.audio_setups == 0
        await listening.set_up(path)
        wanted = {"Transport": "RTP/AVP/TCP;unicast;interleaved=2-3", "Session": listening.session or ""}
        assert (await listening.ask("SETUP", f"{camera.rtsp_url}/trackID=1", wanted)).status == 200
        infos = parse_rtp_info((await listening.play(path)).header("rtp-info"))
        await listening.packets_until(120)
    assert camera.rtsp_counters.audio_setups == 1
    sound = [RtpView(packet) for channel, packet, _ in listening.packets if channel == 2]
    assert camera.media_counters.audio_packets >= len(sound) > 4
    assert (sound[0].sequence, sound[0].timestamp) == (infos[1].sequence, infos[1].rtp_timestamp)
    assert {packet.payload_type for packet in sound} == {8}
    assert {timestamp_distance(a.timestamp, b.timestamp) for a, b in itertools.pairwise(sound)} == {160}
    assert {channel for channel, _, _ in silent.packets} <= {0, 1}


async def test_every_wrong_request_has_its_own_answer(simulator: Simulator) -> None:
    camera = simulator.cameras[H264_WITH_AUDIO]
    url = camera.rtsp_url
    async with player_of(camera) as player:
        tcp = {"Transport": TCP}
        assert (await player.ask("DESCRIBE", f"{url}x")).status == 404
        assert (await player.ask("SETUP", f"{url}/trackID=7", tcp)).status == 404
        assert (await player.ask("SETUP", url, tcp)).status == 459
        for unknown in ("RTP/AVP;multicast", "RTP/AVP;unicast", "RAW/RAW/UDP;unicast"):
            assert (await player.ask("SETUP", f"{url}/trackID=0", {"Transport": unknown})).status == 461
        assert (await player.ask("PLAY", url)).status == 454
        assert (await player.ask("PLAY", url, {"Session": "ABCDEF"})).status == 454
        assert (await player.ask("RECORD", url)).status == 405
        assert (await player.ask("FLY", url)).status == 501
        assert (await player.ask("GET_PARAMETER", url, body=b"packets_received\r\n")).status == 451
        await player.send(b"OPTIONS * RTSP/1.0\r\n\r\n")
        assert (await player.next_answer()).status == 400


async def test_bytes_that_are_not_rtsp_end_the_connection(camera: SimulatedCamera) -> None:
    async with player_of(camera) as player:
        await player.send(b"\xff\xfe\x00 what is this\r\n\r\n")
        assert (await player.next_answer()).status == 400
        await player.read_to_end()
    await eventually(lambda: camera.connection_count == 0)


async def test_pause_keeps_the_session_and_teardown_frees_its_place(camera: SimulatedCamera) -> None:
    camera.behaviour.session_limit = 1
    path = camera.identity.stream_path
    async with player_of(camera) as first, player_of(camera) as second:
        await playing(first, camera)
        assert (await second.set_up(path)).status == 453
        await first.packets_until(1)
        assert (await first.ask("PAUSE", camera.rtsp_url, {"Session": first.session or ""})).status == 200
        assert (await second.set_up(path)).status == 453
        held = len(first.packets)
        assert (await first.ask("GET_PARAMETER", camera.rtsp_url)).status == 200
        assert len(first.packets) == held
        assert (await first.play(path)).status == 200
        await first.packets_until(held + 1)
        assert (await first.tear_down(path)).status == 200
        assert (await second.set_up(path)).status == 200


async def test_a_client_that_vanishes_frees_its_place(camera: SimulatedCamera) -> None:
    async with player_of(camera) as player:
        await playing(player, camera)
        await player.packets_until(1)
        player.vanish()
        await eventually(lambda: camera.session_count == 0 and camera.connection_count == 0)


async def test_a_silent_session_times_out_and_a_sign_of_life_keeps_it(short_camera: SimulatedCamera) -> None:
    camera = short_camera
    camera.behaviour.session_timeout_s = 1.0
    async with player_of(camera) as silent, player_of(camera) as lively:
        assert (await silent.set_up(camera.identity.stream_path)).header("session").endswith(";timeout=1")
        await silent.play(camera.identity.stream_path)
        await playing(lively, camera)
        report = rtcp.receiver_report(rtcp.ReceiverReport(1), "player")
        end = asyncio.ensure_future(silent.read_to_end())
        while not end.done():
            await lively.send(b"$\x01" + len(report).to_bytes(2, "big") + report)
            await lively.packets_until(len(video(lively)) + 10)
        assert end.result() in {"fin", "reset"}
        assert (await lively.ask("GET_PARAMETER", camera.rtsp_url)).status == 200


@pytest.mark.parametrize("refusal", [Refusal(401), Refusal(453), Refusal(503, retry_after_s=7)])
async def test_it_refuses_on_demand(camera: SimulatedCamera, refusal: Refusal) -> None:
    camera.behaviour.rtsp_refusal = refusal
    async with player_of(camera) as player:
        assert (await player.ask("OPTIONS", camera.rtsp_url)).status == 200
        answer = await player.ask("DESCRIBE", camera.rtsp_url)
        assert answer.status == refusal.status
        assert answer.headers.get("retry-after") == (None if refusal.retry_after_s is None else ["7"])
        camera.behaviour.rtsp_refusal = None
        assert (await player.ask("DESCRIBE", camera.rtsp_url)).status == 200


async def test_it_stalls_on_demand_and_comes_back_on_a_key_frame(short_camera: SimulatedCamera) -> None:
    camera = short_camera
    async with player_of(camera) as player:
        await playing(player, camera)
        await player.packets_until(10)
        camera.behaviour.stalled = True
        sent = -1
        while sent != camera.media_counters.video_packets:
            sent = camera.media_counters.video_packets
            assert (await player.ask("GET_PARAMETER", camera.rtsp_url)).status == 200
            await asyncio.sleep(0.09)
        held = len(video(player))
        assert held == sent
        camera.behaviour.stalled = False
        await player.packets_until(held + 1)
    assert video(player)[held].payload[0] & 0x1F in {7, 24}


async def test_it_leaves_keep_alives_unanswered_on_demand(camera: SimulatedCamera) -> None:
    camera.behaviour.answers_keep_alive = False
    async with player_of(camera) as player:
        assert (await player.ask("OPTIONS", camera.rtsp_url)).status == 200
        await playing(player, camera)
        request = f"OPTIONS {camera.rtsp_url} RTSP/1.0\r\nCSeq: 900\r\n\r\n"
        await player.send(request.encode())
        await player.packets_until(40)
        answer = await player.tear_down(camera.identity.stream_path)
        assert answer.status == 200
    assert camera.rtsp_counters.requests["OPTIONS"] == 2


async def test_it_drops_every_connection_on_demand(camera: SimulatedCamera) -> None:
    async with player_of(camera) as first, player_of(camera) as second:
        await playing(first, camera)
        await playing(second, camera)
        await first.packets_until(1)
        camera.drop_connections()
        assert await first.read_to_end() in {"fin", "reset"}
        assert await second.read_to_end() in {"fin", "reset"}
    await eventually(lambda: camera.session_count == 0)


async def test_it_writes_rubbish_between_frames_on_demand(camera: SimulatedCamera) -> None:
    async with player_of(camera) as player:
        await playing(player, camera)
        await player.packets_until(1)
        camera.write_rubbish()
        with pytest.raises((UnicodeDecodeError, ValueError, asyncio.LimitOverrunError)):
            await player.packets_until(400)
