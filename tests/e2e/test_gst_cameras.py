"""Cameras that are not ours: GStreamer's RTSP server, pulled by the gateway, decoded by a player behind it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from camera_registry.connections import Credentials
from halfgateway.protocol import sdp
from halfgateway.simulator.clips import default_cache, ensure_clip
from tests.depacketise import access_units
from tests.e2e.conftest import Gateway
from tests.e2e.inventory import record_of
from tests.players import (
    Codec,
    counters_of,
    ffmpeg_command,
    gstreamer_command,
    in_turn,
    needs_ffmpeg,
    needs_gstreamer,
)
from tests.simulated_cameras import SMALL

SYSTEM_PYTHON = "/usr/bin/python3"
CAMERA = Path(__file__).parent / "gst_camera.py"
CREDENTIALS = Credentials(username="gateway", password="p@ss:w0rd/&")
START_LIMIT_S = 60.0

PATHS = {
    "/h264-pcma": Codec.H264,
    "/h265": Codec.H265,
    "/mjpeg": Codec.JPEG,
    "/sets-in-sdp": Codec.H264,
    "/sets-in-band": Codec.H264,
}


def has_gst_rtsp_server() -> bool:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    return Path(SYSTEM_PYTHON).exists() and subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False).returncode == 0


pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.peer,
    pytest.mark.skipif(not has_gst_rtsp_server(), reason="apt: gir1.2-gst-rtsp-server-1.0; make test installs it"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authorities() -> AsyncIterator[dict[str, str]]:
    """Where GStreamer cameras are, by name (see :mod:`tests.e2e.gst_camera`)."""
    clip = await asyncio.to_thread(ensure_clip, SMALL, default_cache(os.environ))
    command = [SYSTEM_PYTHON, str(CAMERA), str(clip), CREDENTIALS.username, CREDENTIALS.password]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_LIMIT_S):
            yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


@pytest_asyncio.fixture(loop_scope="module")
async def taken_in(shared: Gateway, authorities: dict[str, str]) -> Gateway:
    """The gateway, with every GStreamer camera in its inventory.

    Once for each test that plays it: its clip has an end, which a pull that lingers would come to.
    """
    digest = authorities["digest"]
    for use, authority in (*authorities.items(), ("player", digest), ("sets", digest)):
        for path, codec in PATHS.items():
            record = record_of(camera_id(use, path), f"rtsp://{authority}{path}", CREDENTIALS, codec=codec)
            await shared.node.records.cameras.upsert(record)
    return shared


def camera_id(use: str, path: str) -> str:
    return f"gst-{use}-{path[1:]}"


@needs_ffmpeg
@pytest.mark.parametrize(
    ("use", "path"),
    [
        *(("digest", path) for path in PATHS),
        ("basic", "/h264-pcma"),
        ("basic", "/h265"),
        ("udp", "/h264-pcma"),
        ("udp", "/h265"),
        ("udp", "/mjpeg"),
        ("ipv6", "/h264-pcma"),
        ("ipv6-udp", "/h264-pcma"),
    ],
)
async def test_what_it_plays_is_decoded_behind_the_gateway(taken_in: Gateway, use: str, path: str) -> None:
    # quirk sets-only-in-sdp; rows 41 and 50
    url = taken_in.url(f"/live/{camera_id(use, path)}", taken_in.machine)
    counters = await counters_of(ffmpeg_command(url, frames=20))
    assert len(counters) == 20
    assert in_turn(counters)


@needs_gstreamer
@pytest.mark.parametrize("path", ["/h264-pcma", "/h265", "/mjpeg"])
async def test_gstreamer_plays_it_too(taken_in: Gateway, path: str) -> None:
    url = f"{taken_in.ready['rtsp']}/live/{camera_id('player', path)}"
    counters = await counters_of(gstreamer_command(url, taken_in.machine, PATHS[path], frames=20))
    assert len(counters) >= 19
    assert in_turn(counters)


@pytest.mark.parametrize(
    ("path", "in_sdp", "in_band"),
    [("/sets-in-sdp", True, False), ("/sets-in-band", False, True), ("/h264-pcma", True, True)],
)
async def test_parameter_sets_stay_where_the_camera_put_them(
    taken_in: Gateway, path: str, in_sdp: bool, in_band: bool
) -> None:
    # quirk sets-only-in-band, L08: passthrough, and no word of sound
    live = f"/live/{camera_id('sets', path)}"
    async with taken_in.player(taken_in.machine) as player:
        answer = await player.ask("DESCRIBE", player.url(live))
        (media,) = sdp.parse(answer.body).media
        assert media.kind == "video"
        assert ("sprop-parameter-sets" in media.fmtp.get(96, "")) == in_sdp
        await player.set_up(live)
        await player.play(live)
        await player.packets_until(40)
        await player.tear_down(live)
    video = [packet for channel, packet, _ in player.packets if channel == 0]
    kinds = {unit[0] & 0x1F for each in access_units(video, Codec.H264) for unit in each.split(b"\0\0\0\1")[1:]}
    assert ({7, 8} <= kinds) == in_band
    assert 5 in kinds
