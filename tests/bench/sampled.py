"""``halfgateway`` under a sampler of its own CPU time: ``python -m tests.bench.sampled serve …``.

``SIGRTMIN`` begins, ``SIGRTMIN + 1`` ends and writes ``{"samples", "self": {…}, "total": {…}}`` to the file that
``HALFGATEWAY_BENCH_PROFILE`` names. A sample that is taken in C code counts for the Python function that called it
or, within the event loop, for the next one that it calls.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from halfgateway.cli import main as run_command

SAMPLE_S: Final = 0.001
"""CPU time between two samples, at least: the kernel looks at its own ticks, and a process that naps misses most."""

FILE_VARIABLE: Final = "HALFGATEWAY_BENCH_PROFILE"


class Sampler:
    """Counts in which functions the main thread is when its CPU timer expires."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._self: Counter[CodeType] = Counter()
        self._total: Counter[CodeType] = Counter()

    def begin(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)

    def sample(self, _number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self._self[frame.f_code] += 1
        stack = set()
        while frame is not None:
            stack.add(frame.f_code)
            frame = frame.f_back
        self._total.update(stack)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        told = {
            "samples": sum(self._self.values()),
            "self": {_name(code): count for code, count in self._self.most_common()},
            "total": {_name(code): count for code, count in self._total.most_common()},
        }
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(told))
        partial.replace(self._path)


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).parent.name}/{Path(code.co_filename).name}:{code.co_qualname}"


if __name__ == "__main__":
    sampler = Sampler(Path(os.environ[FILE_VARIABLE]))
    signal.signal(signal.SIGPROF, sampler.sample)
    signal.signal(signal.SIGRTMIN, sampler.begin)
    signal.signal(signal.SIGRTMIN + 1, sampler.end)
    run_command()
