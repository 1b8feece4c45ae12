"""What must never reach the prefecture's side, searched for in every byte that does (C16, L08)."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio

from auth.trace import Kind
from halfgateway.protocol import sdp
from halfgateway.protocol.rtcp import SenderReport, parse_compound
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE
from tests.e2e.conftest import STEADY, Gateway, credentials_of, open_gateway
from tests.e2e.inventory import record_of_simulated, simulated_camera
from tests.raw_player import Credentials, RawPlayer
from tests.simulated_cameras import SMALL

CAMERA = "camera-with-sound"
PATH = f"/live/{CAMERA}"
TCP = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
BACK_CHANNEL = {"Require": "www.onvif.org/ver20/backchannel"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def camera() -> AsyncIterator[SimulatedCamera]:
    async with simulated_camera(replace(SMALL, audio=True), frames=10, username="compte-de-la-camera") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(shared: Gateway, camera: SimulatedCamera) -> Gateway:
    await shared.node.records.cameras.upsert(record_of_simulated(camera, CAMERA))
    return shared


def secrets_of(gateway: Gateway, camera: SimulatedCamera) -> dict[str, bytes]:
    """What leads to a camera, in the forms in which it might be written."""
    identity = camera.identity
    found = {
        "username": identity.username,
        "internal address": identity.internal_address,
        "mac address": identity.mac_address,
        "serial": identity.serial,
        "stream path": identity.stream_path,
        "rtsp address": urlsplit(camera.rtsp_url).netloc,
        "onvif address": urlsplit(camera.onvif_url).netloc,
        **forms_of_password("", identity.password),
        "basic": base64.b64encode(f"{identity.username}:{identity.password}".encode()).decode(),
        "digest": hashlib.md5(
            f"{identity.username}:{identity.model}:{identity.password}".encode(), usedforsecurity=False
        ).hexdigest(),
    }
    for name, record in gateway.node.records.cameras.snapshot.records.items():
        assert record.connection.credentials is not None
        found |= forms_of_password(name, record.connection.credentials.password)
        found |= {f"{name} stream": urlsplit(url).netloc for url in record.connection.streams.values()}
        found[f"{name} onvif"] = urlsplit(record.connection.onvif_url).netloc
    return {what: text.encode() for what, text in found.items()}


def forms_of_password(name: str, password: str) -> dict[str, str]:
    return {f"{name} password": password, f"{name} quoted password": quote(password, safe="")}


def leaks(data: bytes, secrets: dict[str, bytes]) -> list[str]:
    return [what for what, secret in secrets.items() if secret in data]


async def whole_life(gateway: Gateway, player: RawPlayer) -> list[int]:
    """Everything that a player may ask, and some that it may not; the statuses."""
    url = player.url(PATH)
    session: dict[str, str] = {}
    asked = [
        await player.ask("OPTIONS", url),
        await player.ask("DESCRIBE", url, {"Accept": "application/sdp"}),
        await player.ask("DESCRIBE", url, BACK_CHANNEL),
        await player.ask("DESCRIBE", player.url("/live/none")),
        await player.ask("SETUP", url + "/trackID=1", TCP),
        await player.ask("SETUP", url + "/trackID=0", {"Transport": "RTP/AVP;multicast;client_port=5000-5001"}),
        await player.set_up(PATH),
    ]
    session["Session"] = player.session or ""
    asked.append(await player.ask("SETUP", url + "/trackID=1", TCP | session))
    asked.append(await player.play(PATH))
    await player.packets_until(100)
    asked.append(await player.ask("PAUSE", url, session))
    asked.append(await player.play(PATH))
    await player.packets_until(150)
    asked += [
        await player.ask("GET_PARAMETER", url, session),
        await player.ask("GET_PARAMETER", url, session, b"camera\r\n"),
        await player.ask("ANNOUNCE", url, {}, b"v=0\r\n"),
        await player.tear_down(PATH),
    ]
    return [answer.status for answer in asked]


def video_alone(player: RawPlayer) -> bool:
    """One source of video on the player's own two channels, and reports of nothing else."""
    packets = [RtpView(packet) for channel, packet, _ in player.packets if channel == 0]
    reports = [each for channel, packet, _ in player.packets if channel == 1 for each in parse_compound(packet)]
    sources = {packet.ssrc for packet in packets}
    told = {report.ssrc for report in reports if isinstance(report, SenderReport)}
    return (
        {channel for channel, _, _ in player.packets} <= {0, 1}
        and {packet.payload_type for packet in packets} == {VIDEO_PAYLOAD_TYPE}
        and len(sources) == 1
        and told <= sources
    )


