"""The ``checkpoints`` file: signed notes one after the other, each followed by an empty line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from auth.errors import TraceDamaged
from auth.trace.checkpoint import SignedNote
from auth.trace.layout import CHECKPOINTS
from auth.trace.storage import replace_file

MAX_OWN_NOTE_BYTES = 4_096
"""Bytes of one of our own notes: two signatures and a long node name fit twice; longer is no note of ours."""

MAX_KEYS_BYTES = 1 << 16
"""Bytes of a node's public keys: more than five hundred changes of key."""

PARTIAL_KEYS = "keys.partial.json"
"""A key file before it is one; no part of the journal."""

_CHUNK_BYTES = 1 << 16
_RECORD = re.compile(rb"(?s:.)*?\n\n(?:\xe2\x80\x94 [^\n]*\n)+\n")
_END = b"\n\n"
SIGNATURE_LINE = "\n\u2014 ".encode()
_TEXT_LINES = 4
_PEM_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----\n?")


def open_regular(path: Path) -> BinaryIO:
    """Open a file that whoever handed it over may have made something else of: no pipe is waited for, no device read.

    Raises TraceDamaged, OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TraceDamaged(f"{path.name} n'est pas un fichier ordinaire")
    return os.fdopen(descriptor, "rb")


def record(note: SignedNote) -> bytes:
    """Return the bytes that the file gets for a note."""
    return str(note).encode() + b"\n"


def is_torn(tail: bytes) -> bool:
    """Tell whether bytes that are no whole record can be one whose write did not finish.

    Either it does not end as a record does, or it ends before its signatures, or a lost sector left zeros.
    """
    ends = tail.endswith(_END) and tail.count(b"\n") > _TEXT_LINES
    return len(tail) < MAX_OWN_NOTE_BYTES and (not ends or b"\0" in tail)


class NoteReader:
    """Yields the whole notes of the file's first ``size`` bytes, each without its empty line.

    Once they are all read, ``tail`` has the bytes after the last of them.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self.tail = b""

    def __iter__(self) -> Iterator[bytes]:
        buffer = b""
        while True:
            position = 0
            while match := _RECORD.match(buffer, position):
                yield match.group()[:-1]
                position = match.end()
            buffer = buffer[position:]
            chunk = self._file.read(min(self._left, _CHUNK_BYTES)) if len(buffer) < _CHUNK_BYTES else b""
            if not chunk:
                self.tail = buffer
                return
            self._left -= len(chunk)
            buffer += chunk


def handover_notes(folder: Path) -> tuple[bytes, ...]:
    """Return the checkpoints by which one key handed over to the next, oldest first. Blocking. Raises OSError.

    Only the bytes are looked at: two lines of signatures under the journal's own head.
    """
    with (folder / CHECKPOINTS).open("rb") as file:
        notes = NoteReader(file, file.seek(0, SEEK_END))
        file.seek(0)
        return tuple(note for note in notes if note.count(SIGNATURE_LINE) > 1)


def last_notes(file: BinaryIO, end: int, origin: str) -> list[tuple[int, bytes]]:
    """Return the last notes that end at or before ``end``, oldest first, each with the offset of its record.

    At least one, if a whole one lies there; as many as a chunk of the file holds.
    """
    start = max(0, end - _CHUNK_BYTES)
    file.seek(start)
    data = file.read(end - start)
    position = 0
    if start:
        boundary = data.find(_END + origin.encode() + b"\n")
        position = len(data) if boundary < 0 else boundary + len(_END)
    notes: list[tuple[int, bytes]] = []
    while match := _RECORD.match(data, position):
        notes.append((start + position, match.group()[:-1]))
        position = match.end()
    return notes


def key_name(node: str) -> str:
    """File name of the node's public keys."""
    return f"{node}.pem"


def write_key(key: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM (SubjectPublicKeyInfo)."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_keys(folder: Path, node: str, keys: Sequence[Ed25519PublicKey]) -> None:
    """Have the node's key file hold these keys, oldest first, durably. Raises OSError."""
    replace_file(folder / key_name(node), b"".join(map(write_key, keys)), folder / PARTIAL_KEYS)


def read_keys(path: Path) -> list[Ed25519PublicKey]:
    """Read the node's public keys, oldest first. Raises TraceDamaged when the file holds anything else, OSError."""
    keys: list[Ed25519PublicKey] = []
    with open_regular(path) as file:
        pem = file.read(MAX_KEYS_BYTES + 1)
    if len(pem) > MAX_KEYS_BYTES:
        raise TraceDamaged(f"{path.name} est trop long")
    for block in _PEM_BLOCK.findall(pem):
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TraceDamaged(f"{path.name} ne contient pas de clé publique") from error
        if not isinstance(key, Ed25519PublicKey):
            raise TraceDamaged(f"{path.name} contient une clé qui n'est pas Ed25519")
        keys.append(key)
    if not keys:
        raise TraceDamaged(f"{path.name} ne contient pas de clé publique")
    return keys
