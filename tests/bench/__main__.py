"""Measures the demo's gateway from outside: CPU, memory, joining, granting.

Only figures of one run on one machine compare. The peers and scenes of ``performance.md`` that need another proxy
beside ours, or ten cameras, are not in it yet.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.raw_player import Credentials, RawPlayer

RUNS = {"quick": 3, "": 5}
MEASURED_S = 8.0
GRANTS = 30


@dataclass(frozen=True)
class Result:
    """One line of ``bench.json``."""

    scene: str
    metric: str
    median: float
    min: float
    max: float
    runs: int
    transport: str = "rtsp"
    camera: str = "nodelay"
    mbps: float = 2.1
    gop_s: float = 2.0
    reader: str = "prompt"
    peer: str = "halfgateway"


class Subject:
    """The gateway under measurement, in a process of its own."""

    def __init__(self, pid: int, ready: dict[str, Any]) -> None:
        self.pid = pid
        self.ready = ready

    def player(self) -> RawPlayer:
        machine = self.ready["accounts"]["machine"]
        host, _, port = self.ready["rtsp"].removeprefix("rtsp://").partition(":")
        return RawPlayer(host, int(port), Credentials(machine["id"], machine["password"]))

    def path(self, camera: int = 0) -> str:
        return f"/live/{self.ready['cameras'][camera]}"

    def cpu_ms(self) -> float:
        """User and system time of the gateway's process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def subject() -> AsyncIterator[Subject]:
    """A demo in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        ports = ["--http-port", "0", "--https-port", "0", "--rtsp-port", "0", "--rtsps-port", "0"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "halfgateway", "demo", "--json", "--data", f"{folder}/demo", *ports),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            yield Subject(process.pid, json.loads(await process.stdout.readline()))
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def playing(gateway: Subject, readers: int) -> AsyncIterator[list[RawPlayer]]:
    """So many readers of the first camera, all past their first keyframe."""
    async with AsyncExitStack() as stack:
        players = [await stack.enter_async_context(gateway.player()) for _ in range(readers)]
        for player in players:
            await player.set_up(gateway.path())
            await player.play(gateway.path())
        await asyncio.gather(*(player.packets_until(1) for player in players))
        yield players
        for player in players:
            await player.tear_down(gateway.path())


async def cost(gateway: Subject, readers: int) -> tuple[float, float]:
    """CPU milliseconds a stream and second, and resident megabytes, while ``readers`` watch one camera."""
    async with playing(gateway, readers) as players:
        reading = [asyncio.create_task(player.packets_until(10**9)) for player in players]
        began, spent = time.monotonic(), gateway.cpu_ms()
        await asyncio.sleep(MEASURED_S)
        spent, lasted, memory = gateway.cpu_ms() - spent, time.monotonic() - began, gateway.rss_mb()
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return spent / lasted / readers, memory


async def join(gateway: Subject) -> float:
    """Milliseconds from PLAY to the first packet, from which a decoder can start."""
    async with gateway.player() as player:
        await player.set_up(gateway.path())
        began = time.monotonic()
        await player.play(gateway.path())
        await player.packets_until(1)
        lasted = time.monotonic() - began
        await player.tear_down(gateway.path())
    return lasted * 1000


async def grants(gateway: Subject) -> float:
    """Streams a second through the whole door: authentication, slot, durable intent, release."""
    async with gateway.player() as player:
        began = time.monotonic()
        for _ in range(GRANTS):
            await player.set_up(gateway.path())
            await player.tear_down(gateway.path())
        return GRANTS / (time.monotonic() - began)


async def repeated(runs: int, measure: Callable[[], Awaitable[float]]) -> list[float]:
    """The same measurement several times."""
    return [await measure() for _ in range(runs)]


def result(scene: str, metric: str, values: list[float]) -> Result:
    return Result(scene, metric, *(round(f(values), 3) for f in (statistics.median, min, max)), len(values))


async def bench(runs: int) -> list[Result]:
    """Everything, in one run."""
    results = []
    async with subject() as gateway:
        for readers in (1, 10):
            costs = [await cost(gateway, readers) for _ in range(runs)]
            results.append(result(f"1-{readers}", "cpu_ms_per_stream_s", [cpu for cpu, _ in costs]))
            results.append(result(f"1-{readers}", "rss_mb", [memory for _, memory in costs]))
        async with playing(gateway, 1):
            results.append(result("1-1", "warm_join_ms", await repeated(runs, lambda: join(gateway))))
        results.append(result("1-1", "grants_per_s", await repeated(runs, lambda: grants(gateway))))
    return results


def main() -> None:
    """Measure, print the table, write ``bench.json``."""
    runs = RUNS["quick" if "quick" in sys.argv[1:] else ""]
    results = asyncio.run(bench(runs))
    machine = {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    Path("bench.json").write_text(json.dumps({"machine": machine, "results": [asdict(r) for r in results]}, indent=1))
    print(f"{'scene':8}{'metric':24}{'median':>10}{'min':>10}{'max':>10}")
    for r in results:
        print(f"{r.scene:8}{r.metric:24}{r.median:10.2f}{r.min:10.2f}{r.max:10.2f}")


if __name__ == "__main__":
    main()
