"""A node that nobody watches through, with many registered cameras: what it and what it started take."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.nodes import Estate, ServedNode, estate, shared_cameras

ONVIF = "camera_registry.onvif_worker"
"""By what the ONVIF process is known among a node's children."""


@dataclass(frozen=True)
class Taken:
    """Memory in MB now, CPU time in seconds since the start; of the node, and of its ONVIF process where it runs."""

    rss_mb: float
    pss_mb: float
    cpu_s: float
    onvif_rss_mb: float
    onvif_pss_mb: float


def gone(count: int) -> list[dict[str, Any]]:
    """Cameras at whose addresses nothing takes a connection."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    return [
        _registered(number, f"http://127.1.{number // 250}.{number % 250 + 1}:{port}/", "u", "p")
        for number in range(count)
    ]


def answering(count: int) -> list[dict[str, Any]]:
    """Cameras behind whose addresses the three simulated ones answer by turns."""
    shared = shared_cameras()
    return [
        _registered(number, camera["onvif_url"], camera["username"], camera["password"])
        for number in range(count)
        for camera in (shared[number % len(shared)],)
    ]


@contextlib.contextmanager
def idle_node(folder: Path, cameras: list[dict[str, Any]]) -> Iterator[tuple[Estate, ServedNode]]:
    """A node of its own process with the numbers in use; it has just begun to ask its cameras."""
    with estate(folder, {}) as house:
        house.cameras = cameras
        node = house.node("idle")
        try:
            node.start()
            yield house, node
        finally:
            node.kill()


def taken(node: ServedNode) -> Taken:
    rss_mb, pss_mb = _memory_mb(node.pid)
    onvif = onvif_process(node)
    onvif_rss_mb, onvif_pss_mb = _memory_mb(onvif) if onvif is not None else (0.0, 0.0)
    return Taken(rss_mb, pss_mb, cpu_s(node), onvif_rss_mb, onvif_pss_mb)


def cpu_s(node: ServedNode) -> float:
    """CPU time of the node and of the ONVIF processes that it has had."""
    fields = Path("/proc", str(node.pid), "stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))  # utime, stime, and those of reaped children
    onvif = onvif_process(node)
    if onvif is not None:
        with contextlib.suppress(OSError):
            fields = Path("/proc", str(onvif), "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def share_of_a_core(node: ServedNode, seconds: float) -> float:
    """What part of a core the node and its ONVIF process take over so many seconds."""
    began_s, before_s = time.monotonic(), cpu_s(node)
    until(lambda: time.monotonic() - began_s >= seconds, seconds + 60)
    return (cpu_s(node) - before_s) / (time.monotonic() - began_s)


def settle(node: ServedNode, limit_s: float) -> None:
    """Wait until what was found has been written, and a process that has ended is counted among the node's own."""
    until(lambda: share_of_a_core(node, 1.0) < 0.1, limit_s)


def onvif_process(node: ServedNode) -> int | None:
    """The node's ONVIF process, if it runs."""
    for task in Path("/proc", str(node.pid), "task").iterdir():
        for child in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                if ONVIF in Path("/proc", child, "cmdline").read_text():
                    return int(child)
    return None


def until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def _memory_mb(pid: int) -> tuple[float, float]:
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    kib = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return kib["Rss:"] / 1024, kib["Pss:"] / 1024


def _registered(number: int, onvif_url: str, username: str, password: str) -> dict[str, Any]:
    place = {"name": f"Essai {number}", "site": "Essai", "commune": "Versailles", "latitude": 48.8, "longitude": 2.1}
    return {"id": f"cam-{number:04}", "onvif_url": onvif_url, "username": username, "password": password} | place
