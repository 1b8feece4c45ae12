"""What others signed of this node's log, kept beside the journal: cosigned notes and time-stamp tokens (T04).

``anchors/NNNNNNNNNNNN-XXXXXXXX.note`` is a checkpoint note of N entries, with a cosignature where it has one; a
``.tst`` of the same name is an RFC 3161 token over that file's bytes. X tells witnesses apart.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from auth.errors import NoteError
from auth.trace.checkpoint import SignedNote, parse_checkpoint, parse_note
from auth.trace.continuity import KnownHead
from auth.trace.dossier import NOTE_SUFFIX, TOKEN_SUFFIX
from auth.trace.storage import replace_file
from auth.trace.verify import ANCHORS

MAX_KEPT = 8_000
"""Notes kept, an hourly anchor's for eleven months and under what a dossier may have. Then every other one of the
older half goes: a later anchor covers what an earlier one did, and only tells less exactly since when."""

_WITNESS_DIGITS = 8
_PARTIAL = "anchor.partial.json"


class AnchorStore:
    """The anchors of the journal in ``folder``. Blocking; every method raises OSError."""

    def __init__(self, folder: Path, *, most: int = MAX_KEPT) -> None:
        self._journal = folder
        self._folder = folder / ANCHORS
        self._most = most

    def keep(self, note: SignedNote, witness: str, token: bytes | None = None) -> str:
        """Keep a note that ``witness`` cosigned, or that its ``token`` is over; return the file's name."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        digits = sha256(witness.encode()).hexdigest()[:_WITNESS_DIGITS]
        name = f"{parse_checkpoint(note.text).size:012d}-{digits}"
        self._write(name + NOTE_SUFFIX, str(note).encode())
        if token is not None:
            self._write(name + TOKEN_SUFFIX, token)
        self._thin()
        return name

    def notes(self) -> list[SignedNote]:
        """Return the notes, those of the smallest trees first. Raises NoteError where a file is none."""
        return [parse_note(path.read_bytes()) for path in self._paths()]

    def latest(self) -> KnownHead | None:
        """Return the head of the largest tree that somebody else has seen. Raises NoteError where it is none."""
        paths = self._paths()
        if not paths:
            return None
        note = parse_note(paths[-1].read_bytes())
        return KnownHead("une ancre conservée auprès du journal", str(note))

    def files(self) -> dict[str, bytes]:
        """Return every file by its name below the journal's folder, as a dossier takes them over."""
        paths = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return {f"{ANCHORS}/{path.name}": path.read_bytes() for path in paths}

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{NOTE_SUFFIX}"))

    def _write(self, name: str, data: bytes) -> None:
        replace_file(self._folder / name, data, self._journal / _PARTIAL)

    def _thin(self) -> None:
        paths = self._paths()
        if len(paths) <= self._most:
            return
        for path in paths[: len(paths) // 2 : 2]:
            path.with_suffix(TOKEN_SUFFIX).unlink(missing_ok=True)
            path.unlink()


def read_head(path: Path) -> KnownHead | None:
    """Return the head that the node itself remembers outside its journal; None where it remembers none.

    Raises NoteError, OSError.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return KnownHead("ce nœud lui-même", str(parse_note(data)))
    except NoteError as error:
        raise NoteError(f"{path.name}: {error}") from error


def remember_head(path: Path, note: str) -> None:
    """Remember a head outside the journal, so that no older copy of it passes for the whole. Raises OSError."""
    replace_file(path, note.encode(), path.with_suffix(".partial"))
