"""A player that asks and asks while its stream runs as fast as the server can send it."""

from __future__ import annotations

import asyncio
import hashlib

from tests.downstream.stage import PATH, Stage
from tests.raw_player import RawPlayer

BURST = 12
"""Packets that the camera sends at once: more than a narrow player can take, so that most answers wait behind them."""


async def pinged_under_load(stage: Stage, player: RawPlayer, times: int) -> None:
    """Ask so often and be answered each time; every packet between the answers is one that the camera sent, whole."""
    await player.set_up(PATH)
    await player.play(PATH)
    sent: set[bytes] = set()
    received = 0
    flood = asyncio.create_task(_send_much(stage, sent))
    for _ in range(times):
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        received += _checked(player, sent)
        player.captured.clear()
    flood.cancel()
    await asyncio.gather(flood, return_exceptions=True)
    assert received > times


def _checked(player: RawPlayer, sent: set[bytes]) -> int:
    """How many packets have come, none of which is not the camera's; they are forgotten."""
    came = [_digest(packet) for _, packet, _ in player.packets]
    assert set(came) <= sent
    player.packets.clear()
    return len(came)


async def _send_much(stage: Stage, sent: set[bytes]) -> None:
    while True:
        sent.update(_digest(stage.send(200 + 97 * number)) for number in range(BURST))
        await asyncio.sleep(0)


def _digest(packet: bytes) -> bytes:
    return hashlib.blake2b(packet, digest_size=16).digest()
