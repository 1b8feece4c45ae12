"""Simulated cameras of every kind, in this very process, with small clips."""

from __future__ import annotations

from tests.simulator.conftest import short_clip, small_clip

__all__ = ["short_clip", "small_clip"]
