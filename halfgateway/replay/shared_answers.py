"""Questions that several ask at once, or again within a moment, and that a recorder is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

MOST_KEPT: Final = 256
"""Answers of one kind kept of one recorder; the oldest is forgotten past it, and asked again."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SharedAnswers(Generic[Key, Value]):
    """Answers by what was asked, each kept for ``keep_s`` seconds from when it was; a failure is told and not kept."""

    def __init__(self, ask: Callable[[Key], Awaitable[Value]], keep_s: float, *, now: Callable[[], float]) -> None:
        self._ask = ask
        self._keep_s = keep_s
        self._now = now
        self._kept: dict[Key, tuple[asyncio.Task[Value], float]] = {}

    async def get(self, key: Key) -> Value:
        """Return the answer, asking if nobody has. Who gives up waiting leaves the others theirs."""
        task, until_s = self._kept.get(key, (None, 0.0))
        if task is None or until_s <= self._now():
            task = asyncio.create_task(self._asked(key), name="recorder question")
            self._kept.pop(key, None)
            self._kept[key] = task, self._now() + self._keep_s
            task.add_done_callback(lambda done: self._judge(key, done))
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return await asyncio.shield(task)

    def forget(self, key: Key) -> None:
        """Ask anew the next time."""
        self._kept.pop(key, None)

    async def aclose(self) -> None:
        """Wait for no answer any more."""
        tasks = [task for task, _ in self._kept.values()]
        self._kept.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _asked(self, key: Key) -> Value:
        return await self._ask(key)

    def _judge(self, key: Key, done: asyncio.Task[Value]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if failed and key in self._kept and self._kept[key][0] is done:
            del self._kept[key]
