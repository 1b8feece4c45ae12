"""What has come of a passage and was not taken yet: bounded, and the recorder is held back while it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from halfgateway.replay.footage import Picture

MOST_BYTES: Final = 1024 * 1024
"""Bytes of pictures that wait to be taken: a second of 8 Mb/s. Past it nothing more is read of the recorder, but for
what one read brings (256 KiB) and the rest of a picture that is under way."""

MOST_PICTURES: Final = 64
"""The same for pictures that are small: intra pictures of a dark street have a kilobyte."""


class Backlog:
    """A queue of pictures between one connection and one taker.

    ``hold`` is called when it is full, ``release`` when it has room again.
    """

    def __init__(self, hold: Callable[[], None], release: Callable[[], None]) -> None:
        self._hold = hold
        self._release = release
        self._pictures: deque[tuple[Picture, int]] = deque()
        self._held = False
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self.ended = False
        self.size_bytes = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should come for now."""
        return self.size_bytes >= MOST_BYTES or len(self._pictures) >= MOST_PICTURES

    @property
    def held(self) -> bool:
        """Whether the recorder is held back."""
        return self._held

    def put(self, picture: Picture) -> None:
        """Add what has come."""
        size = sum(map(len, picture.packets))
        self._pictures.append((picture, size))
        self.size_bytes += size
        self._news.set()
        if self.full and not self._held:
            self._held = True
            self._hold()

    def end(self, failure: Exception | None = None) -> None:
        """Nothing more comes, because of ``failure`` if there is one; what waits can still be taken."""
        if not self.ended:
            self.ended, self._failure = True, failure
            self._news.set()

    async def take(self, patience_s: float) -> Picture | None:
        """The next picture, None at the end.

        Raises:
            TimeoutError: none came within ``patience_s`` seconds.
            Exception: what the passage ended with.
        """
        while not self._pictures:
            if self.ended:
                if self._failure is not None:
                    raise self._failure
                return None
            self._news.clear()
            async with asyncio.timeout(patience_s):
                await self._news.wait()
        picture, size = self._pictures.popleft()
        self.size_bytes -= size
        if self._held and self.size_bytes <= MOST_BYTES // 2 and len(self._pictures) <= MOST_PICTURES // 2:
            self._held = False
            self._release()
        return picture
