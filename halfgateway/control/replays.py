"""The replays of this node: which recorder has what, and that each session goes back to its recorder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from camera_registry.clock import Clock
from halfgateway.control.access import AccessRequest
from halfgateway.control.admission import Admission
from halfgateway.errors import NoRecording, Refusal
from halfgateway.protocol.ranges import ClockRange
from halfgateway.replay.footage import Footage, Recorders

log = logging.getLogger(__name__)

EDGE_MARGIN = timedelta(seconds=2)
"""How far inside the window a presentation begins of which no beginning was named: the window slides meanwhile."""

EDGE_KEPT_S = 1.0
"""For how long the window's edge is only moved on with time, before the orders are asked again."""


class Edge:
    """The oldest instant that one request may see now; it slides as time passes (C03)."""

    def __init__(self, request: AccessRequest, admission: Admission, now: Callable[[], float]) -> None:
        self._request = request
        self._admission = admission
        self._now = now
        self._known: datetime | None = None
        self._known_at_s = 0.0

    def __call__(self) -> datetime:
        """Raises OutsideRetention, StateStoreUnavailable."""
        now_s = self._now()
        if self._known is None or not 0 <= now_s - self._known_at_s < EDGE_KEPT_S:
            self._known, self._known_at_s = self._admission.oldest_accessible(self._request), now_s
        return self._known + timedelta(seconds=now_s - self._known_at_s)


@dataclass(frozen=True, slots=True)
class Presentation:
    """What an RTSP URL of a recording presents: where it begins (npt 0), and where it ends if that was said."""

    begin: datetime
    end: datetime | None


class Replays:
    """What seats and descriptions of recordings have in common. ``now`` is the monotonic clock in seconds."""

    def __init__(self, recorders: Recorders, admission: Admission, clock: Clock, *, now: Callable[[], float]) -> None:
        self._recorders = recorders
        self._admission = admission
        self._clock = clock
        self._now = now
        self._goodbyes: set[asyncio.Task[None]] = set()

    def footage(self, camera: str) -> Footage:
        """The recordings of a camera. Raises NoRecording."""
        footage = self._recorders.of(camera)
        if footage is None:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra.")
        return footage

    def edge(self, request: AccessRequest) -> Edge:
        """The edge of the window of one request."""
        return Edge(request, self._admission, self._now)

    async def presentation(self, request: AccessRequest, span: ClockRange | None) -> Presentation:
        """What a request presents by this URL: what the URL names, else what was granted, else all there is.

        Raises Refusal.
        """
        if span is not None:
            ends = [end for end in (span.end, request.end) if end is not None]
            return Presentation(span.start, min(ends, default=None))
        if request.start is not None:
            return Presentation(request.start, request.end)
        oldest, now = self.edge(request)(), self._clock.now()
        found = await self.footage(request.camera).find(oldest, now)
        if not found:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra.")
        return Presentation(max(found[0].start, oldest + EDGE_MARGIN), None)

    def later(self, goodbye: Coroutine[Any, Any, None]) -> None:
        """Have a session go back to its recorder, whoever still waits for what."""
        task = asyncio.create_task(goodbye, name="replay goodbye")
        self._goodbyes.add(task)
        task.add_done_callback(self._said)

    async def settle(self) -> None:
        """Wait until every session that was to go back has gone."""
        while self._goodbyes:
            await asyncio.wait(self._goodbyes)

    def _said(self, task: asyncio.Task[None]) -> None:
        self._goodbyes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, Refusal) else logging.CRITICAL
            log.log(level, "replay.goodbye_failed error=%r", error)
