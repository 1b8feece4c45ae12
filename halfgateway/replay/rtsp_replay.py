"""A session at a recorder that is played by RTSP, over one connection: ONVIF's replay, or a plain server's.

What plays is asked for by ``PLAY`` with ``Range: clock=`` (ONVIF Streaming chapter 6), a seek is another one in the
same session. What nobody takes is not read, so that it stays with the recorder; a session that nobody plays is paused.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing, suppress
from typing import Final

from camera_registry.clock import Clock
from halfgateway.errors import RecorderUnreachable
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch, frame
from halfgateway.protocol.messages import Response
from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.replay import FEATURE
from halfgateway.protocol.rtcp import ReceiverReport, receiver_report
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.backlog import Backlog
from halfgateway.replay.footage import Passage, Picture
from halfgateway.replay.passage_gate import PassageGate
from halfgateway.replay.playing import NextFootage, Playing
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import USER_AGENT, CameraClient, Target
from halfgateway.upstream.presentation import Presentation, describe
from halfgateway.upstream.setup import Granted, set_up_interleaved

log = logging.getLogger(__name__)

OPTION_NOT_SUPPORTED: Final = 551

SILENCE_LIMIT_S: Final = 10.0
"""A recorder that has not said that it is at the end and sends no picture for so long is gone; one that has just said
that no footage follows directly is at the end."""

PAUSE_AFTER_S: Final = 0.25
"""How long a passage may be left before the recorder is told to pause: whoever scrubs asks for the next one sooner."""

GOODBYE_TIMEOUT_S: Final = 1.0
"""How long a recorder may take to answer TEARDOWN."""


class RtspReplay:
    """A :class:`~halfgateway.replay.footage.Replay` over RTSP; opened by :meth:`open`, closed once.

    ``clock_ranges`` is False for a server whose URL says what it plays: it is asked for all of it.
    """

    def __init__(
        self,
        access: RecorderAccess,
        client: CameraClient,
        presentation: Presentation,
        granted: Granted,
        *,
        clock: Clock,
        clock_ranges: bool,
        silence_limit_s: float,
        next_footage: NextFootage | None,
    ) -> None:
        self.description: SessionDescription = presentation.description
        self._access = access
        self._client = client
        self._video = presentation.video
        self._url = presentation.aggregate_url
        self._session = granted.session.id
        self._rtp_channel, self._rtcp_channel = granted.channels
        self._keep_alive_s = granted.keep_alive_s
        self._clock = clock
        self._clock_ranges = clock_ranges
        self._silence_limit_s = silence_limit_s
        self._next_footage = next_footage
        self._current: Playing | None = None
        self._at_rest = True
        self._last_play_cseq = 0
        self._report = frame(self._rtcp_channel, receiver_report(ReceiverReport(secrets.randbits(32)), USER_AGENT))
        self._closed = False
        self._pausing: asyncio.Task[None] | None = None
        self._keeping_alive = asyncio.create_task(self._keep_alive(), name="replay keep-alive")
        client.closed.add_done_callback(lambda _: self._lost())

    @classmethod
    async def open(
        cls,
        target: Target,
        access: RecorderAccess,
        *,
        clock: Clock,
        coalescing: Coalescing,
        clock_ranges: bool = True,
        silence_limit_s: float = SILENCE_LIMIT_S,
        next_footage: NextFootage | None = None,
    ) -> RtspReplay:
        """Connect, and set up the video; one of the recorder's sessions is taken until this one is closed.

        ``next_footage`` tells a recorder that is silent throughout a gap from one that is at its end.

        Raises:
            RecorderUnreachable: no answer, or no session to give.
            NoRecording: it knows of no such recording.
        """
        media = _Media()
        with ExitStack() as undo:
            access.take()
            undo.callback(access.give_back)
            try:
                client = await CameraClient.connect(target, media, coalescing=coalescing)
                undo.callback(client.close)
                options = await client.request("OPTIONS", target.url)
                access.habits.keep_alive.announced(options.headers.get("Public"))
                presentation = await describe(client, target)
                granted = await _set_up(client, presentation, access, asks_for_replay=clock_ranges)
            except CameraFailure as failure:
                raise access.failed(failure) from failure
            undo.pop_all()
        access.answered()
        replay = cls(
            access,
            client,
            presentation,
            granted,
            clock=clock,
            clock_ranges=clock_ranges,
            silence_limit_s=silence_limit_s,
            next_footage=next_footage,
        )
        media.taker = replay._take
        return replay

    @property
    def video(self) -> VideoFormat:
        """See :class:`~halfgateway.replay.footage.Replay`."""
        return self._video

    async def play(self, passage: Passage) -> AsyncGenerator[Picture, None]:
        """See :class:`~halfgateway.replay.footage.Replay`."""
        if self._closed or self._client.closed.done():
            raise RecorderUnreachable("L'enregistreur a mis fin à la lecture.")
        self._current = None
        await self._stop_pausing()
        self._client.resume_reading()
        try:
            immediate = not self._at_rest and self._asks_for_replay
            if not self._at_rest and not immediate:
                await self._pause()
            playing = self._current = self._prepared(passage, immediate=immediate)
            try:
                await self._begin(playing, passage, immediate=immediate)
                async with aclosing(playing.pictures(self._silence_limit_s, self._next_footage)) as pictures:
                    async for picture in pictures:
                        yield picture
            finally:
                self._leave(playing)
        except CameraFailure as failure:
            raise self._access.failed(failure) from failure

    async def close(self) -> None:
        """See :class:`~halfgateway.replay.footage.Replay`; to close twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._keeping_alive.cancel()
            if self._current is not None:
                self._current.backlog.end()
            self._current = None
            self._client.resume_reading()  # or the answer would not come
            await self._stop_pausing()
            with suppress(CameraFailure):
                await self._ask("TEARDOWN", {}, timeout_s=GOODBYE_TIMEOUT_S)
        finally:
            self._client.close()
            self._access.give_back()

    def _prepared(self, passage: Passage, *, immediate: bool) -> Playing:
        gate = PassageGate(
            passage.start,
            at_rest=self._at_rest,
            immediate=immediate,
            last_cseq=lambda: self._client.last_cseq,
            cseq_before=self._last_play_cseq,
        )
        backlog = Backlog(self._client.pause_reading, self._client.resume_reading)
        return Playing(passage, self._video, gate, backlog, self._clock)

    async def _begin(self, playing: Playing, passage: Passage, *, immediate: bool) -> None:
        headers = passage.options.headers()
        headers["Range"] = str(ClockRange(passage.start, passage.end)) if self._clock_ranges else "npt=0.000-"
        if immediate:
            headers["Immediate"] = "yes"
        self._at_rest = False
        self._keeping_alive.cancel()
        try:
            answer = await self._play_request(headers)
        finally:
            self._keeping_alive = asyncio.create_task(self._keep_alive(), name="replay keep-alive")
        self._last_play_cseq = self._client.last_cseq
        playing.answered(answer)

    async def _play_request(self, headers: Mapping[str, str]) -> Response:
        """PLAY; without ONVIF's feature tag where the recorder does not know it."""
        if self._asks_for_replay:
            try:
                return await self._ask("PLAY", {"Require": FEATURE, **headers})
            except CameraFailure as failure:
                if failure.status != OPTION_NOT_SUPPORTED:
                    raise
                self._access.habits.knows_replay = False
        return await self._ask("PLAY", headers)

    @property
    def _asks_for_replay(self) -> bool:
        return self._clock_ranges and self._access.habits.knows_replay

    def _leave(self, playing: Playing) -> None:
        """Nobody takes this passage any more: hold the recorder back, and soon have it pause."""
        playing.backlog.end()
        if self._current is not playing or self._closed:
            return
        self._current = None
        if self._client.closed.done():
            return
        if playing.over:
            self._at_rest = True
            return
        self._client.pause_reading()
        self._pausing = asyncio.create_task(self._pause_soon(), name="replay pause")

    async def _pause_soon(self) -> None:
        await asyncio.sleep(PAUSE_AFTER_S)
        self._client.resume_reading()
        with suppress(CameraFailure):  # whoever plays next is told
            await self._pause()

    async def _pause(self) -> None:
        """Have the recorder pause. One that refuses, since it has come to an end or knows no pause, is let be."""
        try:
            await self._ask("PAUSE", {})
        except CameraFailure as failure:
            if failure.status is None:
                raise
            log.info("replay.pause_refused recorder=%s status=%s", self._access.recorder, failure.status)
        else:
            self._at_rest = True

    async def _stop_pausing(self) -> None:
        pausing, self._pausing = self._pausing, None
        if pausing is not None:
            pausing.cancel()
            await asyncio.wait({pausing})

    async def _keep_alive(self) -> None:
        """Give signs of life of both kinds, playing or paused, also while its answers are not read."""
        habit = self._access.habits.keep_alive
        while True:
            await asyncio.sleep(self._keep_alive_s)
            self._client.send_media(self._report)
            if self._current is not None and self._current.backlog.held:
                habit.tell(self._client, self._url, self._session)
            else:
                await habit.ask(self._client, self._url, self._session, patience_s=self._keep_alive_s / 2)

    async def _ask(self, method: str, headers: Mapping[str, str], *, timeout_s: float | None = None) -> Response:
        said = {"Session": self._session, **headers}
        if timeout_s is None:
            return await self._client.request(method, self._url, said)
        return await self._client.request(method, self._url, said, timeout_s=timeout_s)

    def _take(self, batch: InterleavedBatch) -> bool:
        """Take what was read; answers whether more of the same picture is to come at once."""
        playing = self._current
        if playing is None:
            return False
        within = False
        try:
            for channel, start, end in batch.frames:
                payload = batch.data[start + FRAME_HEADER_BYTES : end]
                if channel == self._rtp_channel:
                    within = playing.take_packet(payload)
                elif channel == self._rtcp_channel:
                    playing.take_report(payload)
        except RecorderUnreachable as failure:
            playing.backlog.end(failure)
            self._current = None
        return within

    def _lost(self) -> None:
        self._keeping_alive.cancel()
        if self._current is not None:
            self._current.hung_up()


class _Media:
    """Where a connection's media goes, which is opened before there is a session to take it."""

    def __init__(self) -> None:
        self.taker: Callable[[InterleavedBatch], bool] = lambda batch: False

    def __call__(self, batch: InterleavedBatch) -> bool:
        return self.taker(batch)


async def _set_up(
    client: CameraClient, presentation: Presentation, access: RecorderAccess, *, asks_for_replay: bool
) -> Granted:
    if asks_for_replay and access.habits.knows_replay:
        try:
            return await set_up_interleaved(client, presentation, {"Require": FEATURE})
        except CameraFailure as failure:
            if failure.status != OPTION_NOT_SUPPORTED:
                raise
            access.habits.knows_replay = False
    return await set_up_interleaved(client, presentation)
