"""Opening a journal: find the longest valid prefix, cut a torn tail, refuse what was damaged (T02, T03).

Entries become durable a group at a time, payloads before leaves, so a crash tears one group at most: its
payloads while no leaf of it was written, or its leaves. In the second case its payloads were durable, so a
whole leaf whose payload does not fit was never torn. Torn is what is cut short, or what a lost sector left
as zeros, in the last segment and after the last checkpoint. That alone is cut; anything else was changed or
lost after it was acknowledged, and a person must look.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import NoteError, TraceDamaged
from auth.trace.checkpoint import Checkpoint, KeyChain, parse_checkpoint, parse_note
from auth.trace.declarations import RUN_BEGINS, TELLING, Declarations
from auth.trace.erasure import ErasedEntries
from auth.trace.files import Position
from auth.trace.kinds import KIND_BY_CODE
from auth.trace.layout import (
    CHECKPOINTS,
    LEAF,
    MAX_GROUP_BYTES,
    MAX_GROUP_ENTRIES,
    SEGMENT_ENTRIES,
    SEGMENT_HEIGHT,
    leaves_header,
    leaves_name,
    origin,
    payloads_header,
    payloads_name,
)
from auth.trace.notes import MAX_OWN_NOTE_BYTES, NoteReader, is_torn, key_name, last_notes, read_keys
from auth.trace.scan import FrameReader, open_payloads, read_leaves, scan, segment_starts
from auth.trace.tree import EMPTY_ROOT, Frontier, leaf_hash, merkle_root

_SECTOR_BYTES = 512
"""The least that a disk writes whole; pages and larger sectors are multiples of it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last whole checkpoint, where its record ends in its file, and the torn bytes after it."""

    checkpoint: Checkpoint | None
    end: int
    torn: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder: where the valid prefix ends, and the torn bytes after it, to be cut.

    ``base`` is a point of the last segment (which begins with entry ``first``) at or before ``durable``.
    ``dropped`` has the torn bytes of payloads, leaves and checkpoints, in this order; ``void`` are the entries that
    declare something of the journal, and that the run which wrote them did not sign for.
    """

    first: int
    base: Position
    durable: Position
    head: Head
    dropped_entries: int
    dropped: bytes
    segment_roots: dict[int, bytes]
    void: tuple[int, ...]


def examine(folder: Path, node: str, key: Ed25519PublicKey) -> Found:
    """Read a whole journal, changing nothing. Blocking.

    Every leaf is hashed and the last checkpoint's root compared; payloads are checked in the last segment
    and in those after the last checkpoint (that the others' content is right, the verifier tells). What is erased
    there is under that checkpoint, and so is the rule that it was erased by.
    Raises TraceDamaged, OSError.
    """
    return _Walk(folder, node, last_checkpoint(folder, node, key)).run()


