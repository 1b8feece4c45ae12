"""The bench's readers, in a process of their own: ``python -m tests.bench.readers`` with a JSON line of settings.

Settings: ``{"table", "cameras"}``; the answer is ``{"ready": true}``. Then a command a line, each answered by one:

- ``{"do": "open", "targets": […]}``: connect, describe, set up and play all; ``{"join_ms": […], "open_ms": […]}``
- ``{"do": "measure", "seconds": s}``: what came within that time, each reader apart
- ``{"do": "close"}``: tear everything down
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.bench.frames import FrameTable
from tests.bench.reader import Reader, ReaderError, Target

FIRST_KEY_LIMIT_S: Final = 25.0
"""How long a first key frame may take to come: the longest group of pictures, twice."""

OPENED_AT_ONCE: Final = 4
"""Readers that open at the same time; more would measure the door's queue."""

KEEP_ALIVE_S: Final = 20.0


class ReaderRoom:
    """All readers that are open now."""

    def __init__(self, table: FrameTable) -> None:
        self._table = table
        self._readers: list[Reader] = []

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry one command out. Raises ReaderError, OSError, TimeoutError."""
        match command["do"]:
            case "open":
                return await self.open([Target(**target) for target in command["targets"]])
            case "measure":
                return await self.measure(command["seconds"])
            case "close":
                return await self.close()
        raise ReaderError(f"unknown command {command['do']}")

    async def open(self, targets: list[Target]) -> dict[str, Any]:
        """Play all of them, and wait until each has a whole key frame."""
        at_once = asyncio.Semaphore(OPENED_AT_ONCE)
        opened = await asyncio.gather(*(self._open_one(target, at_once) for target in targets))
        self._readers += opened
        return {"join_ms": [_join_ms(reader) for reader in opened]}

    async def measure(self, seconds: float) -> dict[str, Any]:
        """Forget what has come, wait, and tell what comes meanwhile."""
        for reader in self._readers:
            reader.take_seen()
        remaining = seconds
        while remaining > 0:
            await asyncio.sleep(min(remaining, KEEP_ALIVE_S))
            remaining -= KEEP_ALIVE_S
            if remaining > 0:
                await asyncio.gather(*(reader.keep_alive() for reader in self._readers))
        return {"readers": [self._told(reader) for reader in self._readers]}

    async def close(self) -> dict[str, Any]:
        """End every session in good order."""
        readers, self._readers = self._readers, []
        await asyncio.gather(*(reader.tear_down() for reader in readers if not reader.closed.is_set()))
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

    def _told(self, reader: Reader) -> dict[str, Any]:
        seen = reader.take_seen()
        told = asdict(seen)
        del told["frames"]
        camera = reader.target.camera
        handed = ((self._table.instant(camera, number), arrival) for number, arrival, _, _ in seen.frames)
        told["latencies_ms"] = [round((arrival - at) * 1000, 4) for at, arrival in handed if at is not None]
        told["camera"] = camera
        told["slow"] = reader.target.slow_bps is not None
        return told


def _join_ms(reader: Reader) -> float:
    assert reader.first_key_s is not None
    return (reader.first_key_s - reader.play_asked_s) * 1000


async def serve() -> None:
    """Obey standard input until it ends."""
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings = json.loads(await lines.readline())
    room = ReaderRoom(FrameTable(Path(settings["table"]), settings["cameras"]))
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
