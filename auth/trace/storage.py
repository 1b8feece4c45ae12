"""The few things the journal asks of a file system, passed in so that a test can make each of them fail."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

PROBE = "write-probe.lock"
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


class Storage(Protocol):
    """Blocking calls on files, with the operating system's meaning; each raises OSError when it fails."""

    def make_folder(self, folder: Path) -> None:
        """Create a folder with its parents, for its owner alone; an existing one is left as it is."""

    def open(self, path: Path, *, create: bool) -> int:
        """Open for reading and writing; ``create`` a missing file, for its owner alone. Return a descriptor."""

    def size(self, descriptor: int) -> int:
        """Return a file's length in bytes."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to ``size`` bytes."""

    def sync(self, descriptor: int) -> None:
        """Return once data and length are on the medium (fdatasync)."""

    def sync_folder(self, folder: Path) -> None:
        """Return once the folder's names are on the medium."""

    def forget_cached(self, descriptor: int) -> None:
        """Ask that further reads come from the medium, as after a failed sync memory may show what it lost."""

    def is_at(self, descriptor: int, path: Path) -> bool:
        """Tell whether the open file is still the one at ``path``."""

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""


class SystemStorage:
    """The operating system's own file system; see :class:`Storage`."""

    def make_folder(self, folder: Path) -> None:
        """See :class:`Storage`."""
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        for each in missing:
            self.sync_folder(each.parent)

    def open(self, path: Path, *, create: bool) -> int:
        """See :class:`Storage`. A symbolic link is refused: the journal is in its folder, not elsewhere."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        return os.open(path, flags, _FILE_MODE)

    def size(self, descriptor: int) -> int:
        """See :class:`Storage`."""
        return os.fstat(descriptor).st_size

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """See :class:`Storage`. A short write is gone on with: a full disk then tells so by itself."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    def truncate(self, descriptor: int, size: int) -> None:
        """See :class:`Storage`."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """See :class:`Storage`."""
        os.fdatasync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """See :class:`Storage`."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget_cached(self, descriptor: int) -> None:
        """See :class:`Storage`."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def is_at(self, descriptor: int, path: Path) -> bool:
        """See :class:`Storage`."""
        opened = os.fstat(descriptor)
        if opened.st_nlink == 0:
            return False
        try:
            there = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(there.st_mode) and (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)

    def close(self, descriptor: int) -> None:
        """See :class:`Storage`."""
        os.close(descriptor)


def replace_file(target: Path, data: bytes, partial: Path) -> None:
    """Give a file other content, durably: whoever reads it finds the old or the new, whole. Raises OSError.

    ``partial`` is where the new content is written first, on the same file system.
    """
    disk = SystemStorage()
    descriptor = disk.open(partial, create=True)
    try:
        disk.truncate(descriptor, 0)
        disk.write(descriptor, data, 0)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)
    partial.replace(target)
    for folder in {target.parent, partial.parent}:
        disk.sync_folder(folder)
