"""How fast footage becomes a file: our export of segments, and ffmpeg's remux of the same ones."""

from __future__ import annotations

import asyncio
import resource
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from camera_registry.clock import rfc3339
from halfgateway.api.paths import API
from tests.bench.child import BenchError
from tests.bench.footage import SEGMENT
from tests.bench.identities import bench_identity
from tests.bench.replay import replay_setting
from tests.bench.results import Results
from tests.bench.rig import Rig

EXPORTED_SEGMENTS: Final = 5
EXPORT_LIMIT_S: Final = 120.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Made:
    """What making a file took: wall time and CPU time, both in seconds."""

    took_s: float
    cpu_s: float


async def exporting(rig: Rig, results: Results, *, runs: int, segments: int = EXPORTED_SEGMENTS) -> None:
    """Export the same minutes of segments again and again, and each time have ffmpeg remux them first."""
    footage_s = (SEGMENT * segments).total_seconds()
    async with _session(rig) as http:
        for _ in range(runs):
            made = {
                "ffmpeg": await asyncio.to_thread(_remux, rig, segments),
                "halfgateway": await _export(rig, http, segments),
            }
            for peer, each in made.items():
                setting = replay_setting(rig, "export", "segments", transport="none", peer=peer)
                results.add(setting, "export_times_real_time", footage_s / each.took_s)
                results.add(setting, "export_cpu_ms_per_stream_s", each.cpu_s * 1000 / footage_s)
            ours = replay_setting(rig, "export", "segments", transport="none")
            ratio = made["ffmpeg"].took_s / made["halfgateway"].took_s
            results.add(ours, "export_speed_to_ffmpeg", ratio)
            results.add(ours, "export_cpu_to_ffmpeg", made["halfgateway"].cpu_s / made["ffmpeg"].cpu_s)


async def _export(rig: Rig, http: aiohttp.ClientSession, segments: int) -> Made:
    """``POST /exports`` to the signed manifest: copied, hashed, compared, synced. Raises BenchError."""
    process = rig.ours.rtsp.process
    assert process is not None
    assert rig.footage is not None
    begins = datetime.fromisoformat(rig.footage.first["begins"])
    wish = {
        "camera": bench_identity(0).id,
        "start": rfc3339(begins),
        "end": rfc3339(begins + SEGMENT * segments),
        "reason": "L251-2-5",
    }
    began_s, cpu_before_s = time.monotonic(), process.cpu_s()
    export = await _call(http, "POST", "/exports", wish)
    path = f"/exports/{export['id']}"
    while export["state"] in {"queued", "running"}:
        if time.monotonic() > began_s + EXPORT_LIMIT_S:
            raise BenchError(f"an export takes too long: {export}")
        await asyncio.sleep(POLL_S)
        export = await _call(http, "GET", path)
    made = Made(time.monotonic() - began_s, process.cpu_s() - cpu_before_s)
    if export["state"] != "done":
        raise BenchError(f"an export has failed: {export}")
    await _call(http, "DELETE", path)
    return made


def _remux(rig: Rig, segments: int) -> Made:
    """What people do by hand. Raises BenchError."""
    assert rig.footage is not None
    paths = sorted(Path(rig.footage.first["segments"]).glob("*/*.mp4"))[:segments]
    listed, film = (Path(rig.footage.first["folder"], name) for name in ("segments.txt", "film.mp4"))
    listed.write_text("".join(f"file '{path}'\n" for path in paths))
    of_files = ["-f", "concat", "-safe", "0", "-i", str(listed), "-c", "copy", "-y", str(film)]
    cpu_before_s, began_s = _children_cpu_s(), time.monotonic()
    ffmpeg = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *of_files], capture_output=True, check=False)
    made = Made(time.monotonic() - began_s, _children_cpu_s() - cpu_before_s)
    if ffmpeg.returncode or not film.stat().st_size:
        raise BenchError(f"ffmpeg: {ffmpeg.returncode} {ffmpeg.stderr.decode(errors='replace')}")
    film.unlink()
    return made


def _children_cpu_s() -> float:
    """CPU time of the processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@asynccontextmanager
async def _session(rig: Rig) -> AsyncIterator[aiohttp.ClientSession]:
    """A session at the API, as the machine's."""
    served, process = rig.ours.served, rig.ours.rtsp.process
    assert process is not None
    tls = ssl.create_default_context(cafile=served.tls["authority"])
    tls.load_cert_chain(served.tls["certificate"], served.tls["key"])
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(process.first["https"], connector=connector) as http:
        login = await _call(
            http, "POST", "/login", {"id": served.machine.username, "password": served.machine.password}
        )
        http.headers["Authorization"] = f"Bearer {login['token']}"
        yield http


async def _call(http: aiohttp.ClientSession, method: str, path: str, body: object = None) -> dict[str, Any]:
    async with http.request(method, API + path, json=body) as answer:
        text = await answer.text()
        if answer.status >= 400:
            raise BenchError(f"{method} {path}: {answer.status} {text}")
        told: dict[str, Any] = await answer.json(content_type=None) if text else {}
        return told
