"""Exports, from the wish to the files: the same door as for a stream, one slot while it is made, each act traced.

    agreed? > door (interconnection, policy, slot, intent) > intent of the export, durable > copy, manifest, signature
    > result, durable > files

An export takes a slot, as the replay that it is (C01), and whatever would end that replay ends the export: a cut, a
right that is lost, a lapsed lease, its owner. Nothing of what was written then remains.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from auth.principals import Principal
from auth.trace import Draft, Entry, Kind
from auth.trace.reader import TraceFilter, TraceReader
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.access import AccessRequest
from halfgateway.control.admission import Admission
from halfgateway.control.closing import Closer
from halfgateway.control.endings import ClosedOnRequest, NodeStopped, NotPlayed
from halfgateway.control.streams import StreamTable
from halfgateway.control.tracing import Tracer
from halfgateway.errors import CapReached, Refusal, TraceUnavailable
from halfgateway.exporting.export import Export, ExportSeat, ExportState, export_from
from halfgateway.exporting.failures import ExportFailed, ExportOver
from halfgateway.exporting.manifest import MANIFEST
from halfgateway.exporting.reading import in_thread
from halfgateway.exporting.rules import require_agreed
from halfgateway.exporting.shelf import KeptFile
from halfgateway.exporting.workshop import Workshop

log = logging.getLogger(__name__)

MAX_WAITING = 20
"""Exports that wait for their turn. One more is refused: a wish should not wait for longer than its footage lasts."""

MAX_REMEMBERED = 200
"""Exports without files of which this process knows how they ended; older ones are forgotten, and are in the trace."""

MAX_NAMED_FILES = 30
"""Files that the result entry names, some 250 bytes each: an entry has 16 KiB. The manifest names all of them, and the
entry has its hash."""

_RESULTS = frozenset({Kind.EXPORT_MADE, Kind.EXPORT_REMOVED, Kind.EXPORT_FAILED, Kind.EXPORT_CANCELLED})
"""One that was made can still fail, where its folder cannot be given its name."""

_BY_ITS_OWNER = "Annulé par son demandeur."

REMOVE_EVERY_S = 30.0
"""How often it is looked whether files have been kept for as long as was agreed."""


class Exports:
    """The exports of one node, made in its ``workshop``; ``history`` reads its trace."""

    def __init__(
        self,
        workshop: Workshop,
        *,
        history: TraceReader,
        admission: Admission,
        table: StreamTable,
        closer: Closer,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self._workshop = workshop
        self._history = history
        self._admission = admission
        self._table = table
        self._closer = closer
        self._tracer = tracer
        self._clock = clock
        self._exports: dict[str, Export] = {}
        self._waiting: deque[tuple[Export, Entry]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = 0

    async def begin(self) -> None:
        """Remove what a crash left, of which the trace has told by then, and find what was finished.

        What the trace says was made, and nothing since, is whole: it is kept. Raises OSError, TraceUnavailable
        (:mod:`auth.errors`).
        """
        shelf = self._workshop.shelf
        for leftover in await in_thread(shelf.leftovers):
            if await self._is_to_be_had(leftover):
                await in_thread(partial(shelf.keep, leftover))
            else:
                await self._clear(leftover)
            log.warning("export.leftover_found export=%s", leftover)
        for manifest, files in await in_thread(shelf.finished):
            export = export_from(manifest, files, self._workshop.rules.kept)
            self._exports[export.id] = export

    async def run(self) -> None:
        """Remove files that have been kept for as long as was agreed, until cancelled."""
        while True:
            await self.remove_due()
            await asyncio.sleep(REMOVE_EVERY_S)

    async def remove_due(self) -> None:
        """Remove the files whose time is over."""
        now = self._clock.now()
        for export in tuple(self._exports.values()):
            if export.kept_until is not None and export.kept_until <= now:
                with suppress(TraceUnavailable, ExportFailed):  # the next round tries again
                    await self._remove(export, {"cause": "kept-long-enough"})

    async def close(self) -> None:
        """End what is being made, and wait until nothing of it remains."""
        while self._waiting:
            export, _ = self._waiting.popleft()
            self._end(export, NodeStopped())
        await asyncio.sleep(0)  # a task that is cancelled before it has begun ends without its result
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def ask(self, request: AccessRequest) -> Export:
        """Begin an export, or have it wait for its turn. The intent is durable when this returns.

        Raises a Refusal, traced.
        """
        try:
            require_agreed(self._workshop.rules, request, self._clock.now())
            if len(self._waiting) >= MAX_WAITING:
                raise CapReached("Trop d'exports attendent déjà leur tour.", reason="exports-waiting")
        except Refusal as refusal:
            self._tracer.refusal(request.refused(refusal))
            raise
        self._forget_old()
        export = Export.of(request, self._clock.now())
        await (self._wait(export) if self._busy >= self._workshop.rules.at_once else self._enter(export))
        return export

    def of(self, principal: Principal) -> list[Export]:
        """All exports of one account or agent that are known, in any order."""
        return [export for export in self._exports.values() if export.belongs_to(principal)]

    def find(self, export_id: str) -> Export | None:
        """The export of this id, if it is known."""
        return self._exports.get(export_id)

    async def cancel(self, export: Export, *, by: Principal, source: str) -> None:
        """End an export that is not over; remove the files of one that is done.

        Raises TraceUnavailable, ExportFailed: then the files stay.
        """
        if export.is_made and export.making is not None:
            await asyncio.wait({export.making})  # its result is told first, so that it can be said what became of it
        if export.state is ExportState.DONE:
            await self._remove(export, {"cause": "removed-by-owner"}, by=by, source=source)
        elif (stream := self._table.get(export.id)) is not None:
            self._closer.end(stream, ClosedOnRequest(_BY_ITS_OWNER), by=by.account)
        elif (place := next((each for each in self._waiting if each[0] is export), None)) is not None:
            self._waiting.remove(place)
            self._end(export, ClosedOnRequest(_BY_ITS_OWNER))
        elif export.finished_at is None:
            export.cancelled_by = by.account

    async def open_file(self, export: Export, file: KeptFile, *, by: Principal, source: str) -> Path:
        """Where a file lies that may be had now; that it is handed out is durable when this returns.

        Raises a Refusal, traced.
        """
        self._admission.recheck(replace(export.request, ticket=export.id, start=None))
        about = {"file": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256, "step": "begun"}
        await self._tracer.durable(_by(export, Kind.EXPORT_DOWNLOADED, about, by, source))
        return self._workshop.shelf.path(export.id, file.name)

    def closed_file(self, export: Export, file: KeptFile, sent_bytes: int, *, by: Principal, source: str) -> None:
        """So much of a file was handed out, in the end."""
        about = {"file": file.name, "sent_bytes": sent_bytes, "whole": sent_bytes == file.size_bytes, "step": "ended"}
        self._tracer.eventual(_by(export, Kind.EXPORT_DOWNLOADED, about, by, source))

    def refusal_of_files(self, export: Export) -> Refusal | None:
        """Why the files of an export may be handed out no longer, from memory alone; None where they may."""
        try:
            self._admission.require_open()
        except Refusal as refusal:
            return refusal
        return self._admission.no_longer(export.request)

    async def _wait(self, export: Export) -> None:
        """Join the queue: what may be had now is decided, and again when its turn comes."""
        self._admission.recheck(export.request)
        intent = await self._record_intent(export, {})
        self._exports[export.id] = export
        self._waiting.append((export, intent))
        self._next()

    async def _enter(self, export: Export) -> None:
        """Take a slot, and begin."""
        self._busy += 1
        try:
            stream = await self._admission.admit(export.request)
            seat = ExportSeat(export, stream)
            try:
                intent = await self._record_intent(export, {"slot": stream.slot})
            except BaseException as error:
                self._closer.end(stream, error if isinstance(error, Refusal) else NotPlayed())
                raise
        except BaseException:
            self._leave()
            raise
        self._exports[export.id] = export
        export.state = ExportState.RUNNING
        export.making = self._spawn(self._run(export, seat, intent))

    def _next(self) -> None:
        """Let in whoever has waited the longest, if there is a place."""
        while self._waiting and self._busy < self._workshop.rules.at_once:
            export, intent = self._waiting.popleft()
            self._busy += 1
            export.state = ExportState.RUNNING
            export.making = self._spawn(self._run(export, None, intent))

    def _leave(self) -> None:
        self._busy -= 1
        self._next()

    async def _record_intent(self, export: Export, about: dict[str, Any]) -> Entry:
        rules = self._workshop.rules
        told = {"start": rfc3339(export.start), "end": rfc3339(export.end), "agreement": rules.agreement, **about}
        try:
            return await self._tracer.durable(export.request.entry(Kind.EXPORT_REQUESTED, told))
        except Refusal as refusal:
            self._tracer.refusal(export.request.refused(refusal))
            raise
        except asyncio.CancelledError:  # the intent may be in the trace all the same
            self._end(export, NotPlayed())
            raise

    async def _run(self, export: Export, seat: ExportSeat | None, intent: Entry) -> None:
        """Make it, whatever comes; then its place is free."""
        cause: Refusal = ExportFailed("Une erreur interne a mis fin à l'export.", reason="internal")
        try:
            if seat is None:
                seat = await self._seated(export)
            seat.begin()
            files = await self._workshop.make(export, seat, intent)
            seat.leave()
            export.is_made = True
            await self._keep(export, files)
            cause = ExportOver()
        except asyncio.CancelledError:
            cause = NodeStopped() if seat is None or seat.cause is None else seat.cause
        except Refusal as refusal:
            cause = refusal
        except OSError as error:
            cause = ExportFailed(f"Les fichiers n'ont pu être écrits : {error.strerror}.", reason="not-written")
        finally:
            if seat is not None:
                seat.leave()
                self._closer.end(seat.stream, cause)
            await self._over(export, cause)

    async def _seated(self, export: Export) -> ExportSeat:
        """The place of one whose turn has come; its stream has ended where it was cancelled meanwhile."""
        seat = ExportSeat(export, await self._admission.admit(export.request))
        if export.cancelled_by is not None:
            self._closer.end(seat.stream, ClosedOnRequest(_BY_ITS_OWNER), by=export.cancelled_by)
        return seat

    async def _over(self, export: Export, cause: Refusal) -> None:
        """Have nothing remain of one that has failed, and tell of it, however often this is cancelled."""
        try:
            if not isinstance(cause, ExportOver):
                await self._clear(export.id)
        finally:
            if not isinstance(cause, ExportOver):
                self._end(export, cause)
            self._leave()

    async def _keep(self, export: Export, files: tuple[KeptFile, ...]) -> None:
        """Tell of the files, durably, and only then let them be had."""
        manifest = next(file for file in files if file.name == MANIFEST)
        size_bytes = sum(file.size_bytes for file in files)
        about = {
            "manifest_sha256": manifest.sha256,
            "files": [{"name": file.name, "sha256": file.sha256} for file in files[:MAX_NAMED_FILES]],
            "count": len(files),
            "bytes": size_bytes,
        }
        await self._tracer.durable(export.request.entry(Kind.EXPORT_MADE, about))
        await in_thread(lambda: self._workshop.shelf.keep(export.id))
        now = self._clock.now()
        export.files, export.bytes, export.state = files, size_bytes, ExportState.DONE
        export.finished_at, export.kept_until = now, now + self._workshop.rules.kept

    def _end(self, export: Export, cause: Refusal) -> None:
        """It is over without files, of which nothing remains."""
        cancelled = isinstance(cause, ClosedOnRequest)
        export.state = ExportState.CANCELLED if cancelled else ExportState.FAILED
        export.finished_at = self._clock.now()
        export.cause, export.detail = cause.code, cause.detail or None
        about = {
            "cause": cause.code,
            "why": cause.detail or None,
            "reason": cause.reason,
            "bytes": export.bytes,
            "position": rfc3339(export.position) if export.position is not None else None,
        }
        kind = Kind.EXPORT_CANCELLED if cancelled else Kind.EXPORT_FAILED
        self._tracer.eventual(export.request.entry(kind, about))

    async def _clear(self, export_id: str) -> None:
        """Remove what there is of an export; what cannot be removed now is, at the next start."""
        try:
            await in_thread(lambda: self._workshop.shelf.remove(export_id))
        except OSError as error:
            log.error("export.not_removed export=%s error=%s", export_id, error)

    async def _remove(
        self, export: Export, about: dict[str, Any], *, by: Principal | None = None, source: str | None = None
    ) -> None:
        """Remove the files of one that is done, once that is told. Raises TraceUnavailable, ExportFailed: they stay."""
        if self._exports.pop(export.id, None) is None:
            return
        try:
            await in_thread(lambda: self._workshop.shelf.withdraw(export.id))
            await self._tracer.durable(_by(export, Kind.EXPORT_REMOVED, about, by, source))
        except OSError as error:
            await self._put_back(export)
            log.error("export.not_removed export=%s error=%s", export.id, error)
            raise ExportFailed("Les fichiers n'ont pu être retirés.", reason="not-removed") from error
        except BaseException:
            await self._put_back(export)
            raise
        await self._clear(export.id)

    async def _put_back(self, export: Export) -> None:
        with suppress(OSError):  # it has its name still
            await in_thread(lambda: self._workshop.shelf.keep(export.id))
        self._exports[export.id] = export

    async def _is_to_be_had(self, export_id: str) -> bool:
        """Whether the last result that the trace tells of it is that it was made."""
        wanted = TraceFilter(stream=export_id, kinds=_RESULTS)
        page = await self._history.entries(wanted, limit=1)
        while page.next is not None and not page.items:
            page = await self._history.entries(wanted, limit=1, cursor=page.next)
        return bool(page.items) and page.items[0].kind is Kind.EXPORT_MADE

    def _forget_old(self) -> None:
        ended = [each for each in self._exports.values() if each.finished_at is not None and each.kept_until is None]
        for export in sorted(ended, key=lambda each: each.finished_at or each.asked_at)[:-MAX_REMEMBERED]:
            del self._exports[export.id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="export")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("export.broken", exc_info=error)


def _by(export: Export, kind: Kind, about: dict[str, Any], by: Principal | None, source: str | None) -> Draft:
    """An entry of what somebody does with the files of an export; nobody, where their time is over."""
    entry = export.request.entry(kind, about)
    if by is None:
        return replace(entry, source=None)
    return replace(entry, account=by.account, agent=by.agent or entry.agent, source=source)
