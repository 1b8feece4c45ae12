"""Reading segments forward, each entry checked on the way: what "valid" means, in one place.

Recovery, repair and the verifier all go through here, so that they cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from auth.errors import TraceDamaged
from auth.trace.canonical import MAX_BODY_BYTES, is_body
from auth.trace.kinds import Kind
from auth.trace.layout import (
    COMPLEMENT,
    FRAME,
    LEAF,
    MAX_PAYLOAD_BYTES,
    SALT_BYTES,
    SEGMENT_ENTRIES,
    StampWriter,
    erased_body,
    frame_body,
    leaves_header,
    leaves_name,
    payloads_header,
    payloads_name,
)

_SEGMENT_FILE = re.compile(r"([0-9]{12})\.(leaves|payloads)", re.ASCII)
_READ_BYTES = 1 << 20
_LARGEST_FRAME_BYTES = FRAME.size + SALT_BYTES + MAX_PAYLOAD_BYTES
_KIND_NAMES = {kind.code: kind.value for kind in Kind}
_KIND_IN_STAMP = re.compile(rb'"kind":"([a-z.-]{1,64})"')


Scanned = tuple[bytes, int, int, bytes | None]
"""Of one valid entry: its leaf hash, its time in Unix microseconds, its kind's number, and its salt and payload
(None once a purge erased them)."""


def segment_start(name: str) -> int | None:
    """Return the first entry number that a segment file's name tells; None for any other name."""
    match = _SEGMENT_FILE.fullmatch(name)
    return int(match[1]) if match else None


def segment_starts(folder: Path) -> list[int]:
    """List the segments of a folder by first entry number, in order.

    Raises TraceDamaged when one between them is missing, or a number is not a segment's.
    """
    starts = sorted({start for path in folder.iterdir() if (start := segment_start(path.name)) is not None})
    for position, start in enumerate(starts):
        expected = position * SEGMENT_ENTRIES
        if start % SEGMENT_ENTRIES:
            raise TraceDamaged(f"aucun segment ne commence à l'entrée {start}", first_bad=expected)
        if start != expected:
            raise TraceDamaged(
                f"le segment qui commence à l'entrée {expected} manque", first_bad=expected, missing=True
            )
    return starts


def read_leaves(folder: Path, node: str, first: int) -> tuple[bytes, int]:
    """Read a segment's whole leaf records, and the number of bytes after them that are no whole record.

    Raises TraceDamaged when the file is missing, too long, or its first line is not this segment's.
    """
    path = folder / leaves_name(first)
    header = leaves_header(node, first)
    most = SEGMENT_ENTRIES * LEAF.size
    try:
        with path.open("rb") as file:
            data = file.read(len(header) + most + 1)
    except FileNotFoundError as error:
        raise TraceDamaged(f"{path.name} manque", first_bad=first, missing=True) from error
    if not _has_header(data[: len(header)], header, path, first):
        return b"", len(data)
    length = len(data) - len(header)
    if length > most:
        raise TraceDamaged(f"{path.name} est plus long qu'un segment", first_bad=first + SEGMENT_ENTRIES)
    torn = length % LEAF.size
    return data[len(header) : len(data) - torn], torn


def open_payloads(folder: Path, node: str, first: int) -> tuple[BinaryIO, int]:
    """Open a segment's payload frames, past the first line; return the file and the first frame's offset.

    Where not even the first line was written whole, the offset is 0. Raises like :func:`read_leaves`.
    """
    path = folder / payloads_name(first)
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise TraceDamaged(f"{path.name} manque", first_bad=first, missing=True) from error
    try:
        header = payloads_header(node, first)
        whole = _has_header(file.read(len(header)), header, path, first)
        offset = len(header) if whole else 0
        file.seek(offset)
    except BaseException:
        file.close()
        raise
    return file, offset


