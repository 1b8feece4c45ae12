"""How another process on this machine finds the running node, makes it follow its record, and learns what it did.

The command line writes the interconnection's record and sends SIGUSR2; the node follows and answers in a file. No
port, no database, no Valkey: it works when everything else is down.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from halfgateway.errors import HalfGatewayError

FOLLOW_SIGNAL = signal.SIGUSR2
"""What tells a node to read its record."""

CUT_SIGNAL = signal.SIGUSR1
"""What tells a node to cut at once, and to write that down itself: for who has nothing but ``kill`` at hand."""

LET_GO_S = 2.0
"""How long a lock may still be held by what goes away: a command at its end, or a child that a node killed this instant
was starting, which has all its files until it runs its own program."""

_POLL_S = 0.005
_LOCK = "node.lock"
_FOLLOWED = "followed.json"
_COMMANDED = "commanded.json"


class NodeAlreadyRunsError(HalfGatewayError):
    """Another process serves this data folder."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What a node did when it last followed its record."""

    node: str
    serial: int
    streams_closed: int


class Beacon:
    """The running node's side: one process a data folder, for as long as it lives."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node
        self._descriptor = -1

    def __enter__(self) -> Beacon:
        """Light it, within :data:`LET_GO_S`. Raises NodeAlreadyRunsError."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise NodeAlreadyRunsError(f"another node serves {self._folder.parent}") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"node": self._node, "pid": os.getpid()}).encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def followed(self, serial: int, streams_closed: int) -> None:
        """Say that the record is enforced up to ``serial``."""
        answer = self._folder / _FOLLOWED
        partial = answer.with_suffix(".partial")
        partial.write_text(json.dumps({"node": self._node, "serial": serial, "streams_closed": streams_closed}))
        partial.replace(answer)


def sign_command(folder: Path, serial: int, account: str) -> None:
    """Leave word of which OS account made the record's change ``serial`` (C21), for the node that follows it.

    The folder is the node's own, closed to everyone else: who can write there could write the record.
    """
    word = folder / _COMMANDED
    partial = word.with_suffix(".partial")
    partial.write_text(json.dumps({"serial": serial, "account": account}))
    partial.replace(word)


def command_author(folder: Path, serial: int) -> str | None:
    """The OS account that made the change ``serial`` by a command here; None where nobody left word of it."""
    try:
        word = json.loads((folder / _COMMANDED).read_text())
        return str(word["account"]) if word["serial"] == serial else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_node_follow(folder: Path, serial: int, timeout_s: float) -> Followed | None:
    """Signal the node of this run folder and wait until it has followed ``serial``.

    None when no node runs there, or when it did not answer in time.
    """
    pid = _running_pid(folder / _LOCK)
    if pid is None:
        return None
    try:
        os.kill(pid, FOLLOW_SIGNAL)
    except ProcessLookupError:
        return None
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        followed = _read(folder / _FOLLOWED)
        if followed is not None and followed.serial >= serial:
            return followed
        time.sleep(_POLL_S)
    return None


def _lock(descriptor: int) -> None:
    """Lock it for this process. Raises OSError: another one holds it."""
    deadline = time.monotonic() + LET_GO_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return


def _running_pid(lock: Path) -> int | None:
    """The process that holds the lock; a file left by one that died holds none."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    try:
        return int(json.loads(text)["pid"])
    except (ValueError, KeyError, TypeError):
        return None


def _read(path: Path) -> Followed | None:
    try:
        return Followed(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
