"""The thread that owns a journal's files and makes entries durable a group at a time.

Each group has one fate, decided once under the lock, whoever comes first:

    waiting -> writing -> kept        durable in time: every caller gets its entry
                       -> refused     the write failed, or took too long: cut off, every caller is told
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from threading import Condition, Thread

from auth.errors import TraceUnavailable
from auth.trace.entry import Entry
from auth.trace.files import JournalFiles
from auth.trace.layout import FRAME, MAX_GROUP_BYTES, MAX_GROUP_ENTRIES, SALT_BYTES, STAMP_ROOM_BYTES
from auth.trace.stamp import Prepared, Reading, Stamper

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Calls that may wait for the disk, 2 s of what a good one takes; more are refused at once, none dropped."""

GATHER_FROM = 8
"""Writes in a group from which on the next is gathered: as many callers at once are a crowd, whose members come back
with more once they are answered. Without it they part into two halves that wait for one another's syncs."""

GATHER_SHARE = 0.5
"""How long the next group may be gathered, as a share of what the last one took: never more than it can gain."""

GATHER_LIMIT_S = 0.01
"""Seconds that gathering takes at most: a hundredth of what answers a player in time. Then the group is what came."""

_FRAME_ROOM_BYTES = FRAME.size + SALT_BYTES + STAMP_ROOM_BYTES
"""What an entry's frame adds to its body, at most."""

_TOO_SLOW = "the disk is too slow to record this in time"


class Action(Enum):
    """What a call asks of the thread."""

    WRITE = auto()
    PROBE = auto()
    CHECKPOINT = auto()
    CLOSE = auto()


class Fate(Enum):
    """What becomes of a group."""

    WRITING = auto()
    KEPT = auto()
    REFUSED = auto()


@dataclass(eq=False, slots=True)
class Call:
    """One call and who waits for it; ``prepared`` for a write alone, ``entry`` once it was kept."""

    action: Action
    future: asyncio.Future[None]
    prepared: Prepared | None = None
    entry: Entry | None = None
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class Group:
    """Calls that share one fate: any number of writes, or one other call."""

    calls: list[Call]
    fate: Fate = Fate.WRITING


Report = Callable[[Group, TraceUnavailable | None], bool]
"""Told in the thread of each group whose fate is certain, with the reason when it was refused.

Answers False when nobody listens any more, which ends the thread.
"""


