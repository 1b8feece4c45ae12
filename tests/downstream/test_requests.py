"""What may be asked wrongly, and the answer that each fault has (rows 2, 10-15, 21-25, 30-36)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from halfgateway.errors import InterconnectionCut, TraceUnavailable
from halfgateway.protocol.states import PUBLIC_METHODS, ServerState, allowed
from tests.downstream.stage import OTHER, PATH, STRANGER, Stage
from tests.raw_player import RawPlayer

TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"
PUBLIC = ", ".join(PUBLIC_METHODS)


@dataclass
class Case:
    method: str
    status: int
    path: str = PATH
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    says: dict[str, str] = field(default_factory=dict)


CASES = {
    "options-without-session": Case("OPTIONS", 200, says={"public": PUBLIC}),
    "options-of-unknown-camera": Case("OPTIONS", 200, path="/live/none"),
    "announce": Case("ANNOUNCE", 405, says={"allow": PUBLIC}),
    "record": Case("RECORD", 405, says={"allow": PUBLIC}),
    "unknown-method": Case("FLY", 501),
    "unknown-camera": Case("DESCRIBE", 404, path="/live/none", says={"x-refusal": "unknown-camera"}),
    "no-camera": Case("DESCRIBE", 404, path="/"),
    "another-tree": Case("DESCRIBE", 404, path="/axis-media/media.amp"),
    "sound": Case("SETUP", 404, path=PATH + "/trackID=1", headers={"Transport": TCP}),
    "setup-of-unknown-camera": Case("SETUP", 404, path="/live/none/trackID=0", headers={"Transport": TCP}),
    "not-sdp": Case("DESCRIBE", 406, headers={"Accept": "text/html"}),
    "sdp-among-others": Case("DESCRIBE", 200, headers={"Accept": "application/rtsl, application/sdp;level=2"}),
    "anything": Case("DESCRIBE", 200, headers={"Accept": "*/*"}),
    "no-transport": Case("SETUP", 400, path=PATH + "/trackID=0"),
    "udp": Case("SETUP", 461, headers={"Transport": "RTP/AVP;unicast;client_port=5000-5001"}),
    "multicast-over-udp": Case("SETUP", 461, headers={"Transport": "RTP/AVP;multicast;port=5000-5001;ttl=1"}),
    "multicast": Case("SETUP", 461, headers={"Transport": "RTP/AVP/TCP;multicast;interleaved=0-1"}),
    "srtp": Case("SETUP", 461, headers={"Transport": "RTP/SAVP/TCP;unicast;interleaved=0-1"}),
    "raw": Case("SETUP", 461, headers={"Transport": "RAW/RAW/UDP;unicast"}),
    "publishing": Case("SETUP", 461, headers={"Transport": TCP + ';mode="RECORD"'}),
    "back-channel": Case(
        "DESCRIBE",
        551,
        headers={"Require": "www.onvif.org/ver20/backchannel"},
        says={"unsupported": "www.onvif.org/ver20/backchannel"},
    ),
    "several-features": Case(
        "PLAY", 551, headers={"Require": "implicit-play, x-unknown"}, says={"unsupported": "implicit-play, x-unknown"}
    ),
    "proxy-require": Case("SETUP", 551, headers={"Proxy-Require": "gzipped", "Transport": TCP}),
    "ping": Case("GET_PARAMETER", 200),
    "ping-by-set": Case("SET_PARAMETER", 200),
    "redirect": Case("REDIRECT", 405, says={"allow": PUBLIC}),
    "play-before-setup": Case("PLAY", 455, says={"allow": ", ".join(allowed(ServerState.INIT))}),
    "unknown-parameter": Case("GET_PARAMETER", 451, body=b"packets_received\r\n"),
    "setting-a-parameter": Case("SET_PARAMETER", 451, body=b"barparam: barstuff\r\n"),
    "unknown-session": Case("PLAY", 454, headers={"Session": "0123456789abcdef"}),
    "no-session-id": Case("TEARDOWN", 454, headers={"Session": ";timeout=60"}),
    "setup-in-unknown-session": Case("SETUP", 454, headers={"Session": "12345678", "Transport": TCP}),
    "ping-of-unknown-session": Case("GET_PARAMETER", 454, headers={"Session": "12345678"}),
}


@pytest.mark.parametrize("name", CASES)
async def test_each_fault_has_its_answer_and_the_connection_lives(stage: Stage, name: str) -> None:
    # rows 12, 13, 17, 21-23, 25, 30, 31, 33, 35, 36
    case = CASES[name]
    async with stage.player() as player:
        answer = await player.ask(case.method, player.url(case.path), case.headers, case.body)
        assert answer.status == case.status
        assert {header: answer.header(header) for header in case.says} == case.says
        assert stage.door.occupied == 0
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200


async def test_what_no_one_may_do_is_noted(stage: Stage) -> None:
    # row 31; L08 S09: publishing, sound and the back-channel
    async with stage.player() as player:
        await player.ask("ANNOUNCE", player.url(PATH), {}, b"v=0\r\n")
        await player.ask("SETUP", player.url(PATH) + "/trackID=1", {"Transport": TCP})
        await player.ask("SETUP", player.url(PATH), {"Require": "www.onvif.org/ver20/backchannel", "Transport": TCP})
    assert stage.door.noted == [
        ("refused-action", "viewer", "ANNOUNCE", ""),
        ("refused-action", "viewer", "SETUP", "trackID=1"),
        ("refused-action", "viewer", "Require: www.onvif.org/ver20/backchannel", ""),
    ]


async def test_a_request_without_a_number_is_answered_without_one(stage: Stage) -> None:
    # row 2
    async with stage.player() as player:
        await player.send(f"OPTIONS {player.url(PATH)} RTSP/1.0\r\n\r\n".encode())
        answer = await player.next_answer()
        assert (answer.status, "cseq" in answer.headers) == (400, False)
        await player.send(f"OPTIONS {player.url(PATH)} RTSP/1.0\r\nCseq: 00017\r\n\r\n".encode())
        assert (await player.next_answer()).header("cseq") == "00017"


async def test_options_of_everything(stage: Stage) -> None:
    # row 11: with proof, without, with a wrong one; with a session, an ended one, somebody's
    for credentials in (None, STRANGER, OTHER):
        async with stage.player(credentials) as player:
            await player.ask("DESCRIBE", player.url(PATH))
            for session in ({}, {"Session": "0123456789abcdef"}, {"Session": ";"}):
                for url in ("*", player.url(PATH), player.url("/live/none")):
                    answer = await player.ask("OPTIONS", url, session)
                    assert (answer.status, answer.header("public")) == (200, PUBLIC)


async def test_a_session_is_named_or_is_none(stage: Stage) -> None:
    # row 25: also where there is but one that could be meant
    async with stage.player() as player:
        await player.set_up(PATH)
        for method in ("PLAY", "PAUSE", "TEARDOWN"):
            for headers in ({}, {"Session": ""}, {"Session": (player.session or "")[:-1]}):
                assert (await player.ask(method, player.url(PATH), headers)).status == 454
        assert stage.door.seats[0].done == []
        with_timeout = {"Session": f"{player.session};timeout=60"}
        assert (await player.ask("PLAY", player.url(PATH), with_timeout)).status == 200


async def test_a_parameter_is_unknown_while_playing_too(stage: Stage) -> None:
    # rows 21, 22
    async with stage.player() as player:
        await player.set_up(PATH)
        await player.play(PATH)
        session = {"Session": player.session or ""}
        for method in ("GET_PARAMETER", "SET_PARAMETER"):
            for body, status in ((b"", 200), (b"\r\n", 200), (b"position\r\n", 451), (b"volume: 11\r\n", 451)):
                assert (await player.ask(method, player.url(PATH), session, body)).status == status
        packet = stage.send()
        await player.packets_until(1)
        assert player.packets[-1][1] == packet


@pytest.mark.parametrize(
    ("offered", "granted"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=6-7", "interleaved=6-7"),
        ("RTP/AVP;unicast;client_port=4588-4589,RTP/AVP/TCP;unicast;interleaved=2-3", "interleaved=2-3"),
        ("RTP/AVP/TCP;unicast", "interleaved=0-1"),
        ("RTP/AVP/TCP;unicast;interleaved=9-9", "interleaved=0-1"),
        ("RTP/AVP/TCP;unicast;interleaved=254", "interleaved=254-255"),
        ("RTP/AVP/TCP;unicast;interleaved=900-901", "interleaved=0-1"),
        ('RTP/AVP/TCP;unicast;x-dynamic;ssrc=zz;mode="PLAY"', "interleaved=0-1"),
    ],
)
async def test_the_first_transport_that_can_be_served_is(stage: Stage, offered: str, granted: str) -> None:
    # rows 32, 34
    async with stage.player() as player:
        answer = await player.set_up(PATH, transport=offered)
        assert (answer.status, answer.header("transport")) == (200, f"RTP/AVP/TCP;unicast;{granted}")


async def test_channels_that_are_taken_are_not_given_twice(stage: Stage) -> None:
    # row 34
    async with stage.player() as player:
        granted = [(await player.set_up(PATH, transport=TCP)).header("transport") for _ in range(3)]
    assert [each.rpartition("=")[2] for each in granted] == ["0-1", "2-3", "4-5"]


async def test_a_track_of_another_path_is_no_part_of_the_session(stage: Stage) -> None:
    async with stage.player() as player:
        await player.set_up(PATH)
        headers = {"Session": player.session or "", "Transport": TCP}
        answer = await player.ask("SETUP", player.url(PATH + "/sub") + "/trackID=0", headers)
        assert answer.status == 459


async def test_refusals_say_why_and_when_to_come_again(stage: Stage) -> None:
    # C01 C10, section 1.7
    stage.door.cap = 1
    async with stage.player() as player:
        await player.set_up(PATH)
        full = await player.set_up(PATH)
        assert (full.status, full.header("x-refusal"), full.header("retry-after")) == (453, "cap-reached", "7")
        assert full.body.decode() == "Nombre maximal de Flux atteint."
        stage.door.refuses, session = InterconnectionCut(), {"Session": player.session or ""}
        for method, headers in (("DESCRIBE", {}), ("SETUP", {"Transport": TCP}), ("PLAY", {}), ("PLAY", session)):
            cut = await player.ask(method, player.url(PATH), headers)
            assert (cut.status, cut.header("x-refusal")) == (503, "interconnection-cut")
            assert int(cut.header("retry-after")) > 0


async def test_play_without_a_durable_entry_is_refused_and_may_be_tried_again(stage: Stage) -> None:
    # section 1.7; T01
    stage.door.refuses_start = TraceUnavailable()
    async with stage.player() as player:
        await player.set_up(PATH)
        refused = await player.play(PATH)
        assert (refused.status, refused.header("x-refusal")) == (503, "trace-unavailable")
        stage.send()
        stage.door.refuses_start = None
        assert (await player.play(PATH)).status == 200
        assert player.packets == []


async def test_a_session_id_is_worth_nothing_on_another_connection(stage: Stage) -> None:
    # row 26
    async with stage.player() as owner, stage.player() as thief, stage.player(OTHER) as other:
        await owner.set_up(PATH)
        await owner.play(PATH)
        headers = {"Session": owner.session or ""}
        for player in (thief, other):
            for method in ("PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"):
                assert (await player.ask(method, player.url(PATH), headers)).status == 454
        await same_connection_other_name(stage, owner)
        packet = stage.send()
        await owner.packets_until(1)
        assert owner.packets[-1][1] == packet
    assert stage.door.seats[0].done[:2] == ["start", "flow"]
    assert "leave" not in stage.door.seats[0].done


async def same_connection_other_name(stage: Stage, player: RawPlayer) -> None:
    """The session belongs to the name that set it up, not to the connection alone."""
    owner, player.credentials = player.credentials, OTHER
    assert (await player.ask("TEARDOWN", player.url(PATH), {"Session": player.session or ""})).status == 454
    player.credentials = owner
    assert stage.door.occupied == 1


async def test_a_session_id_is_long_and_never_the_same(stage: Stage) -> None:
    # row 26
    async with stage.player() as player:
        ids = {(await player.set_up(PATH)).header("session").partition(";")[0] for _ in range(8)}
    assert len(ids) == 8
    assert {len(bytes.fromhex(each)) for each in ids} == {16}


@pytest.mark.parametrize(
    "url",
    [
        "{base}/",
        "{base}?x=1",
        "{base}?videocodec=h264&pass=1",
        "rtsp://127.0.0.1/live/cam-1",
        "RTSP://LOCALHOST:{port}/live/cam-1",
        "rtsp://someone:secret@127.0.0.1:{port}/live/cam-1",
        "rtsp://127.0.0.1:{port}/live/cam%2D1",
        "rtsp://[::1]:{port}/live/cam-1",
    ],
)
async def test_forms_of_one_url_name_one_camera(stage: Stage, url: str) -> None:
    # rows 42, 43; T9
    async with stage.player() as player:
        asked = url.format(base=player.url(PATH), port=stage.port)
        answer = await player.ask("DESCRIBE", asked)
        assert answer.status == 200
        base = answer.header("content-base")
        assert base.endswith((f"{PATH}/", "/live/cam%2D1/"))
        assert "secret" not in base
        assert (await player.ask("SETUP", base + "trackID=0", {"Transport": TCP})).status == 200
        assert (await player.ask("SETUP", asked + "/trackID=0", {"Transport": TCP})).status == 200
