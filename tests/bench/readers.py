"""The bench's readers, in a process of their own: ``python -m tests.bench.readers`` with a JSON line of settings.

Settings: ``{"table", "cameras", "gop_s"}``; the answer is ``{"ready": true}``. Then a command a line, each
answered by one:

- ``{"do": "open", "targets": […]}``: connect, describe, set up and play all, and wait for a picture; ``{"ports": […]}``
- ``{"do": "measure", "seconds": s}``: ``{"readers": […]}``, what came within that time, each reader apart
- ``{"do": "join", "target", "before_key_s", "stay_s"}``: one reader more, that comes so long before the camera's next
  key frame, stays, and leaves; ``{"join_ms", "open_ms", "lag_ms"}``
- ``{"do": "seek", "targets": […], "stay_s"}``: a recording played from where each target begins, one after the other in
  one session, and left; ``{"seek_ms": […]}``, from PLAY to a key frame
- ``{"do": "endings", "seconds": s}``: wait until all have been thrown out; ``{"last_bytes_s": […]}`` (monotonic)
- ``{"do": "close"}``: tear down what is still open
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import uvloop

from halfgateway.simulator.clips import FPS
from halfgateway.simulator.packets import VIDEO_CLOCK_HZ
from tests.bench.frames import FrameTable
from tests.bench.reader import Reader, ReaderError, Target

FIRST_KEY_LIMIT_S: Final = 25.0
"""How long a first key frame may take to come: the longest group of pictures, twice."""

OPENED_AT_ONCE: Final = 4
"""Readers that open at the same time; more would measure the door's queue."""

KEEP_ALIVE_S: Final = 20.0


