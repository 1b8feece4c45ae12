"""What can happen to a node's files while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def overwritten(database: Path) -> Iterator[None]:
    """The database's bytes are no database any more."""
    parts = [path for path in database.parent.glob(database.name + "*") if path.is_file()]
    kept = {path: path.read_bytes() for path in parts}
    for path in parts:
        path.write_bytes(b"\xff" * len(kept[path]))
    try:
        yield
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
