"""The offline verifier: a folder in, a verdict out; no network, no database, no trust in SYN (T03, T06).

It reads each file once, in bounded memory, and accounts for every byte of them but ``*.pem`` (the key),
``*.json``, ``*.lock`` and a rebuildable ``*.sqlite``. Verdicts:

- invalid: something there is wrong;
- diverged: what is there holds together, and is not the log that an anchor saw;
- incomplete: what is there is right, and something that was signed, anchored or begun is not all there, be it that
  the log says so itself (``trace.continued``);
- unanchored: all right, as far as the log's own signatures can tell;
- valid: all right, and the same log that an anchor saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import NoteError, TraceDamaged, TraceUnavailable
from auth.trace.checkpoint import Checkpoint, KeyChain, SignedNote, parse_note, verifier_key
from auth.trace.declarations import TELLING, Declarations
from auth.trace.erasure import ErasedEntries
from auth.trace.kinds import Kind
from auth.trace.layout import (
    CHECKPOINTS,
    FRAME,
    LEAF,
    MAX_GROUP_BYTES,
    SEGMENT_ENTRIES,
    frame_body,
    is_node_name,
    leaves_name,
    origin,
)
from auth.trace.lock import writer_lives
from auth.trace.notes import NoteReader, is_torn, key_name, open_regular, read_keys
from auth.trace.scan import FrameReader, Scanned, open_payloads, read_leaves, scan, segment_start, segment_starts
from auth.trace.tree import Frontier

UNCOVERED_SUFFIXES = frozenset({".pem", ".json", ".lock", ".sqlite"})
"""Files beside the journal that are not of it."""

ANCHORS = "anchors"
"""The folder beside the journal of what others signed of it; :mod:`auth.trace.dossier` reads it."""

_FIRST_LINE_BYTES = 256
_ORIGIN_IN_HEADER = re.compile(rb"\S+ leaves halfgateway/(\S+) [0-9]{12}\n")


class Status(Enum):
    """The verdict, with its exit code."""

    VALID = "valid", 0
    INVALID = "invalid", 3
    DIVERGED = "diverged", 4
    INCOMPLETE = "incomplete", 5
    UNANCHORED = "unanchored", 6

    def __init__(self, label: str, exit_code: int) -> None:
        self.label = label
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Verification:
    """What the verifier found; counts go as far as it got.

    ``key`` is the log's first key as a C2SP vkey, to be compared with one known from elsewhere, ``signing_key`` the
    one that it has handed over to since. ``signed`` is the size of the last checkpoint that holds, ``unsigned_tail``
    the entries after it (checked against their commitments only), ``torn_bytes`` what a writer had begun and not
    finished, ``anchored`` the size of the largest anchor that holds, ``lost`` how many entries the log itself says it
    has lost. ``first_bad`` is the first entry that is wrong or missing, where one can be named.
    """

    status: Status
    message: str
    node: str | None = None
    key: str | None = None
    entries: int = 0
    erased: int = 0
    checkpoints: int = 0
    signed: int = 0
    unsigned_tail: int = 0
    torn_bytes: int = 0
    anchored: int = 0
    first_bad: int | None = None
    signing_key: str | None = None
    lost: int = 0

    @property
    def exit_code(self) -> int:
        """``halfgateway trace verify``'s exit code."""
        return self.status.exit_code

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as one JSON object."""
        return {**asdict(self), "status": self.status.label}


def verify_folder(
    folder: Path,
    *,
    anchors: Sequence[str] = (),
    keys: Sequence[Ed25519PublicKey] | None = None,
    unwitnessed: Sequence[str] = (),
) -> Verification:
    """Verify the journal in a folder: a copy, or the live one beside its writer.

    ``anchors`` are checkpoint notes of this log that were kept elsewhere and are trusted; ``keys`` are the
    log's public keys, oldest first, where the folder's own are not to be believed: the first alone is enough, for each
    hands over to the next. ``unwitnessed`` are notes that nobody known vouches for: the log must extend them too, and
    they anchor nothing. Blocking. Raises NoteError when an anchor is no note, TraceUnavailable when a file cannot be
    read.
    """
    notes = [(parse_note(anchor.encode()), True) for anchor in anchors]
    notes += [(parse_note(anchor.encode()), False) for anchor in unwitnessed]
    found = _verify(folder, notes, keys)
    if found.status is Status.INVALID and writer_lives(folder):
        return _verify(folder, notes, keys)  # a purge may have begun since the checkpoints were read: look once more
    return found


def _verify(
    folder: Path, notes: Sequence[tuple[SignedNote, bool]], keys: Sequence[Ed25519PublicKey] | None
) -> Verification:
    verifier = _Verifier(folder)
    try:
        return verifier.run(notes, keys)
    except _Divergence as divergence:
        return verifier.verdict(Status.DIVERGED, str(divergence), divergence.first_bad)
    except TraceDamaged as damage:
        status = Status.INCOMPLETE if damage.missing else Status.INVALID
        return verifier.verdict(status, str(damage), damage.first_bad)
    except OSError as error:
        raise TraceUnavailable(f"le journal ne peut être lu : {error}") from error


class _Divergence(TraceDamaged):
    """The log is not the one that an anchor saw."""


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A head that was kept; it ``counts`` where somebody else vouches for it."""

    head: Checkpoint
    counts: bool


