"""A camera with a keyframe every 0.4 s."""

from __future__ import annotations

from tests.simulator.conftest import short_camera, short_clip, small_clip

__all__ = ["short_camera", "short_clip", "small_clip"]
