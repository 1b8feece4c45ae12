"""Fixtures: a real Valkey, and the nodes of one convention on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from halfgateway.net.valkey import EmbeddedValkey
from tests.control.valkeys import Nodes


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    server = EmbeddedValkey(tmp_path, stop_limit_s=0.5)
    nodes = Nodes(server, await server.start())
    yield nodes
    await nodes.aclose()
    await server.stop()
