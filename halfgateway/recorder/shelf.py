"""The recorder's disk: which segments lie on it, oldest first, and how much room there is. Blocking, for a thread."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from halfgateway.recorder.retention import Segment
from halfgateway.segments.layout import Layout

_CAMERA: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Room:
    """What a file system has left, of how much."""

    free_bytes: int
    total_bytes: int


class Shelf:
    """Segments by camera below one folder, in folders whose order by name is that of time."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout

    def folder_of(self, camera: str) -> Path:
        """Where a camera's segments lie."""
        return self._folder / camera

    def cameras(self) -> list[str]:
        """The cameras of which there may be footage, recorded still or not. Raises OSError.

        What has no camera's name is the disk's own, as ``lost+found``, or somebody else's.
        """
        return sorted(each.name for each in self._folder.iterdir() if _CAMERA.fullmatch(each.name) and each.is_dir())

    def segments(self, camera: str) -> Iterator[Segment]:
        """A camera's segments, oldest first; what is no segment is passed over. Raises OSError.

        Where one ends is not read but inferred: where the next begins, and no later than when it was last written.
        """
        before: tuple[datetime, Path, os.stat_result] | None = None
        for start, path in self._named(camera):
            if before is not None:
                yield _segment(camera, *before, following=start)
            try:
                before = start, path, path.stat()
            except FileNotFoundError:
                before = None
        if before is not None:
            yield _segment(camera, *before, following=None)

    def last_end(self, camera: str) -> datetime | None:
        """Where a camera's footage ends; None where there is none. Raises OSError."""
        newest = next(self._named(camera, newest_first=True), None)
        if newest is None:
            return None
        start, path = newest
        return _segment(camera, start, path, path.stat(), following=None).end

    def room(self) -> Room:
        """What is left on the disk. Raises OSError."""
        told = os.statvfs(self._folder)
        return Room(told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize)

    def destroy(self, segments: Sequence[Segment]) -> None:
        """Remove files, and the folders that are empty then; what is gone already is gone. Raises OSError."""
        for segment in segments:
            segment.path.unlink(missing_ok=True)
        for folder in {segment.path.parent for segment in segments}:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()

    def _named(self, camera: str, *, newest_first: bool = False) -> Iterator[tuple[datetime, Path]]:
        root = self.folder_of(camera)
        for path in _files(root, newest_first=newest_first):
            start = self._layout.instant_of(path.relative_to(root).as_posix())
            if start is not None:
                yield start, path


def _files(folder: Path, *, newest_first: bool) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=newest_first)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), newest_first=newest_first)
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def _segment(camera: str, start: datetime, path: Path, told: os.stat_result, *, following: datetime | None) -> Segment:
    written = datetime.fromtimestamp(told.st_mtime, UTC)
    ends = [each for each in (written, following) if each is not None and each > start]
    return Segment(start, min(ends, default=start), camera, path, told.st_size)
