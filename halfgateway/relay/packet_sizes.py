"""How large a camera's packets are: what decides whether they can be passed on in datagrams (ADR 16)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from halfgateway.relay.chunk import Chunk

WINDOW_S = 600.0
"""A size that has not come again for one to two windows of playing is forgotten: cameras are reconfigured."""

EVIDENCE_TIMEOUT_S = 2.0
"""How long a reader waits for a camera's first whole key picture, whose packets are its largest. Most cameras begin
with one; after it, what has come until then has to do."""


class LargestPacket:
    """The largest packet of one camera profile, over the last windows. ``now`` is monotonic time in seconds."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._since_s = now()
        self._before_bytes = 0
        self._bytes = 0
        self._key_picture: int | None = None
        self._known = asyncio.Event()

    @property
    def size_bytes(self) -> int:
        """The largest RTP or RTCP packet seen, its own header included; 0 before any."""
        return max(self._bytes, self._before_bytes)

    def note(self, chunk: Chunk) -> None:
        """Learn from packets that have come."""
        if self._now() - self._since_s >= WINDOW_S:
            self._since_s, self._before_bytes, self._bytes = self._now(), self._bytes, 0
        self._bytes = max(self._bytes, chunk.batch.largest_bytes)
        if not self._known.is_set():
            self._look_for_a_whole_key_picture(chunk)

    async def known(self) -> int:
        """The size in bytes, once a whole key picture has been seen, or it has been waited for long enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVIDENCE_TIMEOUT_S):
                await self._known.wait()
        return self.size_bytes

    def _look_for_a_whole_key_picture(self, chunk: Chunk) -> None:
        """It is whole when a packet of the next picture, with another timestamp, follows."""
        for stretch in chunk.video:
            if self._key_picture is None:
                if chunk.keyframe is not None and stretch.after > chunk.keyframe:
                    self._key_picture = stretch.timestamp
            elif stretch.timestamp != self._key_picture:
                self._known.set()
                return
