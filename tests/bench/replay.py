"""What is measured of recordings: seeks, and what replays cost at a picture's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from halfgateway.simulator.clips import FPS
from tests.bench.child import BenchError
from tests.bench.footage import KINDS
from tests.bench.results import Results, Setting
from tests.bench.rig import Rig

SETTLE_S: Final = 1.0
"""Between the last reader's first picture and the measurement."""

BETWEEN_SEEKS_S: Final = 0.3
"""For how long each passage is watched: more than the gateway has a reader wait who scrubs."""

WARM_SEEKS: Final = 4
"""Seeks in one session, after its first PLAY."""

APART: Final = timedelta(seconds=7.3)
"""Between the beginnings of two readers' passages: each at another place of its group of pictures."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of so many replays; ``pace`` is recorded seconds delivered a second, 1.0 where none was late."""

    cpu_ms: float
    pace: float
    lost: int
    rss_mb: float


async def replaying(
    rig: Rig, results: Results, kind: str, readers: Sequence[int], *, runs: int, seconds: float
) -> None:
    """CPU and memory of the gateway while so many readers replay, each from an instant of its own.

    Memory is what the first and fewest leave, and what is added by the most of a process that has had no more before.
    """
    taken_mb: dict[int, float] = {}
    for count in readers:
        for _ in range(runs):
            sample = await _sample(rig, kind, count, seconds)
            taken_mb.setdefault(count, sample.rss_mb)
            setting = replay_setting(rig, f"replay-{count}", kind)
            results.add(setting, "replay_cpu_ms_per_stream_s", sample.cpu_ms)
            results.add(setting, "replay_pace", sample.pace)
            results.add(setting, "lost_packets", sample.lost)
    fewest, most = min(readers), max(readers)
    if most > fewest:
        grown_mb = (taken_mb[most] - taken_mb[fewest]) / (most - fewest)
        results.add(replay_setting(rig, f"replay-{most}", kind), "replay_rss_mb", grown_mb)


async def seeking(rig: Rig, results: Results, kind: str, *, runs: int) -> None:
    """PLAY to a decodable picture: the first of a session (cold), and others in it (warm)."""
    plays = 1 + WARM_SEEKS
    for run in range(runs):
        targets = passages(rig, kind, plays * (run + 1))[plays * run :]
        told = await rig.readers.ask({"do": "seek", "targets": targets, "stay_s": BETWEEN_SEEKS_S})
        cold_ms, *warm_ms = told["seek_ms"]
        setting = replay_setting(rig, "seek", kind)
        results.add(setting, "seek_cold_ms", cold_ms)
        for each in warm_ms:
            results.add(setting, "seek_warm_ms", each)


def passages(rig: Rig, kind: str, count: int) -> list[dict[str, Any]]:
    """How readers come to so many passages of what is recorded so."""
    assert rig.footage is not None
    begins = datetime.fromisoformat(rig.footage.first["begins"])
    return [rig.ours.rtsp.recorded(KINDS.index(kind), begins + APART * number) for number in range(count)]


def replay_setting(rig: Rig, scene: str, kind: str, *, transport: str = "rtsp", peer: str = "halfgateway") -> Setting:
    """``camera`` is how it is recorded."""
    return Setting(scene, transport, kind, rig.stream.mbps, rig.stream.gop_s, "prompt", peer)


async def _sample(rig: Rig, kind: str, readers: int, seconds: float) -> Sample:
    """Play, settle, measure, leave. Raises BenchError."""
    process = rig.ours.rtsp.process
    assert process is not None
    await rig.open(passages(rig, kind, readers))
    await asyncio.sleep(SETTLE_S)
    cpu_before_s = process.cpu_s()
    told = await rig.readers.ask({"do": "measure", "seconds": seconds}, limit_s=seconds + 30)
    cpu_s, rss_mb = process.cpu_s() - cpu_before_s, process.rss_mb()
    await rig.close()
    replayed_s = sum(reader["pictures"] for reader in told["readers"]) / FPS
    if not replayed_s:
        raise BenchError(f"no picture of {readers} replays ({kind}) came in {seconds} s")
    return Sample(
        cpu_ms=cpu_s * 1000 / replayed_s,
        pace=replayed_s / seconds / readers,
        lost=sum(reader["lost"] for reader in told["readers"]),
        rss_mb=rss_mb,
    )
