"""Where an export is made: its footage copied, its manifest written and signed, all of it durable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from auth.trace import Entry
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.checkpoint import Checkpoint
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from halfgateway.control.replays import Replays
from halfgateway.errors import TraceUnavailable
from halfgateway.exporting.export import Export, ExportSeat
from halfgateway.exporting.failures import ExportFailed
from halfgateway.exporting.film import FilmWriter, free_bytes
from halfgateway.exporting.manifest import MANIFEST, READABLE, SIGNATURE, Making, to_json, to_text
from halfgateway.exporting.reading import Reading, in_thread
from halfgateway.exporting.rules import ExportRules
from halfgateway.exporting.shelf import KeptFile, Shelf, kept_files, write_durably
from halfgateway.exporting.signing import ManifestSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Makes exports as is agreed, and puts them on its shelf.

    ``sign_head`` signs the trace as it stands; ``now`` is the monotonic clock in seconds.
    """

    rules: ExportRules
    signer: ManifestSigner
    shelf: Shelf
    replays: Replays
    find_camera: Callable[[str], Camera | None]
    sign_head: Callable[[], Awaitable[Checkpoint | None]]
    clock: Clock
    now: Callable[[], float]
    free_bytes: Callable[[Path], int] = free_bytes

    async def make(self, export: Export, seat: ExportSeat, intent: Entry) -> tuple[KeptFile, ...]:
        """Make the files of an export, each durable, in its unfinished folder. Raises a Refusal, OSError."""
        camera = self.find_camera(export.request.camera)
        if camera is None:
            raise ExportFailed("La caméra n'est plus mise à disposition.", reason="camera-withdrawn")
        folder = await in_thread(lambda: self.shelf.begin(export.id))
        film = FilmWriter(folder, camera.id, max_bytes=self.rules.max_bytes, free_bytes=self.free_bytes)
        try:
            await Reading(export, seat, film, self.replays, now=self.now).run()
            made = await in_thread(lambda: film.finish(export.start, export.end))
        finally:
            await in_thread(film.abandon)
        making = Making(
            request=export.request,
            camera=camera,
            start=export.start,
            end=export.end,
            agreement=self.rules.agreement,
            film=made,
            intent=intent,
            head=await self._head(intent),
            finished_at=self.clock.now(),
        )
        return await in_thread(lambda: self._write(folder, making))

    async def _head(self, intent: Entry) -> Checkpoint:
        """A signed head of the trace under which the intent lies."""
        try:
            head = await self.sign_head()
        except JournalUnavailable as error:
            raise TraceUnavailable("Le journal des accès ne peut être signé.") from error
        if head is None or head.size <= intent.n:
            raise TraceUnavailable("Le journal des accès n'est pas signé.")
        return head

    def _write(self, folder: Path, making: Making) -> tuple[KeptFile, ...]:
        text = to_text(making)
        manifest = to_json(making, hashlib.sha256(text).hexdigest())
        write_durably(folder / READABLE, text)
        write_durably(folder / MANIFEST, manifest)
        write_durably(folder / SIGNATURE, self.signer.sign(manifest))
        return kept_files(folder, json.loads(manifest))
