"""Erasing payloads and salts, leaf records untouched, such that a crash at any instant loses nothing (T09).

In this order: ``purge.json`` remembers the rule; the ``trace.purged`` entry states it and becomes durable; a
checkpoint covers that entry; then frames are overwritten where they lie; then ``purge.json`` is emptied. Whoever
opens the journal again redoes the erasing from the entry, if it was signed for, and forgets the rest: until then
nothing was erased, and what a run did not sign for may be another's hand (:mod:`auth.trace.declarations`).

An erased frame has the length it had, and its first four bytes are never changed: so a frame that a crash left
half erased is still found, and erased again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import TraceDamaged
from auth.trace.erasure import ErasureRule
from auth.trace.kinds import Kind
from auth.trace.layout import FRAME, LEAF, MAX_PAYLOAD_BYTES, SALT_BYTES, commitment, erased_frame, payloads_name
from auth.trace.recovery import is_signed_for, last_checkpoint
from auth.trace.scan import open_payloads, read_leaves, segment_starts
from auth.trace.storage import Storage
from auth.trace.tree import leaf_hash
from auth.trace.view import JournalView

PENDING_PURGE = "purge.json"


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """What a rule would erase now: how many entries, from which to which, and how many bytes of payload.

    ``leaves_sha256`` is over the leaf hashes of all of them in their order: it says which they were for good, with
    nothing of what they said.
    """

    rule: ErasureRule
    count: int
    first: int
    last: int
    payload_bytes: int
    leaves_sha256: str


def plan_purge(view: JournalView, rule: ErasureRule) -> PurgePlan | None:
    """See what a rule would erase; None when that is nothing. Blocking. Raises TraceDamaged, OSError."""
    digest, count, first, last, size_bytes = sha256(), 0, 0, 0, 0
    for leaf, salted in view.payloads(0, rule.size, rule.codes):
        if salted is not None and rule.covers(leaf.n, leaf.at_us, leaf.code):
            first = leaf.n if not count else first
            count, last, size_bytes = count + 1, leaf.n, size_bytes + len(salted) - SALT_BYTES
            digest.update(leaf_hash(LEAF.pack(*leaf)))
    return PurgePlan(rule, count, first, last, size_bytes, digest.hexdigest()) if count else None


class PendingPurge:
    """The rule that is being carried out, on the disk beside the journal. Blocking."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._path = folder / PENDING_PURGE
        self._storage = storage

    def read(self) -> ErasureRule | None:
        """Return it; None where there is none, or where a crash left it unfinished: then nothing had begun."""
        try:
            return ErasureRule.from_detail(json.loads(self._path.read_bytes()))
        except (FileNotFoundError, ValueError, AttributeError):
            return None

    def remember(self, rule: ErasureRule | None) -> None:
        """Make a rule durable, or forget the one there was. Raises OSError."""
        if rule is None and not self._path.exists():
            return
        descriptor = self._storage.open(self._path, create=True)
        try:
            self._storage.truncate(descriptor, 0)
            if rule is not None:
                self._storage.write(descriptor, json.dumps(rule.to_detail()).encode(), 0)
            self._storage.sync(descriptor)
        finally:
            self._storage.close(descriptor)
        self._storage.sync_folder(self._path.parent)


def erase(folder: Path, node: str, rule: ErasureRule, storage: Storage) -> None:
    """Overwrite every payload and salt that a rule covers; doing it again changes nothing. Blocking.

    Only for a rule that a signed entry states. Raises TraceDamaged, OSError.
    """
    for first in segment_starts(folder):
        if first < rule.size:
            _erase_in_segment(folder, node, first, rule, storage)


def _erase_in_segment(folder: Path, node: str, first: int, rule: ErasureRule, storage: Storage) -> None:
    records, _ = read_leaves(folder, node, first)
    numbers = {n for n, at_us, code, _ in LEAF.iter_unpack(records) if rule.covers(n, at_us, code)}
    if not numbers:
        return
    descriptor = storage.open(folder / payloads_name(first), create=False)
    try:
        for n, offset, length in _frames(folder, node, first, len(records) // LEAF.size):
            if n in numbers:
                erased = erased_frame(records[(n - first) * LEAF.size :][: LEAF.size], length)
                if os.pread(descriptor, len(erased), offset) != erased:
                    storage.write(descriptor, erased, offset)
        storage.sync(descriptor)
    finally:
        storage.close(descriptor)


def _frames(folder: Path, node: str, first: int, count: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, offset and payload length of a segment's frames, by the four bytes that never change."""
    file, offset = open_payloads(folder, node, first)
    with file:
        for n in range(first, first + count):
            length = int.from_bytes(os.pread(file.fileno(), FRAME.size // 2, offset))
            if not 0 < length <= MAX_PAYLOAD_BYTES:
                raise TraceDamaged(f"ce qui tient lieu de contenu de l'entrée {n} n'en est pas un", first_bad=n)
            yield n, offset, length
            offset += FRAME.size + SALT_BYTES + length


def stated_by(folder: Path, node: str, rule: ErasureRule, end: int) -> bool:
    """Tell whether an entry before number ``end`` states this rule, and its run signed for it.

    Whatever lies half erased before it. Blocking. Raises TraceDamaged, OSError.
    """
    return any(is_signed_for(folder, node, n) for n in _statements(folder, node, rule, end))


def _statements(folder: Path, node: str, rule: ErasureRule, end: int) -> Iterator[int]:
    for first in segment_starts(folder):
        records, _ = read_leaves(folder, node, first)
        wanted = {
            n: committed
            for n, _, code, committed in LEAF.iter_unpack(records)
            if rule.size <= n < end and code == Kind.TRACE_PURGED.code
        }
        if not wanted:
            continue
        file, _ = open_payloads(folder, node, first)
        with file:
            for n, offset, length in _frames(folder, node, first, max(wanted) - first + 1):
                if n in wanted:
                    salted = os.pread(file.fileno(), SALT_BYTES + length, offset + FRAME.size)
                    if commitment(salted) == wanted[n] and _states(n, salted, rule):
                        yield n


def _states(n: int, salted: bytes, rule: ErasureRule) -> bool:
    try:
        return ErasureRule.from_salted(n, salted) == rule
    except ValueError:
        return False


def redo_purge(folder: Path, node: str, key: Ed25519PublicKey, storage: Storage) -> None:
    """Redo what a crash may have left half erased, before anything else is read of the journal. Blocking.

    Only under a checkpoint that covers the purge's entry: before there is one, nothing was erased, and the purge is
    gone on with once the journal is open. Raises TraceDamaged, OSError.
    """
    rule = PendingPurge(folder, storage).read()
    if rule is None:
        return
    signed = last_checkpoint(folder, node, key).checkpoint
    if signed is not None and stated_by(folder, node, rule, signed.size):
        erase(folder, node, rule, storage)


def finish_purge(folder: Path, node: str, rule: ErasureRule, storage: Storage) -> None:
    """Erase and forget, in a journal whose checkpoint covers the purge's entry. Blocking.

    Raises TraceDamaged, OSError; it can be called again.
    """
    erase(folder, node, rule, storage)
    PendingPurge(folder, storage).remember(None)
