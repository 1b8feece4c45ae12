"""A stage of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.downstream.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.open()
    yield stage
    await stage.server.close()
