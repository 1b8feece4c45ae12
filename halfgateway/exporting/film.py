"""All files of an export, made from the pictures that a recorder gives, one stretch after the other. Blocking.

A file ends where the footage does: at a gap, at a picture that was lost, at a change of codec or of parameter sets;
the next begins with a picture at which a decoder can begin. What lies between is listed as a gap, and so is what is
missing at either end of what was asked for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.exporting.failures import ExportFailed
from halfgateway.exporting.piece import EXPORTABLE, Piece
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import AccessUnit, Depacketiser
from halfgateway.replay.footage import Picture

if TYPE_CHECKING:
    from halfgateway.exporting.piece_writer import PieceWriter

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 256 << 20
"""Bytes that an export leaves free on its disk, which may be the node's own: at less it fails and removes its files."""

MAX_FILES = 500
"""Files of one export: a camera that breaks off every minute, for a working day. One more fails it."""

SHORTEST_GAP = timedelta(milliseconds=200)
"""What is missing is listed from this on: less is the jitter of a recorder's clock between two of its files."""

_PARAMETER_SETS = {Codec.H264: frozenset({7, 8}), Codec.H265: frozenset({32, 33, 34})}


@dataclass(frozen=True, slots=True)
class Gap:
    """A time of which there are no pictures, in a period that was asked for."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Film:
    """What was made: its files in order of time, its gaps, and pictures that came damaged and are not in it."""

    pieces: tuple[Piece, ...]
    gaps: tuple[Gap, ...]
    damaged: int


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written to the disk of a folder."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


class FilmWriter:
    """Writes the files of one export into ``folder``; one thread at a time. ``written_bytes`` counts as they grow."""

    def __init__(
        self,
        folder: Path,
        camera: str,
        *,
        max_bytes: int,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder = folder
        self._camera = camera
        self._max_bytes = max_bytes
        self._free_bytes = free_bytes
        self._codec = Codec.OTHER
        self._described: tuple[bytes, ...] = ()
        self._pictures: Depacketiser | None = None
        self._pending_at: datetime | None = None
        self._sets: tuple[bytes, ...] = ()
        self._dropped = 0
        self._writer: PieceWriter | None = None
        self._pieces: list[Piece] = []
        self._reached: datetime | None = None
        self._damaged = 0
        self.written_bytes = 0

    @property
    def reached(self) -> datetime | None:
        """When the newest picture that was taken was filmed."""
        return self._reached

    def begin(self, codec: Codec, described: tuple[bytes, ...] = ()) -> None:
        """What is added from now on is of this codec, and follows nothing. Raises ExportFailed."""
        if codec not in EXPORTABLE:
            raise ExportFailed(f"Le codec {codec.value} ne peut être copié à l'identique.", reason="codec-not-copied")
        self._end_stretch()
        self._codec, self._described = codec, described
        self._pictures = Depacketiser(codec)
        self._dropped = 0

    def add(self, pictures: Sequence[Picture]) -> None:
        """Take pictures in their order. Raises ExportFailed."""
        if self._free_bytes(self._folder) < MIN_FREE_BYTES:
            raise ExportFailed("L'espace disque est insuffisant.", reason="no-space")
        for picture in pictures:
            if picture.discontinuous:
                self._end_stretch()
            self._feed(picture)

    def finish(self, start: datetime, end: datetime) -> Film:
        """Close the last file; tell of all of them, as parts of what was asked for. Raises ExportFailed."""
        self._end_stretch()
        gaps, here = [], start
        for piece in self._pieces:
            if piece.start - here > SHORTEST_GAP:
                gaps.append(Gap(here, piece.start))
            here = max(here, piece.end)
        if end - here > SHORTEST_GAP:
            gaps.append(Gap(here, end))
        return Film(tuple(self._pieces), tuple(gaps), self._damaged)

    def abandon(self) -> None:
        """Let go of the file that is being written."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _feed(self, picture: Picture) -> None:
        if self._pictures is None:
            raise LocalProtocolError("pictures are added before it is said of what codec they are")
        for packet in picture.packets:
            try:
                ended = self._pictures.feed(packet)
            except RemoteProtocolError as error:
                log.info("export.packet_unread camera=%s error=%s", self._camera, error)
                continue
            self._take(ended)
        self._pending_at = picture.at

    def _take(self, unit: AccessUnit | None) -> None:
        """A whole picture; it was filmed when the last one that was fed before its end came."""
        at, lost = self._pending_at, self._pictures.dropped - self._dropped if self._pictures is not None else 0
        self._dropped += lost
        self._damaged += lost
        if lost:
            self._end_piece()
        if unit is None or at is None or not self._is_wanted(unit, at):
            return
        if self._writer is not None and unit.key and self._describes_another(unit):
            self._end_piece()
        if self._writer is None:
            self._begin_piece(unit, at)
        if self._writer is not None:
            self._writer.add(unit, at)
            self.written_bytes += sum(4 + len(each) for each in unit.nal_units)
            self._reached = at if self._reached is None else max(self._reached, at)
        if self.written_bytes > self._max_bytes:
            raise ExportFailed(f"L'export dépasse {self._max_bytes} octets.", reason="too-large")

    def _is_wanted(self, unit: AccessUnit, at: datetime) -> bool:
        """Whether a picture goes on with a file, or begins one with footage that is in none yet."""
        return self._writer is not None or (unit.key and (self._reached is None or at > self._reached))

    def _describes_another(self, unit: AccessUnit) -> bool:
        sets = self._sets_of(unit)
        return bool(sets) and sets != self._sets

    def _sets_of(self, unit: AccessUnit) -> tuple[bytes, ...]:
        kinds = _PARAMETER_SETS[self._codec]
        return tuple(each for each in unit.nal_units if _kind(self._codec, each) in kinds)

    def _begin_piece(self, unit: AccessUnit, at: datetime) -> None:
        if len(self._pieces) >= MAX_FILES:
            raise ExportFailed(f"L'export dépasse {MAX_FILES} fichiers.", reason="too-many-files")
        self._sets = self._sets_of(unit)
        described = () if self._sets else self._described
        path = self._folder / f"{self._camera}-{at.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z.mp4"
        from halfgateway.exporting.piece_writer import PieceWriter  # noqa: PLC0415 - PyAV, 20 MB, of use to exports alone

        self._writer = PieceWriter(path, self._codec, unit, at, described=described)

    def _end_stretch(self) -> None:
        """Nothing of what comes next goes on with what came."""
        if self._pictures is not None:
            self._take(self._pictures.end())
            self._pictures.restart()
        self._pending_at = None
        self._end_piece()

    def _end_piece(self) -> None:
        if self._writer is not None:
            self._pieces.append(self._writer.finish())
            self._writer = None


def _kind(codec: Codec, nal_unit: bytes) -> int:
    return nal_unit[0] & 0x1F if codec is Codec.H264 else nal_unit[0] >> 1 & 0x3F
