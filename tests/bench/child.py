"""A process of the bench: in a session of its own, spoken to by JSON lines, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

START_LIMIT_S: Final = 60.0
"""How long a process may take to say that it is ready: the first one on a machine encodes its clip."""

END_LIMIT_S: Final = 30.0
"""How long it may take to end in good order: our node stops the Valkey that it has started."""

LINE_LIMIT_BYTES: Final = 64 << 20
"""Of one answer; readers tell every latency that they have measured."""

_LOG_TAIL: Final = 2000
_SCHED_CLOCK: Final = 2
"""Linux' number for a process' CPU time to the nanosecond (``CPUCLOCK_SCHED``)."""


class BenchError(RuntimeError):
    """The bench could not measure: what and why."""


class Child:
    """A running process; ``first`` is the JSON line with which it began, if it says one."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.first: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """User and system time of all its threads so far, in seconds, to the microsecond."""
        return time.clock_gettime((~self.pid << 3) | _SCHED_CLOCK)

    def rss_mb(self) -> float:
        """Resident memory in megabytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def ask(self, command: Mapping[str, Any], *, limit_s: float = START_LIMIT_S) -> dict[str, Any]:
        """Say one line and return the answer. Raises BenchError."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.answer(limit_s=limit_s)

    async def answer(self, *, limit_s: float = START_LIMIT_S) -> dict[str, Any]:
        """The next line that it says. Raises BenchError."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise BenchError(f"{self._log.stem} says nothing:\n{self._tail()}") from error
        if not line:
            raise BenchError(f"{self._log.stem} has ended:\n{self._tail()}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise BenchError(f"{self._log.stem}: {said['error']}")
        return said

    def log(self) -> str:
        """What it has written to standard error."""
        return self._log.read_text(errors="replace")

    async def end(self) -> None:
        """Ask it to end, and kill it and what it has started if it does not."""
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_LIMIT_S):
                    await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()

    def _tail(self) -> str:
        return self.log()[-_LOG_TAIL:]


@asynccontextmanager
async def child(
    command: Sequence[str], log: Path, *, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[Child]:
    """Start a process, give it its settings, and wait for its first line. Raises BenchError."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            limit=LINE_LIMIT_BYTES,
        )
    started = Child(process, log)
    try:
        started.first = await (started.answer() if settings is None else started.ask(settings))
        yield started
    finally:
        await asyncio.shield(started.end())
