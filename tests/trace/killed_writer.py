"""A real writer to be killed: records as fast as it can, and tells each acknowledged entry on stdout."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from auth.trace import Draft, Journal, Kind
from camera_registry.clock import SystemClock
from tests.trace.journals import KEY, NODE, draft

CALLERS = 16


async def write(folder: Path, run: str) -> None:
    journal = await Journal.open(
        folder, node=NODE, key=KEY, clock=SystemClock(), write_deadline_s=60, checkpoint_interval_s=0.01
    )
    for act in journal.open_acts:
        await journal.record(draft(act.stream, Kind.STREAM_STOPPED))
    await journal.record(Draft(kind=Kind.NODE_STARTED))

    async def call(caller: int) -> None:
        for number in count():
            stream = f"{run}-{caller}-{number}"
            entry = await journal.record(draft(stream))
            os.write(1, f"{entry.n} {stream}\n".encode())

    await asyncio.gather(*(call(caller) for caller in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2]))
