"""From a recorder's events to intervals of footage (ONVIF Recording Search 5.9, 5.21)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from camera_registry.onvif_port import RecordingSpan, StateChange
from halfgateway.replay.footage import Interval


def intervals(
    changes: Iterable[StateChange], span: RecordingSpan, start: datetime, end: datetime, now: datetime
) -> list[Interval]:
    """The footage between two instants, by what a recorder says of when it began and ended.

    Changes may come in any order, more than once, and from before and after. Those of the video's tracks count; where
    there are none, those of the recording. Before the first change there was the contrary of what it says; after the
    last there is what it says, up to where the recording ends: now, while it goes on. At an instant at which footage
    ends and begins there is no gap. Without any change what is known is the recording's span alone, which may have gaps
    and is not verified.
    """
    earliest, latest = _bounds(span, start, end, now)
    if earliest >= latest:
        return []
    counted = _that_count(list(changes), span)
    if not counted:
        return [Interval(earliest, latest, verified=False)] if _is_told(span) else []
    states: dict[datetime, bool] = {}
    for change in counted:
        states[change.at] = states.get(change.at, False) or change.present
    found: list[Interval] = []
    began: datetime | None = None if states[min(states)] else earliest
    for at in sorted(states):
        if states[at] and began is None:
            began = at
        elif not states[at] and began is not None:
            _add(found, max(began, earliest), min(at, latest))
            began = None
    if began is not None:
        _add(found, max(began, earliest), latest)
    return found


def clipped(found: Iterable[Interval], start: datetime, end: datetime) -> list[Interval]:
    """What lies between two instants of intervals in their order."""
    inside = [Interval(max(each.start, start), min(each.end, end), each.verified) for each in found]
    return [each for each in inside if each.start < each.end]


def _bounds(span: RecordingSpan, start: datetime, end: datetime, now: datetime) -> tuple[datetime, datetime]:
    latest = now if span.goes_on or span.latest is None else span.latest
    return max(start, span.earliest or start), min(end, latest, now)


def _is_told(span: RecordingSpan) -> bool:
    return span.earliest is not None and (span.latest is not None or span.goes_on)


def _that_count(changes: list[StateChange], span: RecordingSpan) -> list[StateChange]:
    """Changes of the video; of any track where none is known to be video; of the recording where no track has any."""
    of_tracks = [change for change in changes if change.track]
    of_video = [change for change in of_tracks if change.track in span.tracks]
    if of_video or (of_tracks and span.tracks and not _of_recording(changes)):
        return of_video or of_tracks
    return _of_recording(changes) or of_tracks


def _of_recording(changes: list[StateChange]) -> list[StateChange]:
    return [change for change in changes if not change.track]


def _add(found: list[Interval], start: datetime, end: datetime) -> None:
    if start < end:
        found.append(Interval(start, end))
