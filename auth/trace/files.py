"""The open files of a journal and their durable state: written group by group, cut back when a write fails.

Blocking, and owned by one thread. What counts is what the last successful pair of syncs covered: offsets,
frontier and checkpoint move only then, so every failure has the same cure (:meth:`JournalFiles.repair`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auth.errors import NoteError, TraceDamaged, TraceUnavailable
from auth.trace.checkpoint import Checkpoint, KeyChain, SigningKey, parse_note, sign_checkpoint
from auth.trace.declarations import RUN_BEGINS
from auth.trace.layout import (
    CHECKPOINTS,
    LEAF,
    SEGMENT_ENTRIES,
    commitment,
    frame,
    leaves_header,
    leaves_name,
    origin,
    payloads_header,
    payloads_name,
)
from auth.trace.lock import LOCK, lock_exclusively
from auth.trace.notes import last_notes, record
from auth.trace.scan import FrameReader, open_payloads, read_leaves, scan
from auth.trace.storage import PROBE, Storage
from auth.trace.tree import Frontier, leaf_hash

_PROBE_BYTES = 4_096
"""One block, which the probe frees again: so each probe needs a block that nobody has."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """An entry ready to be written: number, time in Unix microseconds, kind's number, salt, payload."""

    n: int
    at_us: int
    code: int
    salt: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """A durable point of the journal: the tree so far, and where the segment's files end there."""

    frontier: Frontier
    leaves_end: int
    payloads_end: int
    at_us: int | None


