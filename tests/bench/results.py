"""What was measured, as ``bench.json`` holds it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final


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
        self._ends: Counter[tuple[Setting, str]] = Counter()

    def add(self, setting: Setting, metric: str, value: float) -> None:
        """One run's value."""
        self._values.setdefault((setting, metric), []).append(value)

    def median(self, setting: Setting, metric: str) -> float | None:
        """Of all runs; None where it was not measured."""
        values = self._values.get((setting, metric))
        return statistics.median(values) if values else None

    def figure(self, setting: Setting, metric: str, of: str) -> float | None:
        """What ``bench.json`` has as ``of`` (``median``, ``min``, ``p99``, ``max``); None where it was not measured."""
        values = self._values.get((setting, metric))
        return None if values is None else _FIGURES[of](values)

    def values(self) -> Iterator[tuple[Setting, str, list[float]]]:
        """Every metric of every setting, with what each run gave."""
        for (setting, metric), values in self._values.items():
            yield setting, metric, values

    def count_end(self, setting: Setting, how: str) -> None:
        """One player's own end: its exit code and what it said."""
        self._ends[setting, how] += 1

    def ends(self) -> Iterator[tuple[Setting, str, int]]:
        """How players ended, and how many of them so."""
        for (setting, how), times in self._ends.items():
            yield setting, how, times

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of ``results`` in ``bench.json``."""
        for (setting, metric), values in self._values.items():
            figures = {name: round(figure(values), 3) for name, figure in _FIGURES.items()} | {"runs": len(values)}
            yield asdict(setting) | {"metric": metric} | figures

    def write(self, path: Path) -> None:
        """As JSON."""
        told: dict[str, Any] = {"machine": machine(), "results": list(self.rows())}
        if self._ends:
            told["ends"] = [
                {"scene": each.scene, "reader": each.reader, "transport": each.transport, "how": how, "times": times}
                for each, how, times in self.ends()
            ]
        path.write_text(json.dumps(told, indent=1) + "\n")


def p99(values: Sequence[float]) -> float:
    """The 99th percentile by nearest rank: the greatest, of up to a hundred."""
    return sorted(values)[-(-len(values) * 99 // 100) - 1]


_FIGURES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "median": statistics.median,
    "min": min,
    "p99": p99,
    "max": max,
}


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
