"""Files that only grow, shared by the processes of one machine: their lock, and whole writes."""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ops.errors import LockHeld

_LOCK_POLL_S = 0.01

Fsync = Callable[[int], None]
"""The system's ``os.fsync``, except in a test of a failing disk."""


@contextmanager
def locked(path: Path, *, exclusive: bool, limit_s: float) -> Iterator[None]:
    """Hold the lock on ``path`` (a file beside what it guards), waited for at most ``limit_s`` seconds.

    Raises LockHeld, OSError.
    """
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(math.ceil(limit_s / _LOCK_POLL_S)):
            with suppress(BlockingIOError):
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                break
            time.sleep(_LOCK_POLL_S)
        else:
            raise LockHeld(f"{path}: another process holds its lock")
        yield
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: Path, fsync: Fsync) -> None:
    """Make the names in a folder durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsync(fd)
    finally:
        os.close(fd)


def place_durably(path: Path, data: bytes, fsync: Fsync) -> None:
    """Put a whole file in its place, durably, or leave what was there. Raises OSError."""
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        fsync(fd)
    finally:
        os.close(fd)
    new.replace(path)
    sync_folder(path.parent, fsync)
