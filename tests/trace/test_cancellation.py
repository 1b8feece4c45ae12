"""A caller that goes away at any await: its group, its journal and its folder go on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from auth.trace import Status, TraceUnavailable, verify_folder
from tests.trace.journals import FaultyStorage, draft, numbers, open_journal, until

MOST_TURNS = 40
"""Turns of the event loop after which each call here has long returned."""


async def cancelled_after(turns: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Cancel a call after so many turns of the event loop; tell whether it had returned before."""
    task = asyncio.ensure_future(call())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return False
    return True


async def test_record_can_be_cancelled_at_every_await(tmp_path: Path) -> None:
    # T02
    async with await open_journal(tmp_path / "trace") as journal:
        for turns in range(MOST_TURNS):
            beside = [asyncio.create_task(journal.record(draft(f"beside-{turns}"))) for _ in range(3)]
            await cancelled_after(turns, lambda: journal.record(draft("cancelled")))
            assert len(set(numbers(await asyncio.gather(*beside)))) == 3
        assert journal.unwritable_since_s is None
        size = journal.size
        assert 3 * MOST_TURNS <= size <= 4 * MOST_TURNS
        assert (await journal.record(draft())).n >= size
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED


async def test_a_cancelled_call_that_had_begun_is_recorded(tmp_path: Path) -> None:
    # T02: the act was asked for, whoever waits for it
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        storage.gate.clear()
        before = storage.syncs
        writing = asyncio.create_task(journal.record(draft("writing")))
        await until(lambda: storage.syncs > before)
        waiting = asyncio.create_task(journal.record(draft("waiting")))
        await asyncio.sleep(0)
        writing.cancel()
        waiting.cancel()
        storage.gate.set()
        after = await journal.record(draft("after"))
        assert [entry.stream for entry in (await journal.reader().entries()).items] == ["after", "waiting", "writing"]
        assert after.n == 2


async def test_a_group_whose_callers_all_left_is_refused_with_nobody_told(tmp_path: Path) -> None:
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        storage.break_("sync", ".leaves", times=1)
        assert not await cancelled_after(1, lambda: journal.record(draft("lost")))
        await until(lambda: journal.unwritable_since_s is not None)
        assert (await journal.record(draft())).n == 0


@pytest.mark.parametrize("call", ["probe", "write_checkpoint", "close"])
async def test_the_other_calls_can_be_cancelled_at_every_await(tmp_path: Path, call: str) -> None:
    for turns in range(MOST_TURNS):
        journal = await open_journal(tmp_path / "trace")
        await journal.record(draft())
        await cancelled_after(turns, getattr(journal, call))
        await journal.close()
        assert journal.size == turns + 1
    assert verify_folder(tmp_path / "trace").unsigned_tail == 0


def test_a_loop_that_ends_without_closing_lets_the_folder_go(tmp_path: Path) -> None:
    storage = FaultyStorage()

    async def leave() -> None:
        journal = await open_journal(tmp_path / "trace", storage=storage)
        await journal.record(draft())
        storage.gate.clear()
        before = storage.syncs
        writing = asyncio.create_task(journal.record(draft("in flight")))
        await until(lambda: storage.syncs > before)
        writing.cancel()

    async def open_again() -> int:
        async with await open_journal(tmp_path / "trace") as journal:
            return journal.size

    asyncio.run(leave())
    storage.gate.set()
    assert asyncio.run(open_again()) == 2


async def test_opening_can_be_cancelled_at_every_await(tmp_path: Path) -> None:
    # The thread that opens is not stopped: what it opened is closed again, so the folder is free.
    for turns in range(MOST_TURNS):
        if await cancelled_after(turns, lambda: open_then_close(tmp_path / "trace")):
            break

        async def is_free() -> bool:
            try:
                async with await open_journal(tmp_path / "trace") as journal:
                    await journal.record(draft())
            except TraceUnavailable:
                return False
            return True

        assert await is_free()
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED


async def open_then_close(folder: Path) -> None:
    async with await open_journal(folder):
        pass
