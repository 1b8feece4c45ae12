"""Fixtures: segments small enough to be filled."""

from __future__ import annotations

import pytest

from auth.trace import files, layout, recovery, scan, verify, view

_HEIGHT = 3


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make segments of 8 entries."""
    monkeypatch.setattr(recovery, "SEGMENT_HEIGHT", _HEIGHT)
    for module in (layout, files, recovery, scan, verify, view):
        monkeypatch.setattr(module, "SEGMENT_ENTRIES", 1 << _HEIGHT)
    return 1 << _HEIGHT
