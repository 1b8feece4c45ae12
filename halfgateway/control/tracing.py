"""The trace as the door uses it: durable before anything is granted, eventual for what has already happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from auth.trace import Draft, Entry
from auth.trace import TraceUnavailable as JournalUnavailable
from halfgateway.errors import TraceUnavailable

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Between two attempts to write what is still owed to an unwritable journal."""

MAX_OWED_ENTRIES = 10_000
"""Entries kept in memory while the journal cannot be written: streams close within five seconds of that, and each
owes one result. Past it the oldest are given up and logged; a restart's recovery entries close what they would have."""

REPEAT_WINDOW_S = 1.0
"""Identical refusals within it are one entry with their count (ADR 2, Audit events)."""

PERIOD = frozenset({"start", "end"})
"""What an entry of a recording says of the period that was asked for."""

MAX_NAMED_REPEATS = 100
"""Streams that such an entry names: those who were refused were told under which number that was recorded (C05).
Further ones are counted, and not named; ten times what a control room asks in a second."""


class Journal(Protocol):
    """The journal, as far as the door writes it."""

    async def record(self, draft: Draft) -> Entry:
        """Write one entry; it is durable when this returns. Raises auth.trace.TraceUnavailable."""


@dataclass(slots=True)
class _Told:
    """A refusal that was told at ``at_s``, and how often it has come again since."""

    draft: Draft
    at_s: float
    again: int = 0
    streams: list[str] = field(default_factory=list)

    def repeat(self, stream: str | None) -> None:
        self.again += 1
        if stream is not None and len(self.streams) < MAX_NAMED_REPEATS:
            self.streams.append(stream)


class Tracer:
    """Writes entries, now or as soon as can be. ``now`` is the monotonic clock in seconds."""

    def __init__(self, journal: Journal, *, now: Callable[[], float], retry_s: float = RETRY_S) -> None:
        self._journal = journal
        self._now = now
        self._retry_s = retry_s
        self._owed: deque[Draft] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._refusals: dict[tuple[object, ...], _Told] = {}
        self._listener: Callable[[Draft], None] | None = None

    def tell_of_refusals(self, listener: Callable[[Draft], None]) -> None:
        """Have whoever watches over the node hear of each refusal, the repeated ones too."""
        self._listener = listener

    async def durable(self, draft: Draft) -> Entry:
        """Write an entry that what follows depends on. Raises TraceUnavailable."""
        try:
            return await self._journal.record(draft)
        except JournalUnavailable as error:
            log.error("trace.unavailable kind=%s error=%s", draft.kind, error)
            raise TraceUnavailable("L'accès ne peut être tracé ; il n'est donc pas ouvert.") from error

    def eventual(self, draft: Draft) -> None:
        """Write an entry of what has already happened, in order, as soon as the journal takes it."""
        if len(self._owed) >= MAX_OWED_ENTRIES:
            lost = self._owed.popleft()
            log.error("trace.given_up kind=%s stream=%s", lost.kind, lost.stream)
        self._owed.append(draft)
        self._idle.clear()
        self._wake.set()

    def refusal(self, draft: Draft) -> None:
        """Write a refusal; those that differ in the period alone are one entry a second, with their count.

        Who scrubs outside what may be seen is refused as often as they ask, each time another period.
        """
        if self._listener is not None:
            self._listener(draft)
        about = {name: value for name, value in draft.detail.items() if name not in PERIOD}
        key = (draft.kind, draft.account, draft.camera, draft.refusal, draft.source, repr(about))
        told = self._refusals.get(key)
        if told is None:
            self._refusals[key] = _Told(draft, self._now())
            self.eventual(draft)
        else:
            told.repeat(draft.stream)

    def sweep(self) -> None:
        """Write the count of refusals that were repeated, once their window has passed."""
        now = self._now()
        for key, told in tuple(self._refusals.items()):
            if now - told.at_s < REPEAT_WINDOW_S:
                continue
            if told.again == 0:
                del self._refusals[key]
            else:
                self._tell_again(told)
                self._refusals[key] = _Told(told.draft, now)

    async def run(self) -> None:
        """Write what is owed until cancelled."""
        while True:
            if not self._owed:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            try:
                draft = self._owed[0]
                await self._journal.record(draft)
                if self._owed and self._owed[0] is draft:
                    self._owed.popleft()
            except JournalUnavailable as error:
                log.error("trace.unavailable owed=%d error=%s", len(self._owed), error)
                await asyncio.sleep(self._retry_s)

    async def settle(self, timeout_s: float) -> None:
        """Wait until nothing is owed, the counts of repeated refusals included, at most ``timeout_s`` seconds."""
        for told in self._refusals.values():
            if told.again:
                self._tell_again(told)
        self._refusals.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()

    def _tell_again(self, told: _Told) -> None:
        again = {"repeated": told.again} | ({"streams": told.streams} if told.streams else {})
        self.eventual(replace(told.draft, detail={**told.draft.detail, **again}))
