"""The journal as the gateway uses it: ``await journal.record(draft)`` returns once the entry is durable (T01).

The event loop owns callers, timers and what they are told; one thread (:mod:`auth.trace.groups`) owns the
files. A caller that is told "unavailable" left no entry behind, unless the process dies before the disk
answers. A caller that is cancelled changes nothing: its entry goes its way with its group.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from auth.errors import TraceUnavailable
from auth.trace.acts import OpenAct
from auth.trace.checkpoint import Checkpoint, SigningKey, verifier_key
from auth.trace.entry import Draft, Entry, unix_us
from auth.trace.erasure import ErasureRule
from auth.trace.groups import Action, Call, Group, GroupWriter
from auth.trace.layout import origin
from auth.trace.notes import key_name, read_keys, write_keys
from auth.trace.opening import Opened, open_journal
from auth.trace.purge import PendingPurge, finish_purge, plan_purge, stated_by
from auth.trace.reader import TraceReader
from auth.trace.recovered import Recovery
from auth.trace.stamp import Prepared, Stamper
from auth.trace.storage import Storage, SystemStorage
from auth.trace.view import JournalView
from camera_registry.clock import Clock

WRITE_DEADLINE_S = 2.0
"""Seconds in which an entry must be durable: well under the 5 s after which running streams close."""

CHECKPOINT_INTERVAL_S = 1.0
"""Seconds between checkpoints while entries come: how much of the tail only commitments cover."""


Result = TypeVar("Result")


class Journal:
    """One node's trace, open for writing. Belongs to the event loop that opened it.

    Use :meth:`open`; then, in this order: record the result of each of ``open_acts`` (T02), record
    ``node.started``, serve; at the end record ``node.stopped`` and :meth:`close`. The journal itself writes
    only what it alone knows: ``node.recovered`` and ``clock.stepped``.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        folder: Path,
        node: str,
        clock: Clock,
        write_deadline_s: float,
        checkpoint_interval_s: float,
        random_bytes: Callable[[int], bytes],
        storage: Storage,
    ) -> None:
        self.node = node
        self.folder = folder
        self.recovery: Recovery | None = opened.recoveries[-1] if opened.recoveries else None
        self.open_acts: tuple[OpenAct, ...] = opened.open_acts
        self.unwritable_since_s: float | None = None
        self._files = opened.files
        self._clock = clock
        self._write_deadline_s = write_deadline_s
        self._checkpoint_interval_s = checkpoint_interval_s
        self._view = JournalView(folder, node, lambda: self.size, opened.segment_roots)
        self._reader = TraceReader(self._view)
        self._storage = storage
        self._one_act = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._checkpoint_timer: asyncio.TimerHandle | None = None
        self._stalled = False
        self._closing: asyncio.Future[None] | None = None
        stamper = Stamper(node, clock, random_bytes, opened.files.durable.at_us)
        self._writer = GroupWriter(opened.files, stamper, self._report)

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        node: str,
        key: SigningKey,
        clock: Clock,
        write_deadline_s: float = WRITE_DEADLINE_S,
        checkpoint_interval_s: float = CHECKPOINT_INTERVAL_S,
        storage: Storage | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Open the journal in ``folder``, or begin one; after an unclean end, recover and say so in it.

        Takes some 2 µs for each entry there ever was, and 10 for each of the last segment and for each
        stream entry since ``node.started``.
        Raises TraceDamaged when acknowledged entries were changed or lost, TraceUnavailable when the folder
        cannot be written or another process writes it, ValueError when ``node`` cannot name one.
        """
        disk = storage or SystemStorage()
        opening = asyncio.get_running_loop().run_in_executor(None, open_journal, folder, node, key, disk)
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        journal = cls(
            opened,
            folder=folder,
            node=node,
            clock=clock,
            write_deadline_s=write_deadline_s,
            checkpoint_interval_s=checkpoint_interval_s,
            random_bytes=random_bytes,
            storage=disk,
        )
        try:
            for recovery in opened.recoveries:
                await journal.record(recovery.draft())
            if opened.recoveries:
                await journal.write_checkpoint()
                await asyncio.to_thread(opened.pending.forget)
            await journal._resume_purge()
        except BaseException:
            await journal._shut()
            raise
        return journal

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def size(self) -> int:
        """Entries that are durable, which is also the next entry's number or less."""
        return self._files.durable.frontier.size

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last signed head of the tree."""
        return self._files.checkpoint

    async def record(self, draft: Draft) -> Entry:
        """Make an entry of a draft; returns once it is durable.

        Raises TraceUnavailable when that fails or takes longer than the deadline, EntryRefused when the
        draft can never be an entry. Cancelling does not take the entry back.
        """
        call = await self._call(Action.WRITE, (draft, draft.body()))
        if call.entry is None:
            raise TraceUnavailable("the entry was not written")
        return call.entry

    async def probe(self) -> None:
        """Check that an entry could be written now. Raises TraceUnavailable."""
        await self._call(Action.PROBE)

    async def write_checkpoint(self) -> Checkpoint | None:
        """Sign the tree as it stands now, as for a notice. Raises TraceUnavailable."""
        await self._call(Action.CHECKPOINT)
        return self.checkpoint

    async def hand_over_to(self, key: SigningKey, draft: Draft) -> Entry:
        """Have another key sign the log from now on (T04); returns the entry that says so.

        The present key signs for the announcement first; then a checkpoint that both sign hands over. ``draft`` is the
        ``trace.key-rotated`` entry without what the journal adds to its detail: ``stage``, ``old`` and ``new`` (vkeys).
        Raises TraceUnavailable; where the announcement was written by then, the present key signs on, or the new one
        after the next checkpoint.
        """
        async with self._one_act:
            path = self.folder / key_name(self.node)
            keys = await self._in_thread(lambda: read_keys(path))
            name = origin(self.node)
            told = {"old": verifier_key(name, keys[-1]), "new": verifier_key(name, key.public_key())}
            await self.record(replace(draft, detail={**draft.detail, **told, "stage": "announced"}))
            await self.write_checkpoint()
            await self._in_thread(lambda: write_keys(self.folder, self.node, [*keys, key.public_key()]))
            self._files.hand_over_to(key)
            entry = await self.record(replace(draft, detail={**draft.detail, **told, "stage": "in-force"}))
            await self.write_checkpoint()
            return entry

    async def purge(self, draft: Draft, codes: frozenset[int], before: datetime) -> Entry | None:
        """Erase every payload of these kinds' numbers before an instant; what is told of it is the returned entry.

        ``draft`` is the ``trace.purged`` entry without what the journal alone can add to its detail: the rule
        (``kinds``, ``before``, ``size``), how many entries it erases, which and how large. None, and no entry, when
        there is nothing to erase. Leaf records, and so every proof, stay as they are.

        Raises TraceUnavailable when that fails; where the entry was signed for by then, what is left to erase is
        erased by the next purge or start.
        """
        async with self._one_act:
            await self._resume_purge()
            checkpoint = await self.write_checkpoint()
            rule = ErasureRule(codes, unix_us(before), checkpoint.size if checkpoint else 0)
            plan = await self._in_thread(lambda: plan_purge(self._view, rule))
            if plan is None:
                return None
            await self._in_thread(lambda: self._pending_purge.remember(rule))
            erased = {name: value for name, value in asdict(plan).items() if name != "rule"}
            entry = await self.record(replace(draft, detail={**draft.detail, **rule.to_detail(), "erased": erased}))
            await self._resume_purge()
            return entry

    async def _resume_purge(self) -> None:
        """Go on with a purge that was begun: erase under a checkpoint what its entry says, if it came to one."""
        rule = await self._in_thread(self._pending_purge.read)
        if rule is None:
            return
        await self.write_checkpoint()
        if await self._in_thread(lambda: stated_by(self.folder, self.node, rule, self.size)):
            await self._in_thread(lambda: finish_purge(self.folder, self.node, rule, self._storage))
        else:
            await self._in_thread(lambda: self._pending_purge.remember(None))

    @property
    def _pending_purge(self) -> PendingPurge:
        return PendingPurge(self.folder, self._storage)

    @staticmethod
    async def _in_thread(work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise TraceUnavailable(f"the trace cannot be written: {error.strerror or error}") from error

    def reader(self) -> TraceReader:
        """Return a reader of what is durable here; all readers of a journal share its cache."""
        return self._reader

    async def close(self) -> None:
        """Write what waits, sign the last checkpoint, release the folder. Idempotent.

        Raises TraceUnavailable when that fails or the disk does not answer within the deadline.
        """
        if self._closing is None:
            if self._checkpoint_timer:
                self._checkpoint_timer.cancel()
            self._closing = self._unheard()
            self._writer.submit(Call(Action.CLOSE, self._closing))
        try:
            async with asyncio.timeout(self._write_deadline_s):
                await asyncio.shield(self._closing)
        except TimeoutError as error:
            raise TraceUnavailable("the disk does not answer") from error
        self._writer.join()

    async def _shut(self) -> None:
        try:
            await self.close()
        except TraceUnavailable:
            return

    async def _call(self, action: Action, prepared: Prepared | None = None) -> Call:
        if self._closing is not None:
            raise TraceUnavailable("the journal is closed")
        if self._stalled:
            raise TraceUnavailable("the disk does not answer")
        call = Call(action, self._loop.create_future(), prepared)
        self._writer.submit(call)
        call.timer = self._loop.call_later(self._write_deadline_s, self._expire, call)
        await call.future
        return call

    def _expire(self, call: Call) -> None:
        """A call's deadline has come: refuse its group, and what waits behind a disk that slow.

        A probe is left in the queue: its outcome tells that the disk answers again.
        """
        refused = self._writer.give_up(call)
        if refused:
            self._stalled = True
            self._refuse(refused, TraceUnavailable("the disk is too slow to record this in time"))
            self._submit(Action.PROBE)

    def _report(self, group: Group, reason: TraceUnavailable | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._deliver, group, reason)
        except RuntimeError:
            return False
        return True

    def _deliver(self, group: Group, reason: TraceUnavailable | None) -> None:
        self._stalled = False
        if reason:
            self._refuse(group.calls, reason)
        elif group.calls:
            self.unwritable_since_s = None
            for call in group.calls:
                self._answer(call, None)
        signed = self.checkpoint.size if self.checkpoint else 0
        if self._checkpoint_timer is None and self._closing is None and self.size > signed:
            self._checkpoint_timer = self._loop.call_later(self._checkpoint_interval_s, self._sign)

    def _sign(self) -> None:
        self._checkpoint_timer = None
        self._submit(Action.CHECKPOINT)

    def _submit(self, action: Action) -> None:
        """Ask the thread for something that nobody waits for; its outcome shows in ``unwritable_since_s``."""
        try:
            self._writer.submit(Call(action, self._unheard()))
        except TraceUnavailable as reason:
            self._refuse([], reason)

    def _refuse(self, calls: list[Call], reason: TraceUnavailable) -> None:
        if self.unwritable_since_s is None:
            self.unwritable_since_s = self._clock.monotonic()
        for call in calls:
            error = copy(reason)
            error.__cause__ = reason
            self._answer(call, error)

    @staticmethod
    def _answer(call: Call, error: TraceUnavailable | None) -> None:
        if call.timer:
            call.timer.cancel()
        if call.future.done():
            return
        if error:
            call.future.set_exception(error)
        else:
            call.future.set_result(None)

    def _unheard(self) -> asyncio.Future[None]:
        """Return a future whose failure may go unheard: nobody has to wait for it."""
        future: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future


def _close_unwanted(opening: asyncio.Future[Opened]) -> None:
    """Release what was opened for a caller that had been cancelled meanwhile."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().files.close()
