"""Signed tree heads, pure: C2SP signed-note and tlog-checkpoint with Ed25519 (T03, T04).

Parsing is strict: a note that parses serialises again to the very same bytes, so that no bit of it is free.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import NoteError
from auth.trace.tree import HASH_BYTES

ED25519 = 0x01
"""Signature type byte of plain Ed25519 note signatures (C2SP signed-note)."""

MAX_NOTE_BYTES = 1 << 17
"""Bytes of one note: 16 post-quantum cosignatures of 5 kB and room; a longer one is refused unread."""

MAX_SIGNATURES = 64
"""Signature lines of one note (C2SP asks for 16 at least); a note with more is refused."""

MAX_TREE_SIZE = 1 << 63
_KEY_ID_BYTES = 4
_SIGNATURE_MARK = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class SigningKey(Protocol):
    """What signs the log's checkpoints: an ``Ed25519PrivateKey``, or a key that never leaves its token."""

    def public_key(self) -> Ed25519PublicKey:
        """Return the public half."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64 bytes of an Ed25519 signature. Raises TraceUnavailable where the key cannot be used now."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who, by which key, and the bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_SIGNATURE_MARK}{self.name} {_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text, ending in a newline, and its signatures."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's origin, its number of entries, the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note text: three lines, no extension."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


def key_id(name: str, key: Ed25519PublicKey) -> bytes:
    """Return the four bytes that name a key in signature lines (C2SP signed-note)."""
    return sha256(name.encode() + b"\n" + bytes([ED25519]) + key.public_bytes_raw()).digest()[:_KEY_ID_BYTES]


def verifier_key(name: str, key: Ed25519PublicKey) -> str:
    """Return the key as a C2SP vkey, the form that third-party verifiers are configured with."""
    return f"{name}+{key_id(name, key).hex()}+{_base64(bytes([ED25519]) + key.public_bytes_raw())}"


def sign(text: str, name: str, *keys: SigningKey) -> SignedNote:
    """Sign a note text under one name; two keys where one hands over to the next."""
    return SignedNote(
        text,
        tuple(NoteSignature(name, key_id(name, key.public_key()), key.sign(text.encode())) for key in keys),
    )


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> SignedNote:
    """Sign a checkpoint under its origin's name."""
    return sign(checkpoint.text(), checkpoint.origin, *keys)


def verify_signature(text: str, signature: NoteSignature, key: Ed25519PublicKey) -> None:
    """Check one signature over a note text. Raises NoteError when it does not hold."""
    try:
        key.verify(signature.signature, text.encode())
    except InvalidSignature as error:
        raise NoteError(f"la signature de {signature.name} est fausse") from error


def parse_note(data: bytes) -> SignedNote:
    """Parse one signed note. Raises NoteError unless it is canonical to the last bit."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError("la note est trop longue")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError("la note n'est pas en UTF-8") from error
    if _CONTROL.search(note):
        raise NoteError("la note contient des caractères de contrôle")
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteError("la note n'a pas de signature")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError("la note a trop de signatures")
    return SignedNote(text + "\n", tuple(map(_parse_signature, lines)))


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse a checkpoint's note text. Raises NoteError unless it is origin, size and root, canonical."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise NoteError("un point de contrôle a trois lignes : origine, taille, racine")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size) or int(size) >= MAX_TREE_SIZE:
        raise NoteError("la taille du point de contrôle n'est pas un nombre canonique")
    digest = canonical_base64(root)
    if len(digest) != HASH_BYTES:
        raise NoteError("la racine du point de contrôle n'est pas une empreinte SHA-256")
    return Checkpoint(origin, int(size), digest)


class KeyChain:
    """The keys of one log, oldest first, and which of them signs now.

    A key hands over to the next by a checkpoint that both sign; from then on the next signs alone. Every
    signature must be of these keys and hold: a journal's own checkpoints carry no stranger's line. A key that
    none handed over to opens nothing: :attr:`trusted` tells whether one did.
    """

    def __init__(self, name: str, keys: Sequence[Ed25519PublicKey]) -> None:
        self._name = name
        self._keys = [(key_id(name, key), key) for key in keys]
        self._current = 0
        self._latest_used = 0

    @property
    def trusted(self) -> bool:
        """Whether every key that opened a note by now is one that the log began with or handed over to."""
        return self._latest_used <= self._current

    @property
    def key(self) -> Ed25519PublicKey:
        """The key that signs now, as far as the notes were opened."""
        return self._keys[self._current][1]

    def open(self, data: bytes) -> Checkpoint:
        """Parse and check the log's next checkpoint. Raises NoteError."""
        note = parse_note(data)
        signers = [key for key, _ in self._keys[self._current : self._current + 2]]
        given = [signature.key_id for signature in note.signatures]
        if any(signature.name != self._name for signature in note.signatures) or given not in (
            signers[:1],
            signers[:2],
        ):
            raise NoteError(
                f"le point de contrôle n'est pas signé par la clé en vigueur de {self._name}, et par elle seule"
            )
        for signature, (_, key) in zip(note.signatures, self._keys[self._current :], strict=False):
            verify_signature(note.text, signature, key)
        self._current += len(given) - 1
        return self._own(note)

    def open_any(self, note: SignedNote) -> Checkpoint:
        """Check a checkpoint signed by any of the keys, among others' signatures. Raises NoteError."""
        known = {identifier: (index, key) for index, (identifier, key) in enumerate(self._keys)}
        own = [s for s in note.signatures if s.name == self._name and s.key_id in known]
        if not own:
            raise NoteError(f"aucune signature n'est d'une clé de {self._name}")
        for signature in own:
            verify_signature(note.text, signature, known[signature.key_id][1])
        self._latest_used = max(self._latest_used, min(known[signature.key_id][0] for signature in own))
        return self._own(note)

    def _own(self, note: SignedNote) -> Checkpoint:
        checkpoint = parse_checkpoint(note.text)
        if checkpoint.origin != self._name:
            raise NoteError(f"le point de contrôle est de {checkpoint.origin}, non de {self._name}")
        return checkpoint


def _parse_signature(line: str) -> NoteSignature:
    mark, name, blob = line[:2], *line[2:].partition(" ")[::2]
    if mark != _SIGNATURE_MARK or not name or "+" in name or any(map(str.isspace, name)):
        raise NoteError("une ligne de signature est mal formée")
    signed = canonical_base64(blob)
    if len(signed) <= _KEY_ID_BYTES:
        raise NoteError("une ligne de signature est trop courte")
    return NoteSignature(name, signed[:_KEY_ID_BYTES], signed[_KEY_ID_BYTES:])


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def canonical_base64(text: str) -> bytes:
    """Decode base64 that has one form only. Raises NoteError for any other."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise NoteError("un champ base64 est mal formé") from error
    if _base64(data) != text:
        raise NoteError("un champ base64 n'est pas canonique")
    return data
