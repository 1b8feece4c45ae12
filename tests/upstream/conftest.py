"""A camera with a key frame every 0.4 s, and the line from it to readers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.upstream.client import Target
from tests.simulator.conftest import short_camera, short_clip, small_clip
from tests.upstream.line import Line, target_of

__all__ = ["line", "open_line", "short_camera", "short_clip", "small_clip"]

OpenLine = Callable[..., Line]


@pytest.fixture
async def open_line() -> AsyncIterator[OpenLine]:
    """Opens lines; they are closed at the end."""
    lines: list[Line] = []

    def opened(target: Target, **how: Any) -> Line:
        lines.append(Line(target, **how))
        return lines[-1]

    yield opened
    for line in lines:
        await line.hub.close()


@pytest.fixture
def line(open_line: OpenLine, short_camera: SimulatedCamera) -> Line:
    return open_line(target_of(short_camera))
