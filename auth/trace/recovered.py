"""What an unclean end left behind, remembered until the journal itself says it (T02).

A torn tail is cut before ``node.recovered`` can be written in its place. What was cut is therefore put into
``recovery.json`` first, and stays there until its entry is durable, however often the node dies meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from auth.trace.entry import Draft, instant
from auth.trace.kinds import Kind
from auth.trace.storage import Storage
from auth.trace.view import JournalView
from camera_registry.clock import rfc3339

PENDING = "recovery.json"
_PARTIAL = "recovery.partial.json"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What an unclean end left: bytes never acknowledged, now cut off, and where the trace goes on.

    ``dropped_sha256`` is over the dropped bytes of payloads, leaves and checkpoints, in this order; None
    when there were none. ``size`` is the number of entries kept, ``last_at_us`` the time of the last of
    them in Unix microseconds: the last proven instant. ``void`` are entries that declared something of the journal
    (:mod:`auth.trace.declarations`) and were not signed for before the end: they count for nothing.
    """

    dropped_entries: int
    dropped_bytes: int
    dropped_sha256: str | None
    size: int
    last_at_us: int | None
    void: Sequence[int] = field(default=(), compare=False)

    def draft(self) -> Draft:
        """Return the ``node.recovered`` entry."""
        return Draft(
            kind=Kind.NODE_RECOVERED,
            detail={
                "dropped_entries": self.dropped_entries,
                "dropped_bytes": self.dropped_bytes,
                "dropped_sha256": self.dropped_sha256,
                "last_at": None if self.last_at_us is None else rfc3339(instant(self.last_at_us)),
                **({"void": list(self.void)} if self.void else {}),
            },
        )


class PendingRecoveries:
    """The cuts that no entry tells of yet, on the disk beside the journal. Blocking."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._path = folder / PENDING
        self._storage = storage

    def unsaid(self, view: JournalView) -> list[Recovery]:
        """Return the remembered cuts, oldest first, but those that an entry has told since."""
        remembered = self._read()
        if not remembered:
            return []
        entries = view.entries(min(cut.size for cut in remembered), view.size, {Kind.NODE_RECOVERED.code})
        said = {entry.detail.get("dropped_sha256") for entry in entries}
        return [cut for cut in remembered if cut.dropped_sha256 not in said]

    def remember(self, cuts: list[Recovery]) -> None:
        """Make the cuts durable; those remembered before are there until then. Raises OSError."""
        if cuts or self._path.exists():
            data = json.dumps([asdict(cut) for cut in cuts]).encode() if cuts else b""
            partial = self._path.with_name(_PARTIAL)
            descriptor = self._storage.open(partial, create=True)
            try:
                self._storage.truncate(descriptor, 0)
                self._storage.write(descriptor, data, 0)
                self._storage.sync(descriptor)
            finally:
                self._storage.close(descriptor)
            partial.replace(self._path)
            self._storage.sync_folder(self._path.parent)

    def forget(self) -> None:
        """Empty the memory once entries tell it all; where that fails, :meth:`unsaid` sees them anyway."""
        with suppress(OSError):
            self.remember([])

    def _read(self) -> list[Recovery]:
        """Read the file; one that an earlier version left unfinished comes from before anything was cut."""
        try:
            return [Recovery(**cut) for cut in json.loads(self._path.read_bytes())]
        except (FileNotFoundError, ValueError, TypeError):
            return []
