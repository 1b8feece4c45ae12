"""What a gateway in the tests' own process holds: descriptors, tasks, keys, memory; and when nobody is served."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import Gateway, until

_SEGMENT = re.compile(r"\d{12}(?=\.(leaves|payloads)$)")
"""Of a journal's file names, what changes when a segment is full."""


def descriptors() -> Counter[str]:
    """The open descriptors by what they are: files by name, sockets and pipes by kind.

    Not those of the database's pool, which keeps as many connections as ever were in use at once, up to its bound.
    """
    found: Counter[str] = Counter()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            name = os.readlink(f"/proc/self/fd/{descriptor}").partition(":[")[0]
            if "records.sqlite" not in name:
                found[_SEGMENT.sub("SEGMENT", name)] += 1
    return found


def tasks() -> Counter[str]:
    """The running tasks by the coroutine that each runs."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


def resident_kib() -> int:
    """The resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def at_rest(gateway: Gateway) -> None:
    """Wait until nobody is served: no connection, no stream, no slot, no camera pulled."""
    control = gateway.node.control

    async def is_at_rest() -> bool:
        idle = not gateway.node.rtsp.connections and not len(control.table) and not tuple(control.hub)
        return idle and await gateway.slots_used() == 0

    await until(is_at_rest)


async def descriptors_at_rest(gateway: Gateway) -> Counter[str]:
    """The open descriptors, but the connections to the state store that wait to be used again: as many as ever were
    in use at once."""
    await gateway.node.control.store.client.connection_pool.disconnect(inuse_connections=False)
    return descriptors()


async def settled(condition: Callable[[], bool]) -> None:
    """Give what is still closing the time to close; what remains is for the caller to say."""
    with contextlib.suppress(TimeoutError):
        await until(condition)
