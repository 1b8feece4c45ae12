"""What lies where in a node's data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The one folder that is a node's own."""

    root: Path

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
    def interconnection(self) -> Path:
        """The fsynced record of the interconnection's state: a cut's source."""
        return self.root / "interconnection.record"

    @property
    def run(self) -> Path:
        """What exists only while the node runs: its lock and what it last followed."""
        return self.root / "run"

    @property
    def valkey(self) -> Path:
        """The embedded Valkey's files."""
        return self.root / "valkey"

    @property
    def records(self) -> Path:
        """The embedded SQLite database."""
        return self.root / "records.sqlite"
