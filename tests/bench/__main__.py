"""``make bench``: what the relay costs beside its peers, as a table and as ``bench.json``.

``python -m tests.bench [quick] [PART...]``; without a part, all of them (:func:`tests.bench.plan.parts`). How it
measures is told in ``docs/performance.md``.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from tests.bench import ends
from tests.bench.child import BenchError
from tests.bench.plan import PARTS, QUICK, WHOLE, carry_out, parts
from tests.bench.report import aims, table
from tests.bench.results import Results

RESULTS = Path("bench.json")


async def bench(words: list[str]) -> Results:
    """Measure what was asked for; what has been measured is written down after each part."""
    results = Results()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _interrupt, task)
    length = QUICK if "quick" in words else WHOLE
    for part in parts(words):
        print(f"bench: {part}", file=sys.stderr, flush=True)
        await carry_out(results, length, [part])
        results.write(RESULTS)
    return results


def _interrupt(task: asyncio.Task[Any]) -> None:
    """Once: a second Ctrl-C must not keep the first from tidying up."""
    if not task.cancelling():
        task.cancel()


def main() -> int:
    """Measure, print the table and the aims; 2 for unknown words, 1 if it could not measure, 130 if interrupted."""
    words = sys.argv[1:]
    unknown = [word for word in words if word != "quick" and word not in PARTS]
    if unknown:
        print(f"bench: unknown: {' '.join(unknown)}; known: quick {' '.join(PARTS)}", file=sys.stderr)
        return 2
    try:
        results = asyncio.run(bench(words))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    print(table(results), "", *ends.table(results), "", *aims(results), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