async def test_a_player_is_told_nothing_of_the_camera_and_hears_nothing(
    camera: SimulatedCamera, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # C16, L08: nor is anything told in the node's log, from its first line to its last
    caplog.set_level(logging.DEBUG)
    async with open_gateway(tmp_path / "demo", STEADY) as gateway:
        await gateway.node.records.cameras.upsert(record_of_simulated(camera, CAMERA))
        await hears_nothing(gateway, camera, credentials_of(await gateway.ticket(CAMERA)), unknown_camera=403)
        await hears_nothing(gateway, camera, gateway.machine, unknown_camera=404)
        refused = await gateway.traced(lambda entry: entry.kind is Kind.ACTION_REFUSED)
        told = [(entry.detail["action"], entry.detail["path"]) for entry in refused]
        assert ("SETUP", "trackID=1") in told
        secrets = secrets_of(gateway, camera)
    lines = [record.getMessage() for record in caplog.records if is_ours(record)]
    assert any(line.startswith("pull.live") for line in lines)
    assert leaks("\n".join(lines).encode(), secrets) == []


def is_ours(record: logging.LogRecord) -> bool:
    """What a node writes: its own lines of any level, and a library's from INFO on."""
    packages = ("halfgateway.", "camera_registry.", "auth.", "ops.")
    return record.name.startswith(packages) or record.levelno >= logging.INFO


async def hears_nothing(
    gateway: Gateway, camera: SimulatedCamera, credentials: Credentials, *, unknown_camera: int
) -> None:
    async with gateway.player(credentials) as player:
        assert await whole_life(gateway, player) == [
            *(200, 200, 551, unknown_camera, 404, 461, 200),
            *(404, 200, 200, 200),
            *(200, 451, 405, 200),
        ]
    assert video_alone(player)
    assert b"m=audio" not in player.captured
    assert b"PCMA" not in player.captured
    assert leaks(bytes(player.captured), secrets_of(gateway, camera)) == []
    async with gateway.udp_player(credentials) as player:
        await player.start(PATH)
        await player.packets_until(100)
        await player.packets_until(1, channel=1)
        assert (await player.tear_down(PATH)).status == 200
    assert video_alone(player)
    received = b"".join(packet for _, packet, _ in player.packets)
    assert leaks(bytes(player.captured) + received, secrets_of(gateway, camera)) == []
    assert_the_camera_was_not_asked_for_sound(camera)


def assert_the_camera_was_not_asked_for_sound(camera: SimulatedCamera) -> None:
    """L08: not set up is the only way to be sure that it is not sent."""
    assert camera.media_counters.video_packets > 100
    assert camera.media_counters.audio_packets == 0
    assert camera.rtsp_counters.audio_setups == 0


async def test_the_camera_itself_does_tell(gateway: Gateway, camera: SimulatedCamera) -> None:
    """The search finds what is there: what a player would be told if it asked the camera itself."""
    url = urlsplit(camera.rtsp_url)
    assert url.hostname is not None
    assert url.port is not None
    identity = camera.identity
    player = RawPlayer(url.hostname, url.port, Credentials(identity.username, identity.password))
    async with player:
        await player.ask("DESCRIBE", camera.rtsp_url)
        await player.set_up(identity.stream_path)
        sound = {"Transport": "RTP/AVP/TCP;unicast;interleaved=2-3", "Session": player.session or ""}
        await player.ask("SETUP", f"{camera.rtsp_url}/trackID=1", sound)
        await player.play(identity.stream_path)
        await player.packets_until(50)
    assert b"m=audio" in player.captured
    assert {"internal address", "stream path", "serial"} <= set(
        leaks(bytes(player.captured), secrets_of(gateway, camera))
    )
    assert AUDIO_PAYLOAD_TYPE in {RtpView(packet).payload_type for channel, packet, _ in player.packets if channel == 2}
    assert not video_alone(player)


async def test_a_description_holds_only_what_a_decoder_needs(gateway: Gateway, camera: SimulatedCamera) -> None:
    # C16: each line is of ours
    async with gateway.player(gateway.machine) as player:
        answer = await player.ask("DESCRIBE", player.url(PATH))
    (media,) = sdp.parse(answer.body).media
    assert (media.kind, media.control, list(media.rtpmap)) == ("video", "trackID=0", [VIDEO_PAYLOAD_TYPE])
    lines = answer.body.decode().split("\r\n")
    assert [line for line in lines if line[:2] in {"o=", "c=", "s="}] == [
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=Caméra d'essai",
        "c=IN IP4 0.0.0.0",
    ]


async def test_the_api_the_trace_and_the_metrics_tell_nothing_either(gateway: Gateway, camera: SimulatedCamera) -> None:
    async with gateway.player(credentials_of(await gateway.ticket(CAMERA))) as player:
        await player.ask("SETUP", player.url(PATH) + "/trackID=1", TCP)
        await player.set_up(PATH)
        await player.play(PATH)
        await player.packets_until(20)
        answers = [answer async for answer in everything_that_can_be_read(gateway)]
        await player.tear_down(PATH)
    assert len(answers) > 15
    secrets = secrets_of(gateway, camera)
    for what, body in answers:
        assert leaks(body, secrets) == [], what
    await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED)
    for path, data in files_of(gateway.node.journal.folder):
        assert leaks(data, secrets) == [], path


async def everything_that_can_be_read(gateway: Gateway) -> AsyncIterator[tuple[str, bytes]]:
    """Every answer of the API to each role that may ask, and to some that may not, and the pages beside it."""
    paths = ("/cameras", f"/cameras/{CAMERA}", "/streams", "/interconnection", "/trace", "/trace/checkpoints")
    for role in ("operator", "supervisor", "ops", "officer", "auditor"):
        headers = {"Authorization": f"Bearer {await gateway.token(role)}"}
        for path in (*paths, *(f"/cameras/{camera}" for camera in gateway.cameras)):
            async with gateway.http.get(f"{gateway.ready['http']}/api/v1{path}", headers=headers) as answer:
                yield f"{role} {path} {answer.status}", await answer.read() + str(answer.headers).encode()
    for path in ("/healthz", "/readyz", "/metrics"):
        async with gateway.http.get(gateway.ready["http"] + path) as answer:
            assert answer.status == 200
            yield path, await answer.read() + str(answer.headers).encode()


def files_of(folder: Path) -> Iterable[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()]


async def test_passwords_are_nowhere_on_the_disk_but_where_they_are_given(
    gateway: Gateway, camera: SimulatedCamera
) -> None:
    # C16: sealed in the records; read by the node from the files that the configuration names
    passwords = {what: secret for what, secret in secrets_of(gateway, camera).items() if "password" in what}
    for path, data in files_of(gateway.data):
        if path.suffix != ".password":
            assert leaks(data, passwords) == [], path
