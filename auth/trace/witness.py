"""Others' signatures under a checkpoint, checked: C2SP cosignature/v1 with Ed25519 (T04).

A cosigner says "at this time I had seen this head, and it extended those that I had seen before".
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import NoteError
from auth.trace.checkpoint import NoteSignature, SignedNote, canonical_base64

COSIGNATURE_V1 = 0x04
"""Signature type byte of timestamped Ed25519 checkpoint cosignatures (C2SP tlog-cosignature)."""

_KEY_BYTES = 32
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cosigner:
    """One who cosigns: the name, and the public key that was got from them and not from the log."""

    name: str
    key: Ed25519PublicKey

    @classmethod
    def parse(cls, vkey: str) -> Cosigner:
        """Read a C2SP vkey, ``name+id+key``. Raises NoteError unless it is one of a cosigner's Ed25519 keys."""
        name, _, rest = vkey.strip().partition("+")
        given_id, _, blob = rest.partition("+")
        data = canonical_base64(blob)
        if not name or len(data) != 1 + _KEY_BYTES or data[0] != COSIGNATURE_V1:
            raise NoteError("ce n'est pas la vkey d'un cosignataire (type 0x04, Ed25519)")
        if cosigner_key_id(name, data[1:]).hex() != given_id:
            raise NoteError(f"la vkey de {name} ne nomme pas sa propre clé")
        return cls(name, Ed25519PublicKey.from_public_bytes(data[1:]))

    def cosigned_at(self, note: SignedNote) -> int | None:
        """Return when this cosigner signed the note, in Unix seconds; None if it carries no line of theirs.

        Raises NoteError when a line in their name and of their key does not hold.
        """
        own_id = cosigner_key_id(self.name, self.key.public_bytes_raw())
        for signature in note.signatures:
            if (signature.name, signature.key_id) == (self.name, own_id):
                return self._verified_time(note.text, signature)
        return None

    def _verified_time(self, text: str, signature: NoteSignature) -> int:
        blob = signature.signature
        if len(blob) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise NoteError(f"la cosignature de {self.name} est mal formée")
        at = int.from_bytes(blob[:_TIME_BYTES])
        try:
            self.key.verify(blob[_TIME_BYTES:], cosigned_message(text, at))
        except InvalidSignature as error:
            raise NoteError(f"la cosignature de {self.name} est fausse") from error
        return at


def cosigner_key_id(name: str, key: bytes) -> bytes:
    """Return the four bytes that name a cosigner's key in signature lines."""
    return sha256(name.encode() + b"\n" + bytes([COSIGNATURE_V1]) + key).digest()[:_ID_BYTES]


def cosigner_vkey(name: str, key: Ed25519PublicKey) -> str:
    """Return a cosigner's key as a C2SP vkey."""
    raw = key.public_bytes_raw()
    return f"{name}+{cosigner_key_id(name, raw).hex()}+{b64encode(bytes([COSIGNATURE_V1]) + raw).decode('ascii')}"


def cosigned_message(text: str, at: int) -> bytes:
    """Return what a cosigner signs of a note's text at a time in Unix seconds."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()
