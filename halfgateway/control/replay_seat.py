"""One RTSP session's place before a recording: one slot from SETUP to its end, whatever is sought in between (C02)."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from auth.trace import Kind
from camera_registry.clock import rfc3339
from halfgateway.control.admission import Admission
from halfgateway.control.replays import Presentation, Replays
from halfgateway.control.seat import House, Place
from halfgateway.control.streams import Stream
from halfgateway.downstream.door import Playing, PlayWish, Viewer
from halfgateway.errors import NoRecording, NotHabilitated, OutsideRetention, RecorderUnreachable, Refusal
from halfgateway.protocol.ranges import ClockRange, Now, NptRange, Range
from halfgateway.protocol.replay import FrameKind, Frames, PlayOptions
from halfgateway.relay.reader import Reader
from halfgateway.replay.footage import Footage, Passage, Replay
from halfgateway.replay.numbering import Beginning, Numbering
from halfgateway.replay.transmission import Manner, Transmission

log = logging.getLogger(__name__)

FIRST_PICTURE_S = 8.0
"""How long a recorder may take for the first picture of a passage before the reader is told that it is unreachable."""

BETWEEN_SEEKS_S = 0.1
"""The least time between two passages asked of a recorder by one session: who scrubs faster gets the last one."""

LEAST_INTERVAL_MS = 200
"""Milliseconds of watching between two pictures of what is played faster than it is watched, without the right to."""

LATER = timedelta(seconds=2)
"""By how much later a passage is asked for again that a recorder began outside the window: a group of pictures."""

_YEAR_1900 = datetime(1900, 1, 1, tzinfo=UTC)
_UNIX_SINCE_1900_S = 2_208_988_800


class NotInReverse(Refusal):
    """The recorder does not play in reverse."""

    code, http_status, rtsp_status = "invalid-request", 422, 456


@dataclass(frozen=True, slots=True)
class Recording:
    """What is watched: the footage, and its presentation."""

    footage: Footage
    presentation: Presentation


class RecordedSeat(Place):
    """A :class:`~halfgateway.downstream.door.ReplaySeat`, with one session at its recorder from the first PLAY on."""

    def __init__(
        self,
        house: House,
        stream: Stream,
        viewer: Viewer,
        recording: Recording,
        replays: Replays,
        admission: Admission,
    ) -> None:
        super().__init__(house, stream, viewer)
        self._recording = recording
        self._replays = replays
        self._admission = admission
        self._edge = replays.edge(lambda: stream.request)
        self._codec = recording.presentation.codec
        self._replay: Replay | None = None
        self._numbering: Numbering | None = None
        self._transmission: Transmission | None = None
        self._beginning: asyncio.Task[tuple[Transmission, Beginning]] | None = None
        self._running: asyncio.Task[None] | None = None
        self._position: datetime | None = None
        self._sought_at_s = -math.inf
        self._gone = False

    @property
    def profile(self) -> str:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return self._stream.request.mode.value

    @property
    def position(self) -> datetime | None:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        playing = self._transmission.position if self._transmission is not None else None
        return playing or self._position

    async def play(self, wish: PlayWish, make_reader: Callable[[], Reader]) -> Playing:
        """See :class:`~halfgateway.downstream.door.ReplaySeat`. Raises a Refusal, traced."""
        try:
            passage = self._passage(wish)
        except Refusal as refusal:
            start = wish.span.start if isinstance(wish.span, ClockRange) else self._stream.request.start
            self._house.tracer.refusal(replace(self._stream.request, start=start).refused(refusal))
            raise
        request = replace(self._stream.request, start=passage.start)
        self._admission.recheck(request)
        await asyncio.sleep(self._sought_at_s + BETWEEN_SEEKS_S - self._house.now())
        self._sought_at_s = self._house.now()
        self._stop_flow()
        try:
            await self._halt()
            transmission, beginning = await self._begun(passage, wish)
            kind = Kind.STREAM_MOVED if self._stream.ever_played else Kind.STREAM_STARTED
            await self._house.tracer.durable(self._stream.request.entry(kind, _told(passage, transmission.begins_at)))
        except Refusal as refusal:
            self._return_session()
            self._rest()
            self._house.tracer.refusal(request.refused(refusal))
            raise
        return Playing(
            self._shown(wish.span, transmission.begins_at or passage.start, passage.end),
            passage.options,
            beginning.sequence,
            beginning.timestamp,
            lambda: self._flow(transmission, make_reader()),
        )

    def _passage(self, wish: PlayWish) -> Passage:
        """What is to be played, within what was granted. Raises Refusal."""
        options = self._allowed(wish.options)
        start, end = self._bounds(wish.span)
        granted, until = self._stream.request.start, self._recording.presentation.end
        if (granted is not None and start < granted) or (until is not None and start > until):
            raise NotHabilitated("Ce titre d'accès vaut pour une autre période.")
        if options.scale > 0:
            if end is not None and end <= start:
                raise OutsideRetention("La période demandée se termine avant de commencer.")
            end = min((each for each in (end, until) if each is not None), default=None)
        else:
            end = max((each for each in (end, granted) if each is not None), default=None)
        return Passage(start, end, options)

    def _bounds(self, span: Range | None) -> tuple[datetime, datetime | None]:
        if span is None:
            return self.position or self._recording.presentation.begin, None
        if isinstance(span, ClockRange):
            return span.start, span.end
        if isinstance(span.start_s, Now) or isinstance(span.end_s, Now):
            raise OutsideRetention("Un Flux en Temps différé n'a pas d'instant présent.")
        zero = self._zero(span)
        start = zero + timedelta(seconds=span.start_s) if span.start_s is not None else self.position or zero
        return start, zero + timedelta(seconds=span.end_s) if span.end_s is not None else None

    def _zero(self, span: NptRange) -> datetime:
        """From when a player counts: from where the presentation begins.

        GStreamer 1.22 makes seconds since 1900 of the instants that the presentation is described with.
        """
        counted = [each for each in (span.start_s, span.end_s) if isinstance(each, float)]
        return _YEAR_1900 if max(counted) >= _UNIX_SINCE_1900_S else self._recording.presentation.begin

    def _allowed(self, options: PlayOptions) -> PlayOptions:
        """As it may be played: beyond a picture's pace is a right of its own (S14), but for five keyframes a second."""
        bulk = self._admission.allows_bulk(self._stream.request)
        if options.scale < 0 and not self._recording.footage.reverses:
            raise NotInReverse("Cet enregistreur ne lit pas en arrière.")
        if not options.rate_control:
            if not bulk:
                raise NotHabilitated("La transmission plus rapide que le Temps réel n'est pas autorisée.")
            return replace(options, scale=math.copysign(1.0, options.scale))
        if abs(options.scale) > 1 and not bulk:
            return replace(options, frames=_sparse(options))
        return options

    async def _begun(self, passage: Passage, wish: PlayWish) -> tuple[Transmission, Beginning]:
        """See :meth:`_begin`: in a task of its own, which the end of the stream ends, and not its connection's."""
        self._beginning = asyncio.create_task(self._begin(passage, wish), name=f"replay begins {self._stream.id}")
        try:
            return await self._beginning
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if waiting is not None and waiting.cancelling():
                raise
            raise RecorderUnreachable("Le Flux a pris fin.") from None
        finally:
            self._beginning = None

    async def _begin(self, passage: Passage, wish: PlayWish) -> tuple[Transmission, Beginning]:
        """Ask the recorder for a passage, and wait for its first picture."""
        try:
            async with asyncio.timeout(FIRST_PICTURE_S):
                replay = await self._session(passage.start)
                numbering = self._numbers(replay)
                beginning = numbering.begin()
                transmission = await self._first_seen(replay, passage, numbering, wish)
        except TimeoutError as error:
            raise RecorderUnreachable("L'enregistreur ne répond pas.") from error
        if transmission.begins_at is None:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra sur la période demandée.")
        self._codec = self._codec or replay.video.codec
        if replay.video.codec is not self._codec:
            raise NoRecording("Ces images sont d'un autre format : il faut une autre lecture, décrite à cet instant.")
        return transmission, beginning

    async def _first_seen(self, replay: Replay, passage: Passage, numbering: Numbering, wish: PlayWish) -> Transmission:
        """The passage, from a little later on as long as the recorder begins it outside the window."""
        manner = Manner(wish.cseq, wish.stays, passage.options.rate_control, self._house.timings.paused_s)
        oldest = self._edge()
        while True:
            transmission = self._transmission = Transmission(
                replay.play(passage), numbering, manner, oldest=oldest, edge=self._edge, now=self._house.now
            )
            if await transmission.begin():
                return transmission
            await transmission.close()
            passage = replace(passage, start=passage.start + LATER)

    async def _session(self, start: datetime) -> Replay:
        """The session at the recorder: the one that there is, or another once it was given back."""
        if self._replay is None:
            replay = await self._recording.footage.open(start)
            if self._gone:
                self._replays.later(replay.close())
                raise RecorderUnreachable("Le Flux a pris fin.")
            self._replay = replay
        return self._replay

    def _numbers(self, replay: Replay) -> Numbering:
        if self._numbering is None:
            camera, rate_hz = self._stream.request.camera, replay.video.clock_rate_hz
            self._numbering = Numbering(camera, rate_hz, random_bits=secrets.randbits)
        return self._numbering

    def _shown(self, asked: Range | None, begins_at: datetime, end: datetime | None) -> Range:
        """What plays, in the unit in which it was asked for."""
        if not isinstance(asked, NptRange):
            return ClockRange(begins_at, end)
        zero = self._zero(asked)
        since_s = max(0.0, (begins_at - zero).total_seconds())
        return NptRange(since_s, (end - zero).total_seconds() if end is not None else None)

    def _flow(self, transmission: Transmission, reader: Reader) -> None:
        if self._begin_flow(reader) and transmission is self._transmission:
            self._running = asyncio.create_task(self._run(transmission, reader), name=f"replay {self._stream.id}")

    async def _run(self, transmission: Transmission, reader: Reader) -> None:
        cause: Refusal | None = None
        try:
            await transmission.run(reader)
        except Refusal as refusal:
            cause = refusal
        except Exception as error:
            log.critical("replay.broken stream=%s", self._stream.id, exc_info=error)
            cause = RecorderUnreachable("Une erreur interne a mis fin à la lecture.", reason="internal")
        self._running = None
        if cause is not None:
            self._house.closer.end(self._stream, cause)
        else:
            self._flowing = False
            self._rest()

    def _stop_flow(self) -> None:
        self._flowing = False
        self._position = self.position
        if self._running is not None:
            self._running.cancel()

    async def _halt(self) -> None:
        """Have the passage before end, so that another may begin in the same session."""
        running, self._running = self._running, None
        transmission, self._transmission = self._transmission, None
        await _ended(running, transmission)

    def _let_source_go(self) -> None:
        self._gone = True
        self._return_session()

    def _return_session(self) -> None:
        """Give the session back to the recorder, once what plays in it, or was about to, has ended."""
        beginning, running, transmission, replay = self._beginning, self._running, self._transmission, self._replay
        self._position = self.position
        self._beginning = self._running = self._transmission = self._replay = None
        if beginning is not None:
            beginning.cancel()
        if replay is not None:
            self._replays.later(_returned(beginning or running, transmission, replay))


