"""Proofs as files to hand over, pure: C2SP tlog-proof for inclusion, and the like for consistency (T05).

A proof carries the checkpoint that it is against, as the log signed it and others cosigned it. Consistency is
written as C2SP tlog-witness sends it: ``old SIZE``, the hashes, an empty line, the newer checkpoint.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from auth.errors import NoteError
from auth.trace.checkpoint import MAX_NOTE_BYTES, SignedNote, canonical_base64, parse_note
from auth.trace.tree import HASH_BYTES

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
"""Hashes of one proof: the height of the tallest tree whose size is a number of a checkpoint."""

MAX_PROOF_BYTES = MAX_NOTE_BYTES + 8_192
"""Bytes of a proof's file; a longer one is refused unread."""

_INDEX_LINE = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)
_OLD_LINE = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class InclusionFile:
    """That the leaf hash of entry ``n`` lies under a checkpoint."""

    n: int
    path: tuple[bytes, ...]
    note: SignedNote

    def __str__(self) -> str:
        return _proof_text((PROOF_HEADER, f"index {self.n}"), self.path, self.note)

    @classmethod
    def parse(cls, data: bytes) -> InclusionFile:
        """Read a ``.tlog-proof``. Raises NoteError unless it is canonical; ``extra`` data is none of ours."""
        lines, note = _proof_parts(data)
        if lines[:1] != [PROOF_HEADER]:
            raise NoteError(f"une preuve commence par {PROOF_HEADER}")
        return cls(_number(_INDEX_LINE, lines[1:2]), _hashes(lines[2:]), note)


@dataclass(frozen=True, slots=True)
class ConsistencyFile:
    """That a checkpoint's tree begins with the tree of its first ``old`` entries."""

    old: int
    path: tuple[bytes, ...]
    note: SignedNote

    def __str__(self) -> str:
        return _proof_text((f"old {self.old}",), self.path, self.note)

    @classmethod
    def parse(cls, data: bytes) -> ConsistencyFile:
        """Read one. Raises NoteError unless it is canonical."""
        lines, note = _proof_parts(data)
        return cls(_number(_OLD_LINE, lines[:1]), _hashes(lines[1:]), note)


def _proof_text(head: Sequence[str], path: Sequence[bytes], note: SignedNote) -> str:
    hashes = (b64encode(digest).decode("ascii") for digest in path)
    return "\n".join([*head, *hashes, "", str(note)])


def _proof_parts(data: bytes) -> tuple[list[str], SignedNote]:
    if len(data) > MAX_PROOF_BYTES:
        raise NoteError("la preuve est trop longue")
    head, blank, note = data.partition(b"\n\n")
    if not blank:
        raise NoteError("la preuve n'a pas de point de contrôle")
    try:
        return head.decode("ascii").split("\n"), parse_note(note)
    except UnicodeDecodeError as error:
        raise NoteError("la preuve n'est pas en ASCII") from error


def _number(form: re.Pattern[str], lines: Sequence[str]) -> int:
    match = form.fullmatch(lines[0]) if lines else None
    if match is None:
        raise NoteError("la preuve ne dit pas de quelle entrée, ou taille, elle est")
    return int(match[1])


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    path = tuple(map(canonical_base64, lines))
    if len(path) > MAX_PATH or any(len(digest) != HASH_BYTES for digest in path):
        raise NoteError("la preuve contient autre chose que des empreintes SHA-256")
    return path
