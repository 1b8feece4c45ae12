"""A log that goes on after a part of it was lost, and says so in an entry of its own (T12).

A backup that was put back lacks entries that were signed, and that others have seen. Such a log is not written on by
itself. A person has it go on, with a ``trace.continued`` entry that names what is lost; from then on it is never again
a whole one, whoever verifies it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from struct import iter_unpack

from auth.errors import TraceUnavailable
from auth.trace.checkpoint import Checkpoint, parse_checkpoint, parse_note
from auth.trace.declarations import Continuation
from auth.trace.entry import Draft
from auth.trace.kinds import Kind
from auth.trace.layout import CHECKPOINTS, LEAF, origin
from auth.trace.notes import last_notes
from auth.trace.recovery import is_signed_for
from auth.trace.scan import read_leaves, segment_starts
from auth.trace.tree import Frontier, leaf_hash
from auth.trace.view import JournalView


class TraceBehind(TraceUnavailable):
    """The journal lacks entries of it that others have seen: a person must say how it goes on (T12)."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(
            f"ce journal n'a pas les {gap.known.size} entrées que {gap.source} en a vues : une sauvegarde plus"
            " ancienne a été restaurée, ou des fichiers sont perdus. Rien n'est servi tant que personne n'a décidé :"
            " remettez le journal entier en place, ou constatez la perte par"
            " « halfgateway trace continue --reason MOTIF »"
        )
        self.gap = gap


@dataclass(frozen=True, slots=True)
class KnownHead:
    """A head of the log that somebody kept, and who: words for people."""

    source: str
    note: str

    def checkpoint(self) -> Checkpoint:
        """Return the head. Raises NoteError."""
        return parse_checkpoint(parse_note(self.note.encode()).text)


@dataclass(frozen=True, slots=True)
class Gap:
    """A head that was seen and that the journal does not extend; it holds ``held`` entries of that history."""

    held: int
    known: Checkpoint
    note: str
    source: str

    def draft(self, reason: str, account: str) -> Draft:
        """Return the ``trace.continued`` entry that a person has written."""
        known = {"size": self.known.size, "note": self.note, "seen_by": self.source}
        return Draft(
            kind=Kind.TRACE_CONTINUED,
            account=account,
            source="local",
            detail={
                "motive": reason,
                "held": self.held,
                "lost": {"first": self.held, "last": self.known.size - 1},
                "known": known,
            },
        )


def find_gap(folder: Path, node: str, known: Sequence[KnownHead]) -> Gap | None:
    """Compare a journal with the heads that others have of it; None where it extends them all. Blocking.

    What a signed entry has declared lost is no gap any more. A head that is among the journal's last checkpoints costs
    nothing; for any other the tree is computed anew, some 2 µs an entry.
    Raises NoteError for what is no head, TraceDamaged, OSError.
    """
    heads = [(checkpoint, head) for head in known if (checkpoint := head.checkpoint()).size]
    own = sorted((pair for pair in heads if pair[0].origin == origin(node)), key=lambda pair: pair[0].size)
    recent = _recent_heads(folder, node)
    if all(checkpoint.text() in recent for checkpoint, _ in own):
        return None
    wanted = {checkpoint.size for checkpoint, _ in own}
    size, roots, continued = _walk(folder, node, wanted) if folder.is_dir() else (0, {}, [])
    extended = {checkpoint for checkpoint, _ in own if roots.get(checkpoint.size) == checkpoint.root}
    declared = _declared(JournalView(folder, node, lambda: size), continued)
    unmet = [
        pair for pair in own if pair[0] not in extended and not any(each.covers(pair[0].size) for each in declared)
    ]
    if not unmet:
        return None
    first, (last, head) = unmet[0][0], unmet[-1]
    held = size if first.size > size else max((each.size for each in extended if each.size < first.size), default=0)
    return Gap(held, last, head.note, head.source)


def _recent_heads(folder: Path, node: str) -> frozenset[str]:
    """Return the texts of the journal's last checkpoints, as far as one reading goes."""
    try:
        with (folder / CHECKPOINTS).open("rb") as file:
            notes = last_notes(file, file.seek(0, SEEK_END), origin(node))
        return frozenset(parse_note(note).text for _, note in notes)
    except FileNotFoundError:
        return frozenset()


def _walk(folder: Path, node: str, wanted: Set[int]) -> tuple[int, dict[int, bytes], list[int]]:
    """Return the journal's size, its roots at the wanted sizes, and which of its entries say that it goes on."""
    frontier, roots, continued = Frontier(), dict[int, bytes](), list[int]()
    for first in segment_starts(folder):
        records, _ = read_leaves(folder, node, first)
        for (record,) in iter_unpack(f"{LEAF.size}s", records):
            if LEAF.unpack(record)[2] == Kind.TRACE_CONTINUED.code:
                continued.append(frontier.size)
            frontier.append(leaf_hash(record))
            if frontier.size in wanted:
                roots[frontier.size] = frontier.root()
    return frontier.size, roots, continued


def _declared(view: JournalView, continued: Sequence[int]) -> list[Continuation]:
    """Return what the journal itself says was lost, in entries that were signed for as they were written."""
    signed = [n for n in continued if is_signed_for(view.folder, view.node, n)]
    found = [(n, salted) for n in signed for _, salted in view.payloads(n, n + 1) if salted is not None]
    return [Continuation.from_salted(n, salted) for n, salted in found]
