"""Acts that a crash left open: an intent without its result (T02).

A stream is one, an export another; an export is made from a stream of the same id, and each has its own result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from auth.trace.entry import Entry
from auth.trace.kinds import Kind

_STREAM, _EXPORT = "stream", "export"
_OPENS = {
    Kind.STREAM_REQUESTED: _STREAM,
    Kind.STREAM_GRANTED: _STREAM,
    Kind.STREAM_STARTED: _STREAM,
    Kind.STREAM_RESUMED: _STREAM,
    Kind.EXPORT_REQUESTED: _EXPORT,
}
_CLOSES = {
    Kind.STREAM_STOPPED: (_STREAM,),
    Kind.STREAM_REFUSED: (_STREAM,),
    Kind.EXPORT_REFUSED: (_STREAM, _EXPORT),
    Kind.EXPORT_MADE: (_EXPORT,),
    Kind.EXPORT_FAILED: (_EXPORT,),
    Kind.EXPORT_CANCELLED: (_EXPORT,),
}
"""An export that is refused is none, and the stream that was to be its source is given up."""

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class OpenAct:
    """A stream or export without a result: its first entry (who, what, why) and its last (the last proven instant)."""

    stream: str
    intent: Entry
    last: Entry


def open_streams(entries: Iterable[Entry]) -> list[OpenAct]:
    """Return the streams asked for, granted or started in these entries, and the exports asked for, never closed.

    In the order in which they were asked for.
    """
    unclosed = unclosed_acts((entry.kind, entry.stream, entry) for entry in entries)
    return [OpenAct(intent.stream or "", intent, last) for intent, last in unclosed]


def unclosed_acts(told: Iterable[tuple[Kind, str | None, Told]]) -> list[tuple[Told, Told]]:
    """Return the first and the last that was told of each act that nothing closed."""
    unclosed: dict[tuple[str, str], tuple[Told, Told]] = {}
    for kind, stream, entry in told:
        if stream is None:
            continue
        for closed in _CLOSES.get(kind, ()):
            unclosed.pop((closed, stream), None)
        if kind in _CLOSES:
            continue
        act = (_OPENS.get(kind) or kind.value.partition(".")[0], stream)
        if act in unclosed:
            unclosed[act] = (unclosed[act][0], entry)
        elif kind in _OPENS:
            unclosed[act] = (entry, entry)
    return list(unclosed.values())
