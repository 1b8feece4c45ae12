"""A real Valkey for the tests of this folder, and nodes that share it."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis

from camera_registry.clock import SystemClock
from halfgateway.control.lease_script import Limits
from halfgateway.control.slots import SlotTable
from halfgateway.control.store import StateStore
from halfgateway.net.valkey import EmbeddedValkey, connect

LONG_S = 30.0
"""Seconds of a lease in most of these tests: none lapses, however slow the machine."""

LEASE_S = 0.8
"""Seconds of a lease in the tests that wait for it to lapse, or for a hold to be over."""


class SkewedClock(SystemClock):
    """A node's clock that can be set apart from the server's: ``behind_s`` grows as if the server's had jumped.

    ``stale_s`` is how old each of the next readings is once it is used: the node did nothing for so long.
    """

    def __init__(self) -> None:
        self.behind_s = 0.0
        self.stale_s: list[float] = []

    def monotonic(self) -> float:
        stale_s = self.stale_s.pop(0) if self.stale_s else 0.0
        return time.monotonic() - self.behind_s - stale_s


@dataclass
class Nodes:
    """The nodes of one convention, each with a client of its own."""

    server: EmbeddedValkey
    address: str
    convention: str = field(default_factory=lambda: "c" + secrets.token_hex(4))
    clients: list[Redis] = field(default_factory=list)

    def store(self, *, call_limit_s: float = 2.0) -> StateStore:
        client = connect(self.address, time_limit_s=call_limit_s)
        self.clients.append(client)
        return StateStore(client, self.convention, call_limit_s=call_limit_s)

    def table(
        self,
        node: str = "a",
        *,
        cap: int = 10,
        lease_s: float = LONG_S,
        call_limit_s: float = 2.0,
        clock: SystemClock | None = None,
    ) -> SlotTable:
        return SlotTable(
            self.store(call_limit_s=call_limit_s),
            node=node,
            limits=lambda: Limits(cap),
            lease_s=lease_s,
            clock=clock or SystemClock(),
        )

    async def opened(self, node: str = "a", *, cap: int = 10, lease_s: float = LONG_S) -> SlotTable:
        """Return a table whose convention grants at once."""
        table = self.table(node, cap=cap, lease_s=lease_s)
        await table.open_epoch()
        return table

    def signal(self, number: signal.Signals) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, number)

    async def killed(self) -> None:
        """Kill the server and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await until(lambda: self.server.pid is None)

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait for a condition. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)
