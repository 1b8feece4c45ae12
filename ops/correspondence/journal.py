"""What the node's trace tells that PP, or SYN's security officer, is owed a word of.

The trace is durable before the act takes effect, so that nothing is owed which is not in it, whatever died since. It
is followed from a cursor of our own; where that is lost, what is not older than ``MAX_AGE`` is read again, and has its
book already.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from auth.errors import TraceUnavailable
from auth.trace.entry import Entry
from auth.trace.kinds import Kind
from auth.trace.scopes import CLOSED_BY_SYN
from auth.trace.view import JournalView, stored_size
from ops.appended import place_durably
from ops.correspondence.matters import Act, BreakGlass, Matter, Measure, Narrowed
from ops.errors import SourceUnavailable
from ops.interconnection import MAX_REASON_CHARS, Author

MAX_AGE: Final = timedelta(days=3)
"""How old an act may be that a word is still sent of: a mail server that is down longer has its alarms by then."""

MAX_ENTRIES_AT_ONCE: Final = 100_000
"""Entries that one look goes over: some 50 ms. The next look goes on."""

_CODES: Final = frozenset(
    kind.code
    for kind in (
        Kind.BLOCK_SET,
        Kind.BLOCK_LIFTED,
        Kind.BLOCK_EXPIRED,
        Kind.STREAM_STOPPED,
        Kind.BREAK_GLASS_USED,
    )
)
_BLOCKS: Final = {
    Kind.BLOCK_SET: (Act.BLOCKED, Author.OFFICER),
    Kind.BLOCK_LIFTED: (Act.UNBLOCKED, Author.OFFICER),
    Kind.BLOCK_EXPIRED: (Act.UNBLOCKED, Author.CALENDAR),
}
_EXPIRED: Final = "terme échu"
_UNSAID: Final = "non précisé"


class JournalSource:
    """See :class:`~ops.correspondence.sources.Source`. ``cursor`` is the file that says up to where it was read."""

    def __init__(self, folder: Path, node: str, cursor: Path) -> None:
        self._view = JournalView(folder, node, lambda: stored_size(folder, node))
        self._cursor = cursor
        self._read_to: int | None = None
        self._next = 0

    def due(self, now: datetime) -> Sequence[Matter]:
        """What the entries since the cursor tell. Raises SourceUnavailable: the next look goes on from there."""
        try:
            size, start = self._view.size, self._start()
            self._next = min(size, start + MAX_ENTRIES_AT_ONCE)
            entries = self._view.entries(start, self._next, _CODES) if start < self._next else ()
            found = [matter_of(entry) for entry in entries if now - entry.at <= MAX_AGE]
        except FileNotFoundError:
            self._next = 0
            return []  # the node has not begun its trace
        except (TraceUnavailable, OSError) as error:
            raise SourceUnavailable(f"the trace cannot be followed: {error}") from error
        return [matter for matter in found if matter is not None]

    def taken(self, matters: Sequence[Matter]) -> None:
        """Go on after what was read last. Raises SourceUnavailable."""
        if self._next == self._read_to:
            return
        try:
            self._cursor.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place_durably(self._cursor, str(self._next).encode("ascii"), os.fsync)
        except OSError as error:
            raise SourceUnavailable(f"{self._cursor}: {error.strerror}") from error
        self._read_to = self._next

    def _start(self) -> int:
        if self._read_to is None:
            try:
                self._read_to = int(self._cursor.read_text(encoding="ascii"))
            except (FileNotFoundError, ValueError):
                return 0
        if self._read_to > self._view.size:  # an older copy of the trace was put in its place
            self._read_to = None
            return 0
        return self._read_to


def matter_of(entry: Entry) -> Matter | None:
    """Return what an entry asks to be told of; None where it asks for nothing, or is odd."""
    try:
        if entry.kind in _BLOCKS:
            return _of_block(entry)
        if entry.kind is Kind.STREAM_STOPPED and entry.detail.get("cause") == CLOSED_BY_SYN:
            return _of_stream(entry)
        if entry.kind is Kind.BREAK_GLASS_USED:
            until = datetime.fromisoformat(entry.detail["until"])
            return BreakGlass(number=entry.detail["number"], at=entry.at, until=until)
    except (KeyError, ValidationError, ValueError):
        return None
    return None


def _of_block(entry: Entry) -> Measure:
    act, by = _BLOCKS[entry.kind]
    expires = entry.detail.get("expires")
    expired = entry.kind is Kind.BLOCK_EXPIRED
    return Measure(
        reference=entry.detail["block"],
        act=act,
        touches=Narrowed(entry.detail["of"]),
        name=entry.detail["subject"],
        reason=_EXPIRED if expired else entry.detail["reason"],
        by=by,
        at=entry.at,
        until=datetime.fromisoformat(expires) if expires is not None and act is Act.BLOCKED else None,
    )


def _of_stream(entry: Entry) -> Measure:
    stream = entry.stream or ""
    why = entry.detail.get("why") or _UNSAID
    return Measure(
        reference=stream,
        act=Act.CLOSED,
        touches=Narrowed.STREAM,
        name=stream,
        reason=why[:MAX_REASON_CHARS],
        by=Author.OPS,
        at=entry.at,
    )
