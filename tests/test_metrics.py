"""What a scrape tells of cameras: how many, and never which."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from halfgateway.metrics import NodeCollector


@pytest.mark.parametrize(("offsets_s", "counted"), [([], 0), ([None, 0.0, 5.0, -4.9], 0), ([5.1, -7200.0, None], 2)])
def test_cameras_whose_clock_is_off_are_counted(offsets_s: list[float | None], counted: int) -> None:  # T14
    house: dict[str, Any] = {
        "table": (),
        "hub": [SimpleNamespace(clock_offset_s=offset_s) for offset_s in offsets_s],
        "rtsp": SimpleNamespace(connections=()),
        "interconnection": SimpleNamespace(state=SimpleNamespace(closed=False)),
    }
    anchors: Any = SimpleNamespace(anchored=0, failing=0)
    registry = CollectorRegistry()
    trace: dict[str, Any] = {"trace_size": lambda: 0, "trace_writable": lambda: True, "anchors": anchors}
    registry.register(NodeCollector(**house, **trace, reports_due=lambda: 0, windows_held=lambda: 0))
    told = generate_latest(registry).decode()
    assert f"halfgateway_pulls_clock_off {counted:.1f}" in told
    assert f"halfgateway_pulls {len(offsets_s):.1f}" in told
