"""The table that ``make bench`` prints, and whether the aims of ``docs/performance.md`` were met in this run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.bench.ends import ALONE, WAYS
from tests.bench.results import Results, Setting
from tests.bench.trace import TRACE

OURS, GST, FFMPEG, DIRECT = "halfgateway", "gst-rtsp-server", "ffmpeg", "direct"
CPU = "cpu_ms_per_stream_s"


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure that is to be at most ``limit`` (or at least it): a metric, or its ratio to the same elsewhere.

    ``of`` its runs: the median, or in ``bench.json``'s words another.
    """

    text: str
    setting: Setting
    metric: str
    limit: float
    to: Setting | None = None
    at_least: bool = False
    of: str = "median"

    def is_met(self, value: float) -> bool:
        """Whether a value is on the right side of the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def value(self, results: Results) -> float | None:
        """What this run says; None where it did not measure it."""
        if self.to is None:
            return results.figure(self.setting, self.metric, self.of)
        value = results.median(self.setting, self.metric)
        if value is None:
            return None
        other = results.median(self.to, self.metric)
        return value / other if other else None


def _ours(scene: str, *, transport: str = "rtsp", mbps: int = 4, reader: str = "prompt") -> Setting:
    return Setting(scene, transport, "nodelay", mbps, 2, reader, OURS)


def _against_gst(scene: str, limit: float) -> Aim:
    return Aim(f"CPU {scene}: ours / gst-rtsp-server", _ours(scene), CPU, limit, replace(_ours(scene), peer=GST))


def _of_cut(scene: str, reader: str, transport: str) -> Setting:
    return Setting(scene, transport, "nodelay", 8, 2, reader, OURS)


AIMS = (
    _against_gst("10-10", 0.35),
    _against_gst("1-10", 0.8),
    _against_gst("1-50", 0.8),
    *(
        Aim(f"added latency {scene}, p99 ms", _ours(scene), "added_latency_p99_ms", 3.0)
        for scene in ("10-10", "1-10", "1-50")
    ),
    *(Aim(f"lost packets {scene}", _ours(scene), "lost_packets", 0) for scene in ("10-10", "1-10", "1-50")),
    Aim("CPU 10-10: our RTSPS / our RTSP", _ours("10-10", transport="rtsps"), CPU, 2.0, _ours("10-10")),
    Aim("warm join to a decodable picture, ms", _ours("1-1"), "warm_join_ms", 10.0),
    Aim("behind live ten seconds after joining, ms", _ours("1-1"), "lag_after_join_ms", 100.0),
    Aim("slow reader: resumed off a key frame, times", _ours("1-10", mbps=8, reader="slow"), "resumed_off_keyframe", 0),
    Aim("beside a slow reader: lost packets", _ours("1-10", mbps=8, reader="slow"), "prompt_lost_packets", 0),
    Aim("bytes handed over after a cut", _ours("10-10"), "bytes_handed_after_cut", 0),
    *(
        Aim(f"{scene}, {reader} {what}", _of_cut(scene, reader, transport), metric, limit, of=of)
        for scene in ("cut", ALONE)
        for reader, transport, limit_ms in (("prompt", "all", 100.0), ("slow", "rtsps", 250.0))
        for what, metric, limit, of in (
            ("bytes handed over after, at most", "bytes_handed_after_cut", 0.0, "max"),
            ("last byte read, p99 ms", "last_byte_after_cut_ms", limit_ms, "p99"),
        )
    ),
    Aim("durable trace entries per second, 64 callers", TRACE, "trace_entries_per_s", 5_000, at_least=True),
    Aim("verified trace entries per second of one core", TRACE, "trace_verified_per_core_s", 100_000, at_least=True),
)


def table(results: Results) -> str:
    """Every metric of every setting: a line of a setting without its peer, a column of a peer."""
    rows = [row for row in results.rows() if row["scene"] not in WAYS]
    peers = [peer for peer in (OURS, GST, FFMPEG, DIRECT) if any(row["peer"] == peer for row in rows)]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        where = f"{row['scene']:10}{row['transport']:6}{row['camera']:9}{row['mbps']} Mb/s GOP {row['gop_s']:<3} "
        figures = f"{row['median']:.2f} ({row['min']:.2f}-{row['max']:.2f})"
        lines.setdefault((where + row["reader"], row["metric"]), {})[row["peer"]] = figures
    head = f"{'setting':50}{'metric':28}" + "".join(f"{peer:>27}" for peer in peers)
    body = [
        f"{where:50}{metric:28}" + "".join(f"{figures.get(peer, ''):>27}" for peer in peers)
        for (where, metric), figures in sorted(lines.items())
    ]
    return "\n".join([head, *body])


def aims(results: Results) -> Iterator[str]:
    """Each aim that this run measured, and whether it was met."""
    for aim in AIMS:
        value = aim.value(results)
        if value is not None:
            verdict, sign = "met" if aim.is_met(value) else "missed", ">=" if aim.at_least else "<="
            yield f"{aim.text:50}{value:10.2f}   aim {sign} {aim.limit:<8g}{verdict}"
