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
from enum import Enum
from pathlib import Path
from typing import Final

from halfgateway.segments.boxes import told_duration
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
_Stamp = tuple[int, int]


class _Unreadable(Enum):
    """A file that holds no footage, as long as it does not change."""

    UNREADABLE = 1


_UNREADABLE: Final = _Unreadable.UNREADABLE

_Known = Segment | timedelta | _Unreadable
"""What is remembered of a file: all, how long it lasts, or that there is nothing."""


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
        self._examined: OrderedDict[str, tuple[_Stamp, _Known]] = OrderedDict()

    @property
    def passed_over(self) -> int:
        """How many names that are no segment's, and how many files without footage, were met and not forgotten yet."""
        with self._lock:
            strange = sum(listing.strange for listing in self._listings.values())
            return strange + sum(known is _UNREADABLE for _, known in self._examined.values())

    def intervals(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """The runs of segments that join, clipped to [``start``, ``end``)."""
        first = self._last_named(start)
        begins = first.named if first is not None else start
        ends = ((named, self._end(named, path)) for named, path in self._entries(begins, end))
        return runs([(named, ending) for named, ending in ends if ending is not None], start, end)

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
        return self._last_named(instant, longest=None)

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
        for named, path in self._entries(start, end):
            segment = self._segment(named, path)
            if segment is not None:
                yield segment

    def _entries(self, start: datetime, end: datetime | None) -> Iterator[_Entry]:
        for folder in self._leaves(start, end):
            entries = self._listing(folder).segments
            for entry in entries[bisect_left(entries, start, key=_named) :]:
                if end is not None and entry[0] >= end:
                    break
                yield entry

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
        stamp = self._stamp(path)
        known = self._known(path, stamp)
        if stamp is None or isinstance(known, Segment) or known is _UNREADABLE:
            return known if isinstance(known, Segment) else None
        try:
            segment = examine(self._folder / path, named)
        except UnreadableSegment as error:
            if error.lasting:
                self._remember(path, stamp, _UNREADABLE)
            return None
        self._remember(path, stamp, segment)
        return segment

    def _end(self, named: datetime, path: str) -> datetime | None:
        """When a file's footage ends, without opening it where its boxes tell."""
        stamp = self._stamp(path)
        known = self._known(path, stamp)
        if isinstance(known, timedelta):
            return named + known
        if stamp is not None and known is None and (lasts := _told_duration(self._folder / path)) is not None:
            self._remember(path, stamp, lasts)
            return named + lasts
        segment = self._segment(named, path)
        return segment.end if segment is not None else None

    def _stamp(self, path: str) -> _Stamp | None:
        try:
            return stamp_of(self._folder / path)
        except FileNotFoundError:
            return None

    def _known(self, path: str, stamp: _Stamp | None) -> _Known | None:
        with self._lock:
            known = self._examined.get(path)
            if known is None or known[0] != stamp:
                return None
            self._examined.move_to_end(path)
            return known[1]

    def _remember(self, path: str, stamp: _Stamp, known: _Known) -> None:
        with self._lock:
            self._examined[path] = stamp, known
            if len(self._examined) > MAX_EXAMINED:
                self._examined.popitem(last=False)


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


def _told_duration(path: Path) -> timedelta | None:
    """What the boxes of a regular file tell; None also where it cannot be read now."""
    try:
        lasts = told_duration(path) if path.is_file() else None
    except OSError:
        return None
    return lasts if lasts is None or lasts <= LONGEST_SEGMENT else None


def _named(entry: _Entry) -> datetime:
    return entry[0]
