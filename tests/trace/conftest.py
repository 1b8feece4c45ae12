"""Fixtures: a journal to look at, and segments small enough to be filled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from auth.trace import files, layout, recovery, scan, verify, view
from tests.trace.journals import ERASED, erase, write_journal

_HEIGHT = 3


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make segments of 8 entries."""
    monkeypatch.setattr(recovery, "SEGMENT_HEIGHT", _HEIGHT)
    for module in (layout, files, recovery, scan, verify, view):
        monkeypatch.setattr(module, "SEGMENT_ENTRIES", 1 << _HEIGHT)
    return 1 << _HEIGHT


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Five entries under three checkpoints (of 0, 2 and 5), entry 1 erased as entry 4 says."""
    asyncio.run(write_journal(tmp_path / "trace", 2, 3, purging=True))
    erase(tmp_path / "trace", ERASED)
    return tmp_path / "trace"
