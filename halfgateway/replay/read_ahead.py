"""Something that blocks, read in threads a little ahead of who takes it, and closed with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Executor
from typing import Final, Protocol, TypeVar


class Item(Protocol):
    """What is read: it has a size."""

    @property
    def size_bytes(self) -> int:
        """How much of the bound it takes."""


_Item = TypeVar("_Item", bound=Item)

TURN_ITEMS: Final = 25
"""Items that are read in one turn: a second of pictures. One turn's lie ready while the other's are given."""

TURN_BYTES: Final = 1 << 20
"""A turn ends early with the item that takes it to so many bytes: a reader who takes nothing holds two turns' worth."""

TURN_S: Final = 0.1
"""A turn ends early with the item that comes after so many seconds: what is found first is given, and not kept for what
takes long to find."""


async def read_ahead(
    source: Generator[_Item | None, None, None], threads: Executor, *, monotonic: Callable[[], float]
) -> AsyncGenerator[_Item | None, None]:
    """Give what ``source`` yields, which runs in ``threads`` and never in two at once.

    None, where there is nothing yet, is given on; the source goes on when the next is asked for. However this is left,
    the source is closed before it is. ``monotonic`` is seconds that never go back.
    """
    loop = asyncio.get_running_loop()

    def next_turn(most: int = TURN_ITEMS) -> tuple[list[_Item | None], bool]:
        return _turn(source, monotonic, most)

    # The first is given as soon as it is there: somebody waits for it.
    turn = loop.run_in_executor(threads, next_turn, 1)
    try:
        ended = False
        while not ended:
            items, ended = await asyncio.shield(turn)
            waits = bool(items) and items[-1] is None
            if not ended and not waits:
                turn = loop.run_in_executor(threads, next_turn)
            for item in items:
                yield item
            if waits:
                turn = loop.run_in_executor(threads, next_turn)
    finally:
        # Shielded: who is cancelled twice must not leave a file open.
        await asyncio.shield(_closed(turn, source, threads))


def _turn(source: Iterator[_Item | None], monotonic: Callable[[], float], most: int) -> tuple[list[_Item | None], bool]:
    """The next items, and whether they are the last."""
    items: list[_Item | None] = []
    size_bytes = 0
    until_s = monotonic() + TURN_S
    for item in source:
        items.append(item)
        if item is None:
            return items, False
        size_bytes += item.size_bytes
        if len(items) >= most or size_bytes >= TURN_BYTES or monotonic() >= until_s:
            return items, False
    return items, True


async def _closed(turn: Awaitable[object], source: Generator[object, None, None], threads: Executor) -> None:
    await asyncio.gather(turn, return_exceptions=True)
    try:
        await asyncio.get_running_loop().run_in_executor(threads, source.close)
    except RuntimeError:
        # The threads were given up before those who read: to close a file takes no time, to leave it open would.
        source.close()
