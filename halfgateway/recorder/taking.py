"""One camera being recorded: pulled as any camera is, and written by a thread that nobody waits for.

What the disk has not taken waits in a bounded queue; when that is full, the reader in front of it goes on at the next
keyframe, as every slow reader does, and what is missing then is a gap that is told.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from halfgateway.errors import Refusal
from halfgateway.protocol.codec import Codec
from halfgateway.recorder.film import Film, GapCause
from halfgateway.relay.reader import Gate, Reader
from halfgateway.relay.source import Source, SourceKey, VideoFormat

log = logging.getLogger(__name__)

QUEUE_LIMIT_BYTES: Final = 4 << 20
"""What one camera may have waiting for its disk, and as much again in the reader before: 16 seconds at 4 Mb/s together.
When both are full, the reader skips to the next keyframe."""

STOP_LIMIT_S: Final = 3.0
"""How long a thread may take to write what waits when the recorder stops; what it has not written by then is lost."""

RECORDABLE: Final = frozenset({Codec.H264, Codec.H265})


@dataclass(frozen=True, slots=True)
class _Began:
    video: VideoFormat
    sets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Skipped:
    """What comes next does not follow: the disk was too slow."""


@dataclass(frozen=True, slots=True)
class _Paused:
    paused: bool


_Item = tuple[bytes, int] | _Began | _Skipped | _Paused | None


class Taking:
    """What is taken of one camera; belongs to the event loop. ``source`` is to be pulled.

    ``written`` is done when nothing is written any more, which only :meth:`close` brings about, or an error of ours.
    """

    def __init__(
        self,
        key: SourceKey,
        film: Film,
        *,
        now: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        limit_bytes: int = QUEUE_LIMIT_BYTES,
    ) -> None:
        self.source = Source(key, now=now, wall_ns=wall_ns)
        self._film = film
        self._wall_ns = wall_ns
        self._limit_bytes = limit_bytes
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._queued_bytes = 0
        self._lost_packets = 0
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(self, Gate(), now=now, limit_bytes=limit_bytes)
        self.source.attach(self._reader, self._given_up)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"film {key.camera}")
        self.written = self._loop.run_in_executor(self._thread, self._write)

    @property
    def lost_packets(self) -> int:
        """What came from the camera and could not be written."""
        return self._reader.lost_packets

    @property
    def writable(self) -> bool:
        """See :class:`halfgateway.relay.reader.Sink`."""
        return self._queued_bytes < self._limit_bytes

    def write(self, data: bytes) -> None:
        """See :class:`halfgateway.relay.reader.Sink`."""
        if self._reader.lost_packets > self._lost_packets:
            self._lost_packets = self._reader.lost_packets
            log.error("recording.too_slow camera=%s lost_packets=%d", self.source.key.camera, self._lost_packets)
            self._queue.put(_Skipped())
        self._queued_bytes += len(data)
        self._queue.put((data, self._wall_ns()))

    def described(self, video: VideoFormat, sets: tuple[bytes, ...]) -> None:
        """The camera plays, and this is what."""
        self._queue.put(_Began(video, sets))

    def pause(self, *, paused: bool) -> None:
        """Write nothing from now on, or write again."""
        self._queue.put(_Paused(paused))

    async def close(self) -> None:
        """Write what waits, and end."""
        self.source.detach(self._reader)
        self._queue.put(None)
        await asyncio.wait({self.written}, timeout=STOP_LIMIT_S)
        if not self.written.done():
            log.critical("recording.not_written camera=%s bytes=%d", self.source.key.camera, self._queued_bytes)
        self._thread.shutdown(wait=False)

    def _given_up(self, cause: Refusal) -> None:
        log.error("recording.given_up camera=%s cause=%s", self.source.key.camera, cause)

    def _taken(self, size_bytes: int) -> None:
        was_full = not self.writable
        self._queued_bytes -= size_bytes
        if was_full and self.writable:
            self._reader.drain()

    def _write(self) -> None:
        """What the thread does until it is told to end."""
        while (item := self._queue.get()) is not None:
            self._do(item)
        self._film.close()

    def _do(self, item: tuple[bytes, int] | _Began | _Skipped | _Paused) -> None:
        match item:
            case _Began(video, sets):
                self._film.begin(video, sets, recordable=video.codec in RECORDABLE)
            case _Skipped():
                self._film.cut(GapCause.SLOW_DISK)
            case _Paused(paused):
                self._film.pause(paused=paused)
            case (bytes() as data, int() as arrival_ns):
                try:
                    self._film.take(data, arrival_ns)
                finally:
                    self._loop.call_soon_threadsafe(self._taken, len(data))