def _sparse(options: PlayOptions) -> Frames:
    """Keyframes, no more than five for each second of watching: there are cameras whose every picture is one."""
    asked_ms = options.frames.interval_ms if options.frames.kind is FrameKind.INTRA else 0
    return Frames(FrameKind.INTRA, max(asked_ms, math.ceil(abs(options.scale) * LEAST_INTERVAL_MS)))


async def _ended(task: asyncio.Task[Any] | None, transmission: Transmission | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
    if transmission is not None:
        await transmission.close()


async def _returned(task: asyncio.Task[Any] | None, transmission: Transmission | None, replay: Replay) -> None:
    try:
        await _ended(task, transmission)
    finally:
        await replay.close()


def _told(passage: Passage, begins_at: datetime | None) -> dict[str, Any]:
    """What the trace says of a passage: what was asked, when the first picture was filmed, nothing of what is usual."""
    options = passage.options
    told = {
        "to": "playing",
        "from": rfc3339(passage.start),
        "begins": rfc3339(begins_at) if begins_at is not None and begins_at != passage.start else None,
        "until": rfc3339(passage.end) if passage.end is not None else None,
        "scale": options.scale if options.scale != 1.0 else None,
        "frames": str(options.frames) if options.frames != Frames() else None,
        "rate_control": None if options.rate_control else False,
    }
    return {name: value for name, value in told.items() if value is not None}