class ReaderRoom:
    """All readers that are open now."""

    def __init__(self, table: FrameTable, gop_s: int) -> None:
        self._table = table
        self._gop_s = gop_s
        self._readers: list[Reader] = []

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry one command out. Raises ReaderError, OSError, TimeoutError."""
        match command["do"]:
            case "open":
                return await self.open([Target(**target) for target in command["targets"]])
            case "measure":
                return await self.measure(command["seconds"])
            case "join":
                return await self.join(Target(**command["target"]), command["before_key_s"], command["stay_s"])
            case "seek":
                return await self.seek([Target(**target) for target in command["targets"]], command["stay_s"])
            case "endings":
                return await self.endings(command["seconds"])
            case "close":
                return await self.close()
        raise ReaderError(f"unknown command {command['do']}")

    async def open(self, targets: list[Target]) -> dict[str, Any]:
        """Play all of them, and wait until each has a whole key frame."""
        at_once = asyncio.Semaphore(OPENED_AT_ONCE)
        opened = await asyncio.gather(*(self._open_one(target, at_once) for target in targets))
        self._readers += opened
        return {"ports": [reader.local_port for reader in opened]}

    async def measure(self, seconds: float) -> dict[str, Any]:
        """Forget what has come, wait, and tell what comes meanwhile."""
        for reader in self._readers:
            reader.take_seen()
        remaining = seconds
        while remaining > 0:
            await asyncio.sleep(min(remaining, KEEP_ALIVE_S))
            remaining -= KEEP_ALIVE_S
            if remaining > 0:
                await asyncio.gather(*(reader.keep_alive() for reader in self._readers if not reader.is_slow))
        return {"readers": [self._told(reader) for reader in self._readers]}

    async def join(self, target: Target, before_key_s: float, stay_s: float) -> dict[str, Any]:
        """Join at a known instant of the group of pictures; the lag is what a player has ``stay_s`` later."""
        reader = Reader(target)
        await asyncio.sleep(self._until_key_s(target.camera, before_key_s))
        came_s = time.monotonic()
        await reader.connect()
        await reader.set_up()
        await reader.play()
        async with asyncio.timeout(FIRST_KEY_LIMIT_S):
            await reader.first_key.wait()
        assert reader.first_key_s is not None
        await asyncio.sleep(stay_s)
        frames = reader.take_seen().frames
        await reader.tear_down()
        begun = next(index for index, (_, _, _, key) in enumerate(frames) if key)
        return {
            "join_ms": (reader.first_key_s - reader.play_asked_s) * 1000,
            "open_ms": (reader.first_key_s - came_s) * 1000,
            "lag_ms": _lag_ms(frames[begun:]),
        }

    async def seek(self, targets: list[Target], stay_s: float) -> dict[str, Any]:
        """Play a recording from one instant after another, each time for ``stay_s``."""
        reader = Reader(targets[0])
        await reader.connect()
        await reader.set_up()
        seek_ms = []
        for target in targets:
            assert target.begins is not None
            await reader.seek(target.begins)
            async with asyncio.timeout(FIRST_KEY_LIMIT_S):
                await reader.first_key.wait()
            assert reader.first_key_s is not None
            seek_ms.append((reader.first_key_s - reader.play_asked_s) * 1000)
            await asyncio.sleep(stay_s)
        await reader.tear_down()
        return {"seek_ms": seek_ms}

    async def endings(self, seconds: float) -> dict[str, Any]:
        """When each reader, having been thrown out, got its last byte."""
        readers, self._readers = self._readers, []
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(reader.closed.wait() for reader in readers))
        return {"last_bytes_s": [reader.last_byte_s for reader in readers]}

    async def close(self) -> dict[str, Any]:
        """End every session in good order."""
        readers, self._readers = self._readers, []
        for reader in readers:
            if reader.is_slow:  # the answer would come behind all that waits for it
                reader.abort()
        await asyncio.gather(*(reader.tear_down() for reader in readers if not reader.is_slow))
        return {"closed": len(readers)}

    async def _open_one(self, target: Target, at_once: asyncio.Semaphore) -> Reader:
        reader = Reader(target)
        async with at_once:
            await reader.connect()
            await reader.set_up()
            await reader.play()
        async with asyncio.timeout(FIRST_KEY_LIMIT_S):
            await reader.first_key.wait()
        return reader

    def _until_key_s(self, camera: int, before_key_s: float) -> float:
        """How long until it is so long before one of a camera's key frames."""
        last_s = self._table.last_key(camera)
        if last_s is None:
            raise ReaderError("the camera has not begun")
        return (last_s - before_key_s - time.monotonic()) % self._gop_s

    def _told(self, reader: Reader) -> dict[str, Any]:
        seen = reader.take_seen()
        told = asdict(seen)
        del told["frames"]
        camera = reader.target.camera
        handed = ((self._table.instant(camera, number), arrival) for number, arrival, _, _ in seen.frames)
        told["latencies_ms"] = [round((arrival - at) * 1000, 4) for at, arrival in handed if at is not None]
        told["camera"] = camera
        told["slow"] = reader.is_slow
        return told


def _lag_ms(frames: list[tuple[int, float, int, bool]]) -> float:
    """How far behind live a player is that shows the first frame when it has come, and plays at the stamped pace.

    A frame that comes ``a`` seconds after the first, and is stamped ``s`` seconds after it, is shown ``s - a`` after
    it came; the median over the last second. Negative: the player would have run dry and waited.
    """
    _, first_s, first_stamp, _ = frames[0]
    behind_s = [
        ((stamp - first_stamp) & 0xFFFFFFFF) / VIDEO_CLOCK_HZ - (arrival_s - first_s)
        for _, arrival_s, stamp, _ in frames[-FPS:]
    ]
    return statistics.median(behind_s) * 1000


async def serve() -> None:
    """Obey standard input until it ends."""
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings = json.loads(await lines.readline())
    room = ReaderRoom(FrameTable(Path(settings["table"]), settings["cameras"]), settings["gop_s"])
    print(json.dumps({"ready": True}), flush=True)
    while line := await lines.readline():
        try:
            answer = await room.obey(json.loads(line))
        except (ReaderError, OSError, TimeoutError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def main() -> None:
    """Run on the loop that the product runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
