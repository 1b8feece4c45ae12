"""The node's own, durable record of the interconnection's state: the source, with everything else down (C10).

One line per change, ``<SHA-256 of the rest> <state as canonical JSON>``, in a file that only grows, fsynced before
:meth:`LocalRecord.append` returns. The command line writes it while the node runs; a lock on a file beside it
keeps their changes apart. It fails closed:

========================  =========================================================================
what lies on disk         reads as
========================  =========================================================================
whole lines, in order     the last one
last line torn, was cut   that cut: what was being written was never acknowledged
last line torn, was not   cut: whoever was writing was closing, or beginning a drill
anything else             cut, by ``detection``, for ``security``; no file at all, too
========================  =========================================================================

Only a person opens it again, by restoring the incident that such a cut bears. What was damaged is kept aside.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from camera_registry.clock import Clock, SystemClock
from ops.appended import Fsync, locked, place_durably, write_all
from ops.errors import DamagedState, LocalRecordError, LockHeld
from ops.interconnection import (
    MAX_STATE_BYTES,
    Author,
    Ground,
    InterconnectionState,
    cut,
    first_open,
    merge,
    precedence,
)

MAX_RECORD_BYTES = 1024 * 1024
"""Bytes of a record, some 3,000 changes. When full, the next change begins a new file and the old one is kept
aside (the history is the trace's to keep); a file much longer than that reads as damage."""

_DIGEST_CHARS = 64
_MAX_LINE_BYTES = _DIGEST_CHARS + 1 + MAX_STATE_BYTES + 1


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the file says. ``appendable``: a line may follow; ``trusted``: the state was read, not presumed."""

    state: InterconnectionState
    appendable: bool
    trusted: bool


class LocalRecord:
    """The record in one file, shared by this machine's processes.

    ``lock_limit_s`` bounds the wait for another process that writes. ``fsync`` is the system's own, except in a
    test of a failing disk. The methods block on the disk for milliseconds: an event loop calls them in a thread.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        lock_limit_s: float = 5.0,
        fsync: Fsync = os.fsync,
    ) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._lock_limit_s = lock_limit_s
        self._fsync = fsync

    def initialise(self, state: InterconnectionState) -> InterconnectionState:
        """Begin the record of a new installation, unless there is one; return the state in force.

        Never for a folder that was in use: a record that is missing there reads as cut, and must.
        Raises LocalRecordError.
        """
        with self._writing():
            if not self._path.exists():
                self._begin_anew([state])
        return self.load()

    def load(self) -> InterconnectionState:
        """Return the state in force. Never raises: what cannot be read is cut.

        Such a cut is written down if it can be, so that it keeps its incident's id until a person restores it.
        """
        try:
            with self._locked(exclusive=False):
                reading = self._read()
        except (OSError, LockHeld):
            reading = self._read()
        if reading.trusted:
            return reading.state
        with suppress(LocalRecordError):
            return self.update(lambda current: current)
        return reading.state

    def history(self) -> list[InterconnectionState]:
        """Return the states that the file still holds whole, the oldest first, and then the one in force.

        For whoever follows each cut (:mod:`ops.incidents`). Never raises.
        """
        in_force = self.load()
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError:
            lines = []
        return [*(state for line in lines if (state := _state_of(line)) and state != in_force), in_force]

    def stamp(self) -> tuple[int, int, int] | None:
        """What changes whenever the file does, to know without reading it; None where it cannot be looked at."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def append(self, state: InterconnectionState) -> InterconnectionState:
        """Make a state durable; return the one in force, which is ``merge`` of it and the last one.

        Raises LocalRecordError: a cut may then be on disk or not, and whoever made it must hold to it in memory.
        """
        return self.update(lambda _: state)

    def update(self, change: Callable[[InterconnectionState], InterconnectionState]) -> InterconnectionState:
        """Make a transition from the state in force durable, no other process in between; return what is in force.

        What ``change`` raises is raised, and nothing is written. Raises LocalRecordError like :meth:`append`.
        """
        with self._writing():
            reading = self._read()
            state = merge(reading.state, change(reading.state))
            if not reading.appendable:
                self._begin_anew([reading.state, state])
            elif state != reading.state:
                self._append_line(state)
            return state

    def _read(self) -> _Reading:
        try:
            with self._path.open("rb") as file:
                raw = file.read(2 * MAX_RECORD_BYTES)
        except FileNotFoundError:
            return self._presumed_cut("missing", "enregistrement local absent")
        except OSError as error:
            return self._presumed_cut("unreadable", f"enregistrement local illisible ({error.strerror})")
        *lines, tail = raw.split(b"\n")
        last: InterconnectionState | None = None
        damaged = not lines or len(raw) > MAX_RECORD_BYTES + _MAX_LINE_BYTES
        for line in lines:
            state = _state_of(line)
            if state is None or (last is not None and precedence(state) <= precedence(last)):
                damaged = True
            else:
                last = state
        if damaged or last is None:
            return self._presumed_cut("damaged", "enregistrement local endommagé", last)
        if tail and not last.closed:
            return self._presumed_cut("torn", "enregistrement local interrompu au milieu d'un changement", last)
        return _Reading(last, appendable=not tail and len(raw) < MAX_RECORD_BYTES, trusted=True)

    def _presumed_cut(self, what: str, why: str, last: InterconnectionState | None = None) -> _Reading:
        now = self._clock.now()
        before = last or first_open(now)
        state = cut(
            before,
            ground=Ground.SECURITY,
            reason=f"{why} : interruption par précaution",
            by=Author.DETECTION,
            since=now,
            incident=f"record-{what}-{before.serial}-{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}",
        )
        return _Reading(state, appendable=False, trusted=False)

    def _append_line(self, state: InterconnectionState) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            size_before = os.fstat(fd).st_size
            try:
                write_all(fd, _line_of(state))
                self._fsync(fd)
            except OSError:
                # An opening that may not be durable must not be read by anyone; a cut had better be.
                if not state.closed:
                    with suppress(OSError):
                        os.ftruncate(fd, size_before)
                raise
        finally:
            os.close(fd)

    def _begin_anew(self, states: list[InterconnectionState]) -> None:
        """Replace the file in one step by one of these states, and keep what was there beside it if that can be."""
        with suppress(OSError):
            os.link(self._path, self._path.with_name(f"{self._path.name}.{self._clock.now():%Y%m%dT%H%M%S.%f}"))
        place_durably(self._path, b"".join(_line_of(state) for state in dict.fromkeys(states)), self._fsync)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._locked(exclusive=True):
                yield
        except LockHeld as error:
            raise LocalRecordError(str(error)) from error
        except OSError as error:
            raise LocalRecordError(f"{self._path}: {error.strerror}") from error

    def _locked(self, *, exclusive: bool) -> AbstractContextManager[None]:
        beside = self._path.with_name(self._path.name + ".lock")
        return locked(beside, exclusive=exclusive, limit_s=self._lock_limit_s)


def _line_of(state: InterconnectionState) -> bytes:
    text = state.to_json().encode("ascii")
    return hashlib.sha256(text).hexdigest().encode("ascii") + b" " + text + b"\n"


def _state_of(line: bytes) -> InterconnectionState | None:
    """Return the state that a whole line holds, or None for a line that is not as it was written."""
    digest, text = line[:_DIGEST_CHARS], line[_DIGEST_CHARS + 1 :]
    if line[_DIGEST_CHARS : _DIGEST_CHARS + 1] != b" " or hashlib.sha256(text).hexdigest().encode("ascii") != digest:
        return None
    try:
        return InterconnectionState.from_json(text.decode("ascii"))
    except (DamagedState, UnicodeDecodeError):
        return None
