"""Acts that a crash left open: an intent without its result (T02)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from auth.trace.entry import Entry
from auth.trace.kinds import Kind

_OPENING = frozenset({Kind.STREAM_REQUESTED, Kind.STREAM_GRANTED, Kind.STREAM_STARTED, Kind.STREAM_RESUMED})
_CLOSING = frozenset({Kind.STREAM_STOPPED, Kind.STREAM_REFUSED})
Told = TypeVar("Told")


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
    unclosed = unclosed_streams((entry.kind, entry.stream, entry) for entry in entries)
    return [OpenAct(stream, intent, last) for stream, (intent, last) in unclosed.items()]


def unclosed_streams(told: Iterable[tuple[Kind, str | None, Told]]) -> dict[str, tuple[Told, Told]]:
    """Return the first and the last that was told of each stream that nothing closed."""
    unclosed: dict[str, tuple[Told, Told]] = {}
    for kind, stream, entry in told:
        if stream is None:
            continue
        if kind in _CLOSING:
            unclosed.pop(stream, None)
        elif stream in unclosed:
            unclosed[stream] = (unclosed[stream][0], entry)
        elif kind in _OPENING:
            unclosed[stream] = (entry, entry)
    return unclosed
