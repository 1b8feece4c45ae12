"""One passage at a recorder, from its PLAY to its end: what comes of it, when it is due, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from camera_registry.clock import Clock
from halfgateway.errors import RecorderUnreachable, RemoteProtocolError
from halfgateway.protocol.messages import Response
from halfgateway.protocol.ranges import ClockRange, parse_range
from halfgateway.protocol.replay import FrameKind, play_options
from halfgateway.protocol.rtcp import Goodbye, SenderReport, parse_compound
from halfgateway.protocol.rtp import is_rtp, marker
from halfgateway.protocol.rtp_info import parse_rtp_info
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.backlog import Backlog
from halfgateway.replay.footage import Passage, Picture
from halfgateway.replay.passage_gate import PassageGate
from halfgateway.replay.pictures import Assembly, Timeline

SKIPPED_GAP: Final = timedelta(seconds=2)
"""By how much a picture may come before it is due; past it a recorder has skipped a gap, which is waited out here."""

NextFootage: TypeAlias = Callable[[datetime], Awaitable[datetime | None]]
"""When the next footage after an instant begins, None where there is none."""

NEAR_THE_END: Final = timedelta(seconds=2)
"""How far before a passage's end its last picture may lie for a hang-up, or silence, to be its end."""


class Playing:
    """One passage, from its PLAY to its end."""

    def __init__(
        self,
        passage: Passage,
        video: VideoFormat,
        gate: PassageGate,
        backlog: Backlog,
        clock: Clock,
    ) -> None:
        self.backlog = backlog
        self._passage = passage
        self._gate = gate
        self._timeline = Timeline(passage, video.clock_rate_hz, clock.now())
        self._assembly = Assembly(video, self._timeline)
        self._clock = clock
        self._said_goodbye = False
        self._passed_over = False
        self._last: Picture | None = None
        self._last_wanted: datetime | None = None
        self._group_began: datetime | None = None

    def answered(self, answer: Response) -> None:
        """What PLAY's answer says of where it begins: a hint, for the packets say it better."""
        streams = parse_rtp_info(answer.headers.get("RTP-Info") or "")
        first = streams[0] if len(streams) == 1 else None
        let_in = self._gate.answered(first.sequence if first else None)
        try:
            began = parse_range(answer.headers.get("Range") or "")
        except RemoteProtocolError:
            began = None
        at = began.start if isinstance(began, ClockRange) else None
        self._timeline.begins(at, first.rtp_timestamp if first else None, _scale_of(answer))
        for packet in let_in:
            self._feed(packet)

    def take_packet(self, packet: bytes) -> bool:
        """Take a packet; answers whether it has more of its picture behind it."""
        if not is_rtp(packet, 0, len(packet)) or self.backlog.ended or not self._gate.admits(packet):
            return False
        self._feed(packet)
        return not marker(packet, 0)

    def take_report(self, compound: bytes) -> None:
        """Take the recorder's RTCP: what time it is there, or that no more comes."""
        try:
            packets = parse_compound(compound)
        except RemoteProtocolError:
            return
        for each in packets:
            if isinstance(each, SenderReport) and each.ntp_timestamp:
                self._timeline.reported(each)
            elif isinstance(each, Goodbye) and self._gate.open:
                self._said_goodbye = True
                self._end()

    @property
    def over(self) -> bool:
        """Whether the recorder has said that no more comes."""
        return self._assembly.ended or self._said_goodbye

    def hung_up(self) -> None:
        """The connection is lost: the end, where this one is at its end."""
        if self._last is not None and self._at_its_end(self._last):
            self._end()
        else:
            self.backlog.end(RecorderUnreachable("L'enregistreur a mis fin à la lecture."))

    async def pictures(self, silence_limit_s: float, next_footage: NextFootage | None) -> AsyncGenerator[Picture, None]:
        """Give what comes until the end, each picture when it is due where the recorder paces.

        Raises:
            RecorderUnreachable: it was lost, or is silent for too long.
        """
        pace = Pace(self._passage.options.scale) if self._passage.options.rate_control else None
        patience_s = silence_limit_s
        while True:
            try:
                picture = await self.backlog.take(patience_s)
            except TimeoutError as error:
                if self._passed_over:  # it is not silent: what it sends is not wanted
                    self._passed_over = False
                    continue
                last = self._last
                if last is None or not self._at_its_end(last):
                    raise RecorderUnreachable("L'enregistreur n'envoie plus d'images.") from error
                gap_s = await self._gap_s(last, next_footage) if pace is not None else 0.0
                if gap_s <= patience_s:
                    return
                patience_s = gap_s
                continue
            if picture is None:
                return
            patience_s = silence_limit_s
            if pace is not None and (wait_s := pace.wait_s(picture.at, self._clock.monotonic())):
                await asyncio.sleep(wait_s)
            yield picture

    async def _gap_s(self, last: Picture, next_footage: NextFootage | None) -> float:
        """Seconds for which a recorder that paces may be silent after the last picture before a gap; 0 at the end."""
        scale, end = self._passage.options.scale, self._passage.end
        if next_footage is None or not last.last or scale < 0:
            return 0.0
        resumes = await next_footage(last.at)
        if resumes is None or (end is not None and resumes >= end):
            return 0.0
        return (resumes - last.at).total_seconds() / scale + SKIPPED_GAP.total_seconds()

    def _feed(self, packet: bytes) -> None:
        for picture in self._assembly.feed(packet):
            self._put(picture)

    def _put(self, picture: Picture) -> None:
        if self._is_past_its_end(picture):
            self._end()
            return
        self._last = picture
        if self._is_wanted(picture):
            self.backlog.put(picture)
        else:
            self._passed_over = True
        if self._assembly.ended:
            self._end()

    def _is_wanted(self, picture: Picture) -> bool:
        """Whether it is one of the frames asked for: a recorder that knows nothing of ``Frames`` sends all."""
        wanted = self._passage.options.frames
        if wanted.kind is not FrameKind.INTRA:
            return True
        interval = timedelta(milliseconds=wanted.interval_ms)
        if not picture.clean or (self._last_wanted is not None and abs(picture.at - self._last_wanted) < interval):
            return False
        self._last_wanted = picture.at
        return True

    def _end(self) -> None:
        """No more is to come; the picture that was under way is the last."""
        if not self.backlog.ended:
            for picture in self._assembly.flush():
                if not self._is_past_its_end(picture) and self._is_wanted(picture):
                    self.backlog.put(picture)
        self.backlog.end()

    def _is_past_its_end(self, picture: Picture) -> bool:
        """Whether it lies beyond the end.

        In reverse, groups of pictures come forwards, and the one that holds the end begins beyond it: it is whole.
        """
        end = self._passage.end
        if end is None:
            return False
        if self._passage.options.scale > 0:
            return picture.at > end
        if not picture.clean:
            return False
        group, self._group_began = self._group_began, picture.at
        return group is not None and group <= end

    def _at_its_end(self, last: Picture) -> bool:
        end = self._passage.end
        return last.last or (end is not None and abs(end - last.at) <= NEAR_THE_END)


class Pace:
    """When pictures are due that a recorder sends ahead of their time, because it skips a gap."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._origin: tuple[datetime, float] | None = None

    def wait_s(self, at: datetime, now_s: float) -> float:
        """Seconds until a picture is due, 0 where the recorder keeps time. In reverse it is left to the recorder."""
        if self._origin is None or self._scale < 0:
            self._origin = at, now_s
            return 0.0
        first, began_s = self._origin
        ahead_s = began_s + (at - first).total_seconds() / self._scale - now_s
        if ahead_s <= SKIPPED_GAP.total_seconds():
            return 0.0
        return ahead_s


def _scale_of(answer: Response) -> float:
    """The scale at which it plays: that which PLAY's answer names, or else the ordinary one (RFC 2326 12.34)."""
    try:
        return play_options(answer.headers).scale
    except RemoteProtocolError:
        return 1.0