class JournalFiles:
    """One node's journal, open for writing under the folder's exclusive lock."""

    def __init__(self, folder: Path, node: str, key: SigningKey, storage: Storage) -> None:
        self._folder = folder
        self._node = node
        self._key = key
        self._next_key: SigningKey | None = None
        self._storage = storage
        self._descriptors: dict[str, int] = {}
        self._sound = False
        self._untold = False
        self._tells = False
        self._first = 0
        self._base: Position
        self._checkpoints_end = 0
        self.durable: Position
        self.checkpoint: Checkpoint | None = None

    def lock(self) -> bool:
        """Take the folder's lock; False when another process writes this journal. Raises OSError."""
        descriptor = self._storage.open(self._folder / LOCK, create=True)
        if not lock_exclusively(descriptor):
            self._storage.close(descriptor)
            return False
        self._descriptors[LOCK] = descriptor
        return True

    def begin(
        self,
        first: int,
        base: Position,
        durable: Position,
        checkpoint: Checkpoint | None,
        checkpoints_end: int,
        *,
        untold: bool = False,
    ) -> None:
        """Go on from what recovery found in the segment from entry ``first``; cut everything else off.

        ``base`` is a point of that segment at or before ``durable``, from which a repair checks again. ``untold``:
        nothing is signed before an entry tells that another run begins (:mod:`auth.trace.declarations`).
        Raises TraceUnavailable, TraceDamaged.
        """
        self._untold = untold
        self._first, self._base, self.durable = first, base, durable
        self.checkpoint, self._checkpoints_end = checkpoint, checkpoints_end
        with self._guarded():
            if durable.frontier.size == first:
                self._begin_segment()
            else:
                self._open_files(create=False)
            self._cut_back()
        if checkpoint is None:
            self.write_checkpoint()

    def write(self, group: Sequence[Stamped]) -> Position:
        """Write a group that fits the segment (:meth:`room`) and make it durable; return where it ends.

        It counts only once :meth:`keep` is given that position. Raises TraceUnavailable.
        """
        self.repair()
        with self._guarded():
            if self.durable.frontier.size == self._first + SEGMENT_ENTRIES:
                self._begin_segment()
            start = self.durable
            frames, leaves, frontier = bytearray(), bytearray(), start.frontier.copy()
            for entry in group:
                framed = frame(entry.salt, entry.payload)
                leaf = LEAF.pack(entry.n, entry.at_us, entry.code, commitment(entry.salt + entry.payload))
                frames += framed
                leaves += leaf
                frontier.append(leaf_hash(leaf))
            self._put(payloads_name(self._first), bytes(frames), start.payloads_end)
            self._put(leaves_name(self._first), bytes(leaves), start.leaves_end)
            self._check_linked()
        self._tells = any(entry.code in RUN_BEGINS for entry in group)
        return Position(frontier, start.leaves_end + len(leaves), start.payloads_end + len(frames), group[-1].at_us)

    def room(self) -> int:
        """Entries that the next group may have, 1 at least: a group lies in one segment."""
        return self._first + SEGMENT_ENTRIES - self.durable.frontier.size or SEGMENT_ENTRIES

    def keep(self, written: Position) -> None:
        """Count what :meth:`write` wrote."""
        self.durable = written
        self._untold = self._untold and not self._tells

    def discard(self) -> None:
        """Cut off what :meth:`write` wrote and nobody will be told of. Raises TraceUnavailable."""
        self._sound = False
        self.repair()

    def hand_over_to(self, key: SigningKey) -> None:
        """Have the next checkpoint signed by the present key and by this one, and all later ones by this alone."""
        self._next_key = key

    def write_checkpoint(self) -> None:
        """Sign the tree as it stands, unless the last checkpoint covers it. Raises TraceUnavailable."""
        self.repair()
        frontier = self.durable.frontier
        if self.checkpoint and frontier.size == self.checkpoint.size:
            return
        if self._untold:
            raise TraceUnavailable("what the run before did not sign for is not signed before an entry tells of it")
        checkpoint = Checkpoint(origin(self._node), frontier.size, frontier.root())
        keys = [key for key in (self._key, self._next_key) if key is not None]
        note = record(sign_checkpoint(checkpoint, *keys))
        with self._guarded():
            self._put(CHECKPOINTS, note, self._checkpoints_end)
            self._check_linked()
        self.checkpoint, self._checkpoints_end = checkpoint, self._checkpoints_end + len(note)
        self._base = self.durable
        if len(keys) > 1:
            self._key, self._next_key = keys[-1], None

    def probe(self) -> None:
        """Check that the files are still in their folder and that it takes a block. Raises TraceUnavailable."""
        self.repair()
        with self._guarded():
            self._check_linked()
            descriptor = self._storage.open(self._folder / PROBE, create=True)
            try:
                self._storage.truncate(descriptor, 0)
                self._storage.write(descriptor, bytes(_PROBE_BYTES), 0)
                self._storage.sync(descriptor)
                self._storage.truncate(descriptor, 0)
            finally:
                self._storage.close(descriptor)

    def repair(self) -> None:
        """After a failure: open the files anew, cut them back to what is durable, and check that it is.

        The lock must still be the one in the folder: where it was replaced, another process may have
        written since, and only a restart finds out.

        After a failed sync the kernel may show pages that never reached the medium, so they are forgotten
        and read again. Raises TraceUnavailable while that is impossible, TraceDamaged if durable bytes
        are gone.
        """
        if self._sound:
            return
        with self._guarded():
            self._close_files()
            self._check_linked()
            self._open_files(create=False)
            self._cut_back()
            self._check_durable()

    def close(self) -> None:
        """Close the files and release the lock; what is not durable yet is not kept."""
        self._sound = False
        self._close_files()
        if LOCK in self._descriptors:
            self._storage.close(self._descriptors.pop(LOCK))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Hold the journal unsound while it is worked on; only complete work makes it sound again."""
        self._sound = False
        try:
            yield
        except OSError as error:
            raise TraceUnavailable(f"the trace cannot be written: {error.strerror or error}") from error
        self._sound = True

    def _begin_segment(self) -> None:
        """Create the next segment's files; what a failed attempt left of them is overwritten."""
        first = self.durable.frontier.size
        self._close_files()
        for name, header in self._headers(first):
            descriptor = self._storage.open(self._folder / name, create=True)
            self._descriptors[name] = descriptor
            self._storage.truncate(descriptor, 0)
            self._storage.write(descriptor, header, 0)
            self._storage.sync(descriptor)
        self._first = first
        self._base = self.durable = Position(
            self.durable.frontier,
            len(leaves_header(self._node, first)),
            len(payloads_header(self._node, first)),
            self.durable.at_us,
        )
        self._open_files(create=True)
        self._storage.sync_folder(self._folder)

    def _headers(self, first: int) -> list[tuple[str, bytes]]:
        return [
            (leaves_name(first), leaves_header(self._node, first)),
            (payloads_name(first), payloads_header(self._node, first)),
        ]

    def _open_files(self, *, create: bool) -> None:
        for name, _ in self._ends():
            if name not in self._descriptors:
                self._descriptors[name] = self._storage.open(self._folder / name, create=create)

    def _close_files(self) -> None:
        for name in [name for name in self._descriptors if name != LOCK]:
            self._storage.close(self._descriptors.pop(name))

    def _cut_back(self) -> None:
        for name, end in self._ends():
            descriptor = self._descriptors[name]
            size = self._storage.size(descriptor)
            if size < end:
                raise TraceDamaged(f"{name} a perdu des octets durables : {size} sur {end}")
            if size > end:
                self._storage.truncate(descriptor, end)
            self._storage.sync(descriptor)

    def _ends(self) -> list[tuple[str, int]]:
        """Return each file's durable end, in the order of cutting: at no time may a leaf lack its payload."""
        return [
            (leaves_name(self._first), self.durable.leaves_end),
            (payloads_name(self._first), self.durable.payloads_end),
            (CHECKPOINTS, self._checkpoints_end),
        ]

    def _check_durable(self) -> None:
        """Read back the last checkpoint and what was written since, from the medium. Raises TraceDamaged."""
        for name, _ in self._ends():
            self._storage.forget_cached(self._descriptors[name])
        if self.checkpoint and self._read_checkpoint() != self.checkpoint:
            raise TraceDamaged("le dernier point de contrôle n'est plus celui qui est sur le disque")
        base, first = self._base, self._first
        records, _ = read_leaves(self._folder, self._node, first)
        payloads, _ = open_payloads(self._folder, self._node, first)
        with payloads:
            payloads.seek(base.payloads_end)
            frontier, size = base.frontier.copy(), base.frontier.size
            tail = records[(size - first) * LEAF.size :]
            frames = FrameReader(payloads, base.payloads_end)
            for digest, *_ in scan(self._node, size, tail, frames, base.at_us):
                frontier.append(digest)
        if frontier.root() != self.durable.frontier.root():
            raise TraceDamaged("ce qui était durable n'est plus ce qui est sur le disque", first_bad=size)

    def _read_checkpoint(self) -> Checkpoint | None:
        with (self._folder / CHECKPOINTS).open("rb") as file:
            notes = last_notes(file, self._checkpoints_end, origin(self._node))
        try:
            return KeyChain(origin(self._node), [self._key.public_key()]).open_any(parse_note(notes[-1][1]))
        except (IndexError, NoteError):
            return None

    def _check_linked(self) -> None:
        for name, descriptor in self._descriptors.items():
            if not self._storage.is_at(descriptor, self._folder / name):
                raise TraceUnavailable(f"{name} is no longer in the journal's folder")

    def _put(self, name: str, data: bytes, offset: int) -> None:
        descriptor = self._descriptors[name]
        self._storage.write(descriptor, data, offset)
        self._storage.sync(descriptor)
