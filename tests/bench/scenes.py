"""What is measured of the relay while it relays: CPU, added latency, loss, memory."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.child import BenchError
from tests.bench.results import Results, Setting
from tests.bench.rig import Rig
from tests.bench.subjects import Peer

SETTLE_S: Final = 1.0
"""Between the last reader's first picture and the measurement."""


@dataclass(frozen=True, slots=True)
class Scene:
    """So many cameras and so many readers of them, evenly."""

    cameras: int
    readers: int

    @property
    def name(self) -> str:
        """As ``bench.json`` has it."""
        return f"{self.cameras}-{self.readers}"


ONE, SOME, MANY, TEN = Scene(1, 1), Scene(1, 10), Scene(1, 50), Scene(10, 10)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one peer; ``cpu_ms`` is a stream's in a second of it."""

    median_ms: float
    p99_ms: float
    lost: int
    packets: int
    cpu_ms: float | None
    rss_mb: float | None


async def relaying(
    rig: Rig, results: Results, scene: Scene, manner: str, peers: Sequence[Peer], *, runs: int, seconds: float
) -> None:
    """Measure each peer in turn, ``runs`` times, and each time first the cameras themselves, with one reader each."""
    await rig.write_as(manner)
    for _ in range(runs):
        floor = await sample(rig, rig.direct, Scene(scene.cameras, scene.cameras), seconds)
        _note(rig, results, scene, manner, rig.direct, floor, floor)
        for peer in peers:
            measured = await sample(rig, peer, scene, seconds)
            _note(rig, results, scene, manner, peer, measured, floor)


async def sample(rig: Rig, peer: Peer, scene: Scene, seconds: float) -> Sample:
    """Play, settle, measure, leave. Raises BenchError."""
    await rig.quiet()
    await rig.open([peer.target(number % scene.cameras) for number in range(scene.readers)])
    await asyncio.sleep(SETTLE_S)
    process = peer.process
    began, cpu_before = time.monotonic(), process.cpu_s() if process else 0.0
    told = await rig.readers.ask({"do": "measure", "seconds": seconds}, limit_s=seconds + 30)
    lasted, cpu = time.monotonic() - began, (process.cpu_s() if process else 0.0) - cpu_before
    rss = process.rss_mb() if process else None
    await rig.close()
    latencies = sorted(ms for reader in told["readers"] for ms in reader["latencies_ms"])
    if len(latencies) < scene.readers * seconds:
        raise BenchError(f"{peer.name}: {len(latencies)} frames came in {seconds} s of {scene.name}")
    return Sample(
        statistics.median(latencies),
        latencies[int(len(latencies) * 0.99)],
        sum(reader["lost"] for reader in told["readers"]),
        sum(reader["packets"] for reader in told["readers"]),
        cpu * 1000 / lasted / scene.readers if process else None,
        rss,
    )


def _note(rig: Rig, results: Results, scene: Scene, manner: str, peer: Peer, measured: Sample, floor: Sample) -> None:
    setting = Setting(scene.name, peer.transport, manner, rig.stream.mbps, rig.stream.gop_s, "prompt", peer.name)
    added = measured is not floor
    base = (floor.median_ms, floor.p99_ms) if added else (0.0, 0.0)
    names = ("added_latency_median_ms", "added_latency_p99_ms") if added else ("latency_median_ms", "latency_p99_ms")
    results.add(setting, names[0], measured.median_ms - base[0])
    results.add(setting, names[1], measured.p99_ms - base[1])
    results.add(setting, "lost_packets", measured.lost)
    if measured.cpu_ms is not None and measured.rss_mb is not None:
        results.add(setting, "cpu_ms_per_stream_s", measured.cpu_ms)
        results.add(setting, "rss_mb", measured.rss_mb)
