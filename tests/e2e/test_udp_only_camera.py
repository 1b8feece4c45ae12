"""The demo's camera that has nothing but UDP, played through the door by players that take TCP."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from auth.trace import Kind
from halfgateway.protocol.codec import Codec
from tests.e2e.conftest import STEADY, credentials_of, open_gateway
from tests.players import FRAMES, Counters, counters_by_pyav, counters_by_socket

UDP_ONLY_SERIAL = "R1080U-00012"
LOOP = 100
"""Pictures in its clip."""

pytestmark = [pytest.mark.peer, pytest.mark.demo]


async def test_the_demos_udp_only_camera_is_watched_like_any_other(tmp_path: Path) -> None:
    # one pull for both, and no word of it in what a reader gets
    async with open_gateway(tmp_path / "demo", STEADY, cameras=12) as gateway:
        records = gateway.node.records.cameras.snapshot.records
        (camera,) = (each for each in records if records[each].connection.device.serial == UDP_ONLY_SERIAL)
        ticket = await gateway.ticket(camera)
        path = f"/live/{camera}"
        async with gateway.player(gateway.machine) as player:
            by_machine, by_ticket = await asyncio.gather(
                counters_by_socket(player, path, Codec.H264),
                counters_by_pyav(gateway.url(path, credentials_of(ticket))),
            )
        assert moves_on(by_machine)
        assert moves_on(by_ticket)
        (stopped,) = await gateway.traced(lambda each: each.kind is Kind.STREAM_STOPPED and each.stream == ticket["id"])
        assert stopped.detail["cause"] == "teardown"
        assert stopped.detail["lost"] == 0, "nothing is lost on the reader's side"


def moves_on(counters: Counters) -> bool:
    """Whether each picture shows a later instant. On a busy machine a datagram, and with it a picture, may be lost."""
    read = [counter for counter in counters if counter is not None]
    forward = all(0 < (later - earlier) % LOOP < LOOP // 2 for earlier, later in itertools.pairwise(read))
    return forward and len(read) >= FRAMES // 2
