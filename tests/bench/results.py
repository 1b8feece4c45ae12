"""What was measured, as ``bench.json`` holds it (interface.md)."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """Under which circumstances; ``scene`` is cameras-readers."""

    scene: str
    transport: str
    camera: str
    mbps: int
    gop_s: int
    reader: str
    peer: str


class Results:
    """Values by setting and metric, one for each run."""

    def __init__(self) -> None:
        self._values: dict[tuple[Setting, str], list[float]] = {}

    def add(self, setting: Setting, metric: str, value: float) -> None:
        """One run's value."""
        self._values.setdefault((setting, metric), []).append(value)

    def median(self, setting: Setting, metric: str) -> float | None:
        """Of all runs; None where it was not measured."""
        values = self._values.get((setting, metric))
        return statistics.median(values) if values else None

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of ``results`` in ``bench.json``."""
        for (setting, metric), values in self._values.items():
            figures = {
                "median": round(statistics.median(values), 3),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
                "runs": len(values),
            }
            yield asdict(setting) | {"metric": metric} | figures

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps({"machine": machine(), "results": list(self.rows())}, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was with other things."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
