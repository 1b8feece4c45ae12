"""Real players through the tunnel over HTTP and HTTPS, on the RTSP ports themselves (row 39)."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.protocol.codec import Codec
from tests.e2e.conftest import Gateway, credentials_of
from tests.players import (
    FRAMES,
    LIMIT_S,
    Counters,
    counters_by_pyav,
    counters_by_socket,
    counters_of,
    ffmpeg_command,
    gstreamer_command,
    in_turn,
    needs_ffmpeg,
    needs_gstreamer,
    playing,
)
from tests.raw_player import Credentials
from tests.tunnel_player import TunnelPlayer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.peer]

SYSTEM_PYTHON = "/usr/bin/python3"
GST_PLAYER = Path(__file__).parent / "gst_tls_player.py"

PLAYERS = [
    pytest.param("ffmpeg", marks=needs_ffmpeg),
    pytest.param("gstreamer", marks=needs_gstreamer),
    "pyav",
    "socket",
]


def camera_of_h264(gateway: Gateway) -> str:
    """The demo's cameras by kind: the first sends H.264."""
    records = gateway.node.records.cameras.snapshot.records
    return min(gateway.cameras, key=lambda camera: records[camera].connection.device.serial[-5:])


def by_https(gateway: Gateway, path: str, credentials: Credentials) -> str:
    """ffmpeg's URL of an RTSP tunnel over HTTPS: its scheme stays that of RTSP, its port is the RTSPS one."""
    address = gateway.ready["rtsps"].removeprefix("rtsps://")
    return f"rtsp://{credentials.username}:{credentials.password}@{address}{path}"


def rtsps_port(gateway: Gateway) -> int:
    port = gateway.node.endpoints.rtsps
    assert port is not None
    return port


def tls_of(gateway: Gateway, shows: str | None) -> ssl.SSLContext:
    """What a client trusts, and the account whose certificate it shows."""
    tls = ssl.create_default_context(cafile=gateway.ready["ca"])
    if shows is not None:
        account = gateway.ready["accounts"][shows]
        tls.load_cert_chain(account["certificate"], account["key"])
    return tls


async def cut_and_restored(gateway: Gateway) -> None:
    ground = {"ground": "critical-incident", "reason": "essai"}
    status, cut = await gateway.call("ops", "POST", "/interconnection/cut", ground)
    assert status == 200
    restoration = {"incident": cut["incident"], "reason": "fin de l'essai"}
    assert (await gateway.call("ops", "POST", "/interconnection/restore", restoration))[0] == 200


async def play(gateway: Gateway, player: str, credentials: Credentials) -> Counters:
    path = f"/live/{camera_of_h264(gateway)}"
    if player == "ffmpeg":
        return await counters_of(ffmpeg_command(gateway.url(path, credentials), transport="http"))
    if player == "gstreamer":
        url = gateway.ready["rtsp"].replace("rtsp://", "rtsph://") + path
        return await counters_of(gstreamer_command(url, credentials, Codec.H264, protocols="tcp+http"))
    if player == "pyav":
        return await counters_by_pyav(gateway.url(path, credentials), options={"rtsp_transport": "http"})
    host, _, port = gateway.ready["rtsp"].removeprefix("rtsp://").partition(":")
    async with TunnelPlayer(host, int(port), credentials) as raw:
        return await counters_by_socket(raw, path, Codec.H264)


@pytest.mark.parametrize("player", PLAYERS)
async def test_a_player_decodes_every_picture_through_http(shared: Gateway, player: str) -> None:
    # row 39, C01, T01: a ticket is one stream, traced as any other, though it comes by two connections
    ticket = await shared.ticket(camera_of_h264(shared))
    counters = await play(shared, player, credentials_of(ticket))
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)
    (stopped,) = await shared.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == ticket["id"])
    assert (stopped.detail["cause"], stopped.detail["lost"]) == ("teardown", 0)
    started = [entry for entry in await shared.trace() if entry.kind is Kind.STREAM_STARTED]
    assert [entry.stream for entry in started].count(ticket["id"]) == 1


@needs_ffmpeg
async def test_ffmpeg_plays_through_https(shared: Gateway) -> None:
    # row 39, S01, C08: its tunnel shows no certificate; a ticket needs none here, a machine does
    path = f"/live/{camera_of_h264(shared)}"
    ticket = credentials_of(await shared.ticket(camera_of_h264(shared)))
    assert in_turn(await counters_of(ffmpeg_command(by_https(shared, path, ticket), transport="https")))
    with pytest.raises(AssertionError, match="403"):
        await counters_of(ffmpeg_command(by_https(shared, path, shared.machine), transport="https"))
    await shared.traced(
        lambda entry: entry.kind is Kind.STREAM_REFUSED and entry.detail.get("reason") == "certificate-missing"
    )


@needs_gstreamer
async def test_gstreamer_plays_through_https_with_its_certificate(shared: Gateway) -> None:
    # row 39, C08: both connections show the machine's certificate
    url = shared.ready["rtsps"].replace("rtsps://", "rtspsh://") + f"/live/{camera_of_h264(shared)}"
    pipeline = gstreamer_command(url, shared.machine, Codec.H264, protocols="tcp+http+tls")[2:]
    account = shared.ready["accounts"]["machine"]
    files = [account["certificate"], account["key"], shared.ready["ca"]]
    counters = await counters_of([SYSTEM_PYTHON, str(GST_PLAYER), *files, *pipeline])
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)


async def test_a_post_shows_what_its_get_has_shown(shared: Gateway) -> None:
    # row 39, C08: another certificate, none, or no TLS joins no tunnel; a cut resets both below TLS
    async with TunnelPlayer("127.0.0.1", rtsps_port(shared), shared.machine, tls=tls_of(shared, "machine")) as player:
        assert (await player.set_up(f"/live/{camera_of_h264(shared)}")).status == 200
        for port, tls in (
            (rtsps_port(shared), tls_of(shared, "operator")),
            (rtsps_port(shared), tls_of(shared, None)),
            (shared.node.endpoints.rtsp, None),
        ):
            assert (await player.told_on_a_post(port=port, tls=tls)).startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert (await player.play(f"/live/{camera_of_h264(shared)}")).status == 200
        await player.packets_until(3)
        await cut_and_restored(shared)
        assert await player.read_to_end() == "reset"
        assert await player.post_ended() == "reset"


@needs_ffmpeg
@needs_gstreamer
async def test_players_end_by_themselves_on_a_cut(shared: Gateway) -> None:
    # C10, T3: both connections are reset, and the slots are free
    camera = camera_of_h264(shared)
    by_ffmpeg = ffmpeg_command(shared.url(f"/live/{camera}", shared.machine), frames=None, transport="http")
    url = shared.ready["rtsp"].replace("rtsp://", "rtsph://") + f"/live/{camera}"
    by_gstreamer = gstreamer_command(url, shared.machine, Codec.H264, frames=None, protocols="tcp+http")
    async with playing(by_ffmpeg) as ffmpeg, playing(by_gstreamer) as gstreamer:
        assert await shared.slots_used() == 2
        assert len(shared.node.rtsp.connections) == 4
        await cut_and_restored(shared)
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(ffmpeg.communicate(), gstreamer.communicate())
