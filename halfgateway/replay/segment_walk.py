"""The pictures of a passage, from segment to segment, forwards or backwards. Blocks: it runs in threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from halfgateway.protocol.codec import Codec
from halfgateway.segments.catalogue import Catalogue, joins
from halfgateway.segments.reading import AccessUnit, Segment, SegmentReader, UnreadableSegment

MAX_GROUP_BYTES: Final = 32 << 20
"""Bytes of a group of pictures that is read whole, to be shown backwards: 10 s at 25 Mbit/s. Of a longer one, what
comes first is given."""

Wanted = Callable[[AccessUnit], bool]
"""Whether a picture is asked for; it is put for each, in the order in which they are given."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture in its place; ``discontinuous`` and ``last`` as :class:`halfgateway.replay.footage.Picture` has them.

    ``group_end`` is when the group of pictures ends with which it is given: for a player that shows them backwards.
    """

    unit: AccessUnit
    group_end: datetime
    discontinuous: bool = False
    last: bool = False


def forwards(
    catalogue: Catalogue, start: datetime, end: datetime | None, codec: Codec, wanted: Wanted
) -> Generator[Shown | None, None, None]:
    """The pictures from the clean one at or before ``start`` on, filmed before ``end``; None: nothing more, yet.

    It ends where footage ends that is not still being recorded, and before footage of another codec.
    """
    held: Shown | None = None
    apart = False
    for step in _follow(catalogue, start, codec):
        if step is None:
            if held is not None:
                yield held
            held = None
            yield None
            continue
        unit, discontinuous = step
        apart = apart or discontinuous
        if end is not None and unit.at >= end:
            break
        if wanted(unit):
            if held is not None:
                yield replace(held, last=apart)
            held = Shown(unit, unit.at, discontinuous=apart)
            apart = False
    else:
        apart = True
    if held is not None:
        yield replace(held, last=apart)


def backwards(
    catalogue: Catalogue, start: datetime, end: datetime | None, codec: Codec, wanted: Wanted
) -> Generator[Shown, None, None]:
    """Groups of pictures, the latest first, each forwards (ONVIF Streaming 6.6): from ``start`` to that of ``end``."""
    segment = catalogue.at_or_before(start)
    limit: datetime | None = start
    while segment is not None and segment.codec is codec:
        before = catalogue.before(segment)
        goes_on = before is not None and before.codec is codec and joins(before.end, segment.start)
        for earliest, group in _groups(segment, limit):
            units = [unit for unit in group if wanted(unit)]
            for place, unit in enumerate(units, 1):
                ends_footage = earliest and not goes_on and place == len(units)
                yield Shown(unit, max(each.at for each in units), discontinuous=place == 1, last=ends_footage)
            if end is not None and group[0].at <= end:
                return
        limit = None if goes_on else segment.start - timedelta.resolution
        segment = before


def _follow(catalogue: Catalogue, start: datetime, codec: Codec) -> Iterator[tuple[AccessUnit, bool] | None]:
    """Each picture, and whether it follows nothing that was given before."""
    segment = catalogue.at_or_after(start)
    apart = True
    at: datetime | None = start
    clean_after: datetime | None = None
    while segment is not None and segment.codec is codec:
        reading = _Reading(catalogue, segment)
        for unit in reading.units(at):
            if unit is None:
                yield None
            elif clean_after is None or (unit.clean and unit.at >= clean_after):
                yield unit, apart
                apart, clean_after = False, None
        following, reached = reading.following, reading.reached
        if following is None:
            return
        if reached is not None and joins(reached, following.start):
            # Names that tell whole seconds overlap by less than one: no time is played twice.
            segment, at = following.begun_at(max(reached, following.start)), None
        else:
            apart = True
            clean_after = reached
            segment, at = following, following.start


class _Reading:
    """A segment being read, and what is added to it meanwhile. ``reached`` is when its last picture ended."""

    def __init__(self, catalogue: Catalogue, segment: Segment) -> None:
        self._catalogue = catalogue
        self._segment = segment
        self.following: Segment | None = None
        self.reached: datetime | None = None

    def units(self, at: datetime | None) -> Iterator[AccessUnit | None]:
        """Its pictures from ``at`` on, all where that is None; None: nothing more, yet."""
        seen: tuple[tuple[int, int], bool] | None = None
        order: int | None = None
        while True:
            self.following = self._catalogue.after(self._segment)
            grown = self._catalogue.refreshed(self._segment)
            if grown is not None:
                self._segment = grown.begun_at(self._segment.start)
            whole = self.following is not None or not self._catalogue.is_recording(self._segment)
            if seen != (self._segment.stamp, whole):
                seen = self._segment.stamp, whole
                for unit in _units(self._segment, at, whole=whole):
                    if order is None or unit.order > order:
                        yield unit
                        at, order = unit.at, unit.order
                        self.reached = max(self.reached or unit.at, unit.at + unit.lasts)
            elif whole:
                return
            else:
                yield None


def _units(segment: Segment, at: datetime | None, *, whole: bool) -> Iterator[AccessUnit]:
    """What can be read of a segment; nothing of one that can be no more."""
    try:
        reader = SegmentReader(segment, whole=whole)
    except UnreadableSegment:
        return
    with reader:
        yield from reader.units() if at is None else reader.units_from(at)


def _groups(segment: Segment, limit: datetime | None) -> Iterator[tuple[bool, list[AccessUnit]]]:
    """Its groups of pictures, the latest first, without what was filmed after ``limit``; whether each is the first."""
    try:
        reader = SegmentReader(segment)
    except UnreadableSegment:
        return
    with reader:
        starts = [at for at in reader.clean_instants() if limit is None or at <= limit]
        for begins in reversed(starts):
            group = _group(reader.units_from(begins), limit)
            if group:
                yield begins == starts[0], group


def _group(units: Iterator[AccessUnit], limit: datetime | None) -> list[AccessUnit]:
    """The pictures up to the next clean one, those at the end left out of what is no group that a camera makes."""
    group: list[AccessUnit] = []
    size_bytes = 0
    for unit in units:
        size_bytes += len(unit.data)
        if group and (unit.clean or size_bytes > MAX_GROUP_BYTES):
            break
        if limit is None or unit.at <= limit:
            group.append(unit)
    return group
