"""One try with a new password: devices lock an account after a few bad ones (docs/quirks.md, lock-out)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from camera_registry.clock import Clock
from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Locked

REST_S: Final = 1800.0
"""How long a device that refuses a password it once took is left alone: the longest lock-out seen, 30 minutes."""

Answer = TypeVar("Answer")


class Guard(Protocol):
    """What stands between a device and a password, be it here or in the process that remembers."""

    async def run(self, device: str, credentials: Credentials, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """Await ``request``, which sends ``credentials`` to ``device`` once, if that may be done now; else Locked."""


class CredentialGuard:
    """Remembers, per device, whether its present credentials were ever accepted; shared by all who ask devices.

    Until a device has accepted them, one request at a time goes out with them. Once refused, they are not sent
    again: never if they were not accepted before, for :data:`REST_S` if they were. Other credentials begin anew.
    Bound: one entry a device.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def run(self, device: str, credentials: Credentials, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """Await ``request``, which sends ``credentials`` to ``device`` once, if that may be done now.

        Raises Locked instead of asking, AuthRejected as ``request`` does, and whatever else it raises; only
        AuthRejected counts against the credentials.
        """
        entry = self._entries.get(device)
        if entry is None or entry.credentials != credentials:
            entry = self._entries[device] = _Entry(credentials)
        if entry.accepted:
            return await self._ask(entry, request)
        async with entry.first_try:
            return await self._ask(entry, request)

    async def _ask(self, entry: _Entry, request: Callable[[], Awaitable[Answer]]) -> Answer:
        if self._clock.monotonic() < entry.refused_until:
            raise Locked("the device refused these credentials before; it is not asked again with them")
        try:
            answer = await request()
        except AuthRejected:
            entry.refused_until = self._clock.monotonic() + REST_S if entry.accepted else math.inf
            raise
        entry.accepted = True
        return answer


class _Entry:
    __slots__ = ("accepted", "credentials", "first_try", "refused_until")

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.accepted = False
        self.refused_until = -math.inf
        self.first_try = asyncio.Lock()
