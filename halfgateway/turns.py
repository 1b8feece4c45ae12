"""Looking at many things now and then, a few at a time: all of them in one breath would hold up every picture."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Gives each of ``everything`` its turn once in ``round_s`` seconds, evenly spread over the calls of :meth:`due`.

    What comes while a round is on has its turn in the next. ``now`` is the monotonic clock in seconds.
    """

    def __init__(self, everything: Callable[[], Iterable[T]], *, round_s: float, now: Callable[[], float]) -> None:
        self._everything = everything
        self._round_s = round_s
        self._now = now
        self._waiting: deque[T] = deque()
        self._size = 0
        self._began_s = -math.inf

    def due(self) -> list[T]:
        """Return whose turn has come since the last call."""
        elapsed = (self._now() - self._began_s) / self._round_s
        if elapsed < 1:
            waiting_for_later = self._size - math.ceil(self._size * elapsed)
            return [self._waiting.popleft() for _ in range(len(self._waiting) - waiting_for_later)]
        rest = list(self._waiting)
        self._waiting = deque(self._everything())
        self._size, self._began_s = len(self._waiting), self._now()
        return rest
