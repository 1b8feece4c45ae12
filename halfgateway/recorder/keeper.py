"""Keeps footage as long as it is to be kept and no longer, watches the disk, and writes the register (C04, L02, L04).

What is destroyed is in the register first, durably: footage whose destruction cannot be written down stays, with an
alarm. So it is with gaps, which are told until they are written.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from auth.trace import Draft, Kind, TraceUnavailable
from camera_registry.clock import Clock, rfc3339
from halfgateway.recorder.film import MissingFootage
from halfgateway.recorder.law import Law
from halfgateway.recorder.retention import Cause, Destruction, Retention, Rule, Segment, runs_of, unheld
from halfgateway.recorder.shelf import Room, Shelf
from ops.notices.shouting import Alarm, AlarmKind, Alarms

log = logging.getLogger(__name__)

ROUND_S: Final = 30.0
"""Seconds between two rounds: what a full disk takes in meanwhile is far less than the room that is kept free."""

LOW: Final = 2.0
"""The alarm is raised while there is still this many times the room that is kept free."""

ENOUGH: Final = 1.25
"""Once the disk is full, this many times that room is freed, so that it is not full again at once."""

MAX_UNTOLD_GAPS: Final = 10_000
"""Gaps that wait for a register that cannot be written. When full, the oldest is forgotten: the log has it."""

Record = Callable[[Draft], Awaitable[object]]
"""Writes an entry, durably. Raises TraceUnavailable."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much room is kept free, in bytes or in parts of the disk, whichever is more."""

    min_free_bytes: int
    min_free_share: float

    def wanted_bytes(self, room: Room) -> int:
        """The room below which footage goes early."""
        return max(self.min_free_bytes, round(self.min_free_share * room.total_bytes))