class _Walk:
    """One pass over the segments, oldest first."""

    def __init__(self, folder: Path, node: str, head: Head) -> None:
        self._folder = folder
        self._node = node
        self._head = head
        self._signed = head.checkpoint or Checkpoint(origin(node), 0, EMPTY_ROOT)
        self._roots: dict[int, bytes] = {}
        self._here = Position(Frontier(), 0, 0, None)
        self._base = self._here
        self._erased = ErasedEntries()
        self._declarations = Declarations()

    def run(self) -> Found:
        starts = segment_starts(self._folder)
        self._compare_root(self._here.frontier)
        for first in starts[:-1]:
            self._full_segment(first)
        first, dropped_entries, torn = 0, 0, b""
        if starts:
            first = starts[-1]
            dropped_entries, torn = self._last_segment(first)
        size = self._here.frontier.size
        if size < self._signed.size:
            raise TraceDamaged(f"l'entrée {size} est signée et manque", first_bad=size, missing=True)
        if size and not self._head.checkpoint:
            raise TraceDamaged("les points de contrôle manquent", missing=True)
        if not self._erased.covered_by(self._declarations.rules):
            raise TraceDamaged("des entrées sont éliminées, et aucune élimination signée n'en est tracée")
        dropped, void = torn + self._head.torn, self._declarations.unsigned
        return Found(first, self._base, self._here, self._head, dropped_entries, dropped, self._roots, void)

    def _full_segment(self, first: int) -> None:
        """Take in a segment that others follow: it was complete and acknowledged before they began."""
        records, torn = read_leaves(self._folder, self._node, first)
        end = first + len(records) // LEAF.size
        if torn or end < first + SEGMENT_ENTRIES:
            raise TraceDamaged(f"l'entrée {end} manque", first_bad=end, missing=True)
        if end > self._signed.size:
            if damage := self._scan(first, records):
                raise damage
            return
        open_payloads(self._folder, self._node, first)[0].close()
        root = merkle_root([leaf_hash(record) for (record,) in struct.iter_unpack(f"{LEAF.size}s", records)])
        frontier = self._here.frontier.copy()
        frontier.append(root, SEGMENT_HEIGHT)
        self._roots[first] = root
        self._here = Position(frontier, 0, 0, LEAF.unpack(records[-LEAF.size :])[1])
        self._compare_root(frontier)

    def _last_segment(self, first: int) -> tuple[int, bytes]:
        """Take in the last segment as far as it is valid; return the entries and the bytes to be cut.

        Raises TraceDamaged when those are more than one torn group.
        """
        records = self._last_records(first)
        damage = self._scan(first, records) if records else None
        size = self._here.frontier.size
        if damage and (size < self._signed.size or not _is_torn(records, size - first, self._leaves_start(first))):
            raise damage
        if not records:
            self._base = self._here = self._segment_start(first)
        payloads = _tail(self._folder / payloads_name(first), self._here.payloads_end)
        leaves = _tail(self._folder / leaves_name(first), self._here.leaves_end)
        entries = len(leaves) // LEAF.size
        if entries > MAX_GROUP_ENTRIES or len(payloads) > MAX_GROUP_BYTES:
            raise damage or TraceDamaged(f"l'entrée {size} manque", first_bad=size, missing=True)
        return entries, payloads + leaves

    def _last_records(self, first: int) -> bytes:
        """Read the last segment's leaf records: none where a crash came between its files' creations."""
        try:
            return read_leaves(self._folder, self._node, first)[0]
        except TraceDamaged as damage:
            if damage.missing:
                return b""
            raise

    def _scan(self, first: int, records: bytes) -> TraceDamaged | None:
        """Take in a segment's valid entries; return what is wrong with the one after them, if any."""
        start = self._base = self._segment_start(first)
        frontier, at_us = start.frontier.copy(), start.at_us
        file, payloads_end = open_payloads(self._folder, self._node, first)
        frames = FrameReader(file, payloads_end)
        damage: TraceDamaged | None = None
        with file:
            try:
                for digest, entry_at_us, code, salted in scan(self._node, first, records, frames, start.at_us):
                    self._take(frontier.size, entry_at_us, code, salted)
                    frontier.append(digest)
                    payloads_end, at_us = frames.offset, entry_at_us
                    if frontier.size == self._signed.size:
                        self._base = self._position(first, frontier.copy(), payloads_end, at_us)
            except TraceDamaged as error:
                damage = error
        self._here = self._position(first, frontier, payloads_end, at_us)
        self._compare_root(self._base.frontier)
        return damage

    def _take(self, n: int, at_us: int, code: int, salted: bytes | None) -> None:
        """Take in what an entry declares, or that it is erased.

        Raises TraceDamaged where it declares nothing, and where it is of a newer program and nobody signed for it.
        """
        if n >= self._signed.size and code not in KIND_BY_CODE:
            raise TraceDamaged(
                f"l'entrée {n} est d'un genre que ce programme ne connaît pas, et n'est pas signée : ouvrez ce journal"
                " avec la version qui l'a écrite",
                first_bad=n,
            )
        if salted is None:
            self._erased.add(n, at_us, code)
        if code in TELLING:
            self._declarations.take(n, code, salted)
        if n < self._signed.size:
            self._declarations.sign()

    def _segment_start(self, first: int) -> Position:
        """Return the position here, in terms of a segment that begins here."""
        payloads_end = len(payloads_header(self._node, first))
        return self._position(first, self._here.frontier.copy(), payloads_end, self._here.at_us)

    def _leaves_start(self, first: int) -> int:
        return len(leaves_header(self._node, first))

    def _position(self, first: int, frontier: Frontier, payloads_end: int, at_us: int | None) -> Position:
        leaves_end = self._leaves_start(first) + (frontier.size - first) * LEAF.size
        return Position(frontier, leaves_end, payloads_end, at_us)

    def _compare_root(self, frontier: Frontier) -> None:
        if frontier.size == self._signed.size and frontier.root() != self._signed.root:
            raise TraceDamaged(f"les {frontier.size} premières entrées ne sont pas celles qui furent signées")


