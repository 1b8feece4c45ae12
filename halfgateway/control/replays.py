"""The replays of this node: which recorder has what, and that each session goes back to its recorder."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from camera_registry.clock import Clock
from halfgateway.control.access import AccessRequest
from halfgateway.control.admission import Admission
from halfgateway.errors import NoRecording, Refusal
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.sdp import SessionDescription, first_video
from halfgateway.replay.footage import Footage, Recorders
from halfgateway.replay.shared_answers import SharedAnswers

log = logging.getLogger(__name__)

EDGE_MARGIN = timedelta(seconds=2)
"""How far inside the window a presentation begins of which no beginning was named: the window slides meanwhile."""

EDGE_KEPT_S = 1.0
"""For how long the window's edge is only moved on with time, before the orders are asked again."""

WHOLE_BEGINS_EVERY_S = 10
"""Such a presentation begins at a whole ten seconds: who describes it again soon asks the same of the recorder."""

DESCRIBED_FOR_S = 10.0
"""Seconds for which a presentation's description is not asked again: a VMS may describe it for each of its screens."""

MAX_REMEMBERED_CODECS = 10_000
"""Presentations of which it is remembered in which codec they were described to whom. When full, the oldest are
forgotten; their first PLAY shows what is there."""


class Edge:
    """The oldest instant that a request may see now; it slides as time passes (C03).

    ``request`` gives the one that counts now: a stream handed over is another agent's (S15).
    """

    def __init__(self, request: Callable[[], AccessRequest], admission: Admission, now: Callable[[], float]) -> None:
        self._request = request
        self._admission = admission
        self._now = now
        self._known: datetime | None = None
        self._known_of: AccessRequest | None = None
        self._known_at_s = 0.0

    def __call__(self) -> datetime:
        """Raises OutsideRetention, StateStoreUnavailable."""
        request, now_s = self._request(), self._now()
        is_kept = request is self._known_of and 0 <= now_s - self._known_at_s < EDGE_KEPT_S
        if self._known is None or not is_kept:
            self._known = self._admission.oldest_accessible(request)
            self._known_of, self._known_at_s = request, now_s
        return self._known + timedelta(seconds=now_s - self._known_at_s)


@dataclass(frozen=True, slots=True)
class Presentation:
    """What an RTSP URL of a recording presents: where it begins (npt 0), and where it ends if that was said.

    ``codec`` is that in which it was described to who asks for it, None where it was not, that anyone remembers.
    """

    begin: datetime
    end: datetime | None
    codec: Codec | None = None


_Described: TypeAlias = tuple[str, str, ClockRange | None]
"""To whom (a ticket, or an account), which camera, and what of it the URL named."""


class Replays:
    """What seats and descriptions of recordings have in common. ``now`` is the monotonic clock in seconds."""

    def __init__(self, recorders: Recorders, admission: Admission, clock: Clock, *, now: Callable[[], float]) -> None:
        self._recorders = recorders
        self._admission = admission
        self._clock = clock
        self._now = now
        self._descriptions = SharedAnswers(self._ask_description, DESCRIBED_FOR_S, now=now)
        self._codecs: OrderedDict[_Described, Codec] = OrderedDict()
        self._goodbyes: set[asyncio.Task[None]] = set()

    def footage(self, camera: str) -> Footage:
        """The recordings of a camera. Raises NoRecording."""
        footage = self._recorders.of(camera)
        if footage is None:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra.")
        return footage

    def edge(self, request: Callable[[], AccessRequest]) -> Edge:
        """The edge of the window of the request that counts when it is asked."""
        return Edge(request, self._admission, self._now)

    async def presentation(self, request: AccessRequest, span: ClockRange | None) -> Presentation:
        """What a request presents by this URL: what the URL names, else what was granted, else all there is.

        Raises Refusal.
        """
        codec = self._codecs.get(_described(request, span))
        if span is not None:
            ends = [end for end in (span.end, request.end) if end is not None]
            return Presentation(span.start, min(ends, default=None), codec)
        if request.start is not None:
            return Presentation(request.start, request.end, codec)
        oldest, now = self.edge(lambda: request)(), self._clock.now()
        found = await self.footage(request.camera).find(oldest, now)
        if not found:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra.")
        return Presentation(max(found[0].start, _next_whole(oldest + EDGE_MARGIN)), None, codec)

    async def describe(
        self, request: AccessRequest, span: ClockRange | None, presentation: Presentation
    ) -> SessionDescription:
        """The description of the footage where a presentation begins; its codec is remembered, and no other shown.

        Raises RecorderUnreachable, NoRecording, RemoteProtocolError.
        """
        description = await self._descriptions.get((request.camera, presentation.begin))
        described = _described(request, span)
        self._codecs[described] = first_video(description).codec
        self._codecs.move_to_end(described)
        if len(self._codecs) > MAX_REMEMBERED_CODECS:
            self._codecs.popitem(last=False)
        return description

    async def _ask_description(self, asked: tuple[str, datetime]) -> SessionDescription:
        camera, begin = asked
        return await self.footage(camera).describe(begin)

    def later(self, goodbye: Coroutine[Any, Any, None]) -> None:
        """Have a session go back to its recorder, whoever still waits for what."""
        task = asyncio.create_task(goodbye, name="replay goodbye")
        self._goodbyes.add(task)
        task.add_done_callback(self._said)

    async def settle(self) -> None:
        """Wait until every session that was to go back has gone."""
        await self._descriptions.aclose()
        while self._goodbyes:
            await asyncio.wait(self._goodbyes)

    def _said(self, task: asyncio.Task[None]) -> None:
        self._goodbyes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, Refusal) else logging.CRITICAL
            log.log(level, "replay.goodbye_failed error=%r", error)


def _described(request: AccessRequest, span: ClockRange | None) -> _Described:
    return request.ticket or request.principal.account, request.camera, span


def _next_whole(instant: datetime) -> datetime:
    past = timedelta(seconds=instant.second % WHOLE_BEGINS_EVERY_S, microseconds=instant.microsecond)
    return instant - past + timedelta(seconds=WHOLE_BEGINS_EVERY_S)