class Keeper:
    """One recorder's housekeeping, round after round. ``pause`` is told when writing is to stop, and to go on."""

    def __init__(
        self,
        shelf: Shelf,
        law: Law,
        retention: Retention,
        limits: Limits,
        *,
        record: Record,
        alarms: Alarms,
        pause: Callable[[bool], None],
        clock: Clock,
        room: Callable[[], Room] | None = None,
    ) -> None:
        self._shelf = shelf
        self._law = law
        self._retention = retention
        self._limits = limits
        self._record = record
        self._alarms = alarms
        self._pause = pause
        self._clock = clock
        self._room = room or shelf.room
        self._missing: deque[MissingFootage] = deque(maxlen=MAX_UNTOLD_GAPS)
        self._kept_by_holds: set[Path] = set()
        self._is_low = False
        self._standing: list[Alarm] = []
        self.is_paused = False

    def missing(self, footage: MissingFootage) -> None:
        """A gap has ended; it is written into the register with the next round."""
        self._missing.append(footage)

    async def run(self) -> NoReturn:
        """Go round for ever."""
        while True:
            await self.go_round()
            await asyncio.sleep(ROUND_S)

    async def go_round(self) -> None:
        """Ask what applies, destroy what is due, see to the disk, tell of gaps."""
        now = self._clock.now()
        self._standing = []
        await self._law.refresh()
        try:
            await self._destroy_what_is_due(now)
            await self._see_to_the_disk(now)
            await self.tell_of_gaps()
        except TraceUnavailable as error:
            log.critical("recorder.register_unwritable error=%s", error)
            self._raise(AlarmKind.NOT_DESTROYED, "registre", "Le registre ne peut être écrit : rien n'est détruit.")
        except OSError as error:
            log.critical("recorder.disk_unusable error=%s", error)
            self._raise(AlarmKind.NOT_DESTROYED, "disque", f"Le disque ne répond pas : {error.strerror}.")
        await self._alarms.stand(self._standing, now)

    async def tell_of_gaps(self) -> None:
        """Write the gaps that have ended into the register. Raises TraceUnavailable: those left are told again."""
        while self._missing:
            footage = self._missing[0]
            told = {"start": rfc3339(footage.gap.start), "end": rfc3339(footage.gap.end), "cause": footage.cause.value}
            await self._record(Draft(kind=Kind.RECORDING_GAP, camera=footage.camera, detail=told))
            self._missing.popleft()

    async def _destroy_what_is_due(self, now: datetime) -> None:
        for camera in await asyncio.to_thread(self._shelf.cameras):
            for destruction in await asyncio.to_thread(self._due, camera, now):
                await self._destroy_unheld(destruction, now)

    def _due(self, camera: str, now: datetime) -> list[Destruction]:
        rule = self._law.rule_of(camera) if self._law.holds is not None else Rule()
        old = self._old(camera, self._retention.looks_back_to(rule, now))
        due = [(segment, cause) for segment in old if (cause := self._cause(segment, rule, now)) is not None]
        free = set(unheld((segment for segment, _ in due), self._law.holds or ()))
        going = [(segment, self._told(segment, cause)) for segment, cause in due if segment in free]
        self._kept_by_holds.update(segment.path for segment, _ in due if segment not in free)
        return runs_of(going)

    def _cause(self, segment: Segment, rule: Rule, now: datetime) -> Cause | None:
        if self._law.holds is None and segment.start >= self._retention.destroys_before(rule, now):
            return None
        return self._retention.due(segment, rule, now)

    def _told(self, segment: Segment, cause: Cause) -> Cause:
        return Cause.HOLD_ENDED if segment.path in self._kept_by_holds else cause

    def _old(self, camera: str, before: datetime) -> list[Segment]:
        segments = self._shelf.segments(camera)
        return list(itertools.takewhile(lambda segment: segment.start < before, segments))

    async def _see_to_the_disk(self, now: datetime) -> None:
        room = await asyncio.to_thread(self._room)
        wanted = self._limits.wanted_bytes(room)
        if room.free_bytes < LOW * wanted:
            await self._tell_of_low_disk(room, wanted)
        else:
            self._is_low = False
        if room.free_bytes < wanted:
            await self._make_room(round(ENOUGH * wanted) - room.free_bytes, now)
            room = await asyncio.to_thread(self._room)
        if room.free_bytes < wanted:
            self._raise(AlarmKind.NOT_RECORDING, "disque", "Le disque est plein : rien n'est plus enregistré.")
        if self.is_paused != (room.free_bytes < wanted):
            self.is_paused = not self.is_paused
            self._pause(self.is_paused)

    async def _tell_of_low_disk(self, room: Room, wanted: int) -> None:
        text = f"Il reste {room.free_bytes >> 20} Mio sur le disque des enregistrements ({wanted >> 20} sont réservés)."
        self._raise(AlarmKind.DISK_LOW, "disque", text)
        if self._is_low:
            return
        detail = {"free_bytes": room.free_bytes, "wanted_bytes": wanted}
        log.critical("recorder.disk_low free_bytes=%d wanted_bytes=%d", room.free_bytes, wanted)
        await self._alarms.stand(self._standing, self._clock.now())
        await self._record(Draft(kind=Kind.RECORDING_DISK_LOW, detail=detail))
        self._is_low = True

    async def _make_room(self, wanted_bytes: int, now: datetime) -> None:
        """Destroy the oldest that may go, until there is room. The alarm has been raised, and is in the register."""
        if self._law.holds is None:
            return
        for destruction in await asyncio.to_thread(self._spare, wanted_bytes, now):
            await self._destroy_unheld(destruction, now)

    def _spare(self, wanted_bytes: int, now: datetime) -> list[Destruction]:
        chosen: dict[str, list[tuple[Segment, Cause]]] = {}
        oldest = heapq.merge(*(self._spare_of(camera, now) for camera in self._shelf.cameras()))
        for segment in oldest:
            if wanted_bytes <= 0:
                break
            chosen.setdefault(segment.camera, []).append((segment, Cause.DISK_FULL))
            wanted_bytes -= segment.size_bytes
        return [destruction for segments in chosen.values() for destruction in runs_of(segments)]

    def _spare_of(self, camera: str, now: datetime) -> list[Segment]:
        rule = self._law.rule_of(camera)
        old = self._old(camera, self._retention.keeps_from(rule, now, rule.min_days))
        return [each for each in unheld(old, self._law.holds or ()) if self._retention.is_spare(each, rule, now)]

    async def _destroy_unheld(self, destruction: Destruction, now: datetime) -> None:
        """Destroy what no hold keeps, those included that were placed since the round began (L26)."""
        await self._law.refresh_holds()
        free = unheld(destruction.segments, self._law.holds or ())
        for run in runs_of((segment, destruction.cause) for segment in free):
            await self._destroy(run, now)

    async def _destroy(self, destruction: Destruction, now: datetime) -> None:
        first, last = destruction.segments[0], destruction.segments[-1]
        is_early = destruction.cause is Cause.DISK_FULL
        detail = {
            "start": rfc3339(first.start),
            "end": rfc3339(last.end),
            "cause": destruction.cause.value,
            "segments": len(destruction.segments),
            "bytes": destruction.size_bytes,
        }
        if is_early:
            detail["within_ten_days"] = self._retention.is_below_the_convention(last, now)
            log.critical("recorder.purged_early camera=%s end=%s", destruction.camera, detail["end"])
        kind = Kind.RECORDING_PURGED_EARLY if is_early else Kind.RECORDING_DESTROYED
        await self._record(Draft(kind=kind, camera=destruction.camera, detail=detail))
        await asyncio.to_thread(self._shelf.destroy, destruction.segments)
        self._kept_by_holds.difference_update(segment.path for segment in destruction.segments)
        log.info("recorder.destroyed camera=%s segments=%d", destruction.camera, len(destruction.segments))

    def _raise(self, kind: AlarmKind, about: str, text: str) -> None:
        self._standing.append(Alarm(kind, about, text))
