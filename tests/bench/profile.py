"""Where our process spends its time: ``python -m tests.bench.profile [SCENE] [rtsps]``, or ten of ten cameras.

With ``segments``, ``onvif`` or ``url`` the scene's readers replay what is recorded so.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.bench.footage import KINDS
from tests.bench.replay import passages
from tests.bench.rig import Rig, Stream, rig
from tests.bench.sampled import FILE_VARIABLE
from tests.bench.scenes import MANY, ONE, SOME, TEN, Scene

SECONDS: Final = 30.0
SHOWN: Final = 30
SCENES: Final = {scene.name: scene for scene in (ONE, SOME, MANY, TEN)}
EVERYWHERE: Final = 0.95
"""What is in so many of the samples is the way from the command to the loop, and not told."""


async def profile(scene: Scene, transport: str, file: Path) -> dict[str, Any]:
    """Sample the gateway while readers watch, as many of so many cameras as the scene says."""
    async with rig(Stream(4, 2), scene.cameras, with_gst=False, module="tests.bench.sampled") as house:
        peer = house.ours.rtsps if transport == "rtsps" else house.ours.rtsp
        return await _sampled(house, [peer.target(reader % scene.cameras) for reader in range(scene.readers)], file)


async def profile_replays(kind: str, readers: int, file: Path) -> dict[str, Any]:
    """Sample the gateway while so many replay what is recorded so."""
    async with rig(
        Stream(4, 2), len(KINDS), with_gst=False, with_recorders=True, module="tests.bench.sampled"
    ) as house:
        return await _sampled(house, passages(house, kind, readers), file)


async def _sampled(house: Rig, targets: list[dict[str, Any]], file: Path) -> dict[str, Any]:
    process = house.ours.rtsp.process
    assert process is not None
    await house.open(targets)
    os.kill(process.pid, signal.SIGRTMIN)
    await house.readers.ask({"do": "measure", "seconds": SECONDS})
    os.kill(process.pid, signal.SIGRTMIN + 1)
    while not file.exists():
        await asyncio.sleep(0.05)
    await house.close()
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def main() -> None:
    """Sample and print: share of all samples in the function itself, and in what it calls too."""
    scene = next((SCENES[word] for word in sys.argv[1:] if word in SCENES), TEN)
    kind = next((word for word in sys.argv[1:] if word in KINDS), None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FILE_VARIABLE] = f"{folder}/profile.json"
        file = Path(folder, "profile.json")
        if kind is not None:
            told = asyncio.run(profile_replays(kind, scene.readers, file))
        else:
            told = asyncio.run(profile(scene, "rtsps" if "rtsps" in sys.argv[1:] else "rtsp", file))
    samples = told["samples"]
    print(f"{'itself':>8}{'in all':>8}  function, of {samples} samples")
    below = [(name, count) for name, count in told["total"].items() if count < EVERYWHERE * samples]
    for name, count in below[:SHOWN]:
        print(f"{told['self'].get(name, 0) / samples:8.1%}{count / samples:8.1%}  {name}")


if __name__ == "__main__":
    main()
