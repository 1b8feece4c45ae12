"""Folders for fakes that keep real files: gone when the tests are over."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


def scratch_folder() -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(dir=_root()))


@functools.cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="halfgateway-fakes-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root
