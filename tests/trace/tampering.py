"""What a forger would do to a journal, and what its folder then says."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.trace import (
    Draft,
    Entry,
    TraceReader,
    verify_folder,
)
from auth.trace.checkpoint import parse_checkpoint, parse_note
from auth.trace.layout import LEAF, commitment, frame
from tests.trace.journals import (
    CHECKPOINTS,
    LEAVES,
    NODE,
    PAYLOADS,
    frame_spans,
    leaf_spans,
    patch,
)

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


COVERED = (LEAVES, PAYLOADS, CHECKPOINTS)


def verdict(folder: Path, *anchors: str) -> tuple[str, int | None]:
    found = verify_folder(folder, anchors=anchors)
    return found.status.label, found.first_bad


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


def notes(folder: Path) -> list[str]:
    """The folder's checkpoint notes, oldest first."""
    reader = TraceReader.of(folder, NODE)
    return [signed.note for signed in reversed(asyncio.run(reader.checkpoints()).items)]


def parse_root(note: str) -> bytes:
    return parse_checkpoint(parse_note(note.encode()).text).root


def rewrite(folder: Path, n: int, old: bytes, new: bytes) -> None:
    """Edit an entry as one who can do everything but sign: leaf and payload fit each other again."""
    start, end = frame_spans(folder)[n]
    payload = (folder / PAYLOADS).read_bytes()[start + 40 : end]
    changed = payload.replace(old, new)
    assert changed != payload
    assert len(changed) == len(payload)
    patch(folder / PAYLOADS, start, frame(bytes(32), changed))
    patch(folder / LEAVES, leaf_spans(folder)[n][1] - 32, hashlib.sha256(bytes(32) + changed).digest())


def append(folder: Path, draft: Draft, detail: bytes = b"{}") -> int:
    """Add an entry as one who can do everything but sign, with this for an empty detail; its number."""
    n, at_us, _, _ = LEAF.unpack((folder / LEAVES).read_bytes()[slice(*leaf_spans(folder)[-1])])
    payload = Entry.from_draft(draft, node=NODE, n=n + 1, at_us=at_us).payload()
    append_payload(folder, draft.kind.code, payload.replace(b'"detail":{}', b'"detail":' + detail))
    return n + 1


def append_payload(folder: Path, code: int, payload: bytes) -> None:
    """Add any payload under a leaf that commits to it, with the time of the last entry."""
    n, at_us, _, _ = LEAF.unpack((folder / LEAVES).read_bytes()[slice(*leaf_spans(folder)[-1])])
    with (folder / PAYLOADS).open("ab") as payloads, (folder / LEAVES).open("ab") as leaves:
        payloads.write(frame(bytes(32), payload))
        leaves.write(LEAF.pack(n + 1, at_us, code, commitment(bytes(32) + payload)))


def reshuffle(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    data = (folder / CHECKPOINTS).read_bytes()
    pieces = [b"halfgateway/gw1\n" + piece for piece in data.split(b"halfgateway/gw1\n")[1:]]
    (folder / CHECKPOINTS).write_bytes(b"".join(change(pieces)))
