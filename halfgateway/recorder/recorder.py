"""The recorder's process: its cameras, each taken for itself, and the housekeeping beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from halfgateway.protocol import sdp
from halfgateway.protocol.sps import described_sets
from halfgateway.recorder.film import Film, MissingFootage
from halfgateway.recorder.keeper import Keeper
from halfgateway.recorder.shelf import Shelf
from halfgateway.recorder.taking import Taking
from halfgateway.relay.source import SourceKey
from halfgateway.segments.layout import Layout
from halfgateway.upstream.presentation import Presentation
from halfgateway.upstream.pull import Puller

log = logging.getLogger(__name__)

BEST_PROFILE: Final = ""
"""The profile of a camera that is recorded: its best, or the one that masks dwellings (L07), as the records have it."""

AGAIN_S: Final = 5.0
"""Seconds after which a camera whose footage could not be written is begun anew."""


@dataclass(frozen=True, slots=True)
class Footage:
    """What is recorded, and how it lies on the disk."""

    cameras: Sequence[str]
    shelf: Shelf
    layout: Layout
    segment_s: float


class Recorder:
    """Records until it is cancelled. ``make_puller`` builds what pulls cameras, given who hears what they are."""

    def __init__(
        self,
        footage: Footage,
        make_puller: Callable[[Callable[[SourceKey, Presentation], None]], Puller],
        make_keeper: Callable[[Callable[[bool], None]], Keeper],
    ) -> None:
        self._footage = footage
        self._puller = make_puller(self._described)
        self._keeper = make_keeper(self._pause)
        self._takings: dict[str, Taking] = {}

    async def run(self) -> NoReturn:
        """Record for ever; what was taken until it is cancelled is written."""
        await asyncio.to_thread(self._make_folders)
        recording = [
            asyncio.create_task(self._record(camera), name=f"record {camera}") for camera in self._footage.cameras
        ]
        keeping = asyncio.create_task(self._keeper.run(), name="keep")
        try:
            done, _ = await asyncio.wait({*recording, keeping}, return_when=asyncio.FIRST_COMPLETED)
            raise RuntimeError("recording has ended by itself") from next(iter(done)).exception()
        finally:
            keeping.cancel()
            for task in recording:
                task.cancel()
            await asyncio.wait({keeping, *recording})
            await asyncio.sleep(0)  # what the threads have just told is heard
            await self._keeper.tell_of_gaps()

    def _make_folders(self) -> None:
        for camera in self._footage.cameras:
            self._footage.shelf.folder_of(camera).mkdir(mode=0o750, parents=True, exist_ok=True)

    async def _record(self, camera: str) -> NoReturn:
        while True:
            try:
                await self._take(camera)
            except OSError as error:
                log.critical("recording.not_begun camera=%s error=%s", camera, error)
            await asyncio.sleep(AGAIN_S)

    async def _take(self, camera: str) -> None:
        """Record a camera until what writes its footage fails. Raises OSError where none can be looked for."""
        footage, loop = self._footage, asyncio.get_running_loop()
        end = await asyncio.to_thread(footage.shelf.last_end, camera)

        def missing(told: MissingFootage) -> None:
            loop.call_soon_threadsafe(self._keeper.missing, told)

        film = Film(
            camera,
            footage.shelf.folder_of(camera),
            layout=footage.layout,
            segment_s=footage.segment_s,
            end=end,
            on_missing=missing,
        )
        taking = self._takings[camera] = Taking(SourceKey(camera, BEST_PROFILE), film)
        taking.pause(paused=self._keeper.is_paused)
        pulling = asyncio.create_task(self._puller.pull(taking.source), name=f"pull {camera}")
        try:
            await asyncio.wait({pulling, taking.written}, return_when=asyncio.FIRST_COMPLETED)
            failed = pulling if pulling.done() else taking.written
            log.critical("recording.failed camera=%s", camera, exc_info=failed.exception())
        finally:
            del self._takings[camera]
            pulling.cancel()
            await asyncio.wait({pulling})
            await taking.close()

    def _described(self, key: SourceKey, presentation: Presentation) -> None:
        video = presentation.video
        media = sdp.first_video(presentation.description)
        parameters = " ".join(media.fmtp.get(kind, "") for kind in media.payload_types)
        self._takings[key.camera].described(video, tuple(described_sets(video.codec, parameters)))

    def _pause(self, paused: bool) -> None:
        for taking in self._takings.values():
            taking.pause(paused=paused)
