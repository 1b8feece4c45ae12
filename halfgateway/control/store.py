"""What the nodes of one convention share: one Valkey or Redis, one key prefix, one time limit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from halfgateway.errors import StateStoreUnavailable

CALL_LIMIT_S = 2.0
"""Seconds that one question to the store may take in all. A healthy one takes under a millisecond; a requester who
waits longer is better told no, and a renewal that fails has time for another before the lease lapses."""

RETRY_AFTER_S = 5
"""Seconds after which a refused requester may ask again: what the store needs to come back, or a node to renew."""

_CONVENTION = re.compile(r"[A-Za-z0-9._-]{1,64}")


class StateStore:
    """The store, as one convention uses it. It holds nothing that is secret, and nothing that may not be lost.

    All keys of a convention bear the same hash tag, so that one script may touch them in a Cluster. Behind a
    fail-over (Sentinel, Cluster), ``min-replicas-to-write 1`` with a ``min-replicas-max-lag`` below the lease keeps
    a primary that was cut off from granting beside its successor.

    Raises ValueError for a convention's id that has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """

    def __init__(self, client: Redis, convention: str, *, call_limit_s: float = CALL_LIMIT_S) -> None:
        if not _CONVENTION.fullmatch(convention):
            raise ValueError(f"{convention!r} is no convention's id")
        self.client = client
        self.call_limit_s = call_limit_s
        self._prefix = f"hg:{{{convention}}}:"

    def key(self, name: str) -> str:
        """Return the full name of one of the convention's keys or channels."""
        return self._prefix + name

    @asynccontextmanager
    async def limited(self, limit_s: float | None = None) -> AsyncIterator[None]:
        """Bound what is inside to ``limit_s``, by default ``call_limit_s``.

        Raises StateStoreUnavailable for any failure of the store, and for its silence. A cancellation that the client
        swallows (redis-py writes under ``asyncio.wait_for``, which on CPython 3.11 loses one that comes together with
        its result) is raised all the same: a loop that was told to stop must stop.
        """
        task = asyncio.current_task()
        asked_to_stop = task.cancelling() if task is not None else 0
        try:
            async with asyncio.timeout(self.call_limit_s if limit_s is None else limit_s):
                yield
        except (RedisError, OSError) as error:
            if task is not None and task.cancelling() > asked_to_stop:
                raise asyncio.CancelledError from error
            raise StateStoreUnavailable(
                "L'état partagé est momentanément inaccessible.", retry_after_s=RETRY_AFTER_S
            ) from error
        if task is not None and task.cancelling() > asked_to_stop:
            raise asyncio.CancelledError