def _is_torn(records: bytes, index: int, start: int) -> bool:
    """Tell whether a sector under a leaf record was never written: it reads as zeros.

    ``start`` is the offset of the first of the records in its file.
    """
    begin, end = index * LEAF.size, (index + 1) * LEAF.size
    sectors = range((start + begin) // _SECTOR_BYTES * _SECTOR_BYTES, start + end, _SECTOR_BYTES)
    return any(
        not any(records[max(begin, sector - start) : min(end, sector - start + _SECTOR_BYTES)]) for sector in sectors
    )


def _tail(path: Path, end: int) -> bytes:
    """Read what follows offset ``end``, as far as telling a torn group from more takes."""
    try:
        with path.open("rb") as file:
            file.seek(end)
            return file.read(MAX_GROUP_BYTES + MAX_GROUP_ENTRIES * LEAF.size)
    except FileNotFoundError:
        return b""


def has_signed_last(folder: Path, node: str, key: Ed25519PublicKey) -> bool:
    """Whether the journal's last checkpoint carries a signature of this key that holds. Raises OSError."""
    try:
        with (folder / CHECKPOINTS).open("rb") as file:
            notes = last_notes(file, file.seek(0, SEEK_END), origin(node))
        KeyChain(origin(node), [key]).open_any(parse_note(notes[-1][1]))
    except (FileNotFoundError, IndexError, NoteError):
        return False
    return True


def is_signed_for(folder: Path, node: str, n: int) -> bool:
    """Tell whether a head covers entry ``n`` that is of the run which wrote it (:mod:`auth.trace.declarations`).

    Blocking. Raises TraceDamaged, OSError.
    """
    end = _run_end(folder, node, n)
    chain = KeyChain(origin(node), read_keys(folder / key_name(node)))
    with (folder / CHECKPOINTS).open("rb") as file:
        notes = NoteReader(file, file.seek(0, SEEK_END))
        file.seek(0)
        for note in notes:
            with suppress(NoteError):
                signed = parse_note(note)
                if n < parse_checkpoint(signed.text).size <= end and chain.open_any(signed):
                    return True
    return False


def _run_end(folder: Path, node: str, n: int) -> int:
    """Return the number of the first entry after ``n`` by which another run begins; of the next where none does."""
    size = 0
    for first in segment_starts(folder):
        records, _ = read_leaves(folder, node, first)
        size = first + len(records) // LEAF.size
        if size > n:
            for number, _, code, _ in LEAF.iter_unpack(records):
                if number > n and code in RUN_BEGINS:
                    return int(number)
    return size


def last_checkpoint(folder: Path, node: str, key: Ed25519PublicKey) -> Head:
    """Find the last whole note, which must be good; what follows it must be torn. Raises TraceDamaged, OSError."""
    try:
        file = (folder / CHECKPOINTS).open("rb")
    except FileNotFoundError:
        return Head(None, 0, b"")
    with file:
        size = file.seek(0, SEEK_END)
        notes = last_notes(file, size, origin(node))
        checkpoint, end = None, 0
        if notes:
            offset, note = notes[-1]
            end = offset + len(note) + 1
            try:
                checkpoint = KeyChain(origin(node), [key]).open_any(parse_note(note))
            except NoteError as error:
                raise TraceDamaged(f"le dernier point de contrôle est endommagé : {error}") from error
        if size - end > MAX_OWN_NOTE_BYTES:
            raise TraceDamaged(f"{CHECKPOINTS} ne finit pas par un point de contrôle")
        file.seek(end)
        torn = file.read()
    if torn and not is_torn(torn):
        raise TraceDamaged(f"{CHECKPOINTS} ne finit pas par un point de contrôle")
    return Head(checkpoint, end, torn)
