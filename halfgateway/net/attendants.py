"""The processes that attend a node: started with it, started again when they end, stopped with it, and outliving it.

Each leads a session of its own, so that neither Ctrl-C nor a SIGKILL of the node reaches it: an incident may be the
gateway's own death (ADR 10). A node that comes after finds what another left behind, and takes it over.
What is bound to us ends with us all the same, SIGKILL included: its standard input ends then.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from halfgateway.errors import HalfGatewayError
from halfgateway.net.process import ServerProcess

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""Seconds between two looks at whether an attendant still runs."""

FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 30.0
"""Seconds before an attendant that has ended is started again; twice as many each time that it ends soon."""

STEADY_S: Final = 60.0
"""An attendant that has run so long is started again at once."""

STOP_LIMIT_S: Final = 5.0
"""How long an attendant may take to end in good order before it is killed."""


class AttendantRunsError(HalfGatewayError):
    """The attendant of this data folder runs already."""


@contextmanager
def only_one(run: Path, name: str) -> Iterator[None]:
    """Be the one attendant of that name below ``run``, to be found by its number. Raises AttendantRunsError."""
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(_lock(run, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AttendantRunsError(f"{name} runs already in {run.parent}") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode("ascii"))
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def attended(
    root: Path,
    run: Path,
    commands: Mapping[str, Sequence[str]],
    *,
    bound: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """Keep the attendants running, each by its command; they work in ``root`` and are known below ``run``.

    Those of ``bound`` have a standard input that ends when we do.
    """
    ended = asyncio.Event()
    lifeline, held = os.pipe()
    attendants = [_Attendant(name, command, root, run, subprocess.DEVNULL) for name, command in commands.items()]
    attendants += [_Attendant(name, command, root, run, lifeline) for name, command in bound.items()]
    keeping = [asyncio.create_task(attendant.keep(ended), name=attendant.name) for attendant in attendants]
    try:
        await asyncio.sleep(0)  # each is started before anybody is told that the node is
        yield
    finally:
        ended.set()
        await asyncio.gather(*keeping)
        os.close(lifeline)
        os.close(held)


class _Attendant:
    def __init__(self, name: str, command: Sequence[str], root: Path, run: Path, stdin: int) -> None:
        self.name = name
        self._command = tuple(command)
        self._root = root
        self._run = run
        self._stdin = stdin

    async def keep(self, ended: asyncio.Event) -> None:
        """Have it run until ``ended`` is set, and stop it then."""
        rest_s, now_s = FIRST_REST_S, asyncio.get_running_loop().time
        while not ended.is_set():
            began_s = now_s()
            process = self._left_behind() or self._started()
            while process is not None and process.running() and not ended.is_set():
                await _pause(ended, LOOK_S)
            if ended.is_set():
                await _stop(process)
                return
            rest_s = FIRST_REST_S if now_s() - began_s >= STEADY_S else min(2 * rest_s, LONGEST_REST_S)
            log.error("attendant.ended name=%s again_in_s=%g", self.name, rest_s)
            await _pause(ended, rest_s)

    def _left_behind(self) -> ServerProcess | None:
        """The attendant that a killed node left running here."""
        try:
            pid = int(_lock(self._run, self.name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return ServerProcess.find(pid, folder=self._root, name=Path(sys.executable).resolve().name)

    def _started(self) -> ServerProcess | None:
        """Its stderr is ours: what it shouts there is heard where the node is. Its stdout is nobody's."""
        try:
            child = subprocess.Popen(  # noqa: S603  # our own commands, and no word of anybody else's
                self._command,
                cwd=self._root,
                stdin=self._stdin,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            log.error("attendant.not_started name=%s error=%s", self.name, error)
            return None
        log.info("attendant.started name=%s pid=%d", self.name, child.pid)
        return ServerProcess(child.pid, child)


async def _pause(ended: asyncio.Event, limit_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await ended.wait()


async def _stop(process: ServerProcess | None) -> None:
    if process is None or not process.running():
        return
    process.terminate()
    if not await process.ended(STOP_LIMIT_S):
        await asyncio.to_thread(process.kill)


def _lock(run: Path, name: str) -> Path:
    return run / f"{name}.lock"