class GroupWriter:
    """Takes calls in their order; writes that wait together become durable together."""

    def __init__(self, files: JournalFiles, stamper: Stamper, report: Report) -> None:
        self._files = files
        self._stamper = stamper
        self._report = report
        self._waiting: deque[Call] = deque()
        self._wake_at = 1
        self._crowd = 0
        self._gather_s = 0.0
        self._group: Group | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="trace-journal", daemon=True)
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Queue a call. Raises TraceUnavailable when too many wait or the thread has ended."""
        with self._changed:
            if not self._thread.is_alive():
                raise TraceUnavailable("nothing writes the journal any more")
            if len(self._waiting) >= MAX_WAITING and call.action is not Action.CLOSE:
                raise TraceUnavailable("too many entries wait for the disk")
            self._waiting.append(call)
            if len(self._waiting) >= self._wake_at or call.action is not Action.WRITE:
                self._changed.notify()

    def give_up(self, call: Call) -> list[Call]:
        """Refuse what the disk is too slow for: the group of this call, and all that wait behind it.

        Returns the calls refused: none when this call's fate was decided before.
        """
        with self._changed:
            group = self._group
            if group and call in group.calls:
                if group.fate is not Fate.WRITING:
                    return []
            elif call not in self._waiting:
                return []
            refused = [waiting for waiting in self._waiting if waiting.action is not Action.CLOSE]
            self._waiting = deque(waiting for waiting in self._waiting if waiting.action is Action.CLOSE)
            if group and group.fate is Fate.WRITING:
                group.fate = Fate.REFUSED
                refused = group.calls + refused
            return refused

    def join(self) -> None:
        """Wait for the thread to end, after a close."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._serve():
                pass
        except BaseException:
            log.critical("trace.writer_died: nothing is granted any more", exc_info=True)
            raise
        finally:
            self._files.close()

    def _serve(self) -> bool:
        """Do what waits next; False when that was the last."""
        with self._changed:
            action = self._next_action()
        group, reason = Group([]), None
        try:
            if action is Action.WRITE:
                reading = self._stamper.read()
                self._record_step(reading)
                group = self._take_writes()
                self._write(group, reading)
                self._expect_a_crowd(len(group.calls), reading)
            else:
                group = self._take_one(action)
                self._do(action, group)
        except TraceUnavailable as error:
            reason = error
            if action is not Action.CLOSE:
                with suppress(TraceUnavailable):
                    self._files.repair()
        if reason and action is Action.WRITE and not group.calls:
            group = self._take_writes()
        with self._changed:
            self._group = None
            if reason:
                group.fate = Fate.REFUSED
        return self._report(group, reason) and action is not Action.CLOSE

    def _next_action(self) -> Action:
        """Wait for a call, and then a moment for those whom the last group answered: one pair of syncs serves all."""
        while True:
            self._wake_at = 1
            self._changed.wait_for(lambda: self._waiting)
            self._wake_at = self._crowd
            self._changed.wait_for(self._is_gathered, self._gather_s)
            if self._waiting:
                return self._waiting[0].action

    def _is_gathered(self) -> bool:
        return len(self._waiting) >= self._wake_at or any(call.action is not Action.WRITE for call in self._waiting)

    def _expect_a_crowd(self, answered: int, began: Reading) -> None:
        took_s = self._stamper.read().monotonic_s - began.monotonic_s
        with self._changed:
            self._crowd = min(answered + len(self._waiting), MAX_GROUP_ENTRIES)
        self._gather_s = min(took_s * GATHER_SHARE, GATHER_LIMIT_S) if answered >= GATHER_FROM else 0.0

    def _take_writes(self) -> Group:
        """Take the writes that become one group: none when those who waited were refused meanwhile."""
        with self._changed:
            group = self._group = Group([])
            entries = min(MAX_GROUP_ENTRIES, self._files.room())
            size_bytes = 0
            while self._waiting and self._waiting[0].prepared and len(group.calls) < entries:
                size_bytes += _FRAME_ROOM_BYTES + len(self._waiting[0].prepared[1])
                if size_bytes > MAX_GROUP_BYTES:
                    break
                group.calls.append(self._waiting.popleft())
            return group

    def _take_one(self, action: Action) -> Group:
        with self._changed:
            group = self._group = Group([])
            if self._waiting and self._waiting[0].action is action:
                group.calls.append(self._waiting.popleft())
            return group

    def _record_step(self, reading: Reading) -> None:
        """Record a step of the clock, as a group of its own, before the entries that it concerns."""
        draft = self._stamper.step(reading)
        if draft:
            [(_, stamped)] = self._stamper.stamp([(draft, draft.body())], self._next_n, reading)
            self._files.keep(self._files.write([stamped]))
            self._stamper.keep(reading, stamped.at_us)

    def _write(self, group: Group, reading: Reading) -> None:
        prepared = [call.prepared for call in group.calls if call.prepared]
        if not prepared:
            return
        stamped = self._stamper.stamp(prepared, self._next_n, reading)
        position = self._files.write([entry for _, entry in stamped])
        for call, (entry, _) in zip(group.calls, stamped, strict=True):
            call.entry = entry
        if not self._decide(group):
            self._files.discard()
            raise TraceUnavailable(_TOO_SLOW)
        self._files.keep(position)
        self._stamper.keep(reading, stamped[-1][1].at_us)

    def _do(self, action: Action, group: Group) -> None:
        if action is Action.PROBE:
            self._files.probe()
        elif action is Action.CHECKPOINT:
            self._files.write_checkpoint()
        elif action is Action.CLOSE:
            self._close()
        if not self._decide(group):
            raise TraceUnavailable(_TOO_SLOW)

    def _close(self) -> None:
        """Sign what is there and let the files go; a half written checkpoint is cut off where that is possible."""
        try:
            self._files.write_checkpoint()
        except TraceUnavailable:
            with suppress(TraceUnavailable):
                self._files.repair()
            raise
        finally:
            self._files.close()

    def _decide(self, group: Group) -> bool:
        """Keep a group, unless it was given up before."""
        with self._changed:
            if group.fate is Fate.WRITING:
                group.fate = Fate.KEPT
            return group.fate is Fate.KEPT

    @property
    def _next_n(self) -> int:
        return self._files.durable.frontier.size
