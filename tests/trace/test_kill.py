"""kill -9 at any moment: what was acknowledged is there, and what was begun is closed or cut (T02)."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from auth.trace import Kind, Status, TraceFilter, verify_folder
from auth.trace.layout import LEAF, leaves_header
from auth.trace.reader import MAX_PAGE
from tests.conftest import uncounted_environment
from tests.trace.journals import LEAVES, NODE, open_journal

KILLS = 6
ROOT = Path(__file__).parents[2]


def write_and_kill(folder: Path, run: int, after: int) -> dict[int, str]:
    """Start a writer, kill it once it has acknowledged so many entries, return all it acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.trace.killed_writer", str(folder), str(run)],
        cwd=ROOT,
        env=uncounted_environment() | {"PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    with writer.stdout as told:
        lines = [told.readline() for _ in range(after)]
        writer.kill()
        lines += told.readlines()
    writer.wait()
    acknowledged = [line.decode().split() for line in lines if line.endswith(b"\n")]
    assert len(acknowledged) >= after
    return {int(n): stream for n, stream in acknowledged}


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    # T01, T02
    chance = random.Random(20261121)
    folder = tmp_path / "trace"
    acknowledged: dict[int, str] = {}
    for run in range(KILLS):
        more = write_and_kill(folder, run, chance.randrange(1, 300))
        assert not acknowledged.keys() & more.keys()
        acknowledged |= more
        found = verify_folder(folder)
        assert found.status is Status.UNANCHORED or found.torn_bytes, found
    async with await open_journal(folder) as journal:
        assert journal.recovery is not None
        last_run = {act.stream for act in journal.open_acts}
        assert last_run >= {stream for stream in acknowledged.values() if stream.startswith(f"{KILLS - 1}-")}
        assert all(stream.startswith(f"{KILLS - 1}-") for stream in last_run)
        recorded = {}
        cursor = None
        while True:
            page = await journal.reader().entries(
                TraceFilter(kinds=frozenset({Kind.STREAM_REQUESTED})), limit=MAX_PAGE, cursor=cursor
            )
            recorded |= {entry.n: entry.stream for entry in page.items}
            cursor = page.next
            if cursor is None:
                break
    assert acknowledged.items() <= recorded.items()
    found = verify_folder(folder)
    count = ((folder / LEAVES).stat().st_size - len(leaves_header(NODE, 0))) // LEAF.size
    assert (found.status, found.entries, found.unsigned_tail) == (Status.UNANCHORED, count, 0)
