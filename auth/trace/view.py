"""Reading a journal at any entry, beside its writer. Blocking, and safe from several threads."""

from __future__ import annotations

import os
from array import array
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from auth.errors import TraceDamaged
from auth.trace.entry import Entry, instant
from auth.trace.kinds import KIND_BY_CODE
from auth.trace.layout import (
    FRAME,
    LEAF,
    SALT_BYTES,
    SEGMENT_ENTRIES,
    commitment,
    erased_body,
    frame_body,
    leaves_header,
    leaves_name,
    segment_of,
)
from auth.trace.scan import open_payloads, read_leaves, segment_starts
from auth.trace.tree import leaf_hash, merkle_root, node_hash

CACHED_SEGMENTS = 4
"""Segments whose leaves and offsets are kept, 4 MB each: the present one and a reader's neighbourhood."""


class Leaf(NamedTuple):
    """A leaf record's fields; time in Unix microseconds."""

    n: int
    at_us: int
    code: int
    commitment: bytes


class Segment:
    """What is kept in memory of one segment: its leaf records, and where each payload frame begins."""

    __slots__ = ("first", "offsets", "records")

    def __init__(self, first: int) -> None:
        self.first = first
        self.records = b""
        self.offsets: array[int] = array("Q")

    @property
    def end(self) -> int:
        """Number after the last entry that is known here."""
        return self.first + max(0, len(self.offsets) - 1)

    def record(self, n: int) -> bytes:
        """Return an entry's leaf record."""
        start = (n - self.first) * LEAF.size
        return self.records[start : start + LEAF.size]

    def leaf(self, n: int) -> Leaf:
        """Return an entry's leaf."""
        return Leaf(*LEAF.unpack_from(self.records, (n - self.first) * LEAF.size))

    def leaves(self, start: int, end: int) -> list[Leaf]:
        """Return the leaves from ``start`` to ``end``, exclusive."""
        records = self.records[(start - self.first) * LEAF.size : (end - self.first) * LEAF.size]
        return list(map(Leaf._make, LEAF.iter_unpack(records)))


