"""Which segments there are of one camera, and when: its folder, read anew wherever it has changed.

Everything here blocks, on a disk that may be another machine's: it is called in threads, from several at once.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from halfgateway.segments.layout import Layout
from halfgateway.segments.reading import LONGEST_SEGMENT, Segment, UnreadableSegment, examine, stamp_of

JOIN_TOLERANCE: Final = timedelta(seconds=1)
"""Segments join whose edges are no further apart: names often tell whole seconds only."""

STILL_RECORDING: Final = timedelta(minutes=2)
"""Footage that ends no longer ago may be going on: recorders cut, and show, their segments by the minute."""

MAX_EXAMINED: Final = 50_000
"""Files of which it is remembered what they hold, some 200 bytes each: a month of segments of one minute. Past it, what
was asked for longest ago is examined again."""

MAX_FOLDERS: Final = 2_048
"""Folders whose names are remembered: a month of hours. Past it, the one asked for longest ago is read again."""

_SETTLED_S: Final = 2.0
"""A folder that changed less than this ago, in seconds, is read again: its time of change is too coarse to tell."""

_EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)

_Entry = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class _Listing:
    """The names of one folder: those of segments by their instants, how many are of none, and its folders."""

    stamp: int
    segments: tuple[_Entry, ...]
    folders: tuple[str, ...]
    strange: int


class Catalogue:
    """The segments below ``root / channel``. Nothing is followed out of ``root``.

    ``now`` is the wall clock (aware). Instants are aware. Every method raises OSError where the disk does not answer.
    """

    def __init__(self, root: Path, channel: str, layout: Layout, *, now: Callable[[], datetime]) -> None:
        self._root = root
        self._folder = root / channel
        self._layout = layout
        self._now = now
        self._lock = threading.Lock()
        self._listings: OrderedDict[str, _Listing] = OrderedDict()
        self._examined: OrderedDict[str, tuple[tuple[int, int], Segment | None]] = OrderedDict()

    @property
    def passed_over(self) -> int:
        """How many names that are no segment's, and how many files without footage, were met and not forgotten yet."""
        with self._lock:
            strange = sum(listing.strange for listing in self._listings.values())
            return strange + sum(segment is None for _, segment in self._examined.values())

    def between(self, start: datetime, end: datetime) -> list[Segment]:
        """The segments with a picture in [``start``, ``end``), in the order in which they begin."""
        first = self._last_named(start)
        begins = first.named if first is not None else start
        found = [segment for segment in self._forwards(begins, end) if start < segment.end]
        return [segment for segment in found if segment.start < end]

    def intervals(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """The runs of segments that join, clipped to [``start``, ``end``)."""
        return runs([(each.start, each.end) for each in self.between(start, end)], start, end)

    def at_or_after(self, instant: datetime) -> Segment | None:
        """The segment that holds an instant, else the next; the last one, where recording may be going on."""
        before = self._last_named(instant)
        if before is not None and instant < before.end:
            return before
        following = next(self._forwards(instant, None), None)
        if following is None and before is not None and self.is_recording(before):
            return before
        return following

    def at_or_before(self, instant: datetime) -> Segment | None:
        """The segment that begins last at or before an instant."""
        return self._last_named(instant)

    def after(self, segment: Segment) -> Segment | None:
        """The next segment that ends later."""
        following = self._forwards(segment.named, None)
        return next((each for each in following if each.named > segment.named and each.end > segment.end), None)

    def before(self, segment: Segment) -> Segment | None:
        """The one that begins before."""
        return self._last_named(segment.named - timedelta(microseconds=1), longest=None)

    def refreshed(self, segment: Segment) -> Segment | None:
        """The same file as it is now; None where it is gone, or cannot be read any more."""
        return self._segment(segment.named, segment.path.relative_to(self._folder).as_posix())

    def is_recording(self, segment: Segment) -> bool:
        """Whether more may follow this segment, which is the last."""
        return self._now() - segment.end < STILL_RECORDING

    def _last_named(self, instant: datetime, *, longest: timedelta | None = LONGEST_SEGMENT) -> Segment | None:
        """The last readable segment whose name tells ``instant`` or earlier, ``longest`` before it at the most."""
        start = instant - longest if longest else None
        for folder in reversed(self._leaves(start, instant)):
            entries = self._listing(folder).segments
            for named, path in reversed(entries[: bisect_right(entries, instant, key=_named)]):
                if start is not None and named < start:
                    break
                segment = self._segment(named, path)
                if segment is not None:
                    return segment
        return None

    def _forwards(self, start: datetime, end: datetime | None) -> Iterator[Segment]:
        """The readable segments whose names tell [``start``, ``end``)."""
        for folder in self._leaves(start, end):
            entries = self._listing(folder).segments
            for named, path in entries[bisect_left(entries, start, key=_named) :]:
                if end is not None and named >= end:
                    break
                segment = self._segment(named, path)
                if segment is not None:
                    yield segment

    def _leaves(self, start: datetime | None, end: datetime | None) -> list[str]:
        """The folders in which segments lie that begin between two instants, in the order of their times."""
        earliest, latest = start or _EARLIEST, end or self._now() + LONGEST_SEGMENT
        found = [""]
        for _ in range(self._layout.depth):
            below = (f"{folder}/{name}".lstrip("/") for folder in found for name in self._listing(folder).folders)
            found = [folder for folder in below if self._layout.may_hold(folder, earliest, latest)]
        return sorted(found, key=self._begins) if self._layout.depth else found

    def _begins(self, folder: str) -> datetime:
        return self._layout.begins(folder) or _EARLIEST.replace(tzinfo=None)

    def _listing(self, folder: str) -> _Listing:
        """The names in a folder below the camera's, as they are now; nothing where there is no such folder."""
        path = self._folder / folder
        try:
            changed = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            self._root.stat()
            return _Listing(0, (), (), 0)
        with self._lock:
            known = self._listings.get(folder)
            if known is not None and known.stamp == changed:
                self._listings.move_to_end(folder)
                return known
        listing = self._read(path, folder, changed)
        if abs(self._now().timestamp() - changed / 1e9) > _SETTLED_S:
            with self._lock:
                self._listings[folder] = listing
                if len(self._listings) > MAX_FOLDERS:
                    self._listings.popitem(last=False)
        return listing

    def _read(self, path: Path, folder: str, stamp: int) -> _Listing:
        is_leaf = folder.count("/") + bool(folder) == self._layout.depth
        segments, folders = [], []
        strange = 0
        if not self._is_inside(path):
            return _Listing(stamp, (), (), 1)
        with os.scandir(path) as entries:
            for entry in entries:
                below = f"{folder}/{entry.name}".lstrip("/")
                named = self._layout.instant_of(below) if is_leaf else None
                if entry.is_symlink() and not self._is_inside(Path(entry.path)):
                    strange += 1
                elif named is not None:
                    segments.append((named, below))
                elif not is_leaf and entry.is_dir():
                    folders.append(entry.name)
                else:
                    strange += 1
        return _Listing(stamp, tuple(sorted(segments)), tuple(folders), strange)

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve(strict=True).is_relative_to(self._root.resolve())
        except (OSError, RuntimeError):
            return False

    def _segment(self, named: datetime, path: str) -> Segment | None:
        """What a file holds, from memory where it has not changed."""
        try:
            stamp = stamp_of(self._folder / path)
        except FileNotFoundError:
            return None
        with self._lock:
            known = self._examined.get(path)
            if known is not None and known[0] == stamp:
                self._examined.move_to_end(path)
                return known[1]
        try:
            segment = examine(self._folder / path, named)
        except UnreadableSegment as error:
            if not error.lasting:
                return None
            segment = None
        with self._lock:
            self._examined[path] = stamp, segment
            if len(self._examined) > MAX_EXAMINED:
                self._examined.popitem(last=False)
        return segment


def joins(end: datetime, start: datetime) -> bool:
    """Whether what starts goes on where the other ends."""
    return abs(start - end) <= JOIN_TOLERANCE


def runs(spans: Sequence[tuple[datetime, datetime]], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Join spans, in the order of their starts, whose edges are within :data:`JOIN_TOLERANCE`; clip what comes of it.

    Nothing that lasts no time is left.
    """
    found: list[tuple[datetime, datetime]] = []
    for begins, ends in spans:
        if found and begins - found[-1][1] <= JOIN_TOLERANCE:
            found[-1] = found[-1][0], max(found[-1][1], ends)
        else:
            found.append((begins, ends))
    clipped = ((max(start, begins), min(end, ends)) for begins, ends in found)
    return [(begins, ends) for begins, ends in clipped if begins < ends]


def _named(entry: _Entry) -> datetime:
    return entry[0]
