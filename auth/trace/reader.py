"""Reading the trace from the event loop: entries newest first, checkpoints, proofs (T05).

All file work is in a worker thread. Each page looks at a bounded number of entries and says where to go on,
so a search for something rare costs many short calls instead of one that holds the interpreter.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from os import SEEK_END
from pathlib import Path
from typing import Any, Generic, TypeVar

from auth.errors import NoteError, TraceDamaged, TraceUnavailable
from auth.trace.checkpoint import Checkpoint, parse_checkpoint, parse_note
from auth.trace.entry import Entry, unix_us
from auth.trace.kinds import Kind
from auth.trace.layout import CHECKPOINTS, SALT_BYTES, origin
from auth.trace.notes import last_notes
from auth.trace.tree import consistency_path, inclusion_path, leaf_hash
from auth.trace.view import JournalView, Leaf, PayloadFile, decode, stored_size

MAX_WORK = 131_072
"""Leaves that one page looks at, some 80 ms of one core; the page then ends early, with a cursor."""

PAYLOAD_WORK = 16
"""What reading one payload counts in leaves."""

MAX_PAGE = 1_000
"""Items of one page: a larger limit is cut to this."""

_CURSOR_DIGITS = 18
Item = TypeVar("Item")
Result = TypeVar("Result")

Show = Callable[[Entry], "Entry | None"]
"""An entry as somebody may see it, None where they may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """What to read: all that is given must fit. ``since`` is inclusive, ``until`` exclusive, both aware.

    ``incident`` is the incident's id, as an entry's detail names it.
    """

    kinds: frozenset[Kind] | None = None
    agent: str | None = None
    account: str | None = None
    camera: str | None = None
    stream: str | None = None
    incident: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = TraceFilter()


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, newest first, and the cursor of the next page; there is none once ``next`` is None.

    A page may be empty and have a next one: that many entries were looked at, and none fitted.
    """

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Opening:
    """What an entry's leaf commits to: SHA-256 of salt and payload is the last 32 bytes of the record."""

    leaf: bytes
    salt: bytes | None
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note that carries it."""

    node: str
    checkpoint: Checkpoint
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the checkpoint as the API shows it."""
        root = _base64(self.checkpoint.root)
        return {"node": self.node, "size": self.checkpoint.size, "root": root, "note": self.note}


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a leaf record is number ``n`` of the tree of ``size`` entries (RFC 6962 section 2.1.1)."""

    node: str
    n: int
    size: int
    leaf: bytes
    path: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the proof as the API shows it; ``leaf`` is the record, ``leaf_hash`` its hash."""
        return {
            "node": self.node,
            "n": self.n,
            "size": self.size,
            "leaf": _base64(self.leaf),
            "leaf_hash": _base64(leaf_hash(self.leaf)),
            "path": [_base64(digest) for digest in self.path],
        }


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the tree of ``second`` entries begins with the tree of ``first`` (RFC 6962 section 2.1.2)."""

    node: str
    first: int
    second: int
    path: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the proof as one JSON object."""
        path = [_base64(digest) for digest in self.path]
        return {"node": self.node, "first": self.first, "second": self.second, "path": path}


