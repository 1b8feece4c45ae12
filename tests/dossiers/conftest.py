"""A stopped node's folder, with a day's entries."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.dossiers.stopped_node import StoppedNode, drafts


@pytest.fixture
def node(tmp_path: Path) -> StoppedNode:
    stopped = StoppedNode(tmp_path / "data")
    asyncio.run(stopped.write(drafts()))
    return stopped
