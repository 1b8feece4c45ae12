"""The interconnection's state as the nodes share it: a key that only goes forward, and a channel that tells at once.

The channel is the fast way; each node also sees the key every few seconds, with its renewals. Neither is the
source: that is each node's :class:`ops.local_record.LocalRecord`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from redis.asyncio.client import PubSub

from halfgateway.control.store import RETRY_AFTER_S, StateStore
from halfgateway.errors import StateStoreUnavailable
from ops.errors import DamagedState
from ops.interconnection import InterconnectionState, merge

KEY = "interconnection"
"""Name of both the key and the channel, under the convention's prefix."""

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
"""Seconds before a lost subscription is tried again: twice as long each time, up to this. Meanwhile the renewals see
the key as often."""

QUIET_S = 5.0
"""Seconds of silence after which a subscription is asked whether it still lives; it then has the call limit."""

_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1
"""

log = logging.getLogger(__name__)


class SharedInterconnection:
    """The shared copy. Any node may publish; ``merge`` decides what holds, in one place for disk and store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._key = store.key(KEY)
        self._swap = store.client.register_script(_SWAP)

    async def read(self) -> InterconnectionState | None:
        """Return the shared state, None where there is none (an emptied store): ours then holds, and is published.

        Raises StateStoreUnavailable, also for bytes that are not a state: nothing may be granted on them.
        """
        async with self._store.limited():
            raw = await self._store.client.get(self._key)
        return decode(raw)

    async def publish(self, state: InterconnectionState) -> InterconnectionState:
        """Share a state; return the one that then holds among the nodes.

        Bytes that are not a state give way to a cut only. Raises StateStoreUnavailable.
        """
        async with self._store.limited():
            while True:
                raw = await self._store.client.get(self._key)
                try:
                    shared = decode(raw)
                except StateStoreUnavailable:
                    if not state.closed:
                        raise
                    shared = None
                holds = merge(state, shared)
                if holds == shared or await self._swap(keys=[self._key], args=[raw or b"", holds.to_json()]):
                    return holds

    async def follow(
        self, deliver: Callable[[InterconnectionState], Awaitable[None]], *, quiet_s: float = QUIET_S
    ) -> NoReturn:
        """Deliver the shared state, then each one published, for ever; run it as a task and cancel it.

        A lost subscription is taken up again, and begins with the state as it then is: none that lasts is missed.
        One may be delivered twice. What ``deliver`` raises ends the task.
        """
        retry_s = FIRST_RETRY_S
        while True:
            async with self._store.client.pubsub() as link:
                try:
                    await self._subscribe(link)
                    state = await self.read()
                    retry_s = FIRST_RETRY_S
                    while True:
                        if state is not None:
                            await deliver(state)
                        state = decode(await self._next(link, quiet_s))
                except StateStoreUnavailable as error:
                    log.warning("interconnection.follow.failed retry_s=%s cause=%r", retry_s, error.__cause__)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _subscribe(self, link: PubSub) -> None:
        """Return once the server has confirmed: from then on nothing published is missed."""
        async with self._store.limited():
            await link.subscribe(self._key)
            while (await self._message(link, self._store.call_limit_s))[0] != "subscribe":
                pass

    async def _next(self, link: PubSub, quiet_s: float) -> bytes:
        """Return what is published next, however long it takes, while the server is there."""
        while True:
            kind, data = await self._message(link, quiet_s)
            if kind is None:
                async with self._store.limited():
                    await link.ping()
                kind, data = await self._message(link, self._store.call_limit_s)
            if kind is None:
                raise StateStoreUnavailable("L'état partagé ne répond plus.", retry_after_s=RETRY_AFTER_S)
            if kind == "message":
                return data

    async def _message(self, link: PubSub, wait_s: float) -> tuple[str | None, bytes]:
        """Return the kind and content of the next message, or no kind if none came in time."""
        async with self._store.limited(wait_s + self._store.call_limit_s):
            message = await link.get_message(timeout=wait_s)
        return (None, b"") if message is None else (message["type"], message["data"])


def decode(raw: bytes | str | None) -> InterconnectionState | None:
    """Return the state in a value of the store. Raises StateStoreUnavailable where it is not one."""
    if not raw:
        return None
    try:
        text = raw if isinstance(raw, str) else raw.decode("ascii")
        return InterconnectionState.from_json(text)
    except (DamagedState, UnicodeDecodeError) as error:
        raise StateStoreUnavailable(
            "L'état partagé de l'Interconnexion est illisible.", retry_after_s=RETRY_AFTER_S
        ) from error
