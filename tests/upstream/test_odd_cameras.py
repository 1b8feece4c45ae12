"""Cameras as makers build them: how they log one in, keep sessions, number channels, say goodbye."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator

import pytest

from halfgateway.protocol import rtcp
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.rtcp import ReceiverReport, parse_compound
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import Target
from tests.relay.packets import IDR, rtp, sender_report
from tests.upstream.conftest import OpenLine
from tests.upstream.line import KEY, Line, eventually
from tests.upstream.scripted import SDP, ScriptedCamera, challenge, scripted_camera

SSRC = 0x11223344


@pytest.fixture
async def odd() -> AsyncIterator[ScriptedCamera]:
    async with scripted_camera() as camera:
        yield camera


@pytest.fixture
def odd_line(open_line: OpenLine, odd: ScriptedCamera) -> Line:
    return open_line(Target(odd.url, "gateway", 'p@ss "word"'))


async def test_basic_is_spoken_where_nothing_better_is_offered(odd: ScriptedCamera, odd_line: Line) -> None:
    expected = "Basic " + base64.b64encode(b'gateway:p@ss "word"').decode()
    odd.script = lambda request: (
        None if request.headers.get("Authorization") == expected else challenge('Basic realm="cam"')
    )
    await (await odd_line.watch()).packets(3)
    assert odd.methods()[:4] == ["OPTIONS", "OPTIONS", "DESCRIBE", "SETUP"]


async def test_digest_is_preferred_to_basic_and_sha_256_to_md5(odd: ScriptedCamera, odd_line: Line) -> None:
    # quirk several-challenges: several challenges; the password does not go over the wire
    offers = [
        'Basic realm="cam"',
        'Digest realm="cam", nonce="n1"',
        'Digest realm="cam", nonce="n1", algorithm=SHA-256',
    ]
    odd.script = lambda request: None if "Authorization" in request.headers else challenge(*offers)
    await (await odd_line.watch()).packets(3)
    proofs = {request.headers.get("Authorization", "") for request in odd.asked[1:]}
    assert all(proof.startswith("Digest ") and "algorithm=SHA-256" in proof for proof in proofs if proof)


@pytest.mark.parametrize("word", ["", ", stale=true"], ids=["silently", "stale"])
async def test_a_nonce_that_is_renewed_while_it_plays_is_no_wrong_password(
    odd: ScriptedCamera, odd_line: Line, word: str
) -> None:
    # a session whose keep-alives are refused dies at its timeout
    nonces = itertools.count()
    good = f"n{next(nonces)}"

    def renew_at_each_keep_alive(request: Request) -> Response | None:
        nonlocal good
        proof = request.headers.get("Authorization") or ""
        if f'nonce="{good}"' not in proof:
            return challenge(f'Digest realm="cam", nonce="{good}"{word if proof else ""}')
        if request.method == "GET_PARAMETER":
            good = f"n{next(nonces)}"
        return None

    odd.script = renew_at_each_keep_alive
    watcher = await odd_line.watch()
    await eventually(lambda: good == "n3")
    await watcher.packets(3)
    assert odd.connections == 1
    assert odd.methods().count("GET_PARAMETER") >= 5  # the first is right, each later one is asked twice


async def test_a_password_that_is_refused_after_a_new_nonce_is_not_tried_a_third_time(
    odd: ScriptedCamera, odd_line: Line
) -> None:
    # quirk lock-out
    numbers = itertools.count()
    odd.script = lambda request: challenge(f'Digest realm="cam", nonce="n{next(numbers)}"')
    with pytest.raises(CameraFailure) as failed:
        await odd_line.puller.describe(KEY)
    assert failed.value.status == 401
    assert odd.methods() == ["DESCRIBE", "DESCRIBE"]


async def test_signs_of_life_are_both_a_request_and_a_report(odd: ScriptedCamera, odd_line: Line) -> None:
    # quirk get-parameter-unanswered
    await odd_line.watch()
    await eventually(lambda: "GET_PARAMETER" in odd.methods())
    channel, report = odd.heard[0]
    assert channel == 1
    assert isinstance(parse_compound(report)[0], ReceiverReport)


async def test_a_keep_alive_that_is_refused_gives_way_to_options(odd: ScriptedCamera, odd_line: Line) -> None:
    # quirk get-parameter-unanswered: announced, and not there
    odd.script = lambda request: response(501) if request.method == "GET_PARAMETER" else None
    watcher = await odd_line.watch()
    await eventually(lambda: odd.methods().count("OPTIONS") >= 3)
    await watcher.packets(3)
    assert odd.methods().count("GET_PARAMETER") == 1
    assert odd.connections == 1


@pytest.mark.parametrize("channels", [(2, 3), (1, 0), (0, 5)])
async def test_channels_of_its_own_choice_are_carried_as_ours(
    odd: ScriptedCamera, odd_line: Line, channels: tuple[int, int]
) -> None:
    odd.channels = channels
    watcher = await odd_line.watch()
    await watcher.packets(1)
    odd.send((channels[1], sender_report(SSRC, 0)), (9, rtp(7, 7, b"\x65", ssrc=9)))
    await watcher.packets(5)
    await eventually(lambda: watcher.reports)
    assert watcher.sources == {SSRC}
    assert watcher.sequence_steps == {1}


async def test_what_was_not_set_up_is_not_carried(odd: ScriptedCamera, odd_line: Line) -> None:
    # L08: a camera that sends its sound unasked
    watcher = await odd_line.watch()
    await watcher.packets(1)
    odd.send((2, rtp(1, 1, b"sound", ssrc=0xA0D10)), (3, sender_report(0xA0D10, 1)))
    await watcher.packets(5)
    assert watcher.sources == {SSRC}
    assert watcher.reports == []


async def test_the_cameras_goodbye_does_not_end_the_players(odd: ScriptedCamera, odd_line: Line) -> None:
    # row 53: readers are held while it comes back
    watcher = await odd_line.watch()
    await watcher.packets(1)
    odd.send((1, sender_report(SSRC, 0)), (1, rtcp.bye(SSRC)), (1, b"\x80\xc8\x00\x00"))
    await watcher.packets(5)
    kinds = {type(packet) for data in watcher.reports for packet in parse_compound(data)}
    assert kinds == {rtcp.SenderReport, rtcp.OtherPacket}


async def test_the_cameras_name_for_itself_stays_behind(odd: ScriptedCamera, odd_line: Line) -> None:
    # C16: RFC 3550 has a CNAME of user@host, and cameras write their address
    watcher = await odd_line.watch()
    await watcher.packets(1)
    report = rtcp.SenderReport(SSRC, rtcp.ntp_timestamp(10**18), 77, 5, 500)
    odd.send((1, rtcp.sender_report(report, "root@10.78.0.20")))
    await eventually(lambda: watcher.reports)
    told, description = parse_compound(watcher.reports[0])
    assert told == report
    assert isinstance(description, rtcp.OtherPacket)
    assert b"10.78.0.20" not in watcher.reports[0]
    assert KEY.camera.encode() in watcher.reports[0]


async def test_a_report_that_comes_before_the_first_packet_of_a_new_connection_waits_for_it(
    odd: ScriptedCamera, odd_line: Line
) -> None:
    # row 52: it would tell of another source
    watcher = await odd_line.watch()
    await watcher.packets(3)
    await odd.close()
    odd.script = lambda request: response(200) if request.method == "PLAY" else None
    await eventually(lambda: odd.methods().count("PLAY") == 2)
    odd.send((1, sender_report(0x99999999, 5)))
    odd.send((0, rtp(500, 5, b"\x65\x88\x80", ssrc=0x99999999)), (1, sender_report(0x99999999, 5)))
    await watcher.packets(1)
    await eventually(lambda: watcher.reports)
    reports = [packet for data in watcher.reports for packet in parse_compound(data)]
    assert {report.ssrc for report in reports if isinstance(report, rtcp.SenderReport)} == {SSRC}
    assert watcher.sources == {SSRC}


async def test_what_a_camera_asks_of_us_is_answered(odd: ScriptedCamera, odd_line: Line) -> None:
    # row 24
    watcher = await odd_line.watch()
    odd.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 41\r\n\r\n" + b"ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 42\r\n\r\n")
    await eventually(lambda: len(odd.answers) == 2)
    assert [(answer.status, answer.headers.get("CSeq")) for answer in odd.answers] == [(200, "41"), (501, "42")]
    await watcher.packets(2)
    assert odd.connections == 1


async def test_a_camera_that_writes_nothing_but_rubbish_is_dialled_again(odd: ScriptedCamera, odd_line: Line) -> None:
    # row 7: bounded
    watcher = await odd_line.watch()
    await watcher.packets(1)
    odd.write(b"\x00rubbish" * 40_000)
    await odd_line.waited(1)
    await watcher.packets(3)
    assert watcher.ended == []
    assert odd.connections == 2


@pytest.mark.parametrize(
    "sdp",
    [
        SDP.replace(b"a=control:trackID=0", b'a=control:track"0'),
        SDP.replace(b"a=control:trackID=0", b"a=control:a track"),
        SDP.replace(b"a=control:trackID=0", b"a=control:"),
        SDP.replace(b"a=control:*\r\n", b""),
    ],
)
async def test_controls_that_are_hard_to_write_are_written(odd: ScriptedCamera, odd_line: Line, sdp: bytes) -> None:
    odd.sdp = sdp
    odd.script = lambda request: (
        None if "Authorization" in request.headers else challenge('Digest realm="c", nonce="n"')
    )
    await (await odd_line.watch()).packets(2)


@pytest.mark.parametrize(
    "sdp",
    [b"", b"<html>no</html>", SDP.replace(b"m=video", b"m=audio"), SDP.replace(b"trackID=0", b"http://elsewhere/x")],
)
async def test_a_description_without_video_is_a_failure(odd: ScriptedCamera, odd_line: Line, sdp: bytes) -> None:
    odd.sdp = sdp
    with pytest.raises(CameraFailure):
        await odd_line.puller.describe(KEY)


async def test_a_camera_that_gives_no_session_is_a_failure(odd: ScriptedCamera, odd_line: Line) -> None:
    odd.script = lambda request: response(200) if request.method == "SETUP" else None
    with pytest.raises(CameraFailure):
        await odd_line.watch()


async def test_the_beginning_of_a_picture_is_not_kept_back_for_long(odd: ScriptedCamera, odd_line: Line) -> None:
    # performance lesson 2: what is kept back to be read with the rest goes on alone where no rest comes
    odd.script = lambda request: response(200, Headers([("Session", "1234")])) if request.method == "PLAY" else None
    entering = asyncio.create_task(odd_line.watch())
    await eventually(lambda: "PLAY" in odd.methods())
    odd.send((0, rtp(1, 0, IDR)))
    watcher = await entering
    odd.send((0, rtp(2, 3600, IDR, marker=False)))
    await watcher.packets(1)
    odd.send((0, rtp(3, 3600, IDR)), (0, rtp(4, 7200, IDR, marker=False)))
    odd.send((0, rtp(5, 7200, IDR)))
    await eventually(lambda: watcher.video[-1].sequence == 5)
    assert watcher.sequence_steps == {1}
