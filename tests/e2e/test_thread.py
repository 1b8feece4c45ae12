"""One camera, one player, one door: the thread through everything, with each kind of database."""

from __future__ import annotations

import pytest

from auth.trace import Kind
from tests.e2e.conftest import Gateway, credentials_of, until

pytestmark = pytest.mark.usefixtures("database_kind")


async def test_a_ticket_plays_and_is_told_in_the_trace(gateway: Gateway) -> None:
    # C16 L11 T01 T02: intent before media, result after it, nothing but video
    camera = gateway.cameras[0]
    ticket = await gateway.ticket(camera)
    assert ticket["slot"] == "1/10"
    async with gateway.player(credentials_of(ticket)) as player:
        path = f"/live/{camera}"
        assert (await player.ask("DESCRIBE", player.url(path))).status == 200
        assert (await player.set_up(path)).status == 200
        assert (await player.play(path)).status == 200
        await player.packets_until(20)
        assert await gateway.slots_used() == 1
        assert (await player.tear_down(path)).status == 200
        assert await gateway.slots_used() == 0
    told = await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED)
    story = [entry.kind for entry in await gateway.trace() if entry.stream == told[0].stream]
    assert story == [
        Kind.STREAM_REQUESTED,
        Kind.STREAM_GRANTED,
        Kind.STREAM_DESCRIBED,
        Kind.STREAM_STARTED,
        Kind.STREAM_STOPPED,
    ]
    assert told[0].detail["packets"] >= 20
    assert told[0].attribution == "agent-authenticated"


async def test_wrong_credentials_are_told_nothing(gateway: Gateway) -> None:
    # C08: 401 from memory before any 404
    async with gateway.player(None) as player:
        for path in (f"/live/{gateway.cameras[0]}", "/live/no-such-camera"):
            assert (await player.ask("DESCRIBE", player.url(path))).status == 401


async def test_a_vanished_player_gives_its_slot_back(gateway: Gateway) -> None:
    # C01: after the resume grace
    camera = gateway.cameras[0]
    async with gateway.player(gateway.machine) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        await player.packets_until(5)
        player.vanish()
    assert await gateway.slots_used() == 1

    async def free() -> bool:
        return await gateway.slots_used() == 0

    await until(free)
    stopped = await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED)
    assert stopped[0].detail["cause"] == "not-resumed"
