"""Something that blocks, read in threads a little ahead of who takes it, and closed with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor
from typing import Final, TypeVar

_Item = TypeVar("_Item")

TURN_ITEMS: Final = 25
"""Items that are read in one turn: a second of pictures. One turn's lie ready while the other's are given."""

TURN_BYTES: Final = 1 << 20
"""A turn ends early with the item that takes it to so many bytes: a reader who takes nothing holds two turns' worth."""


async def read_ahead(
    source: Generator[_Item | None, None, None], threads: Executor, *, size_of: Callable[[_Item], int]
) -> AsyncGenerator[_Item | None, None]:
    """Give what ``source`` yields, which runs in ``threads`` and never in two at once.

    None, where there is nothing yet, is given on; the source goes on when the next is asked for. However this is left,
    the source is closed before it is.
    """
    loop = asyncio.get_running_loop()
    turn = loop.run_in_executor(threads, _turn, source, size_of)
    try:
        ended = False
        while not ended:
            items, ended = await asyncio.shield(turn)
            waits = bool(items) and items[-1] is None
            if not ended and not waits:
                turn = loop.run_in_executor(threads, _turn, source, size_of)
            for item in items:
                yield item
            if waits:
                turn = loop.run_in_executor(threads, _turn, source, size_of)
    finally:
        # Shielded: who is cancelled twice must not leave a file open.
        await asyncio.shield(_closed(turn, source, threads))


def _turn(
    source: Generator[_Item | None, None, None], size_of: Callable[[_Item], int]
) -> tuple[list[_Item | None], bool]:
    """The next items, and whether they are the last."""
    items: list[_Item | None] = []
    size_bytes = 0
    for item in source:
        items.append(item)
        if item is None:
            return items, False
        size_bytes += size_of(item)
        if len(items) >= TURN_ITEMS or size_bytes >= TURN_BYTES:
            return items, False
    return items, True


async def _closed(
    turn: asyncio.Future[tuple[list[_Item | None], bool]],
    source: Generator[_Item | None, None, None],
    threads: Executor,
) -> None:
    await asyncio.gather(turn, return_exceptions=True)
    await asyncio.get_running_loop().run_in_executor(threads, source.close)
