"""The ONVIF side of the bench's cameras, in a process of its own, so that no request delays a packet.

``python -m tests.bench.onvif_front`` with a JSON line ``{"ports": […], "table", "mbps", "gop_s"}``; answers
``{"urls": […]}``. It leaves when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path

from camera_registry.clock import SystemClock
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.onvif_device import OnvifDevice
from tests.bench.clip import bench_spec
from tests.bench.frames import FrameTable
from tests.bench.identities import STREAM_PATH, bench_identity

HOST = "127.0.0.1"


async def serve(ports: list[int], table: str, mbps: int, gop_s: int) -> None:
    """One device for each camera's RTSP port, until the end of standard input."""
    devices, frames = [], FrameTable(Path(table), len(ports))
    for index, rtsp_port in enumerate(ports):
        identity, behaviour, clock = bench_identity(index), Behaviour(), SystemClock()
        device = OnvifDevice(
            identity=identity,
            specs={STREAM_PATH: bench_spec(mbps, gop_s)},
            behaviour=behaviour,
            gate=DigestGate(identity, behaviour, clock=clock, random_bytes=os.urandom),
            clock=clock,
            rtsp_port=partial(int, rtsp_port),
            make_key_frame=partial(_make_key_frame, frames, index),
        )
        await device.start(HOST, 0)
        devices.append(device)
    print(json.dumps({"urls": [f"http://{HOST}:{device.port}{device.path}" for device in devices]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for device in devices:
        await device.stop()


def _make_key_frame(frames: FrameTable, camera: int, _path: str) -> None:
    """A camera of the bench has one stream."""
    frames.wish_key(camera)


def main() -> None:
    """Read the settings and serve."""
    asyncio.run(serve(**json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
