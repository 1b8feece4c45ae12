"""What a node's trace proves of its life, as the watchdog reads it beside whoever writes it (N02)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from auth.trace import Draft, Kind
from halfgateway.attending import last_signs, signs_before_start
from halfgateway.folder import DataFolder
from ops.notices.watchdog import Signs
from tests.held_clock import HeldClock
from tests.trace.journals import NODE, open_journal

MINUTE = timedelta(minutes=1)


async def test_the_newest_sign_of_life_and_of_service(tmp_path: Path, clock: HeldClock) -> None:
    folder = DataFolder(tmp_path)

    async def signs() -> Signs | None:
        return await asyncio.to_thread(last_signs, folder, NODE)

    assert await signs() is None
    journal = await open_journal(folder.trace, clock=clock)
    began = clock.now()
    await journal.record(Draft(kind=Kind.NODE_STARTED))
    assert await signs() == Signs(began, began)
    clock.advance(MINUTE)
    await journal.record(Draft(kind=Kind.HEARTBEAT, detail={"serving": True}))
    clock.advance(MINUTE)
    await journal.record(Draft(kind=Kind.HEARTBEAT, detail={"serving": False, "period_s": 300.0}))
    assert await signs() == Signs(began + 2 * MINUTE, began + MINUTE, 300.0)
    assert await signs_before_start(journal.reader()) is None
    clock.advance(-MINUTE / 2)  # the clock was set: what counts is what was written before
    await journal.record(Draft(kind=Kind.NODE_STARTED))
    await journal.record(Draft(kind=Kind.STREAM_GRANTED))
    assert await signs_before_start(journal.reader()) == Signs(began + 2 * MINUTE, began + MINUTE, 300.0)
    await journal.record(Draft(kind=Kind.NODE_STOPPED))
    assert await signs() is None
    await journal.record(Draft(kind=Kind.NODE_STARTED))
    assert await signs_before_start(journal.reader()) is None
    await journal.close()
