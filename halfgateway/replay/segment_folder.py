"""A folder of segments as a recorder: the footage that another system writes, exports or mounts (MP4, MPEG-TS).

The pictures are passed as they were recorded. The format of a session is that of the footage at which it was opened:
where the codec changes its passages end, and another session gives the rest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from camera_registry.clock import Clock
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.replay import FrameKind, Frames
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.footage import Footage, Interval, Passage, Picture, Replay
from halfgateway.replay.read_ahead import read_ahead
from halfgateway.replay.segment_walk import Shown, Wanted, backwards, forwards
from halfgateway.segments.catalogue import Catalogue
from halfgateway.segments.description import describe
from halfgateway.segments.layout import Layout
from halfgateway.segments.packetising import CLOCK_RATE_HZ, PAYLOAD_TYPE, Packetiser
from halfgateway.segments.reading import AccessUnit, Segment, UnreadableSegment
from halfgateway.segments.units import is_disposable

LOOK_AGAIN_S: Final = 0.25
"""How often, in seconds, it is looked whether more has been recorded: what the live edge may lag by, beside the
recorder's own fragments."""

MOST_LATE_S: Final = 1.0
"""A picture that is later than this, in seconds, moves all that come after it: what could not be given in time is not
hurried after."""

_Result = TypeVar("_Result")
_Walk = Callable[[Catalogue, datetime, datetime | None, Codec, Wanted], Generator[Shown | None, None, None]]
_TICK_US: Final = 1_000_000


class SegmentFolder(Footage):
    """The recordings of one camera, whose segments lie below ``root / channel`` as ``layout`` has them.

    What blocks runs in ``threads``: some eight for a recorder, apart from the event loop's own, so that a disk that
    hangs holds up nothing else. ``sleep`` is :func:`asyncio.sleep` but in tests.
    """

    reverses = True

    def __init__(
        self,
        root: Path,
        channel: str,
        layout: Layout,
        *,
        clock: Clock,
        threads: Executor,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._catalogue = Catalogue(root, channel, layout, now=clock.now)
        self._clock = clock
        self._threads = threads
        self._sleep = sleep

    @property
    def passed_over(self) -> int:
        """Names that are no segment's and files without footage, among those met lately; for who looks after it."""
        return self._catalogue.passed_over

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        """See :class:`Footage`. The first time, each segment in between is opened; later only those that changed."""
        found = await self._blocking(lambda: self._catalogue.intervals(start, end))
        return [Interval(begins, ends) for begins, ends in found]

    async def describe(self, at: datetime) -> SessionDescription:
        """See :class:`Footage`."""
        return await self._blocking(lambda: self._described(at))

    async def open(self, at: datetime) -> Replay:
        """See :class:`Footage`."""
        segment = await self._blocking(lambda: self._segment(at))
        return _SegmentReplay(self._catalogue, segment.codec, self._clock, self._threads, self._sleep)

    def _described(self, at: datetime) -> SessionDescription:
        return describe(self._segment(at), at)

    def _segment(self, at: datetime) -> Segment:
        segment = self._catalogue.at_or_after(at)
        if segment is None:
            raise NoRecording
        return segment

    async def _blocking(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise RecorderUnreachable(reason="folder-unreadable") from error
        except UnreadableSegment as error:
            raise NoRecording from error


@dataclass(frozen=True, slots=True)
class _Due:
    """A picture, and how many seconds after the first one it is due."""

    picture: Picture
    after_s: float

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.picture.packets))


