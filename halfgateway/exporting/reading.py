"""From a recorder to the files of an export, as fast as they are written and no faster.

The pictures of at most one batch are held: while a thread writes it, nothing more is asked of the recorder. The thread
leaves the event loop, and so every live stream, what it needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import TypeVar

from halfgateway.control.replays import Edge, Replays
from halfgateway.errors import NoRecording, OutsideRetention, RecorderUnreachable, StateStoreUnavailable
from halfgateway.exporting.export import Export, ExportSeat
from halfgateway.exporting.film import FilmWriter
from halfgateway.protocol.replay import PlayOptions
from halfgateway.protocol.sdp import SessionDescription, first_video
from halfgateway.protocol.sps import described_sets
from halfgateway.replay.footage import Footage, Passage, Picture

BATCH_BYTES = 1 << 20
"""Bytes of pictures that are read before they are written: a second or two of one camera."""

BATCH_PICTURES = 50
"""Pictures that are read before they are written: how much may have been read in vain when a cut comes."""

STALL_S = 30.0
"""Seconds in which a recorder gives no picture before it is taken to be lost."""

FIRST_STEP, LONGEST_STEP = timedelta(milliseconds=50), timedelta(seconds=8)
"""How far after the last picture footage of another format is looked for: by twice as much each time none was new."""

Result = TypeVar("Result")


class Reading:
    """Reads one export's period. ``now`` is the monotonic clock in seconds."""

    def __init__(
        self,
        export: Export,
        seat: ExportSeat,
        film: FilmWriter,
        replays: Replays,
        *,
        now: Callable[[], float],
    ) -> None:
        self._export = export
        self._seat = seat
        self._film = film
        self._replays = replays
        self._edge: Edge = replays.edge(lambda: export.request)
        self._now = now
        self._new = False
        self._last_at: datetime | None = None
        self._period = timedelta()
        self._batch: list[Picture] = []
        self._batch_bytes = 0

    async def run(self) -> None:
        """Read all there is of it. Raises a Refusal: NoRecording, RecorderUnreachable, ExportFailed, ..."""
        footage = self._replays.footage(self._export.request.camera)
        here: datetime | None = self._export.start
        step = FIRST_STEP
        while here is not None and not await self._play(footage, here):
            step = FIRST_STEP if self._new else step * 2
            after = (self._film.reached or here) + max(step, self._period * 3 / 2)
            here = await self._next(footage, after, step)
        if self._film.reached is None:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra sur la période demandée.")

    async def _next(self, footage: Footage, after: datetime, step: timedelta) -> datetime | None:
        """Where there is more footage, None where there is none: in a gap, and where nothing new comes, further on."""
        if after >= self._export.end:
            return None
        found = await footage.find(after, self._export.end)
        later = [each.start for each in found if each.start > after or step <= LONGEST_STEP]
        return later[0] if later else None

    async def _play(self, footage: Footage, start: datetime) -> bool:
        """Copy from an instant on, until the recorder has no more in this format; whether the end was seen."""
        self._new, before = False, self._film.reached
        try:
            described = _parameter_sets(await footage.describe(start))
            replay = await footage.open(start)
        except NoRecording:
            return False
        ended = False
        try:
            await in_thread(lambda: self._film.begin(replay.video.codec, described))
            passage = Passage(start, self._export.end, PlayOptions(rate_control=False))
            async with aclosing(replay.play(passage)) as pictures, asyncio.timeout(STALL_S) as limit:
                async for picture in pictures:
                    if ended := picture.at >= self._export.end:
                        break
                    await self._take(picture)
                    limit.reschedule(asyncio.get_running_loop().time() + STALL_S)
            await self._write()
        except NoRecording:
            await self._write()
        except TimeoutError as error:
            raise RecorderUnreachable("L'enregistreur ne répond plus.") from error
        finally:
            self._replays.later(replay.close())
            self._new = self._film.reached != before
        return ended

    async def _take(self, picture: Picture) -> None:
        """Hold a picture until there are enough of them; one from before the window is none of ours (C03)."""
        if picture.at < self._edge():
            if self._film.reached is not None or self._batch:
                raise OutsideRetention("La période accessible s'est refermée sur la suite de l'enregistrement.")
            return
        if not self._batch and self._film.reached is None and not picture.clean:
            return
        if self._last_at is not None and not picture.discontinuous and picture.at > self._last_at:
            self._period = picture.at - self._last_at
        self._last_at = picture.at
        self._batch.append(picture)
        size_bytes = sum(map(len, picture.packets))
        self._batch_bytes += size_bytes
        self._seat.read(len(picture.packets), size_bytes)
        if self._batch_bytes >= BATCH_BYTES or len(self._batch) >= BATCH_PICTURES:
            await self._write()

    async def _write(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        if not self._seat.stream.gate.allows(self._now()):
            raise self._seat.stream.condemned or StateStoreUnavailable("La place n'a pu être renouvelée.")
        await in_thread(lambda: self._film.add(batch))
        self._export.position, self._export.bytes = self._film.reached, self._film.written_bytes


async def in_thread(work: Callable[[], Result]) -> Result:
    """Have a thread do it. Where this is cancelled, the thread has ended by then: nothing is written any more."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        if not working.cancelled():
            working.exception()
        raise


def _parameter_sets(description: SessionDescription) -> tuple[bytes, ...]:
    """What the description of a recording says to decoders, in case the recording itself does not."""
    media = first_video(description)
    return tuple(unit for parameters in media.fmtp.values() for unit in described_sets(media.codec, parameters))
