"""A disk that is full, broken, slow or gone: nothing is acknowledged, nothing is lost, and it heals (T01)."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from held_clock import HeldClock

from auth.trace import Journal, Status, TraceDamaged, TraceUnavailable, verify_folder
from auth.trace.lock import LOCK
from auth.trace.storage import PROBE
from tests.trace.journals import (
    CHECKPOINTS,
    LEAVES,
    PAYLOADS,
    FaultyStorage,
    cut,
    draft,
    numbers,
    open_journal,
    until,
    write_journal,
)

SLOW_S = 0.05


async def holds(journal: Journal, *streams: str) -> bool:
    """Whether exactly these streams were recorded, and the folder verifies beside its writer."""
    page = await journal.reader().entries()
    found = verify_folder(journal.folder)
    assert (found.status, found.entries, found.torn_bytes) == (Status.UNANCHORED, len(streams), 0), found
    return [entry.stream for entry in reversed(page.items)] == list(streams)


@pytest.fixture
async def storage() -> FaultyStorage:
    return FaultyStorage()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("suffix", [".payloads", ".leaves"])
@pytest.mark.parametrize("call", ["write", "sync"])
async def test_a_group_that_fails_leaves_nothing(
    tmp_path: Path, storage: FaultyStorage, clock: HeldClock, call: str, suffix: str, error: int
) -> None:
    # T01
    async with await open_journal(tmp_path / "trace", storage=storage, clock=clock) as journal:
        await journal.record(draft("s-0"))
        assert journal.unwritable_since_s is None
        storage.break_(call, suffix, error)
        outcomes = await asyncio.gather(*(journal.record(draft(f"lost-{n}")) for n in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TraceUnavailable] * 3
        assert os.strerror(error) in str(outcomes[0])
        assert journal.unwritable_since_s == clock.monotonic()
        since = clock.monotonic()
        clock.advance(timedelta(seconds=7))
        with pytest.raises(TraceUnavailable):
            await journal.record(draft("lost"))
        assert journal.unwritable_since_s == since
        storage.mend()
        assert (await journal.record(draft("s-1"))).n == 1
        assert journal.unwritable_since_s is None
        assert await holds(journal, "s-0", "s-1")


async def test_a_disk_that_cannot_even_be_cut_back_heals_too(tmp_path: Path, storage: FaultyStorage) -> None:
    # T01
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        await journal.record(draft("s-0"))
        storage.break_("write", ".leaves", errno.ENOSPC)
        storage.break_("truncate", "", errno.EIO)
        for _ in range(3):
            with pytest.raises(TraceUnavailable):
                await journal.record(draft("lost"))
        with pytest.raises(TraceUnavailable):
            await journal.probe()
        storage.mend()
        await journal.probe()
        assert journal.unwritable_since_s is None
        assert await holds(journal, "s-0")


async def test_a_checkpoint_that_fails_is_written_later(tmp_path: Path, storage: FaultyStorage) -> None:
    # T03
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        await journal.record(draft("s-0"))
        for call in ("write", "sync"):
            storage.break_(call, CHECKPOINTS, errno.EIO)
            with pytest.raises(TraceUnavailable):
                await journal.write_checkpoint()
            assert journal.unwritable_since_s is not None
            storage.mend()
        await journal.record(draft("s-1"))
        checkpoint = await journal.write_checkpoint()
        assert checkpoint is not None
        assert checkpoint.size == 2
        assert await holds(journal, "s-0", "s-1")


async def test_checkpoints_are_tried_again_by_themselves(tmp_path: Path, storage: FaultyStorage) -> None:
    # T03
    async with await open_journal(tmp_path / "trace", storage=storage, checkpoint_interval_s=0.01) as journal:
        storage.break_("sync", CHECKPOINTS, errno.EIO)
        await journal.record(draft("s-0"))
        await until(lambda: journal.unwritable_since_s is not None)
        storage.mend()
        await until(lambda: journal.unwritable_since_s is None)
        await until(lambda: journal.checkpoint is not None and journal.checkpoint.size == 1)


async def test_a_new_segment_that_fails_is_begun_again(
    tmp_path: Path, storage: FaultyStorage, small_segments: int
) -> None:
    # T01
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        streams = [f"s-{n}" for n in range(small_segments)]
        for stream in streams:
            await journal.record(draft(stream))
        for call, suffix in (("open", "8.payloads"), ("write", "8.payloads"), ("sync", "8.leaves")):
            storage.break_(call, suffix, errno.ENOSPC)
            with pytest.raises(TraceUnavailable):
                await journal.record(draft("lost"))
            storage.mend()
        assert (await journal.record(draft("next"))).n == small_segments
        assert await holds(journal, *streams, "next")


async def test_a_slow_disk_refuses_in_time_and_takes_back_what_it_was_late_with(
    tmp_path: Path, storage: FaultyStorage
) -> None:
    # T01
    async with await open_journal(tmp_path / "trace", storage=storage, write_deadline_s=20) as journal:
        await journal.record(draft("s-0"))
        journal._write_deadline_s = SLOW_S
        storage.gate.clear()
        before = storage.syncs
        late = asyncio.create_task(journal.record(draft("late")))
        await until(lambda: storage.syncs > before)
        waiting = asyncio.create_task(journal.record(draft("waiting")))
        for task in (late, waiting):
            with pytest.raises(TraceUnavailable, match="too slow"):
                await task
        with pytest.raises(TraceUnavailable, match="does not answer"):
            await journal.record(draft("at once"))
        with pytest.raises(TraceUnavailable, match="does not answer"):
            await journal.probe()
        assert journal.unwritable_since_s is not None
        journal._write_deadline_s = 20
        storage.gate.set()
        await until(lambda: not journal._stalled)
        assert (await journal.record(draft("s-1"))).n == 1
        assert await holds(journal, "s-0", "s-1")


async def test_a_disk_that_answers_again_is_noticed_without_being_asked(tmp_path: Path, storage: FaultyStorage) -> None:
    # T01
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        await journal.record(draft("s-0"))
        journal._write_deadline_s = SLOW_S
        storage.gate.clear()
        before = storage.syncs
        signing = asyncio.create_task(journal.write_checkpoint())
        await until(lambda: storage.syncs > before)
        signing.cancel()
        with pytest.raises(TraceUnavailable):
            await journal.record(draft("waiting behind the checkpoint"))
        assert journal.unwritable_since_s is not None
        storage.gate.set()
        await until(lambda: journal.unwritable_since_s is None)
        journal._write_deadline_s = 20
        assert (await journal.record(draft("s-1"))).n == 1


async def test_closing_does_not_wait_for_ever(tmp_path: Path, storage: FaultyStorage) -> None:
    journal = await open_journal(tmp_path / "trace", storage=storage)
    await journal.record(draft("s-0"))
    journal._write_deadline_s = SLOW_S
    storage.gate.clear()
    with pytest.raises(TraceUnavailable, match="does not answer"):
        await journal.close()
    storage.gate.set()
    await journal.close()
    assert verify_folder(tmp_path / "trace").signed == 1


async def test_closing_on_a_broken_disk_says_so_and_lets_go(tmp_path: Path, storage: FaultyStorage) -> None:
    journal = await open_journal(tmp_path / "trace", storage=storage)
    await journal.record(draft("s-0"))
    storage.break_("sync", CHECKPOINTS, errno.EIO)
    with pytest.raises(TraceUnavailable):
        await journal.close()
    async with await open_journal(tmp_path / "trace") as again:
        assert again.size == 1


async def test_a_folder_that_is_moved_away_takes_the_trace_with_it(tmp_path: Path) -> None:
    # T01: writing into an unlinked file succeeds, and proves nothing
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(draft("s-0"))
        (tmp_path / "trace").rename(tmp_path / "elsewhere")
        for _ in range(2):
            with pytest.raises(TraceUnavailable):
                await journal.record(draft("lost"))
            with pytest.raises(TraceUnavailable):
                await journal.probe()
        (tmp_path / "elsewhere").rename(tmp_path / "trace")
        await journal.probe()
        assert (await journal.record(draft("s-1"))).n == 1
        assert await holds(journal, "s-0", "s-1")


@pytest.mark.parametrize("name", [PAYLOADS, LEAVES, CHECKPOINTS, LOCK])
async def test_a_file_that_is_gone_is_seen(tmp_path: Path, name: str) -> None:
    # T01
    path = tmp_path / "trace" / name
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(draft("s-0"))
        path.rename(tmp_path / "kept")
        with pytest.raises(TraceUnavailable, match=r"no longer|No such file"):
            await journal.probe()
        with pytest.raises(TraceUnavailable):
            await journal.record(draft("lost"))
        (tmp_path / "kept").replace(path)
        await journal.probe()
        assert await holds(journal, "s-0")


async def test_a_replaced_lock_is_not_taken_again(tmp_path: Path) -> None:
    # T03: whoever replaced it may have written since
    path = tmp_path / "trace" / LOCK
    journal = await open_journal(tmp_path / "trace")
    path.rename(tmp_path / "kept")
    path.touch()
    for _ in range(2):
        with pytest.raises(TraceUnavailable, match="no longer in"):
            await journal.record(draft("lost"))
    with pytest.raises(TraceUnavailable):
        await journal.close()


@pytest.mark.parametrize("name", [PAYLOADS, LEAVES, CHECKPOINTS])
async def test_a_replaced_file_is_taken_only_if_it_holds_what_was_durable(tmp_path: Path, name: str) -> None:
    # T03
    path = tmp_path / "trace" / name
    journal = await open_journal(tmp_path / "trace")
    await journal.record(draft("s-0"))
    await journal.write_checkpoint()
    await journal.record(draft("s-1"))
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(good)
    with pytest.raises(TraceUnavailable):
        await journal.record(draft("lost"))
    await journal.record(draft("s-2"))
    assert await holds(journal, "s-0", "s-1", "s-2")
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(TraceUnavailable):
            await journal.record(draft("lost"))
    with pytest.raises(TraceUnavailable):
        await journal.close()


async def test_durable_bytes_that_are_gone_are_never_papered_over(tmp_path: Path, storage: FaultyStorage) -> None:
    # T03
    journal = await open_journal(tmp_path / "trace", storage=storage)
    await journal.record(draft("s-0"))
    await journal.record(draft("s-1"))
    storage.break_("sync", ".leaves", errno.EIO, times=1)
    cut(tmp_path / "trace" / LEAVES, (tmp_path / "trace" / LEAVES).stat().st_size - 1)
    with pytest.raises(TraceUnavailable):
        await journal.record(draft("lost"))
    with pytest.raises(TraceDamaged):
        await journal.record(draft("lost"))
    with pytest.raises(TraceUnavailable):
        await journal.close()


async def test_durable_bytes_that_changed_are_never_gone_on_from(tmp_path: Path, storage: FaultyStorage) -> None:
    # T03: after a failed sync, what is on the medium is read back
    journal = await open_journal(tmp_path / "trace", storage=storage)
    await journal.record(draft("s-0"))
    path = tmp_path / "trace" / PAYLOADS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    storage.break_("sync", ".leaves", errno.EIO, times=1)
    with pytest.raises(TraceUnavailable):
        await journal.record(draft("lost"))
    with pytest.raises(TraceDamaged) as caught:
        await journal.record(draft("lost"))
    assert caught.value.first_bad == 0
    with pytest.raises(TraceUnavailable):
        await journal.close()


@pytest.mark.parametrize("call", ["open", "write", "sync"])
async def test_a_probe_needs_a_block_that_nobody_has(tmp_path: Path, storage: FaultyStorage, call: str) -> None:
    # T01
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        await journal.probe()
        storage.break_(call, PROBE, errno.ENOSPC)
        with pytest.raises(TraceUnavailable, match="No space left"):
            await journal.probe()
        assert journal.unwritable_since_s is not None
        storage.mend()
        await journal.probe()
        assert journal.unwritable_since_s is None
        assert (tmp_path / "trace" / PROBE).stat().st_size == 0


async def test_a_journal_that_cannot_be_opened_says_why(tmp_path: Path, storage: FaultyStorage) -> None:
    await write_journal(tmp_path / "trace", 2)
    storage.break_("open", ".leaves", errno.EIO)
    with pytest.raises(TraceUnavailable, match="Input/output error"):
        await open_journal(tmp_path / "trace", storage=storage)
    (tmp_path / "file").touch()
    with pytest.raises(TraceUnavailable):
        await open_journal(tmp_path / "file" / "trace")
    async with await open_journal(tmp_path / "trace") as journal:
        assert journal.size == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; the injected ENOSPC above runs for all")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this container may not mount; the injected ENOSPC above runs for all")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    # T01
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    journal = await open_journal(small_disk / "trace")
    recorded = 0

    async def fill() -> None:
        nonlocal recorded
        while True:
            entries = await asyncio.gather(*(journal.record(draft()) for _ in range(10)))
            recorded += len(entries)

    with pytest.raises(TraceUnavailable, match="No space left"):
        await fill()
    assert recorded > 0
    with pytest.raises(TraceUnavailable):
        await asyncio.gather(*(journal.record(draft("lost")) for n in range(10)))
    assert verify_folder(small_disk / "trace").entries == journal.size >= recorded
    size = journal.size
    ballast.unlink()
    await journal.probe()
    entries = await asyncio.gather(*(journal.record(draft("again")) for n in range(10)))
    assert numbers(entries) == list(range(size, size + 10))
    await journal.close()
    found = verify_folder(small_disk / "trace")
    assert (found.status, found.entries) == (Status.UNANCHORED, size + 10)
