"""Small journals to look at, and a disk that fails on demand."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from held_clock import HeldClock

from auth.trace import Draft, Entry, Journal, Kind, Storage, SystemStorage
from auth.trace.erasure import ErasureRule
from auth.trace.layout import FRAME, LEAF, erased_frame, leaves_header, payloads_header
from camera_registry.clock import Clock

NODE = "gw1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LEAVES = "000000000000.leaves"
PAYLOADS = "000000000000.payloads"
CHECKPOINTS = "checkpoints"
PURGED = Draft(
    kind=Kind.TRACE_PURGED,
    detail=ErasureRule(frozenset({Kind.STREAM_REQUESTED.code}), 1 << 52, 2).to_detail(),
)
ERASED = 1
"""The entry that is erased in the ``journal`` fixture."""


def draft(stream: str = "s-1", kind: Kind = Kind.STREAM_REQUESTED, **members: Any) -> Draft:
    return Draft(**{"kind": kind, "stream": stream, "camera": "cam-1", "mode": "live", **members})


async def open_journal(folder: Path, *, clock: Clock | None = None, storage: Storage | None = None,
                       write_deadline_s: float = 20.0, checkpoint_interval_s: float = 3600.0) -> Journal:  # fmt: skip
    """Open a journal whose checkpoints come when asked for, and whose disk may take its time."""
    return await Journal.open(
        folder,
        node=NODE,
        key=KEY,
        clock=clock or HeldClock(),
        storage=storage,
        write_deadline_s=write_deadline_s,
        checkpoint_interval_s=checkpoint_interval_s,
    )


async def write_journal(folder: Path, *groups: int, purging: bool = False) -> list[Entry]:
    """Write groups of so many entries, a checkpoint after each, and close.

    ``purging``: the last entry says that every access among the first two is erased.
    """
    entries: list[Entry] = []
    async with await open_journal(folder) as journal:
        for group in groups:
            start = len(entries)
            drafts = [draft(f"s-{n}") for n in range(start, start + group)]
            if purging and start + group == sum(groups):
                drafts[-1] = PURGED
            entries += await asyncio.gather(*map(journal.record, drafts))
            await journal.write_checkpoint()
    return entries


def frame_spans(folder: Path) -> list[tuple[int, int]]:
    """Where each payload frame of the first segment begins and ends."""
    data = (folder / PAYLOADS).read_bytes()
    position, spans = len(payloads_header(NODE, 0)), []
    while position < len(data):
        length, _ = FRAME.unpack_from(data, position)
        end = position + FRAME.size + 32 + length
        spans.append((position, end))
        position = end
    return spans


def leaf_spans(folder: Path) -> list[tuple[int, int]]:
    """Where each leaf record of the first segment begins and ends."""
    header = len(leaves_header(NODE, 0))
    count = ((folder / LEAVES).stat().st_size - header) // LEAF.size
    return [(header + n * LEAF.size, header + (n + 1) * LEAF.size) for n in range(count)]


def erase(folder: Path, n: int) -> None:
    """Do to an entry what a purge will."""
    start, end = frame_spans(folder)[n]
    record = (folder / LEAVES).read_bytes()[slice(*leaf_spans(folder)[n])]
    patch(folder / PAYLOADS, start, erased_frame(record, end - start - FRAME.size - 32))


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


class FaultyStorage(SystemStorage):
    """A real disk on which chosen calls on chosen files fail, or wait."""

    def __init__(self) -> None:
        self.syncs = 0
        self.gate = threading.Event()
        self.gate.set()
        self._names: dict[int, str] = {}
        self._faults: dict[str, tuple[str, int, int | None]] = {}

    def break_(self, call: str, suffix: str, error: int = errno.EIO, *, times: int | None = None) -> None:
        """Make a call fail on files whose name ends so; for ever, or so many times."""
        self._faults[call] = (suffix, error, times)

    def mend(self) -> None:
        self._faults.clear()

    def open(self, path: Path, *, create: bool) -> int:
        self._fail("open", path.name)
        descriptor = super().open(path, create=create)
        self._names[descriptor] = path.name
        return descriptor

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        try:
            self._fail("write", self._names[descriptor])
        except OSError:
            super().write(descriptor, data[: len(data) // 2], offset)
            raise
        super().write(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        self._fail("truncate", self._names[descriptor])
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        self.gate.wait()
        self._fail("sync", self._names[descriptor])
        super().sync(descriptor)

    def _fail(self, call: str, name: str) -> None:
        suffix, error, times = self._faults.get(call, ("", 0, 0))
        if times == 0 or not name.endswith(suffix):
            return
        if times is not None:
            self._faults[call] = (suffix, error, times - 1)
        raise OSError(error, os.strerror(error))


async def until(condition: Callable[[], bool], *, turns: int = 20_000) -> None:
    """Wait for something that other tasks or threads bring about."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("what was waited for did not come")


def numbers(entries: Sequence[Entry]) -> list[int]:
    return [entry.n for entry in entries]
