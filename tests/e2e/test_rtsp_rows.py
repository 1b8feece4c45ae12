"""Rows of conformance that are true only of the whole gateway: its slots, its trace, its log, and what leaves it."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from auth.trace import Kind
from camera_registry.connections import Credentials as CameraCredentials
from halfgateway.protocol.rtcp import (
    Goodbye,
    OtherPacket,
    ReceiverReport,
    SenderReport,
    parse_compound,
    receiver_report,
)
from halfgateway.protocol.rtp import RtpView
from tests.e2e.conftest import STEADY, Gateway, credentials_of, until
from tests.e2e.inventory import QUICK_FRAMES, record_of, record_of_simulated, simulated_camera
from tests.raw_player import RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAP = 10
SOURCE_DESCRIPTION, CNAME = 202, 1
"""RFC 3550 sections 6.5 and 6.5.1."""

CAMERA, DEAD = "rows-1", "rows-dead"
PATH = f"/live/{CAMERA}"
TCP = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def cameras(module_gateway: Gateway) -> AsyncIterator[None]:
    """A quick camera with sound, and one at whose address nobody listens."""
    records = module_gateway.node.records.cameras
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"rtsp://127.0.0.1:{closed.getsockname()[1]}/live"
    async with simulated_camera(frames=QUICK_FRAMES) as camera:
        await records.upsert(record_of_simulated(camera, CAMERA))
        await records.upsert(record_of(DEAD, nobody, CameraCredentials(username="admin", password="of-the-camera")))
        yield


async def playing(gateway: Gateway, life: AsyncExitStack, path: str) -> RawPlayer:
    player = await life.enter_async_context(gateway.player(gateway.machine))
    assert (await player.set_up(path)).status == 200
    assert (await player.play(path)).status == 200
    return player


async def test_ten_sessions_of_all_their_tracks_count_ten(shared: Gateway) -> None:
    # T1 (live), C01, C02, row 14, section 1.7: sound and metadata are asked for in each session, and are no streams
    path = f"/live/{shared.cameras[2]}"
    async with AsyncExitStack() as life:
        players = [await playing(shared, life, path) for _ in range(CAP)]
        for player in players:
            own = {"Session": player.session or ""}
            for track in (1, 2):
                transport = {"Transport": f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"}
                answer = await player.ask("SETUP", f"{player.url(path)}/trackID={track}", own | transport)
                assert answer.status == 404
            again = await player.ask("SETUP", f"{player.url(path)}/trackID=0", own | TCP)
            assert again.header("session") == f"{player.session};timeout=60"
        assert await shared.slots_used() == CAP
        async with shared.player(shared.machine) as eleventh:
            assert (await eleventh.ask("DESCRIBE", eleventh.url(path))).status == 200
            full = await eleventh.set_up(path)
            assert (full.status, full.header("x-refusal")) == (453, "cap-reached")
            assert int(full.header("retry-after")) > 0
        for player in players:
            await player.packets_until(5)
            assert {channel for channel, _, _ in player.packets} <= {0, 1}
            assert (await player.tear_down(path)).status == 200


@pytest.mark.parametrize("suffix", ["", "/trackID=0"], ids=["aggregate", "media"])
async def test_the_place_of_a_teardown_is_free_with_its_answer(shared: Gateway, suffix: str) -> None:
    # row 19, T2, C01: an eleventh that asks at once is served, ten times over
    async with AsyncExitStack() as life:
        players = [await playing(shared, life, PATH) for _ in range(CAP)]
        waiting = [await life.enter_async_context(shared.player(shared.machine)) for _ in range(CAP)]
        for player in waiting:
            assert (await player.set_up(PATH)).status == 453
        for leaving, coming in zip(players, waiting, strict=True):
            goodbye = await leaving.ask("TEARDOWN", leaving.url(PATH) + suffix, {"Session": leaving.session or ""})
            assert goodbye.status == 200
            assert (await coming.set_up(PATH)).status == 200
        for player in waiting:
            assert (await player.tear_down(PATH)).status == 200


async def test_a_session_is_worth_nothing_on_another_connection_even_of_its_holder(shared: Gateway) -> None:
    # row 26: VLC may say TEARDOWN by a new connection; it is not heard, and the place is free after the resume grace
    async with AsyncExitStack() as life:
        owner = await playing(shared, life, PATH)
        stolen = {"Session": owner.session or ""}
        for credentials in (shared.machine, credentials_of(await shared.ticket(CAMERA))):
            async with shared.player(credentials) as other:
                for method in ("TEARDOWN", "PAUSE", "PLAY", "GET_PARAMETER"):
                    assert (await other.ask(method, other.url(PATH), stolen)).status == 454
        async with shared.player(None) as stranger:
            assert (await stranger.ask("TEARDOWN", stranger.url(PATH), stolen)).status == 401
        await owner.packets_until(len(owner.packets) + 10)
        (stream,) = [each for each in shared.node.control.table if each.seats]
        owner.vanish()
        async with shared.player(shared.machine) as again:
            assert (await again.ask("TEARDOWN", again.url(PATH), stolen)).status == 454
        await until(lambda: stream not in shared.node.control.table)
    for stream in tuple(shared.node.control.table):
        await shared.call("supervisor", "DELETE", f"/streams/{stream.id}?reason=essai")


@pytest.mark.parametrize("method", ["ANNOUNCE", "RECORD"])
async def test_an_attempt_to_publish_is_refused_and_traced(shared: Gateway, method: str) -> None:
    # row 23, S09
    before = len(await shared.trace())
    async with shared.player(shared.machine) as player:
        answer = await player.ask(method, player.url(PATH), {"Content-Type": "application/sdp"}, b"v=0\r\n")
        assert (answer.status, "ANNOUNCE" in answer.header("allow")) == (405, False)
        assert (await player.ask("OPTIONS", player.url(PATH))).status == 200
    (entry,) = await shared.traced(lambda entry: entry.kind is Kind.ACTION_REFUSED and entry.n >= before)
    assert (entry.account, entry.detail["action"]) == (shared.machine.username, method)


async def test_the_credentials_of_a_url_are_nowhere(shared: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    # row 43, C16: not in an answer, the log, the trace, its files, or what the API tells
    caplog.set_level(logging.DEBUG)
    user, secret = "nom-dans-une-url", "mot-de-passe-dans-une-url"
    async with shared.player(shared.machine) as player:

        def url(path: str) -> str:
            return player.url(path).replace("//", f"//{user}:{secret}@") + f"?user={user}&password={secret}"

        for method in ("OPTIONS", "DESCRIBE", "ANNOUNCE", "FLY", "TEARDOWN"):
            await player.ask(method, url(PATH))
        for path in ("/live/none", f"/live/{DEAD}", f"{PATH}/none"):
            assert (await player.ask("DESCRIBE", url(path))).status in {404, 503}
        for track in (1, 0):
            answer = await player.ask("SETUP", url(f"{PATH}/trackID={track}"), TCP)
        session = {"Session": answer.header("session").partition(";")[0]}
        for method in ("PLAY", "GET_PARAMETER", "PAUSE", "TEARDOWN"):
            assert (await player.ask(method, url(PATH), session)).status == 200
        await player.send(f"DESCRIBE {url(PATH)} RTSP/2.0\r\nCSeq: 99\r\n\r\n".encode())
        await player.read_to_end()
    told = [bytes(player.captured), caplog.text.encode()]
    asked = [(role, path) for role in ("auditor", "ops") for path in ("/trace", "/streams")]
    told += [str(await shared.call(role, "GET", path)).encode() for role, path in asked]
    told += [path.read_bytes() for path in shared.node.journal.folder.rglob("*") if path.is_file()]
    assert len(told) > 6
    for text in told:
        assert user.encode() not in text
        assert secret.encode() not in text


async def test_unknown_unreachable_and_not_allowed_are_told_apart(shared: Gateway) -> None:
    # section 1.7, row 49, C05: 404, 503 with Retry-After, 403; and 401 before any of them
    ticket = credentials_of(await shared.ticket(CAMERA))
    cases = [
        (shared.machine, "/live/none", 404, "unknown-camera"),
        (shared.machine, f"/live/{DEAD}", 503, "camera-unreachable"),
        (ticket, f"/live/{DEAD}", 403, "not-habilitated"),
        (ticket, "/live/none", 403, "not-habilitated"),
        (None, "/live/none", 401, "unauthenticated"),
        (None, f"/live/{DEAD}", 401, "unauthenticated"),
    ]
    for credentials, path, status, code in cases:
        async with shared.player(credentials) as player:
            for method in ("DESCRIBE", "SETUP"):
                answer = await player.ask(method, player.url(path) + "/trackID=0", TCP)
                assert (answer.status, answer.header("x-refusal")) == (status, code)
                assert ("retry-after" in answer.headers) == (status == 503)
            assert (await player.ask("OPTIONS", player.url(path))).status == 200
    async with shared.player(ticket) as player:
        assert (await player.set_up(PATH)).status == 200
        assert (await player.tear_down(PATH)).status == 200


async def test_back_channel_and_unknown_features_are_refused_by_name(shared: Gateway) -> None:
    # rows 30, 31, L08: as ONVIF clients probe; then the description, in which nothing is sent to the camera
    async with shared.player(shared.machine) as player:
        for feature in ("www.onvif.org/ver20/backchannel", "x-partner.example/feature"):
            for method in ("DESCRIBE", "SETUP"):
                answer = await player.ask(method, player.url(PATH), {"Require": feature} | TCP)
                assert (answer.status, answer.header("unsupported")) == (551, feature)
        described = await player.ask("DESCRIBE", player.url(PATH))
        assert described.status == 200
        for word in (b"sendonly", b"m=audio", b"m=application"):
            assert word not in described.body
    assert await shared.slots_used() == 0


async def test_a_live_description_says_that_it_is_live(shared: Gateway) -> None:
    # rows 41 and 51: npt=now- in the description and in the answer to PLAY; an address of the reader's own family
    assert shared.node.endpoints.rtsp is not None
    async with AsyncExitStack() as life:
        player = await life.enter_async_context(shared.player(shared.machine))
        described = await player.ask("DESCRIBE", player.url(PATH))
        assert b"\r\na=range:npt=now-\r\n" in described.body
        assert b"\r\nc=IN IP4 0.0.0.0\r\n" in described.body
        assert (await player.set_up(PATH)).status == 200
        assert (await player.play(PATH)).header("range") == "npt=now-"
        assert (await player.tear_down(PATH)).status == 200
        port = await shared.node.rtsp.listen("::1", 0)
        by_ipv6 = await life.enter_async_context(RawPlayer("::1", port, shared.machine))
        described = await by_ipv6.ask("DESCRIBE", by_ipv6.url(PATH))
        assert b"\r\nc=IN IP6 ::\r\n" in described.body
        assert b"IP4" not in described.body
        assert described.header("content-base") == f"rtsp://[::1]:{port}{PATH}/"
        assert (await by_ipv6.set_up(PATH)).status == 200
        assert (await by_ipv6.play(PATH)).status == 200
        await by_ipv6.packets_until(10)
        assert (await by_ipv6.tear_down(PATH)).status == 200


async def test_reports_of_the_sender_come_soon_and_name_what_is_sent(shared: Gateway) -> None:
    # rows 5, 52 and 53: a report within a second of the first packet, one source, no gap, while the reader reports too
    async with AsyncExitStack() as life:
        player = await playing(shared, life, PATH)
        report = receiver_report(ReceiverReport(7), "player")
        while not (reports := [each for each in player.packets if each[0] == 1]):
            await player.send(b"$\x01" + len(report).to_bytes(2, "big") + report)
            await player.packets_until(len(player.packets) + 5)
        await player.packets_until(100)
        video = [(RtpView(packet), at_s) for channel, packet, at_s in player.packets if channel == 0]
        sources = {packet.ssrc for packet, _ in video}
        assert len(sources) == 1
        numbers = [packet.sequence for packet, _ in video]
        assert numbers == [(numbers[0] + place) & 0xFFFF for place in range(len(numbers))]
        first, named = parse_compound(reports[0][1])
        assert isinstance(first, SenderReport)
        assert isinstance(named, OtherPacket)
        assert {first.ssrc} == sources
        assert (named.packet_type, named.content[4]) == (SOURCE_DESCRIPTION, CNAME)
        assert reports[0][2] - video[0][1] < 10.0, "ten times what is promised: machines that test are busy"
        assert (await player.tear_down(PATH)).status == 200


async def test_over_tls_media_is_interleaved_or_nothing(shared: Gateway) -> None:
    # row 38, L09: a datagram would go beside TLS
    tls = ssl.create_default_context(cafile=shared.ready["ca"])
    host, _, port = shared.ready["rtsps"].removeprefix("rtsps://").partition(":")
    async with RawPlayer(host, int(port), credentials_of(await shared.ticket(CAMERA)), tls=tls) as player:
        assert (await player.set_up(PATH, transport="RTP/AVP;unicast;client_port=50000-50001")).status == 461
        both = "RTP/AVP;unicast;client_port=50000-50001,RTP/AVP/TCP;unicast;interleaved=0-1"
        assert (await player.set_up(PATH, transport=both)).header("transport").startswith("RTP/AVP/TCP")
        assert (await player.tear_down(PATH)).status == 200


async def test_a_paused_session_lasts_no_longer_than_it_may(shared: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    # row 18, C02: it keeps its place, and then goes, with its cause in the trace
    async with AsyncExitStack() as life:
        player = await playing(shared, life, PATH)
        await player.packets_until(3)
        (stream,) = shared.node.control.table
        assert (await player.ask("PAUSE", player.url(PATH), {"Session": player.session or ""})).status == 200
        assert await shared.slots_used() == 1
        assert stream.expires_at_s is not None
        assert STEADY.paused_s == 600
        monkeypatch.setattr(stream, "expires_at_s", stream.expires_at_s - STEADY.paused_s)
        assert await player.read_to_end() == "reset"
    ends = await shared.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == stream.id)
    assert [entry.detail["cause"] for entry in ends] == ["paused-too-long"]


async def test_a_stream_that_is_ended_says_goodbye_to_its_reader_and_not_to_others(shared: Gateway) -> None:
    # rows 20, 24 and 53: nothing is asked of the reader, who is told and reset
    async with AsyncExitStack() as life:
        ended, stays = await playing(shared, life, PATH), await playing(shared, life, PATH)
        for player in (ended, stays):
            await player.packets_until(10)
        first, _ = shared.node.control.table
        status, _ = await shared.call("supervisor", "DELETE", f"/streams/{first.id}?reason=essai")
        assert status < 300
        assert await ended.read_to_end() == "reset"
        channel, last, _ = ended.packets[-1]
        goodbyes = [each for each in parse_compound(last) if isinstance(each, Goodbye)]
        sent = {RtpView(packet).ssrc for number, packet, _ in ended.packets if number == 0}
        assert (channel, {source for each in goodbyes for source in each.ssrcs}) == (1, sent)
        await stays.packets_until(len(stays.packets) + 20)
        assert (await stays.tear_down(PATH)).status == 200
