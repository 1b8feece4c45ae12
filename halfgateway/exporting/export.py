"""One export, from the wish to its files, as its owner sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from auth.policy import Mode
from auth.principals import Attribution, Principal, Role
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.streams import Stream, Traffic
from halfgateway.downstream.door import EndOfTransmission, Viewer
from halfgateway.errors import Refusal
from halfgateway.exporting.rules import period_of
from halfgateway.exporting.shelf import KeptFile


class ExportState(StrEnum):
    """How far it is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(eq=False, slots=True)
class Export:
    """Mutated by :class:`~halfgateway.exporting.exports.Exports` alone, on the event loop.

    ``position`` is when the newest picture that was copied was filmed, ``bytes`` what was copied, or, in the end, the
    size of the files. ``cause`` is the code of what ended it without files, ``detail`` says it in French.
    ``cancelled_by`` is the account that cancelled it while its slot was asked for. ``is_made``: its files are whole,
    and its result is told, or being told.
    """

    request: AccessRequest
    start: datetime
    end: datetime
    asked_at: datetime
    state: ExportState = ExportState.QUEUED
    position: datetime | None = None
    bytes: int = 0
    files: tuple[KeptFile, ...] = ()
    cause: str | None = None
    detail: str | None = None
    finished_at: datetime | None = None
    kept_until: datetime | None = None
    cancelled_by: str | None = None
    is_made: bool = False
    making: asyncio.Task[None] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, request: AccessRequest, asked_at: datetime) -> Export:
        """One that is asked for. Raises InvalidRequest where the request names no period."""
        start, end = period_of(request)
        return cls(request, start, end, asked_at)

    @property
    def id(self) -> str:
        """Its id, which is also that of the stream from which it is made."""
        return self.request.stream

    @property
    def percent(self) -> int:
        """How much of the period has been read; 100 for one that is done."""
        if self.state is ExportState.DONE:
            return 100
        if self.position is None:
            return 0
        done = (self.position - self.start) / (self.end - self.start)
        return max(0, min(99, int(done * 100)))

    def belongs_to(self, principal: Principal) -> bool:
        """Whether it was asked for by this account, or for this agent."""
        mine = self.request.principal
        return principal.account == mine.account or (principal.agent is not None and principal.agent == mine.agent)

    def file(self, name: str) -> KeptFile | None:
        """One of its files."""
        return next((file for file in self.files if file.name == name), None)


class ExportSeat:
    """An export's place in its stream (:class:`~halfgateway.control.streams.Occupant`): it reads, and nobody watches.

    Whatever ends the stream (a cut, a right that was lost, its owner) ends the reading at once.
    """

    def __init__(self, export: Export, stream: Stream) -> None:
        """Sit down: the stream is kept for as long as this reads."""
        self.stream = stream
        self.cause: Refusal | None = None
        self._export = export
        self._read = Traffic()
        self._begun = self._left = False
        stream.seats.append(self)
        stream.ever_played = True
        stream.keep()

    profile = "export"
    """See :class:`~halfgateway.control.streams.Occupant`."""

    @property
    def playing(self) -> bool:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return not self._left and self.cause is None

    @property
    def position(self) -> datetime | None:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return self._export.position

    def read(self, packets: int, size_bytes: int) -> None:
        """So much more has come from the recorder."""
        self._read.packets += packets
        self._read.bytes += size_bytes

    def traffic(self) -> Traffic:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return Traffic(self._read.bytes, self._read.packets, 0)

    def evict(self, cause: Refusal) -> EndOfTransmission | None:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        if not self._left:
            self.cause = cause
            if self._begun and self._export.making is not None:
                self._export.making.cancel()
        return None

    def give_way(self, viewer: Viewer) -> None:
        """See :class:`~halfgateway.control.streams.Occupant`; no session is the sequel of an export."""

    def begin(self) -> None:
        """Read from now on. Raises the Refusal that has ended the stream meanwhile."""
        self._begun = True
        if self.cause is not None:
            raise self.cause

    def leave(self) -> None:
        """All is read: the end of the stream ends nothing any more."""
        self._left = True


def export_from(manifest: dict[str, Any], files: tuple[KeptFile, ...], kept: timedelta) -> Export:
    """A finished export as its manifest tells of it."""
    by, asked = manifest["by"], manifest["asked"]
    principal = Principal(
        account=by["account"],
        role=Role(by["role"]),
        agent=by["agent"],
        service=by["service"],
        site=by["site"],
        attribution=Attribution(by["attribution"]) if by["attribution"] is not None else None,
        factors=(),
        scope=None,
        assertion_key=by["assertion_key"],
    )
    start, end = datetime.fromisoformat(asked["start"]), datetime.fromisoformat(asked["end"])
    finished_at = datetime.fromisoformat(manifest["finished_at"])
    request = AccessRequest(
        principal=principal,
        camera=manifest["camera"]["id"],
        profile=None,
        mode=Mode.RECORDED,
        reason=manifest["reason"]["code"],
        reference=manifest["reference"],
        source="",
        via=Via.API,
        stream=manifest["export"],
        assertion=by["assertion"],
        start=start,
        end=end,
        export=True,
    )
    return Export(
        request=request,
        start=start,
        end=end,
        asked_at=datetime.fromisoformat(manifest["requested_at"]),
        state=ExportState.DONE,
        position=end,
        bytes=sum(file.size_bytes for file in files),
        files=files,
        finished_at=finished_at,
        kept_until=finished_at + kept,
    )
