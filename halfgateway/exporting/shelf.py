"""Where the files of exports lie: below ``FOLDER/NODE``, each export in a folder of its own name. Blocking.

While it is made its folder's name begins with a dot; it gets its name once everything in it is durable, and loses it
again before it is removed. So whatever has a dot when a node starts is what a crash left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halfgateway.exporting.manifest import FORMAT, MANIFEST, READABLE, SIGNATURE
from ops.appended import sync_folder

_UNFINISHED = ".making-"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of a finished export."""

    name: str
    size_bytes: int
    sha256: str


class Shelf:
    """The exports of one node. Every method may raise OSError."""

    def __init__(self, folder: Path, node: str) -> None:
        self._root = folder / node

    def begin(self, export: str) -> Path:
        """Make the folder of an export that begins."""
        folder = self._unfinished(export)
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def keep(self, export: str) -> None:
        """Give a folder in which all is durable its name."""
        sync_folder(self._unfinished(export), os.fsync)
        self._unfinished(export).rename(self._finished(export))
        sync_folder(self._root, os.fsync)

    def withdraw(self, export: str) -> None:
        """Take a finished folder its name, before what it holds is removed; somebody may have removed it."""
        if self._finished(export).exists():
            self._finished(export).rename(self._unfinished(export))
            sync_folder(self._root, os.fsync)

    def remove(self, export: str) -> None:
        """Remove what there is of an export, finished or not; of one that is not there, nothing."""
        for folder in (self._unfinished(export), self._finished(export)):
            if folder.exists():
                shutil.rmtree(folder)

    def leftovers(self) -> list[str]:
        """The exports that a crash left unfinished."""
        return sorted(each.name.removeprefix(_UNFINISHED) for each in self._root.glob(f"{_UNFINISHED}*"))

    def finished(self) -> list[tuple[dict[str, Any], tuple[KeptFile, ...]]]:
        """The finished exports: what each says of itself, and its files. Folders of something else are passed over."""
        found = []
        for path in sorted(self._root.glob(f"[!.]*/{MANIFEST}")):
            try:
                manifest = json.loads(path.read_bytes())
            except ValueError:
                continue
            if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
                found.append((manifest, kept_files(path.parent, manifest)))
        return found

    def path(self, export: str, name: str) -> Path:
        """Where a file of a finished export lies; both names are known ones."""
        return self._finished(export) / name

    def _unfinished(self, export: str) -> Path:
        return self._root / f"{_UNFINISHED}{export}"

    def _finished(self, export: str) -> Path:
        return self._root / export


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file. Raises OSError."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def kept_files(folder: Path, manifest: dict[str, Any]) -> tuple[KeptFile, ...]:
    """The files of an export: the manifest, its readable form, its signature, and the footage. Raises OSError."""
    said = [KeptFile(each["name"], each["size_bytes"], each["sha256"]) for each in manifest["files"]]
    read = []
    for name in (MANIFEST, READABLE, SIGNATURE):
        content = (folder / name).read_bytes()
        read.append(KeptFile(name, len(content), hashlib.sha256(content).hexdigest()))
    return (*read, *said)
