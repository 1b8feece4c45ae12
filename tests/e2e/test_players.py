"""Real players play every kind of camera through the door, and what they decode is read back."""

from __future__ import annotations

import asyncio

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

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.peer]

CODECS = (Codec.H264, Codec.H265, Codec.H264)
"""Of the demo's cameras, in their order; the third has sound."""

PLAYERS = [
    pytest.param("ffmpeg", marks=needs_ffmpeg),
    pytest.param("gstreamer", marks=needs_gstreamer),
    "pyav",
    "socket",
]


def sorted_cameras(gateway: Gateway) -> list[str]:
    """The demo's cameras by kind: their records are kept by identifier."""
    records = gateway.node.records.cameras.snapshot.records
    return sorted(gateway.cameras, key=lambda camera: records[camera].connection.device.serial[-5:])


async def play(gateway: Gateway, player: str, camera: str, codec: Codec, credentials: Credentials) -> Counters:
    path = f"/live/{camera}"
    if player == "ffmpeg":
        return await counters_of(ffmpeg_command(gateway.url(path, credentials)))
    if player == "gstreamer":
        return await counters_of(gstreamer_command(gateway.ready["rtsp"] + path, credentials, codec))
    if player == "pyav":
        return await counters_by_pyav(gateway.url(path, credentials))
    async with gateway.player(credentials) as raw:
        return await counters_by_socket(raw, path, codec)


@pytest.mark.parametrize("number", range(3), ids=["h264", "h265", "h264-and-sound"])
@pytest.mark.parametrize("player", PLAYERS)
async def test_a_player_decodes_every_picture(shared: Gateway, player: str, number: int) -> None:
    # C01, L08, T01: by ticket and by machine account at the same time, from one pull
    camera, codec = sorted_cameras(shared)[number], CODECS[number]
    ticket = await shared.ticket(camera)
    seen = await asyncio.gather(
        play(shared, player, camera, codec, credentials_of(ticket)),
        play(shared, player, camera, codec, shared.machine),
    )
    for counters in seen:
        assert len(counters) >= FRAMES - 1
        assert in_turn(counters)
    (stopped,) = await shared.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == ticket["id"])
    assert stopped.detail["cause"] == "teardown"
    assert stopped.detail["packets"] > FRAMES
    assert stopped.detail["lost"] == 0


@needs_ffmpeg
@needs_gstreamer
async def test_players_end_by_themselves_on_a_cut_and_play_again_once_it_is_restored(shared: Gateway) -> None:
    # C10, T3: they do not hang on a picture that stands still; who comes back is told 503
    camera = sorted_cameras(shared)[0]
    url = shared.url(f"/live/{camera}", shared.machine)
    by_gstreamer = gstreamer_command(shared.ready["rtsp"] + f"/live/{camera}", shared.machine, Codec.H264, frames=None)
    async with playing(ffmpeg_command(url, frames=None)) as ffmpeg, playing(by_gstreamer) as gstreamer:
        ground = {"ground": "critical-incident", "reason": "essai"}
        status, cut = await shared.call("ops", "POST", "/interconnection/cut", ground)
        assert status == 200
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(ffmpeg.communicate(), gstreamer.communicate())
    with pytest.raises(AssertionError, match="503"):
        await counters_of(ffmpeg_command(url))
    restoration = {"incident": cut["incident"], "reason": "fin de l'essai"}
    assert (await shared.call("ops", "POST", "/interconnection/restore", restoration))[0] == 200
    assert in_turn(await counters_of(ffmpeg_command(url, frames=5)))
