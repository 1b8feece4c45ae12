"""The one who cosigns, pure but for one small file: sees a log only grow, and says so (C2SP tlog-cosignature, T04).

It signs a checkpoint only if the log signed it, and if its tree extends the last one that it signed. Of a smaller tree,
or another one, it signs nothing: that is what it is there for, and what it remembers never goes back by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth.errors import AuthError, NoteError
from auth.trace.checkpoint import (
    Checkpoint,
    KeyChain,
    NoteSignature,
    SignedNote,
    canonical_base64,
    parse_checkpoint,
    parse_note,
)
from auth.trace.storage import replace_file
from auth.trace.tree import verify_consistency
from auth.trace.witness import cosigned_message, cosigner_key_id, cosigner_vkey


class CosignRefused(AuthError):
    """What the log shows is not to be cosigned; the text, in French, says why."""


class TreeDiverged(CosignRefused):
    """The log shows a smaller tree, or another one, than it did before (T04)."""


@dataclass(frozen=True, slots=True)
class CosigningKey:
    """The cosigner's name and key."""

    name: str
    key: Ed25519PrivateKey

    @property
    def vkey(self) -> str:
        """What those who verify are given."""
        return cosigner_vkey(self.name, self.key.public_key())

    def sign(self, text: str, at: int) -> NoteSignature:
        """Sign a checkpoint's text as seen at a time in Unix seconds."""
        raw = self.key.public_key().public_bytes_raw()
        signature = at.to_bytes(8) + self.key.sign(cosigned_message(text, at))
        return NoteSignature(self.name, cosigner_key_id(self.name, raw), signature)


class Witness:
    """Cosigns one log's checkpoints, and remembers in ``memory`` the last that it signed. Blocking.

    ``log_keys`` are the log's public keys, oldest first, got from elsewhere than the log.
    """

    def __init__(
        self,
        key: CosigningKey,
        memory: Path,
        *,
        log: str,
        log_keys: Sequence[Ed25519PublicKey],
        now: Callable[[], float],
    ) -> None:
        self._key = key
        self._memory = memory
        self._log = log
        self._log_keys = log_keys
        self._now = now

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint that was cosigned, None before the first. Raises CosignRefused, OSError."""
        try:
            note = parse_note(self._memory.read_bytes())
            return parse_checkpoint(note.text)
        except FileNotFoundError:
            return None
        except NoteError as error:
            raise CosignRefused(f"{self._memory.name} n'est pas la mémoire d'un cosignataire : {error}") from error

    def cosign(self, note: str, path: Sequence[str] = ()) -> SignedNote:
        """Cosign a checkpoint; ``path`` is the proof, in base64, that it extends the last one.

        What is signed is remembered before it is returned. Raises CosignRefused, TreeDiverged, OSError.
        """
        before = self.last()
        try:
            parsed = parse_note(note.encode())
            head = KeyChain(self._log, self._log_keys).open_any(parsed)
            proof = [canonical_base64(digest) for digest in path]
        except NoteError as error:
            raise CosignRefused(f"ce point de contrôle n'est pas de {self._log} : {error}") from error
        if before is not None:
            self._require_extension(before, head, proof)
        cosigned = SignedNote(parsed.text, (*parsed.signatures, self._key.sign(parsed.text, int(self._now()))))
        replace_file(self._memory, str(cosigned).encode(), self._memory.with_suffix(".partial"))
        return cosigned

    def _require_extension(self, before: Checkpoint, head: Checkpoint, proof: Sequence[bytes]) -> None:
        if head.size < before.size:
            raise TreeDiverged(
                f"le journal montre {head.size} entrées et en montrait {before.size} : il a été tronqué, ou une"
                " sauvegarde a été restaurée"
            )
        same = head.size == before.size
        extends = (
            head.root == before.root
            if same
            else not before.size or verify_consistency(before.size, head.size, before.root, head.root, proof)
        )
        if not extends:
            raise TreeDiverged(f"le journal de {head.size} entrées ne prolonge pas celui de {before.size} : il diverge")