class _Verifier:
    """One verification: a single pass over the entries, meeting each checkpoint and anchor at its size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._node: str | None = None
        self._key: str | None = None
        self._frontier = Frontier()
        self._at_us: int | None = None
        self._erased = 0
        self._erased_entries = ErasedEntries()
        self._declarations = Declarations()
        self._checkpoints = 0
        self._signed = 0
        self._anchored = 0
        self._torn_bytes = 0
        self._heads: Iterator[Checkpoint] = iter(())
        self._next_head: Checkpoint | None = None
        self._anchors: list[_Anchor] = []
        self._strays: list[tuple[Checkpoint, int]] = []
        self._chain: KeyChain | None = None

    def run(self, anchors: Sequence[tuple[SignedNote, bool]], keys: Sequence[Ed25519PublicKey] | None) -> Verification:
        """Verify everything. Raises TraceDamaged at the first thing that does not hold, OSError."""
        live = writer_lives(self._folder)
        with self._open_checkpoints() as file:
            size = file.seek(0, SEEK_END)
            file.seek(0)
            starts = self._list()
            self._node = node = self._find_node()
            chain = self._chain = self._key_chain(node, keys)
            self._anchors = _open_anchors(chain, anchors)
            self._heads = self._read_heads(NoteReader(file, size), chain)
            self._next_head = next(self._heads, None)
            self._meet()
            for first in starts:
                self._segment(node, first, last=first == starts[-1])
        self._conclude(chain, live=live)
        self._account_for_erasures(node, starts)
        size = self._frontier.size
        if lost := self._declarations.continuations:
            return self.verdict(Status.INCOMPLETE, f"{size} entrées tiennent ; {' ; '.join(map(str, lost))}")
        if self._anchored:
            return self.verdict(Status.VALID, f"{size} entrées tiennent, dont {self._anchored} ancrées")
        return self.verdict(Status.UNANCHORED, f"{size} entrées tiennent, et aucune ancre ne montre que toutes y sont")

    def verdict(self, status: Status, message: str, first_bad: int | None = None) -> Verification:
        """Return a verdict with the counts so far."""
        size = self._frontier.size
        return Verification(
            status,
            message,
            node=self._node,
            key=self._key,
            entries=size,
            erased=self._erased,
            checkpoints=self._checkpoints,
            signed=self._signed,
            unsigned_tail=size - self._signed,
            torn_bytes=self._torn_bytes,
            anchored=self._anchored,
            first_bad=first_bad,
            signing_key=verifier_key(origin(self._node), self._chain.key) if self._node and self._chain else None,
            lost=sum(each.known - each.held for each in self._declarations.continuations),
        )

    def _open_checkpoints(self) -> BinaryIO:
        """Open the checkpoints before anything else: beside a writer, the entries they sign are then there."""
        path = self._folder / CHECKPOINTS
        try:
            return open_regular(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TraceDamaged("il n'y a pas de points de contrôle ici", missing=True) from error

    def _list(self) -> list[int]:
        """Return the segments' first numbers. Raises TraceDamaged for a file that is not of a journal."""
        for path in sorted(self._folder.iterdir()):
            if path.suffix in UNCOVERED_SUFFIXES or (path.name == ANCHORS and path.is_dir()):
                continue
            ours = path.name == CHECKPOINTS or segment_start(path.name) is not None
            if not ours or path.is_symlink() or not path.is_file():
                raise TraceDamaged(f"{path.name} n'est pas un fichier de ce journal")
        return segment_starts(self._folder)

    def _find_node(self) -> str:
        """Tell whose journal it is: the one key's, or among several the one that the first line names."""
        named = {path.stem for path in self._folder.glob("*.pem") if is_node_name(path.stem)}
        if len(named) == 1:
            return named.pop()
        path = self._folder / leaves_name(0)
        header = _ORIGIN_IN_HEADER.match(_first_line(path)) if path.exists() else None
        node = header[1].decode("ascii", "replace") if header else ""
        if not is_node_name(node):
            raise TraceDamaged("rien ne dit de qui est ce journal", first_bad=0)
        return node

    def _key_chain(self, node: str, keys: Sequence[Ed25519PublicKey] | None) -> KeyChain:
        try:
            named = read_keys(self._folder / key_name(node))
        except FileNotFoundError as error:
            if keys is None:
                raise TraceDamaged(f"la clé publique {key_name(node)} manque", missing=True) from error
            named = []
        except TraceDamaged:
            if keys is None:
                raise
            named = []
        if keys is None or named[: len(keys)] == list(keys):
            keys = named
        self._key = verifier_key(origin(node), keys[0])
        return KeyChain(origin(node), keys)

    def _read_heads(self, notes: NoteReader, chain: KeyChain) -> Iterator[Checkpoint]:
        """Yield the journal's checkpoints, each checked and larger than the one before."""
        size = -1
        for number, note in enumerate(notes, 1):
            try:
                checkpoint = chain.open(note)
            except NoteError as error:
                raise TraceDamaged(f"le point de contrôle {number} ne tient pas : {error}") from error
            if checkpoint.size <= size:
                raise TraceDamaged(f"le point de contrôle {number} ne suit pas le précédent")
            size = checkpoint.size
            yield checkpoint
        if notes.tail and not is_torn(notes.tail):
            raise TraceDamaged(
                f"ce qui suit {'le dernier' if size >= 0 else 'aucun'} point de contrôle n'en est pas un"
            )
        self._torn_bytes += len(notes.tail)

    def _segment(self, node: str, first: int, *, last: bool) -> None:
        records, torn = read_leaves(self._folder, node, first)
        end = first + len(records) // LEAF.size
        file, offset = open_payloads(self._folder, node, first)
        with file:
            frames = FrameReader(file, offset)
            self._entries(first, scan(node, first, records, frames, self._at_us))
            file.seek(frames.offset)
            rest = file.read(MAX_GROUP_BYTES + 1)
        if not last and end < first + SEGMENT_ENTRIES:
            raise TraceDamaged(f"l'entrée {end} manque", first_bad=end, missing=True)
        self._check_rest(rest, end, full=end == first + SEGMENT_ENTRIES)
        self._torn_bytes += torn + len(rest)

    def _entries(self, first: int, scanned: Iterator[Scanned]) -> None:
        """Take entries in, and stop at each size at which there is something to compare."""
        digests: list[bytes] = []
        telling, target = TELLING, self._target()
        try:
            for size, (digest, at_us, code, salted) in enumerate(scanned, first + 1):
                digests.append(digest)
                self._at_us = at_us
                if salted is None:
                    self._count_erased(size - 1, at_us, code)
                if code in telling:
                    self._declarations.take(size - 1, code, salted)
                if size == target:
                    self._frontier.extend(digests)
                    digests.clear()
                    self._meet()
                    target = self._target()
        finally:
            self._frontier.extend(digests)

    def _check_rest(self, rest: bytes, n: int, *, full: bool) -> None:
        """Check what follows the last payload: nothing, or what a writer has begun of entry ``n``'s group."""
        head = rest[: FRAME.size]
        if rest and (full or (len(head) == FRAME.size and frame_body(head) is None)):
            raise TraceDamaged(f"ce qui suit le contenu de l'entrée {n - 1} n'en est pas un", first_bad=n)
        if len(rest) > MAX_GROUP_BYTES:
            raise TraceDamaged(f"l'entrée {n} a un contenu et pas de feuille", first_bad=n, missing=True)

    def _count_erased(self, n: int, at_us: int, code: int) -> None:
        if self._next_head is None:
            raise TraceDamaged(f"l'entrée {n} est éliminée, et aucun point de contrôle ne la couvre", first_bad=n)
        if code == Kind.TRACE_CONTINUED.code:
            raise TraceDamaged(f"l'entrée {n} disait ce qui était perdu, et est éliminée", first_bad=n)
        self._erased += 1
        self._erased_entries.add(n, at_us, code)

    def _account_for_erasures(self, node: str, starts: Sequence[int]) -> None:
        """Check that a signed rule covers each erased entry. Raises TraceDamaged."""
        if self._erased_entries.covered_by(self._declarations.rules):
            return
        for first in starts:
            records, _ = read_leaves(self._folder, node, first)
            file, offset = open_payloads(self._folder, node, first)
            with file:
                frames = FrameReader(file, offset)
                for n, at_us, code, _ in LEAF.iter_unpack(records):
                    erased = frames.next(n)[1]
                    if erased and not any(rule.covers(n, at_us, code) for rule in self._declarations.rules):
                        raise TraceDamaged(
                            f"l'entrée {n} est éliminée, et aucune élimination signée n'en est tracée", first_bad=n
                        )

    def _is_lost(self, head: Checkpoint) -> bool:
        return any(each.covers(head.size) for each in self._declarations.continuations)

    def _target(self) -> int | None:
        """Return the next size at which there is something to compare."""
        sizes = [head.size for head in (self._next_head, *(anchor.head for anchor in self._anchors[:1])) if head]
        return min(sizes, default=None)

    def _meet(self) -> None:
        """Compare the tree with the checkpoint and the anchors of its size."""
        size, root = self._frontier.size, self._frontier.root()
        head = self._next_head
        if head and head.size == size:
            if head.root != root:
                raise TraceDamaged(
                    f"le point de contrôle de {size} entrées fut signé sur d'autres que celles de"
                    f" {self._signed} à {size - 1}",
                    first_bad=self._signed,
                )
            self._checkpoints += 1
            self._signed = size
            self._declarations.sign()
            self._next_head = next(self._heads, None)
        while self._anchors and self._anchors[0].head.size == size:
            anchor = self._anchors.pop(0)
            if anchor.head.root != root:
                self._strays.append((anchor.head, self._anchored))
            elif anchor.counts:
                self._anchored = size

    def _conclude(self, chain: KeyChain, *, live: bool) -> None:
        """Check that nothing is missing, but what the log itself says is lost. Raises TraceDamaged."""
        size = self._frontier.size
        if not chain.trusted:
            raise _Divergence("une ancre est signée d'une clé à laquelle ce journal n'a jamais transmis")
        for head, anchored in self._strays:
            if not self._is_lost(head):
                raise _Divergence(
                    f"une ancre de {head.size} entrées en a vu d'autres que celles de {anchored} à {head.size - 1}",
                    first_bad=anchored,
                )
        anchor = next((anchor.head for anchor in self._anchors if not self._is_lost(anchor.head)), None)
        for missing, word in ((self._next_head, "signées"), (anchor, "ancrées")):
            if missing:
                raise TraceDamaged(
                    f"les entrées {size} à {missing.size - 1} furent {word} et manquent", first_bad=size, missing=True
                )
        if not self._checkpoints:
            raise TraceDamaged("il n'y a aucun point de contrôle", missing=True)
        if self._torn_bytes and not live:
            raise TraceDamaged(
                f"la dernière écriture est restée inachevée : {self._torn_bytes} octets en sont là", missing=True
            )


def _open_anchors(chain: KeyChain, notes: Sequence[tuple[SignedNote, bool]]) -> list[_Anchor]:
    """Return the anchors, smallest first. Raises _Divergence when one is not of this log or key."""
    try:
        anchors = [_Anchor(chain.open_any(note), counts) for note, counts in notes]
    except NoteError as error:
        raise _Divergence(f"une ancre n'est pas de ce journal : {error}") from error
    return sorted(anchors, key=lambda anchor: anchor.head.size)


def _first_line(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.readline(_FIRST_LINE_BYTES)
