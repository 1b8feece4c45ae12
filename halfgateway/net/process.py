"""A server process that is watched and ended, be it our child or one that a killed node left behind; and how a child
ends with its parent."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

STDIN: Final = 0

KILL_LIMIT_S = 5.0
"""Seconds after SIGKILL in which the kernel takes a process away; milliseconds, unless its disk hangs."""

_POLL_S = 0.01
_STARTED_AT_FIELD = 19
"""Index of ``starttime`` among the fields of ``/proc/PID/stat`` that follow the program's name (proc(5))."""


def end_with_stdin(ended: asyncio.Event) -> None:
    """Set ``ended`` when standard input ends: with whoever holds the other side of the pipe, however they end.

    Raises OSError for what cannot be waited for, such as a file.
    """
    asyncio.get_running_loop().add_reader(STDIN, _take_stdin, ended)


def _take_stdin(ended: asyncio.Event) -> None:
    if not os.read(STDIN, 4096):
        asyncio.get_running_loop().remove_reader(STDIN)
        ended.set()


class ServerProcess:
    """A process that leads its own session.

    A child's number is not given to another before we have waited for it. One that is not our child is known by
    its number and the instant of its start, and is looked at again before each signal.
    """

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._child = child
        self._started_at = _started_at(pid)

    @classmethod
    def find(cls, pid: int, *, folder: Path, name: str) -> ServerProcess | None:
        """Return the running process of this number, if it runs the program ``name`` in ``folder``."""
        found = cls(pid)
        about = Path("/proc", str(pid))
        with suppress(OSError):
            ours = (about / "cwd").samefile(folder) and (about / "exe").readlink().name == name
            if ours and found.running():
                return found
        return None

    def running(self) -> bool:
        """Whether the process has not ended."""
        if self._child is not None:
            return self._child.poll() is None
        return self._started_at is not None and _started_at(self.pid) == self._started_at

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        if self.running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> bool:
        """End it and what it has forked (SIGKILL), wait at most ``KILL_LIMIT_S``, return whether it has ended."""
        if self.running():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        for _ in range(math.ceil(KILL_LIMIT_S / _POLL_S)):
            if not self.running():
                return True
            time.sleep(_POLL_S)
        return False

    async def ended(self, limit_s: float) -> bool:
        """Wait for it to end; return whether it has."""
        for _ in range(math.ceil(limit_s / _POLL_S)):
            if not self.running():
                return True
            await asyncio.sleep(_POLL_S)
        return False


def _started_at(pid: int) -> str | None:
    """Return a process's start in clock ticks since boot; None if there is none, or only its corpse."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[_STARTED_AT_FIELD]