def scan(node: str, first: int, records: bytes, frames: FrameReader, previous_at_us: int | None) -> Iterator[Scanned]:
    """Check entries one by one, from entry ``first`` on, and yield each that is valid; ``frames`` ends after it.

    ``records`` are whole leaf records, ``frames`` begins with the payload of the first of them, and
    ``previous_at_us`` is the time of the entry before. Raises TraceDamaged at the first entry that is
    wrong (or whose payload is ``missing``).
    """
    payloads = PayloadForm(node)
    stepped = Kind.CLOCK_STEPPED.code
    earliest = previous_at_us
    for index, (n, at_us, code, commitment) in enumerate(LEAF.iter_unpack(records)):
        number = first + index
        if n != number:
            raise TraceDamaged(
                f"la feuille à la place de l'entrée {number} est celle de l'entrée {n}", first_bad=number
            )
        digest = sha256(b"\x00" + records[index * LEAF.size : (index + 1) * LEAF.size]).digest()
        salted, erased = frames.next(number)
        if erased:
            if salted != erased_body(digest, len(salted)):
                raise TraceDamaged(
                    f"l'entrée {number} n'a pas été effacée comme le fait une élimination", first_bad=number
                )
        else:
            if sha256(salted).digest() != commitment:
                raise TraceDamaged(
                    f"le contenu de l'entrée {number} n'est pas celui auquel sa feuille engage", first_bad=number
                )
            payloads.check(n, at_us, code, salted)
        if earliest is not None and at_us < earliest and code != stepped:
            raise TraceDamaged(f"l'heure recule à l'entrée {number} sans saut d'horloge", first_bad=number)
        earliest = at_us
        yield digest, at_us, code, None if erased else salted


class FrameReader:
    """Reads payload frames in their order, through a bounded buffer."""

    __slots__ = ("_buffer", "_file", "_position", "offset")

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self._buffer = b""
        self._position = 0
        self.offset = offset

    def next(self, n: int) -> tuple[bytes, bool]:
        """Return the next frame's salt and payload, and whether they were erased; ``offset`` moves past it.

        Raises TraceDamaged, naming entry ``n``, when it is no frame or not all there.
        """
        buffer, position = self._buffer, self._position
        if len(buffer) - position < _LARGEST_FRAME_BYTES:
            buffer = self._buffer = buffer[position:] + self._file.read(_READ_BYTES)
            position = self._position = 0
        start = position + FRAME.size
        if len(buffer) < start:
            raise TraceDamaged(f"le contenu de l'entrée {n} manque", first_bad=n, missing=True)
        length, check = FRAME.unpack_from(buffer, position)
        erased = check != length ^ COMPLEMENT  # or it is no frame at all, which is rarer and asked next
        if (erased or not 0 < length <= MAX_PAYLOAD_BYTES) and frame_body(buffer[position:start]) is None:
            raise TraceDamaged(f"ce qui tient lieu de contenu de l'entrée {n} n'en est pas un", first_bad=n)
        end = start + SALT_BYTES + length
        if len(buffer) < end:
            raise TraceDamaged(f"le contenu de l'entrée {n} est tronqué", first_bad=n, missing=True)
        self.offset += end - position
        self._position = end
        return buffer[start:end], erased


class PayloadForm:
    """Tells whether salted bytes are the payload of an entry, in its one form, and repeat what its leaf says."""

    __slots__ = ("_stamps",)

    def __init__(self, node: str) -> None:
        self._stamps = StampWriter(node)

    def check(self, n: int, at_us: int, code: int, salted: bytes) -> None:
        """Check the salt and payload of entry ``n``. Raises TraceDamaged, naming it."""
        kind = _KIND_NAMES.get(code) or _newer_kind(salted)
        try:
            stamp = self._stamps.write(n, at_us, kind, code)
        except ValueError as error:
            raise TraceDamaged(f"l'entrée {n} n'a pas d'heure possible", first_bad=n) from error
        body = SALT_BYTES + len(stamp)
        if not kind or not salted.startswith(stamp.encode(), SALT_BYTES):
            raise TraceDamaged(f"la feuille et le contenu de l'entrée {n} se contredisent", first_bad=n)
        if len(salted) > body + MAX_BODY_BYTES or not is_body(salted, body):
            raise TraceDamaged(f"le contenu de l'entrée {n} n'est pas la seule forme d'une entrée", first_bad=n)


def _newer_kind(salted: bytes) -> str:
    """Return the name, in a payload, of a kind newer than this program's list; empty where there is none."""
    match = _KIND_IN_STAMP.search(salted, SALT_BYTES)
    name = match[1].decode() if match else ""
    return "" if name in _KIND_NAMES.values() else name


def _has_header(found: bytes, header: bytes, path: Path, first: int) -> bool:
    """Tell whether the first line is there whole. Raises TraceDamaged when it is another."""
    if found == header:
        return True
    if header.startswith(found):
        return False
    raise TraceDamaged(f"la première ligne de {path.name} n'est pas celle de ce segment", first_bad=first)
