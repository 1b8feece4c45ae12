"""A gateway that listens on an IPv6 address (row 41, T9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from auth.trace import Kind
from halfgateway.protocol.codec import Codec
from tests.e2e.conftest import STEADY, Gateway, credentials_of, open_gateway, until
from tests.players import (
    FRAMES,
    counters_by_socket,
    counters_of,
    ffmpeg_command,
    gstreamer_command,
    in_turn,
    needs_ffmpeg,
    needs_gstreamer,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "::1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("ipv6") / "demo"
    async with open_gateway(folder, STEADY, host=HOST) as opened:
        yield opened


async def test_a_tickets_addresses_are_urls(gateway: Gateway) -> None:
    ticket = await gateway.ticket(gateway.cameras[0])
    for scheme in ("rtsp", "rtsps"):
        url = urlsplit(ticket[f"{scheme}_url"])
        assert (url.scheme, url.hostname) == (scheme, HOST)
        assert url.netloc == f"[{HOST}]:{url.port}"
    assert (await gateway.call("operator", "DELETE", f"/streams/{ticket['id']}"))[0] in {200, 204}


@needs_ffmpeg
@pytest.mark.peer
@pytest.mark.parametrize("by", ["tcp", "udp"])
async def test_ffmpeg_plays_and_its_address_is_in_the_trace(gateway: Gateway, by: str) -> None:
    ticket = await gateway.ticket(gateway.cameras[0])
    counters = await counters_of(
        ffmpeg_command(gateway.url(urlsplit(ticket["rtsp_url"]).path, credentials_of(ticket)), transport=by)
    )
    assert len(counters) == FRAMES
    assert by == "udp" or in_turn(counters)  # a datagram may be lost
    (started,) = [
        entry
        for entry in await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STARTED)
        if entry.stream == ticket["id"]
    ]
    assert started.source == HOST


@needs_gstreamer
@pytest.mark.peer
async def test_gstreamer_plays_by_udp(gateway: Gateway) -> None:
    ticket = await gateway.ticket(gateway.cameras[0])
    command = gstreamer_command(ticket["rtsp_url"], credentials_of(ticket), Codec.H264, protocols="udp")
    counters = await counters_of(command)
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)


async def test_a_bare_socket_plays_by_tcp_and_is_told_no_address(gateway: Gateway) -> None:
    path = f"/live/{gateway.cameras[0]}"
    async with gateway.player(gateway.machine) as player:
        described = await player.ask("DESCRIBE", player.url(path))
        assert "c=IN IP6 ::\r\n" in described.body.decode()
        assert in_turn(await counters_by_socket(player, path, Codec.H264))
        zoned = f"rtsp://[fe80::1%25eth0]:{player.port}{path}"
        assert (await player.ask("DESCRIBE", zoned)).status == 400
    await until(lambda: len(gateway.node.control.table) == 0)