class _SegmentReplay(Replay):
    def __init__(
        self,
        catalogue: Catalogue,
        codec: Codec,
        clock: Clock,
        threads: Executor,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._catalogue = catalogue
        self._codec = codec
        self._clock = clock
        self._threads = threads
        self._sleep = sleep

    @property
    def video(self) -> VideoFormat:
        return VideoFormat(self._codec, CLOCK_RATE_HZ, frozenset({PAYLOAD_TYPE}))

    async def play(self, passage: Passage) -> AsyncGenerator[Picture, None]:
        source = _pictures(self._catalogue, self._codec, passage)
        pace = _Pace(self._clock, self._sleep) if passage.options.rate_control else None
        given = False
        async with aclosing(read_ahead(source, self._threads, monotonic=self._clock.monotonic)) as ahead:
            try:
                async for due in ahead:
                    if due is None:
                        await self._sleep(LOOK_AGAIN_S)
                        continue
                    if pace is not None:
                        await pace.wait_for(due.after_s)
                    given = True
                    yield due.picture
            except (OSError, UnreadableSegment) as error:
                raise RecorderUnreachable(reason="folder-unreadable") from error
        if not given:
            raise NoRecording

    async def close(self) -> None:
        """Nothing is held but by a passage that plays."""


class _Pace:
    """Holds each picture back until it is due. Who was late goes on from there: nothing is hurried after."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._began_s: float | None = None

    async def wait_for(self, after_s: float) -> None:
        if self._began_s is None:
            self._began_s = self._clock.monotonic()
        early_s = self._began_s + after_s - self._clock.monotonic()
        if early_s > 0:
            await self._sleep(early_s)
        elif early_s < -MOST_LATE_S:
            self._began_s -= early_s


def _pictures(catalogue: Catalogue, codec: Codec, passage: Passage) -> Generator[_Due | None, None, None]:
    """The pictures of a passage as packets, each with when it is due. Blocks."""
    options = passage.options
    walk: _Walk = backwards if options.scale < 0 else forwards
    shown = walk(catalogue, passage.start, passage.end, codec, _wanted(options.frames, codec))
    timing: _Timing | None = None
    base = secrets.randbits(32)
    with closing(Packetiser(codec)) as packetiser, closing(shown):
        for each in shown:
            if each is None:
                yield None
                continue
            timing = timing or _Timing(each, options.scale, rate_control=options.rate_control)
            packets = packetiser.packets(each.unit.data, base + timing.rtp_ticks(each))
            if not packets:
                # Damage that the file's own marks do not show: nothing in it is a unit.
                continue
            picture = Picture(packets, each.unit.at, each.unit.clean, each.discontinuous, each.last)
            yield _Due(picture, timing.after_s(each))


class _Timing:
    """When pictures are due, and their RTP time, since the first that was shown.

    RTP time is that of presentation, whatever the order of delivery (ONVIF Streaming 6.6): of playing where the pace is
    kept here, else of filming.
    """

    def __init__(self, first: Shown, scale: float, *, rate_control: bool) -> None:
        self._origin = first.unit.at if scale > 0 else first.group_end
        self._scale = scale
        self._rtp_scale = scale if rate_control else 1.0

    def rtp_ticks(self, shown: Shown) -> int:
        micros = (shown.unit.at - self._origin) // timedelta(microseconds=1)
        return round(micros * CLOCK_RATE_HZ / (_TICK_US * self._rtp_scale))

    def after_s(self, shown: Shown) -> float:
        """In reverse, a group is whole when its last picture is due, and comes at the pace of the one before it."""
        played = (shown.unit.at - self._origin).total_seconds() / self._scale
        if self._scale > 0:
            return played
        group_end = (shown.group_end - self._origin).total_seconds() / self._scale
        return 2 * group_end - played


def _wanted(frames: Frames, codec: Codec) -> Wanted:
    if frames.kind is FrameKind.PREDICTED:
        return lambda unit: unit.clean or not is_disposable(codec, unit.data)
    if frames.kind is FrameKind.INTRA:
        return _Intra(timedelta(milliseconds=frames.interval_ms))
    return lambda _: True


class _Intra:
    """Clean pictures, of which two are no closer than ``interval``."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._given: datetime | None = None

    def __call__(self, unit: AccessUnit) -> bool:
        if not unit.clean or (self._given is not None and abs(unit.at - self._given) < self._interval):
            return False
        self._given = unit.at
        return True