class JournalView:
    """One node's journal, up to the size that ``size`` tells at each call: what is durable, beside a writer."""

    def __init__(
        self,
        folder: Path,
        node: str,
        size: Callable[[], int],
        segment_roots: dict[int, bytes] | None = None,
    ) -> None:
        self.folder = folder
        self.node = node
        self._size = size
        self._segments: OrderedDict[int, Segment] = OrderedDict()
        self._roots = dict(segment_roots or {})
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Entries that can be read now."""
        return self._size()

    def segment(self, n: int) -> Segment:
        """Return the segment of entry ``n``, loaded at least that far. Raises TraceDamaged, OSError."""
        first = segment_of(n)
        with self._lock:
            segment = self._segments.get(first)
            if segment is None or segment.end <= n:
                segment = self._load(first, segment)
                self._segments[first] = segment
            self._segments.move_to_end(first)
            while len(self._segments) > CACHED_SEGMENTS:
                self._segments.popitem(last=False)
        if segment.end <= n:
            raise TraceDamaged(f"l'entrée {n} manque", first_bad=n, missing=True)
        return segment

    def entry(self, n: int) -> Entry:
        """Return entry ``n``. Raises TraceDamaged, OSError."""
        ((leaf, salted),) = self.payloads(n, n + 1)
        return decode(self.node, leaf, salted)

    def entries(self, start: int, end: int, codes: Container[int] | None = None) -> Iterator[Entry]:
        """Yield the entries from ``start`` to ``end``, exclusive, oldest first; of these kinds only, if given."""
        return (decode(self.node, leaf, salted) for leaf, salted in self.payloads(start, end, codes))

    def payloads(
        self, start: int, end: int, codes: Container[int] | None = None
    ) -> Iterator[tuple[Leaf, bytes | None]]:
        """Yield the same entries undecoded: their leaves, and their salts and payloads where not erased."""
        while start < end:
            segment = self.segment(min(end, segment_of(start) + SEGMENT_ENTRIES) - 1)
            stop = min(end, segment.end)
            with closing(PayloadFile(self.folder, self.node, segment)) as payloads:
                for leaf in segment.leaves(start, stop):
                    if codes is None or leaf.code in codes:
                        yield leaf, payloads.salted(leaf.n)
            start = stop

    def range_root(self, start: int, end: int) -> bytes:
        """Root of the leaves from ``start`` to ``end``, exclusive: a subtree as proofs ask for them."""
        if end - start > SEGMENT_ENTRIES:
            middle = start + (1 << (end - start - 1).bit_length() - 1)
            return node_hash(self.range_root(start, middle), self.range_root(middle, end))
        if end - start < SEGMENT_ENTRIES:
            return self._computed_root(start, end)
        if start not in self._roots:
            self._roots[start] = self._computed_root(start, end)
        return self._roots[start]

    def _computed_root(self, start: int, end: int) -> bytes:
        segment = self.segment(end - 1)
        return merkle_root([leaf_hash(segment.record(n)) for n in range(start, end)])

    def _load(self, first: int, known: Segment | None) -> Segment:
        """Read a segment, or what was added to it since: frames never move, so known offsets stay true."""
        segment = Segment(first)
        segment.records, _ = read_leaves(self.folder, self.node, first)
        count = min(len(segment.records) // LEAF.size, self._size() - first)
        file, offset = open_payloads(self.folder, self.node, first)
        with file:
            segment.offsets = known.offsets[:] if known else array("Q", [offset])
            position, descriptor = segment.offsets[-1], file.fileno()
            while segment.end - first < count:
                head = os.pread(descriptor, FRAME.size, position)
                body = frame_body(head) if len(head) == FRAME.size else None
                if body is None:
                    raise TraceDamaged(
                        f"ce qui tient lieu de contenu de l'entrée {segment.end} n'en est pas un", first_bad=segment.end
                    )
                position += FRAME.size + body[0]
                segment.offsets.append(position)
        return segment


class PayloadFile:
    """A segment's payloads, open for reading at any entry."""

    def __init__(self, folder: Path, node: str, segment: Segment) -> None:
        self._segment = segment
        self._file, _ = open_payloads(folder, node, segment.first)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def salted(self, n: int) -> bytes | None:
        """Return an entry's salt and payload, checked against its commitment; None once a purge erased it.

        Raises TraceDamaged: an attempt to modify is itself an alert (L18).
        """
        try:
            return self._salted(n)
        except TraceDamaged:
            return self._salted(n)  # a purge may have been writing this very frame: read it once more

    def _salted(self, n: int) -> bytes | None:
        index = n - self._segment.first
        start, end = self._segment.offsets[index], self._segment.offsets[index + 1]
        framed = os.pread(self._file.fileno(), end - start, start)
        body = frame_body(framed[: FRAME.size]) if len(framed) == end - start else None
        if body is None:
            raise TraceDamaged(f"ce qui tient lieu de contenu de l'entrée {n} n'en est pas un", first_bad=n)
        salted, erased = framed[FRAME.size :], body[1]
        if erased:
            if salted != erased_body(leaf_hash(self._segment.record(n)), len(salted)):
                raise TraceDamaged(f"l'entrée {n} n'a pas été effacée comme le fait une élimination", first_bad=n)
            return None
        if commitment(salted) != self._segment.leaf(n).commitment:
            raise TraceDamaged(f"le contenu de l'entrée {n} n'est pas celui auquel sa feuille engage", first_bad=n)
        return salted


def decode(node: str, leaf: Leaf, salted: bytes | None) -> Entry:
    """Return an entry of its salt and payload; of an erased one what its leaf holds, and that it was erased.

    Raises TraceDamaged.
    """
    if salted is not None:
        return Entry.from_payload(salted[SALT_BYTES:])
    kind = KIND_BY_CODE.get(leaf.code)
    if kind is None:
        raise TraceDamaged(f"l'entrée {leaf.n} est d'un genre que ce programme ne connaît pas", first_bad=leaf.n)
    return Entry(kind=kind, detail={"erased": True}, node=node, n=leaf.n, at=instant(leaf.at_us))


def stored_size(folder: Path, node: str) -> int:
    """Count the entries that lie in a folder, for who reads it without its writer. Raises TraceDamaged."""
    starts = segment_starts(folder)
    if not starts:
        return 0
    last = starts[-1]
    length = (folder / leaves_name(last)).stat().st_size - len(leaves_header(node, last))
    return last + max(0, length) // LEAF.size
