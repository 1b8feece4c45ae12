"""What a scrape tells of cameras: how many, and never which."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from camera_registry.retention import Breach
from halfgateway.control.retention_probe import Tally
from halfgateway.metrics import NodeCollector, SafekeepingCollector
from tests.held_clock import HeldClock


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


def test_what_is_not_kept_as_it_must_be_is_counted() -> None:  # C04, L26
    tally = Tally({Breach.LATE_PURGE: 2}, 1, HeldClock().now())
    registry = CollectorRegistry()
    watch: Any = SimpleNamespace(waiting=3)
    probe: Any = SimpleNamespace(tally=tally)
    registry.register(SafekeepingCollector(watch, probe))
    told = generate_latest(registry).decode()
    assert "halfgateway_holds_waiting 3.0" in told
    assert 'halfgateway_retention_breaches{breach="late-purge"} 2.0' in told
    assert 'halfgateway_retention_breaches{breach="gap"} 0.0' in told
    assert "halfgateway_retention_unreached 1.0" in told
