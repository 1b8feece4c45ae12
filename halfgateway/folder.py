"""What lies where in a node's data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEMO_NODE = "demo"
"""The node of a demo's data folder."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The one folder that is a node's own; ``head_note`` is where its journal's last head is kept, if not in it."""

    root: Path
    head_note: Path | None = None

    def make(self) -> None:
        """Make the folder, for this user alone."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)

    @property
    def secrets(self) -> Path:
        """Keys (:mod:`halfgateway.keys`)."""
        return self.root / "secrets"

    @property
    def trace(self) -> Path:
        """The journal."""
        return self.root / "trace"

    @property
    def head(self) -> Path:
        """The journal's last head that this node saw, outside the journal: a restored copy does not pass for it.

        It must not come back with the folder either: it stays out of what is restored, or lies elsewhere.
        """
        return self.head_note or self.root / "trace-head.note"

    @property
    def interconnection(self) -> Path:
        """The fsynced record of the interconnection's state: a cut's source."""
        return self.root / "interconnection.record"

    @property
    def incidents(self) -> Path:
        """The books of incidents (:mod:`ops.incidents.book`)."""
        return self.root / "incidents"

    @property
    def correspondence(self) -> Path:
        """The books of what is mailed and is no incident's notice (:mod:`ops.correspondence`)."""
        return self.root / "correspondence"

    @property
    def conditions(self) -> Path:
        """What is wrong with the node now, for the processes beside it (:mod:`ops.conditions`)."""
        return self.run / "conditions"

    @property
    def announcements(self) -> Path:
        """What the parties are to be told of the convention's life (:mod:`ops.announcements`)."""
        return self.root / "announcements"

    @property
    def socket(self) -> Path:
        """Where the node's own door is (:mod:`halfgateway.app.local_door`); to be reached by its :func:`short_path`."""
        return self.run / "office.sock"

    @property
    def run(self) -> Path:
        """What exists only while the node runs: its lock and what it last followed."""
        return self.root / "run"

    @property
    def valkey(self) -> Path:
        """The embedded Valkey's files."""
        return self.root / "valkey"

    @property
    def siem_cursor(self) -> Path:
        """Up to where a collector has been sent the trace (:mod:`halfgateway.siem.cursor`)."""
        return self.root / "siem.json"

    @property
    def recorder(self) -> DataFolder:
        """What ``halfgateway recorder`` keeps for itself: its register, a journal of its own."""
        return DataFolder(self.root / "recorder")

    @property
    def footage(self) -> Path:
        """What ``halfgateway recorder`` writes in a demo; elsewhere the configuration says where that lies."""
        return self.recorder.root / "footage"

    @property
    def records(self) -> Path:
        """The embedded SQLite database."""
        return self.root / "records.sqlite"


@contextmanager
def short_path(folder: DataFolder) -> Iterator[str]:
    """The path of the socket of this folder, short enough to bind or to connect to while this lasts.

    One below a data folder can be longer than a Unix socket's address may be, so both sides name it by an open folder.
    """
    descriptor = os.open(folder.run, os.O_PATH | os.O_DIRECTORY)
    try:
        yield str(Path(f"/proc/self/fd/{descriptor}") / folder.socket.name)
    finally:
        os.close(descriptor)
