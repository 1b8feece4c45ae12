"""Recorders that replay by a URL of their maker's, which says camera, start and end (Hikvision, Dahua and others).

Such a recorder cannot be asked what it has: what its owner says it keeps is believed, and never called verified. It
plays one passage a session, so a seek is a session of its own, opened once the one before is closed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from camera_registry.clock import Clock
from camera_registry.connections import Credentials
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.footage import Interval, Passage, Picture
from halfgateway.replay.rtsp_replay import RtspReplay
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import Target
from halfgateway.upstream.presentation import probe

OPEN_END: Final = timedelta(days=1)
"""How far ahead the end of a passage without one is written, for URLs that must have one."""

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ReplayUrl:
    """How a recorder's URLs are written: ``{channel}``, ``{start}`` and perhaps ``{end}`` stand in ``template``.

    Times are written by ``time_format`` (strftime) as a clock in ``zone`` shows them. In a zone with summer time one
    hour of autumn is shown twice (25 October 2026, 2:00 to 3:00): what is written is taken by recorders for the first
    of the two, and the second cannot be written at all. So a passage that begins in the second is refused rather than
    shown an hour off; one that begins earlier plays through it.
    """

    template: str
    time_format: str
    zone: ZoneInfo

    def write(self, channel: str, start: datetime, end: datetime) -> str:
        """The URL of a passage.

        Raises:
            NoRecording: it begins in the second of two hours that are written alike.
        """
        local = start.astimezone(self.zone)
        if local.fold:
            raise NoRecording("L'enregistreur ne distingue pas les deux heures du passage à l'heure d'hiver.")
        return self.template.format(
            channel=channel, start=local.strftime(self.time_format), end=self._end(end).strftime(self.time_format)
        )

    def begins(self, start: datetime) -> datetime:
        """The instant that is written for a start: to the second, unless the format has more."""
        return start if "%f" in self.time_format else start.replace(microsecond=0)

    def _end(self, end: datetime) -> datetime:
        """An end as it is written: not before it, and never within an hour that is shown twice, but after it."""
        if "%f" not in self.time_format and end.microsecond:
            end = end.replace(microsecond=0) + _SECOND
        local = end.astimezone(self.zone)
        while local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
            end += timedelta(minutes=15)  # zones change on quarters of an hour
            local = end.astimezone(self.zone)
        return local


class UrlFootage:
    """A :class:`~halfgateway.replay.footage.Footage` of one camera, ``channel`` at a recorder that plays by URL."""

    reverses = False

    def __init__(
        self,
        channel: str,
        url: ReplayUrl,
        credentials: Credentials,
        access: RecorderAccess,
        *,
        keeps: timedelta,
        clock: Clock,
        coalescing: Coalescing,
    ) -> None:
        """``access`` is that of the recorder, shared by all of its cameras; ``keeps`` is what it is said to keep."""
        self._channel = channel
        self._url = url
        self._credentials = credentials
        self._access = access
        self._keeps = keeps
        self._clock = clock
        self._coalescing = coalescing

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        """See :class:`~halfgateway.replay.footage.Footage`: one interval, not verified."""
        now = self._clock.now()
        first, last = max(start, now - self._keeps), min(end, now)
        return [Interval(first, last, verified=False)] if first < last else []

    async def describe(self, at: datetime) -> SessionDescription:
        """See :class:`~halfgateway.replay.footage.Footage`."""
        async with self._access.taken_to_describe():
            try:
                return (await probe(self._target(at, None))).description
            except CameraFailure as failure:
                raise self._access.failed(failure) from failure

    async def open(self, at: datetime) -> UrlReplay:
        """See :class:`~halfgateway.replay.footage.Footage`."""
        return UrlReplay(self, at, await self.session(at, None))

    async def session(self, start: datetime, end: datetime | None) -> RtspReplay:
        """Open a session that plays one passage."""
        return await RtspReplay.open(
            self._target(start, end),
            self._access,
            clock=self._clock,
            coalescing=self._coalescing,
            clock_ranges=False,
        )

    def written(self, passage: Passage) -> Passage:
        """A passage as the recorder takes it, which knows whole seconds."""
        return replace(passage, start=self._url.begins(passage.start))

    def _target(self, start: datetime, end: datetime | None) -> Target:
        last = end or max(start, self._clock.now()) + OPEN_END
        url = self._url.write(self._channel, self._url.begins(start.astimezone(UTC)), last)
        return Target(url, self._credentials.username, self._credentials.password)


class UrlReplay:
    """A :class:`~halfgateway.replay.footage.Replay` that has one session at a time, opened anew for each passage."""

    def __init__(self, footage: UrlFootage, at: datetime, session: RtspReplay) -> None:
        self._footage = footage
        self._video = session.video
        self._session: RtspReplay | None = session
        self._unused_at: datetime | None = at

    @property
    def video(self) -> VideoFormat:
        """See :class:`~halfgateway.replay.footage.Replay`."""
        return self._video

    async def play(self, passage: Passage) -> AsyncGenerator[Picture, None]:
        """See :class:`~halfgateway.replay.footage.Replay`."""
        if passage.options.scale < 0:
            raise RecorderUnreachable("L'enregistreur ne lit pas en arrière.")
        session = await self._session_for(passage)
        async with contextlib.aclosing(session.play(self._footage.written(passage))) as pictures:
            async for picture in pictures:
                yield picture

    async def close(self) -> None:
        """See :class:`~halfgateway.replay.footage.Replay`; to close twice does nothing."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _session_for(self, passage: Passage) -> RtspReplay:
        """The session that was opened for the passage's start and has played nothing; else another one."""
        unused_at, self._unused_at = self._unused_at, None
        if self._session is None or unused_at != passage.start:
            await self.close()
            self._session = await self._footage.session(passage.start, passage.end)
            self._video = self._session.video
        return self._session
