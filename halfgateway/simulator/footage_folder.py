"""The folder of segments that the simulated recorder keeps: a passage now and then of twelve days, and what is new.

Twelve whole days of a dozen cameras would be a hundred gigabytes: of each quarter of a day there are some seconds, and
the last minutes are there without a gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from camera_registry.clock import Clock
from halfgateway.simulator.clips import ClipError
from halfgateway.simulator.recordings import KEEPS, Recording
from halfgateway.simulator.segments import SEGMENT_S, SegmentWriter, passages

log = logging.getLogger(__name__)

EVERY: Final = timedelta(hours=6)
"""From one passage to the next."""

LASTS: Final = timedelta(seconds=10)
"""How long a passage is."""

MINUTE: Final = timedelta(seconds=SEGMENT_S)

WHOLE: Final = timedelta(minutes=5)
"""How far back there is no gap when the recorder starts: a few seconds of encoding."""

KEPT_WHOLE: Final = timedelta(hours=1)
"""How long what is new stays, for a simulator that runs for days: some 60 MB. After it the segment is removed."""


class FootageFolder:
    """Lays segments below ``root``, each camera's in a folder named by its id, while it is told to."""

    def __init__(self, root: Path, *, clock: Clock, kept_whole: timedelta = KEPT_WHOLE) -> None:
        self.root: Final = root
        self._kept_whole = kept_whole
        self._clock = clock
        self._writer = SegmentWriter(root)
        self._task: asyncio.Task[None] | None = None
        self._laid: list[tuple[datetime, list[Path]]] = []

    def begin(self, recordings: Sequence[Recording]) -> None:
        """Lay what is to be there, the last minutes first, and go on with what is new. Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._task = asyncio.create_task(self._lay(tuple(recordings), self._minute()))

    async def end(self) -> None:
        """Lay nothing more; what is there stays."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _lay(self, recordings: tuple[Recording, ...], now: datetime) -> None:
        try:
            since = await self._lay_minutes(recordings, now - WHOLE)
            midnight = now.replace(hour=0, minute=0)
            for passage in passages(midnight - KEEPS, now - WHOLE, every=EVERY, lasts=LASTS):
                await asyncio.to_thread(self._lay_passage, recordings, *passage)
            while True:
                since = await self._lay_minutes(recordings, since)
                until_next = since + MINUTE - self._clock.now()
                await asyncio.sleep(max(0.1, until_next.total_seconds()))
        except (ClipError, OSError) as error:
            log.warning("simulated_recorder.footage_failed folder=%s error=%s", self.root, error)

    async def _lay_minutes(self, recordings: tuple[Recording, ...], since: datetime) -> datetime:
        """Lay every minute that is over, from this one on; return the next."""
        while since < self._minute():
            await asyncio.to_thread(self._lay_minute, recordings, since)
            since += MINUTE
        return since

    def _lay_passage(self, recordings: tuple[Recording, ...], start: datetime, end: datetime) -> None:
        for recording in recordings:
            self._writer.write(recording, start, end)

    def _lay_minute(self, recordings: tuple[Recording, ...], minute: datetime) -> None:
        end = minute + MINUTE
        paths = [path for recording in recordings for path in self._writer.write(recording, minute, end)]
        self._laid.append((minute, paths))
        while self._laid[0][0] < minute - self._kept_whole:
            for path in self._laid.pop(0)[1]:
                path.unlink(missing_ok=True)

    def _minute(self) -> datetime:
        """The last whole minute."""
        return self._clock.now().astimezone(UTC).replace(second=0, microsecond=0)
