"""The demo's own Valkey may die: its node starts it again, and no stream is lost by it."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from tests.e2e.conftest import Gateway, credentials_of, until


async def test_a_killed_embedded_valkey_is_started_again_and_streams_go_on(gateway: Gateway) -> None:
    # failure table: Valkey down or restarted empty; C01
    camera = gateway.cameras[0]
    async with gateway.player(credentials_of(await gateway.ticket(camera))) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        await player.packets_until(3)
        valkey = int((await gateway.node.control.store.client.info("server"))["process_id"])
        os.kill(valkey, signal.SIGKILL)

        async def counted_again() -> bool:
            status, answer = await gateway.call("ops", "GET", "/interconnection")
            server = await gateway.node.control.store.client.info("server")
            return status == 200 and answer["slots"] == {"used": 1, "cap": 10} and server["process_id"] != valkey

        await until(lambda: answered(counted_again))
        await player.packets_until(60)
        assert (await player.tear_down(f"/live/{camera}")).status == 200


async def answered(question: Callable[[], Awaitable[bool]]) -> bool:
    """Whether the store answers, and says yes."""
    try:
        return await question()
    except (OSError, RedisError):
        return False