class TraceReader:
    """Reads one node's journal, beside its writer (:meth:`Journal.reader`) or without one (:meth:`of`).

    Every method raises TraceDamaged when what it reads is not what was committed to, TraceUnavailable when
    it cannot be read, ValueError for a cursor, number or size that the journal does not have.
    """

    def __init__(self, view: JournalView) -> None:
        self._view = view

    @classmethod
    def of(cls, folder: Path, node: str) -> TraceReader:
        """Read a folder whose writer is elsewhere, or gone."""
        return cls(JournalView(folder, node, lambda: stored_size(folder, node)))

    async def entries(
        self,
        wanted: TraceFilter = EVERYTHING,
        *,
        limit: int = 100,
        cursor: str | None = None,
        show: Show | None = None,
    ) -> Page[Entry]:
        """Return entries newest first, ``limit`` of them at most, as ``show`` shows them.

        What it does not show is not in the page, and neither the page's size nor its cursor tells of it.
        """
        return await self.in_thread(lambda: self._entries(_Match(wanted), _bounded(limit), cursor, show or _as_it_is))

    @property
    def size(self) -> int:
        """Entries that can be read now."""
        return self._view.size

    async def following(
        self, start: int, *, limit: int = MAX_PAGE, kinds: frozenset[Kind] | None = None
    ) -> tuple[list[Entry], int]:
        """Return the entries from number ``start`` on, oldest first, of ``kinds`` alone if given; and where to go on.

        At most ``limit`` entries are looked at: who follows the journal calls again until that number is the size.
        """
        return await self.in_thread(lambda: self._following(start, _bounded(limit), kinds))

    async def entry(self, n: int) -> Entry:
        """Return entry ``n``."""
        return await self.in_thread(lambda: self._entry(n))

    async def opening(self, n: int) -> Opening:
        """Return what opens entry ``n``: its leaf record, and its salt and payload unless a purge erased them."""
        return await self.in_thread(lambda: self._opening(n))

    async def checkpoints(self, *, limit: int = 100, cursor: str | None = None) -> Page[SignedCheckpoint]:
        """Return signed checkpoints newest first, ``limit`` of them at most."""
        return await self.in_thread(lambda: self._checkpoints(_bounded(limit), cursor))

    async def root(self, size: int) -> bytes:
        """Return the root of the tree of the first ``size`` entries, 1 at least."""
        return await self.in_thread(lambda: self._root(size))

    async def prove_inclusion(self, n: int, size: int) -> InclusionProof:
        """Prove that entry ``n`` is in the tree of the first ``size`` entries."""
        return await self.in_thread(lambda: self._prove_inclusion(n, size))

    async def prove_consistency(self, first: int, second: int) -> ConsistencyProof:
        """Prove that the tree of ``second`` entries extends the tree of ``first``."""
        return await self.in_thread(lambda: self._prove_consistency(first, second))

    @staticmethod
    async def in_thread(work: Callable[[], Result]) -> Result:
        """Do blocking work beside the event loop. Raises TraceUnavailable where it could not read a file."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise TraceUnavailable(f"le journal ne peut être lu : {error.strerror or error}") from error

    def _entries(self, match: _Match, limit: int, cursor: str | None, show: Show) -> Page[Entry]:
        size = self._view.size
        end = size if cursor is None else min(_number(cursor), size)
        found: list[Entry] = []
        work = 0
        while end and len(found) < limit and work < MAX_WORK:
            segment = self._view.segment(end - 1)
            start = max(segment.first, end - MAX_WORK)
            with closing(PayloadFile(self._view.folder, self._view.node, segment)) as payloads:
                for leaf in reversed(segment.leaves(start, end)):
                    end, work = leaf.n, work + 1
                    if match.leaf(leaf):
                        work += PAYLOAD_WORK
                        salted = payloads.salted(leaf.n)
                        if match.payload(salted) and match.entry(entry := decode(self._view.node, leaf, salted)):
                            found += [shown for shown in (show(entry),) if shown is not None]
                    if len(found) == limit or work >= MAX_WORK:
                        break
        return Page(tuple(found), str(end) if end else None)

    def _following(self, start: int, limit: int, kinds: frozenset[Kind] | None) -> tuple[list[Entry], int]:
        end = max(start, min(self._view.size, start + limit))
        codes = None if kinds is None else {kind.code for kind in kinds}
        return list(self._view.entries(start, end, codes)), end

    def _entry(self, n: int) -> Entry:
        size = self._view.size
        if not 0 <= n < size:
            raise ValueError(f"no entry {n} among {size}")
        return self._view.entry(n)

    def _opening(self, n: int) -> Opening:
        size = self._view.size
        if not 0 <= n < size:
            raise ValueError(f"no entry {n} among {size}")
        ((_, salted),) = self._view.payloads(n, n + 1)
        record = self._view.segment(n).record(n)
        if salted is None:
            return Opening(record, None, None)
        return Opening(record, salted[:SALT_BYTES], salted[SALT_BYTES:])

    def _checkpoints(self, limit: int, cursor: str | None) -> Page[SignedCheckpoint]:
        try:
            file = (self._view.folder / CHECKPOINTS).open("rb")
        except FileNotFoundError as error:
            raise TraceDamaged("les points de contrôle manquent", missing=True) from error
        with file:
            size = file.seek(0, SEEK_END)
            end = size if cursor is None else min(_number(cursor), size)
            newest_first = last_notes(file, end, origin(self._view.node))[::-1][:limit]
        try:
            items = tuple(self._signed(note) for _, note in newest_first)
        except NoteError as error:
            raise TraceDamaged(f"un point de contrôle est endommagé : {error}") from error
        start = newest_first[-1][0] if newest_first else 0
        return Page(items, str(start) if start else None)

    def _signed(self, note: bytes) -> SignedCheckpoint:
        checkpoint = parse_checkpoint(parse_note(note).text)
        return SignedCheckpoint(self._view.node, checkpoint, note.decode())

    def _root(self, size: int) -> bytes:
        if size < 1:
            raise ValueError("an empty tree is no head of a journal")
        self._check_size(size)
        return self._view.range_root(0, size)

    def _prove_inclusion(self, n: int, size: int) -> InclusionProof:
        self._check_size(size)
        path = inclusion_path(n, size, self._view.range_root)
        return InclusionProof(self._view.node, n, size, self._view.segment(n).record(n), tuple(path))

    def _prove_consistency(self, first: int, second: int) -> ConsistencyProof:
        self._check_size(second)
        path = consistency_path(first, second, self._view.range_root)
        return ConsistencyProof(self._view.node, first, second, tuple(path))

    def _check_size(self, size: int) -> None:
        if size > self._view.size:
            raise ValueError(f"the journal has {self._view.size} entries, not {size}")


class _Match:
    """A filter made ready: what the leaf can tell first, then the payload's bytes, then the entry."""

    def __init__(self, wanted: TraceFilter) -> None:
        self._codes = None if wanted.kinds is None else {kind.code for kind in wanted.kinds}
        self._since_us = None if wanted.since is None else unix_us(wanted.since)
        self._until_us = None if wanted.until is None else unix_us(wanted.until)
        named = {name: getattr(wanted, name) for name in ("agent", "account", "camera", "stream")}
        self._members = {name: value for name, value in named.items() if value is not None}
        self._needles = [
            f'"{name}":{json.dumps(value, ensure_ascii=False)}'.encode()
            for name, value in {**self._members, "incident": wanted.incident}.items()
            if value is not None
        ]
        self._incident = wanted.incident

    def leaf(self, leaf: Leaf) -> bool:
        return (
            (self._codes is None or leaf.code in self._codes)
            and (self._since_us is None or leaf.at_us >= self._since_us)
            and (self._until_us is None or leaf.at_us < self._until_us)
        )

    def payload(self, salted: bytes | None) -> bool:
        if salted is None:
            return not self._needles
        return all(needle in salted for needle in self._needles)

    def entry(self, entry: Entry) -> bool:
        told = self._incident is None or entry.detail.get("incident") == self._incident
        return told and all(getattr(entry, name) == value for name, value in self._members.items())


def _as_it_is(entry: Entry) -> Entry:
    return entry


def _bounded(limit: int) -> int:
    if limit < 1:
        raise ValueError("a page has one item at least")
    return min(limit, MAX_PAGE)


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _CURSOR_DIGITS):
        raise ValueError("no page was ever given this cursor")
    return int(cursor)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
