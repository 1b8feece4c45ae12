"""One camera's packets written down as footage, and what of it is missing. For the one thread that writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from auth.trace.entry import EPOCH
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.depacketise import AccessUnit, Depacketiser
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch
from halfgateway.protocol.rtcp import SenderReport, parse_compound
from halfgateway.recorder.timeline import Timeline
from halfgateway.relay.chunk import RTCP_CHANNEL
from halfgateway.relay.source import VideoFormat
from halfgateway.segments.layout import Layout
from halfgateway.segments.writing import Gap, SegmentWriter, UnwritablePicture

log = logging.getLogger(__name__)

_MICROSECOND: Final = timedelta(microseconds=1)


class GapCause(StrEnum):
    """Why footage is missing."""

    STOPPED = "recorder-stopped"
    CAMERA = "camera-lost"
    PACKETS = "packets-lost"
    SLOW_DISK = "disk-too-slow"
    DISK = "disk-refused"
    FULL_DISK = "disk-full"
    FORMAT = "not-recordable"


@dataclass(frozen=True, slots=True)
class MissingFootage:
    """What there is not of a camera, and why."""

    camera: str
    gap: Gap
    cause: GapCause


class Film:
    """The footage of one camera below ``folder``. ``end`` is where it ends, ``on_missing`` hears of each gap's end."""

    def __init__(
        self,
        camera: str,
        folder: Path,
        *,
        layout: Layout,
        segment_s: float,
        end: datetime | None,
        on_missing: Callable[[MissingFootage], None],
    ) -> None:
        self._camera = camera
        self._folder = folder
        self._layout = layout
        self._segment_s = segment_s
        self._on_missing = on_missing
        self._end = end
        self._cause = GapCause.STOPPED
        self._described: tuple[VideoFormat, tuple[bytes, ...]] | None = None
        self._depacketiser: Depacketiser | None = None
        self._timeline: Timeline | None = None
        self._writer: SegmentWriter | None = None
        self._dropped = 0
        self._before_ns = 0
        self.refused = 0
        self.paused = False

    @property
    def end(self) -> datetime | None:
        """When the last picture that was written is over; None where there is none."""
        return self._writer.end if self._writer is not None else self._end

    def begin(self, video: VideoFormat, sets: Sequence[bytes], *, recordable: bool) -> None:
        """The camera plays, for the first time or again: what comes is no sequel."""
        self.cut(GapCause.CAMERA if self._described is not None else GapCause.STOPPED)
        if not recordable:
            log.error("recording.not_recordable camera=%s codec=%s", self._camera, video.codec.value)
            self._cause = GapCause.FORMAT
            self._depacketiser = None
            return
        self._described = video, tuple(sets)
        self._end = self.end
        self._depacketiser = Depacketiser(video.codec)
        self._timeline = Timeline(video.clock_rate_hz)
        self._writer = SegmentWriter(
            self._folder,
            video.codec,
            video.clock_rate_hz,
            sets=sets,
            length_s=self._segment_s,
            layout=self._layout,
            after=self._end,
        )
        self._dropped = 0

    def cut(self, cause: GapCause) -> None:
        """End the segment: something is missing from here on, for this reason."""
        self._cause = cause
        if self._writer is not None:
            self._written(self._writer.close)

    def pause(self, *, paused: bool) -> None:
        """Write nothing, or write again: the disk is full, and nothing of it may be destroyed."""
        if paused and not self.paused:
            self.cut(GapCause.FULL_DISK)
        self.paused = paused

    def take(self, data: bytes, arrival_ns: int) -> None:
        """Take whole interleaved frames (channels 0 and 1), which came at ``arrival_ns`` of Unix time."""
        if self._depacketiser is None or self._timeline is None:
            return
        for channel, start, end in InterleavedBatch(data).frames:
            payload = data[start + FRAME_HEADER_BYTES : end]
            if channel == RTCP_CHANNEL:
                self._note(self._timeline, payload, arrival_ns)
            else:
                self._feed(self._depacketiser, self._timeline, payload)
                self._before_ns = arrival_ns

    def close(self) -> None:
        """End it, with the picture that came last."""
        if self._depacketiser is not None and self._timeline is not None:
            unit = self._depacketiser.end()
            if unit is not None:
                self._write(unit, self._timeline.at(unit.timestamp, self._before_ns))
        self.cut(GapCause.STOPPED)

    def _note(self, timeline: Timeline, compound: bytes, arrival_ns: int) -> None:
        try:
            reports = [each for each in parse_compound(compound) if isinstance(each, SenderReport)]
        except RemoteProtocolError:
            return
        for report in reports:
            timeline.note(report, arrival_ns)

    def _feed(self, depacketiser: Depacketiser, timeline: Timeline, packet: bytes) -> None:
        try:
            unit = depacketiser.feed(packet)
        except RemoteProtocolError as error:
            log.debug("recording.packet_refused camera=%s error=%s", self._camera, error)
            return
        if depacketiser.dropped > self._dropped:
            self._dropped = depacketiser.dropped
            self.cut(GapCause.PACKETS)
        if unit is not None:
            self._write(unit, timeline.at(unit.timestamp, self._before_ns))

    def _write(self, unit: AccessUnit, filmed_ns: int) -> None:
        writer = self._writer
        if writer is None or self.paused:
            return
        at = EPOCH + filmed_ns // 1000 * _MICROSECOND
        try:
            gap = self._written(lambda: writer.write(unit, at))
        except UnwritablePicture as error:
            log.warning("recording.no_start camera=%s error=%s", self._camera, error)
            return
        if gap is not None:
            log.warning(
                "recording.gap camera=%s cause=%s start=%s end=%s", self._camera, self._cause, gap.start, gap.end
            )
            self._on_missing(MissingFootage(self._camera, gap, self._cause))

    def _written(self, work: Callable[[], Gap | None]) -> Gap | None:
        """Do what the disk may refuse; then footage is missing until the next keyframe that it takes."""
        try:
            return work()
        except OSError as error:
            self.refused += 1
            self._cause = GapCause.DISK
            log.critical("recording.refused camera=%s error=%s", self._camera, error.strerror)
            return None
