"""What a judicial hold keeps, copied bit for bit to a medium that is to be sealed, with its manifest (L26).

It is no access of PP's: no slot is taken and no window counts, for whoever extracts answers a requisition, at the
node's own machine, after an entry that says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from camera_registry.clock import Clock, rfc3339
from halfgateway import __version__
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.exporting.film import Film, FilmWriter, free_bytes
from halfgateway.exporting.reading import BATCH_BYTES, BATCH_PICTURES, FIRST_STEP, LONGEST_STEP, STALL_S, in_thread
from halfgateway.exporting.shelf import write_durably
from halfgateway.protocol.replay import PlayOptions
from halfgateway.protocol.sdp import first_video
from halfgateway.protocol.sps import described_sets
from halfgateway.replay.footage import Footage, Passage, Picture

FORMAT = "halfgateway-hold/1"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class HeldPeriod:
    """What is extracted: a hold's number, its reference, its camera and its interval."""

    number: int
    reference: str
    camera: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written; ``sha256`` is the manifest's, in hexadecimal."""

    film: Film
    manifest: Path
    sha256: str


async def extract(
    held: HeldPeriod,
    footage: Footage,
    folder: Path,
    clock: Clock,
    *,
    free: Callable[[Path], int] = free_bytes,
) -> Extracted:
    """Copy what there is of the interval into a folder that is empty, and write its manifest beside it.

    Raises NoRecording where there is nothing, RecorderUnreachable, ExportFailed, OSError.
    """
    film = FilmWriter(folder, held.camera, max_bytes=free(folder), free_bytes=free)
    try:
        await _copy(held, footage, film)
        made = await in_thread(lambda: film.finish(held.start, held.end))
    finally:
        await in_thread(film.abandon)
    if not made.pieces:
        raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra sur la période.")
    manifest = _manifest(held, made, clock.now())
    path = folder / MANIFEST
    await in_thread(lambda: write_durably(path, manifest))
    return Extracted(made, path, hashlib.sha256(manifest).hexdigest())


async def _copy(held: HeldPeriod, footage: Footage, film: FilmWriter) -> None:
    """Copy stretch after stretch; where nothing new comes, further on is looked for, by twice as much each time."""
    here: datetime | None = held.start
    step = FIRST_STEP
    while here is not None and here < held.end:
        before = film.reached
        await _copy_stretch(footage, film, here, held.end)
        step = FIRST_STEP if film.reached != before else step * 2
        here = await _next(footage, (film.reached or here) + step, held.end, step)


async def _next(footage: Footage, after: datetime, end: datetime, step: timedelta) -> datetime | None:
    if after >= end:
        return None
    later = [each.start for each in await footage.find(after, end) if each.start > after or step <= LONGEST_STEP]
    return later[0] if later else None


async def _copy_stretch(footage: Footage, film: FilmWriter, start: datetime, end: datetime) -> None:
    """Copy from an instant on, until the recorder has no more in this format."""
    try:
        media = first_video(await footage.describe(start))
        replay = await footage.open(start)
    except NoRecording:
        return
    described = tuple(unit for parameters in media.fmtp.values() for unit in described_sets(media.codec, parameters))
    batch: list[Picture] = []
    try:
        await in_thread(lambda: film.begin(replay.video.codec, described))
        passage = Passage(start, end, PlayOptions(rate_control=False))
        async with aclosing(replay.play(passage)) as pictures, asyncio.timeout(STALL_S) as limit:
            async for picture in pictures:
                if picture.at >= end:
                    break
                batch.append(picture)
                if len(batch) >= BATCH_PICTURES or sum(len(p) for each in batch for p in each.packets) >= BATCH_BYTES:
                    await _write(film, batch)
                limit.reschedule(asyncio.get_running_loop().time() + STALL_S)
    except NoRecording:
        pass
    except TimeoutError as error:
        raise RecorderUnreachable("L'enregistreur ne répond plus.") from error
    finally:
        await replay.close()
    await _write(film, batch)


async def _write(film: FilmWriter, batch: list[Picture]) -> None:
    pictures, batch[:] = tuple(batch), []
    if pictures:
        await in_thread(lambda: film.add(pictures))


def _manifest(held: HeldPeriod, film: Film, made_at: datetime) -> bytes:
    """The manifest, in UTF-8: what was held, what was obtained, and each file's hashes."""
    document = {
        "format": FORMAT,
        "software": f"halfgateway {__version__}",
        "hold": held.number,
        "reference": held.reference,
        "camera": held.camera,
        "asked": {"start": rfc3339(held.start), "end": rfc3339(held.end)},
        "gaps": [{"start": rfc3339(gap.start), "end": rfc3339(gap.end)} for gap in film.gaps],
        "damaged_pictures": film.damaged,
        "made_at": rfc3339(made_at),
        "files": [piece.to_json() for piece in film.pieces],
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
