"""Taking a folder over: lock, key, recovery, and what the last run left open."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import TraceDamaged, TraceUnavailable
from auth.trace.acts import OpenAct, unclosed_acts
from auth.trace.checkpoint import SigningKey
from auth.trace.files import JournalFiles
from auth.trace.kinds import KIND_BY_CODE, Kind
from auth.trace.layout import SALT_BYTES, is_node_name, segment_of
from auth.trace.notes import key_name, read_keys, write_key, write_keys
from auth.trace.purge import redo_purge
from auth.trace.recovered import PendingRecoveries, Recovery
from auth.trace.recovery import Found, examine, has_signed_last
from auth.trace.scan import segment_starts
from auth.trace.storage import Storage
from auth.trace.verify import verify_folder
from auth.trace.view import JournalView

LOCK_WAIT_S = 1.0
"""Seconds to wait for the folder's lock: a predecessor that is stopping, or a verifier's glance."""

_LOCK_POLL_S = 0.02
_LIFE = frozenset({Kind.NODE_STARTED.code, Kind.NODE_STOPPED.code, Kind.NODE_RECOVERED.code})
_ACT_CODES = frozenset(kind.code for kind in Kind if kind.value.startswith(("stream.", "export.")))
_STREAM = re.compile(rb'"stream":(null|"(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal ready to be written, and what was found on the way."""

    files: JournalFiles
    recoveries: tuple[Recovery, ...]
    pending: PendingRecoveries
    open_acts: tuple[OpenAct, ...]
    segment_roots: dict[int, bytes]


def open_journal(
    folder: Path,
    node: str,
    key: SigningKey,
    storage: Storage,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> Opened:
    """Lock the folder, recover the journal in it or begin one. Blocking.

    Raises TraceUnavailable when the folder cannot be written or another process has it, TraceDamaged when
    what lies there is not what was acknowledged; ValueError for a name that no node can have.
    """
    if not is_node_name(node):
        raise ValueError(f"{node!r} cannot name a node")
    files = JournalFiles(folder, node, key, storage)
    try:
        storage.make_folder(folder)
        _lock(files, wait)
        _publish_key(folder, node, key.public_key(), storage)
        redo_purge(folder, node, key.public_key(), storage)
        found = examine(folder, node, key.public_key())
        _forget_later_keys(folder, node, key.public_key())
        opened = _look_back(folder, node, files, found, PendingRecoveries(folder, storage))
        untold = bool(found.void)
        files.begin(found.first, found.base, found.durable, found.head.checkpoint, found.head.end, untold=untold)
        return opened
    except TraceDamaged as damage:
        files.close()
        if damage.first_bad is None:
            damage.first_bad = verify_folder(folder).first_bad
        raise
    except OSError as error:
        files.close()
        raise TraceUnavailable(f"the trace cannot be opened: {error.strerror or error}") from error
    except BaseException:
        files.close()
        raise


def _lock(files: JournalFiles, wait: Callable[[float], None]) -> None:
    for _ in range(round(LOCK_WAIT_S / _LOCK_POLL_S)):
        if files.lock():
            return
        wait(_LOCK_POLL_S)
    raise TraceUnavailable("another process writes this journal")


def _publish_key(folder: Path, node: str, key: Ed25519PublicKey, storage: Storage) -> None:
    """Put the public key beside the journal, or check that it is the one that signs now.

    A key file that a crash left unfinished is written again: no segment is begun before it is there.
    """
    path = folder / key_name(node)
    if path.exists():
        try:
            present = read_keys(path)
        except TraceDamaged:
            if segment_starts(folder):
                raise
        else:
            if key not in present:
                raise TraceDamaged(f"{path.name} n'est pas la clé dont ce nœud signe")
            if any(has_signed_last(folder, node, later) for later in present[present.index(key) + 1 :]):
                raise TraceDamaged("la clé du journal a transmis à une autre, qui seule le signe désormais")
            return
    descriptor = storage.open(path, create=True)
    try:
        storage.truncate(descriptor, 0)
        storage.write(descriptor, write_key(key), 0)
        storage.sync(descriptor)
        storage.sync_folder(folder)
    finally:
        storage.close(descriptor)


def _forget_later_keys(folder: Path, node: str, key: Ed25519PublicKey) -> None:
    """Take out of the key file what was to come after this key and never came: it signs what is signed now."""
    path = folder / key_name(node)
    keys = read_keys(path)
    if keys[-1] != key:
        write_keys(folder, node, keys[: keys.index(key) + 1])


def _look_back(folder: Path, node: str, files: JournalFiles, found: Found, pending: PendingRecoveries) -> Opened:
    """Tell what the last run left open, and remember what is to be cut before it is."""
    size = found.durable.frontier.size
    view = JournalView(folder, node, lambda: size)
    started, last_life = _last_run(view, size)
    digest = sha256(found.dropped).hexdigest() if found.dropped else None
    end = Recovery(found.dropped_entries, len(found.dropped), digest, size, found.durable.at_us, found.void)
    recoveries = pending.unsaid(view)
    if found.dropped and end not in recoveries:
        recoveries.append(end)
    pending.remember(recoveries)
    if not recoveries and (found.void or last_life == Kind.NODE_STARTED.code):
        recoveries.append(end)
    return Opened(files, tuple(recoveries), pending, _open_acts(view, started), found.segment_roots)


def _open_acts(view: JournalView, started: int) -> tuple[OpenAct, ...]:
    """Find the acts left open since an entry; all but theirs stay undecoded, for they may be a year's."""

    def told() -> Iterator[tuple[Kind, str | None, int]]:
        for leaf, salted in view.payloads(started, view.size, _ACT_CODES):
            if salted and (stream := _STREAM.search(salted, SALT_BYTES)):
                yield KIND_BY_CODE[leaf.code], json.loads(stream[1]), leaf.n

    acts = [(view.entry(intent), view.entry(last)) for intent, last in unclosed_acts(told())]
    return tuple(OpenAct(intent.stream or "", intent, last) for intent, last in acts)


def _last_run(view: JournalView, size: int) -> tuple[int, int | None]:
    """Return the number of the last ``node.started`` (else 0) and the kind of the last entry on the node's life.

    Whoever starts a node closes what the run before left open and only then writes ``node.started``, so
    nothing before that entry is open.
    """
    last_life: int | None = None
    end = size
    while end:
        segment = view.segment(end - 1)
        for leaf in reversed(segment.leaves(segment.first, end)):
            if leaf.code in _LIFE:
                last_life = last_life or leaf.code
                if leaf.code == Kind.NODE_STARTED.code:
                    return leaf.n, last_life
        end = segment_of(end - 1)
    return 0, last_life
