"""The lock of a journal's folder: one process writes it, and a verifier can tell that one does."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

LOCK = "journal.lock"
"""Held with flock by whoever writes."""


def lock_exclusively(descriptor: int) -> bool:
    """Take the folder's lock for as long as the descriptor is open; False when another process has it.

    Where there is no flock, no journal is written, only verified: False.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def writer_lives(folder: Path) -> bool:
    """Tell whether some process has the folder's lock, and so may be in the middle of a write."""
    if sys.platform == "win32":
        return False
    with suppress(OSError):
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False
