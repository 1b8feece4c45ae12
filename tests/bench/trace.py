"""What the trace costs: durable entries a second and their tail with fsync, verification, bytes an entry."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.trace import Checkpoint, Draft, Journal, Kind, Status, SystemStorage, verify_folder
from auth.trace.checkpoint import sign_checkpoint
from auth.trace.layout import (
    CHECKPOINTS,
    LEAF,
    SALT_BYTES,
    SEGMENT_ENTRIES,
    StampWriter,
    commitment,
    frame,
    leaves_header,
    leaves_name,
    origin,
    payloads_header,
    payloads_name,
)
from auth.trace.notes import key_name, record, write_key
from auth.trace.tree import Frontier, leaf_hash
from camera_registry.clock import SystemClock
from tests.bench.child import BenchError
from tests.bench.results import Results, Setting

CALLERS: Final = 64
VERIFIED_ENTRIES: Final = 1_000_000
ENTRIES_A_CHECKPOINT: Final = 1_000
BLOCK_BYTES: Final = 4_096
BARE_SYNCS_S: Final = 2.0
NODE: Final = "bench"
TRACE: Final = Setting("trace", "none", "none", 0, 0, "none", "halfgateway")

_KINDS: Final = (Kind.STREAM_REQUESTED, Kind.STREAM_GRANTED, Kind.STREAM_STARTED, Kind.STREAM_STOPPED)


def _draft(kind: Kind) -> Draft:
    """An access as it is traced: what an entry weighs depends on it."""
    return Draft(
        kind=kind,
        agent="pp-7f3a9c21",
        account="pvpp-vms",
        attribution="agent-asserted",
        camera="versailles-mairie-01",
        stream=secrets.token_hex(8),
        mode="live",
        reason="L251-2-5",
        source="198.51.100.7",
        detail={
            "via": "rtsps",
            "profile": "main",
            "role": "machine",
            "service": "DOPC",
            "site": "PP-CITE",
            "slot": "3/10",
        },
    )


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk that the bench runs on: a temporary file system would sync for nothing."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-trace-") as folder:
        yield Path(folder)


class CountedStorage(SystemStorage):
    """The disk, and how often it was asked to keep what it was given."""

    def __init__(self) -> None:
        self.syncs = 0

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        super().sync(descriptor)


async def durable_entries(results: Results, *, runs: int, seconds: float) -> None:
    """How many entries 64 concurrent callers get made durable, how long the slowest wait, and what the disk gives."""
    for _ in range(runs):
        with _folder() as folder:
            results.add(TRACE, "trace_disk_fsyncs_per_s", await asyncio.to_thread(_bare_syncs_per_s, folder))
            key, storage, waits_s = Ed25519PrivateKey.generate(), CountedStorage(), list[float]()
            async with await Journal.open(folder, node=NODE, key=key, clock=SystemClock(), storage=storage) as journal:
                began_s, before = time.perf_counter(), storage.syncs
                await asyncio.gather(*(_call(journal, began_s + seconds, waits_s) for _ in range(CALLERS)))
                took_s, syncs = time.perf_counter() - began_s, storage.syncs - before
            stored = sum(path.stat().st_size for path in folder.iterdir())
        waits_s.sort()
        results.add(TRACE, "trace_entries_per_s", len(waits_s) / took_s)
        results.add(TRACE, "trace_entries_per_fsync", len(waits_s) / syncs)
        results.add(TRACE, "trace_entry_p99_ms", waits_s[len(waits_s) * 99 // 100] * 1000)
        results.add(TRACE, "trace_bytes_per_entry", stored / len(waits_s))


def _bare_syncs_per_s(folder: Path) -> float:
    """What the disk gives to anyone, at that moment: a block appended and synced, by one thread, again and again."""
    path, syncs = folder / "bare", 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    began_s = time.perf_counter()
    while (took_s := time.perf_counter() - began_s) < BARE_SYNCS_S:
        os.pwrite(descriptor, bytes(BLOCK_BYTES), syncs * BLOCK_BYTES)
        os.fdatasync(descriptor)
        syncs += 1
    os.close(descriptor)
    path.unlink()
    return syncs / took_s


async def _call(journal: Journal, until_s: float, waits_s: list[float]) -> None:
    kinds = 0
    while (began_s := time.perf_counter()) < until_s:
        await journal.record(_draft(_KINDS[kinds % len(_KINDS)]))
        waits_s.append(time.perf_counter() - began_s)
        kinds += 1


def verification(results: Results, *, runs: int) -> None:
    """How fast a journal of a million entries is verified: by the clock, and by the time of the one core it uses."""
    with _folder() as folder:
        _write(folder, VERIFIED_ENTRIES)
        for _ in range(runs):
            began_s, cpu_began_s = time.perf_counter(), time.thread_time()
            found = verify_folder(folder)
            took_s, cpu_s = time.perf_counter() - began_s, time.thread_time() - cpu_began_s
            if found.status is not Status.UNANCHORED or found.entries != VERIFIED_ENTRIES:
                raise BenchError(f"the journal to be verified does not hold: {found.message}")
            results.add(TRACE, "trace_verified_per_s", VERIFIED_ENTRIES / took_s)
            results.add(TRACE, "trace_verified_per_core_s", VERIFIED_ENTRIES / cpu_s)


def _write(folder: Path, count: int) -> None:
    """Write a journal as the journal does, without its waiting for the disk."""
    key, frontier, stamps = Ed25519PrivateKey.generate(), Frontier(), StampWriter(NODE)
    bodies = [(kind, _draft(kind).body()) for kind in _KINDS]
    start_us = time.time_ns() // 1000
    notes = [record(sign_checkpoint(Checkpoint(origin(NODE), 0, frontier.root()), key))]
    for first in range(0, count, SEGMENT_ENTRIES):
        leaves, frames = bytearray(leaves_header(NODE, first)), bytearray(payloads_header(NODE, first))
        for n in range(first, min(first + SEGMENT_ENTRIES, count)):
            kind, body = bodies[n % len(bodies)]
            payload = stamps.write(n, start_us + n, kind.value, kind.code).encode() + body
            salt = secrets.token_bytes(SALT_BYTES)
            leaf = LEAF.pack(n, start_us + n, kind.code, commitment(salt + payload))
            frontier.append(leaf_hash(leaf))
            leaves += leaf
            frames += frame(salt, payload)
            if frontier.size % ENTRIES_A_CHECKPOINT == 0 or frontier.size == count:
                notes.append(record(sign_checkpoint(Checkpoint(origin(NODE), frontier.size, frontier.root()), key)))
        (folder / leaves_name(first)).write_bytes(leaves)
        (folder / payloads_name(first)).write_bytes(frames)
    (folder / CHECKPOINTS).write_bytes(b"".join(notes))
    (folder / key_name(NODE)).write_bytes(write_key(key.public_key()))
