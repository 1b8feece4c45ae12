"""Acts that a crash left open: an intent without its result (T02)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auth.trace.entry import Entry
from auth.trace.kinds import Kind

OPENING = frozenset({Kind.STREAM_REQUESTED, Kind.STREAM_GRANTED, Kind.STREAM_STARTED})
CLOSING = frozenset({Kind.STREAM_STOPPED, Kind.STREAM_REFUSED})


@dataclass(frozen=True, slots=True)
class OpenAct:
    """A stream without a result: its first entry (who, what, why) and its last (the last proven instant)."""

    stream: str
    intent: Entry
    last: Entry


def open_streams(entries: Iterable[Entry]) -> list[OpenAct]:
    """Return the streams asked for, granted or started in these entries, oldest first, and never closed.

    In the order in which they were asked for.
    """
    acts: dict[str, OpenAct] = {}
    for entry in entries:
        stream = entry.stream
        if stream is None:
            continue
        if entry.kind in CLOSING:
            acts.pop(stream, None)
        elif stream in acts:
            acts[stream] = OpenAct(stream, acts[stream].intent, entry)
        elif entry.kind in OPENING:
            acts[stream] = OpenAct(stream, entry, entry)
    return list(acts.values())
