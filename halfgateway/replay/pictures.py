"""From a recorder's packets to pictures: which packets are of one, when it was filmed, and what it follows.

A recorder of ONVIF Profile G says so in each picture (Streaming 6.3). One that does not is believed in its sender
reports, where what they say can be; else the instant is computed from where the passage began and from the packets'
timestamps.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from halfgateway.errors import RecorderUnreachable
from halfgateway.protocol import rtp
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.keyframe import KeyframeFinder
from halfgateway.protocol.replay_header import ReplayHeader, read_replay_header
from halfgateway.protocol.rtcp import SenderReport, unix_ns
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.footage import Passage, Picture

MAX_PICTURE_BYTES: Final = 16 * 1024 * 1024
"""Size of one picture. A key picture of 4K JPEG has some 8 MB; a recorder that sends more without a marker or another
timestamp is given up."""

DOUBT_BEYOND: Final = timedelta(days=1)
"""How far outside its passage a recorder's own time may lie to be believed: recorders write zero, uptime, 1970."""

PRESENT_WITHIN: Final = timedelta(minutes=2)
"""A sender report whose time is so close to ours tells when it was sent, as a camera's does, and not when what it plays
was filmed."""


class Timeline:
    """When the pictures of one passage were filmed, where they do not say it themselves.

    ``now`` is our wall clock when the passage began to play.
    """

    def __init__(self, passage: Passage, clock_rate_hz: int, now: datetime) -> None:
        self._clock_rate_hz = clock_rate_hz
        # With rate control timestamps are of what is shown, without it of what was filmed (ONVIF Streaming 6.5.2).
        self._paced = passage.options.rate_control
        self._speed = passage.options.scale if self._paced else 1.0
        bounds = (passage.start, passage.end or passage.start)
        self._earliest, self._latest = min(bounds) - DOUBT_BEYOND, max(bounds) + DOUBT_BEYOND
        self._now = now
        self._origin = passage.start
        self._origin_timestamp: int | None = None
        self._last_timestamp = 0
        self._ticks = 0

    def begins(self, at: datetime | None, rtp_timestamp: int | None, scale: float) -> None:
        """The recorder has said where it begins, with which timestamp, and how fast; the first two may be untold."""
        if self._paced:
            self._speed = scale
        if at is not None and self._earliest <= at <= self._latest:
            self._origin = at
        if rtp_timestamp is not None and self._origin_timestamp is None:
            self._set_origin(rtp_timestamp)

    def reported(self, report: SenderReport) -> None:
        """Take a sender report: from then on its time counts, if it can be that of what is played."""
        now_ns = int(self._now.timestamp()) * 1_000_000_000
        told = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=unix_ns(report.ntp_timestamp, now_ns) // 1000)
        if self._earliest <= told <= self._latest and abs(told - self._now) > PRESENT_WITHIN:
            self._origin = told
            self._set_origin(report.rtp_timestamp)

    def at(self, rtp_timestamp: int) -> datetime:
        """When the picture with this timestamp was filmed."""
        if self._origin_timestamp is None:
            self._set_origin(rtp_timestamp)
        # Step by step: a passage may be longer than the 13 hours that 32 bits hold.
        self._ticks += rtp.timestamp_distance(self._last_timestamp, rtp_timestamp)
        self._last_timestamp = rtp_timestamp
        return self._origin + timedelta(seconds=self._ticks / self._clock_rate_hz * self._speed)

    def _set_origin(self, rtp_timestamp: int) -> None:
        self._origin_timestamp = self._last_timestamp = rtp_timestamp
        self._ticks = 0


class Assembly:
    """The packets of one passage, put together into pictures; the first is the first that is clean.

    ``ended`` is whether one of them said that no more follow.
    """

    def __init__(self, video: VideoFormat, timeline: Timeline) -> None:
        self._video = video
        self._timeline = timeline
        self._finder = KeyframeFinder(video.codec)
        self._packets: list[bytes] = []
        self._size_bytes = 0
        self._timestamp = 0
        self._header: ReplayHeader | None = None
        self._starts = False
        self._begun = False
        self.ended = False

    def feed(self, packet: bytes) -> Iterator[Picture]:
        """Take the next packet; give the pictures that are whole with it.

        Raises:
            RecorderUnreachable: a picture without end.
        """
        if self._video.payload_types and rtp.payload_type(packet, 0) not in self._video.payload_types:
            return
        timestamp, marker = rtp.timestamp(packet, 0), rtp.marker(packet, 0)
        if self._packets and timestamp != self._timestamp:
            yield from self.flush()
        self._timestamp = timestamp
        self._packets.append(packet)
        self._size_bytes += len(packet)
        if self._size_bytes > MAX_PICTURE_BYTES:
            raise RecorderUnreachable("L'enregistreur envoie une image sans fin.")
        header = read_replay_header(packet)
        if header is not None:
            self._header = header if self._header is None else _both(self._header, header)
        start, end = rtp.payload_bounds(packet, 0, len(packet))
        self._starts |= self._finder.feed(packet, timestamp, marker, start=start, end=end)
        if marker:
            yield from self.flush()

    def flush(self) -> Iterator[Picture]:
        """Give the picture that is under way, if one is and can be shown."""
        if not self._packets:
            return
        packets, header, clean = self._packets, self._header, self._is_clean
        at = self._timeline.at(self._timestamp)
        if header is not None:
            at = header.at
            self.ended |= header.terminal
        self._packets, self._size_bytes, self._header, self._starts = [], 0, None, False
        if not self._begun and not clean:
            return
        discontinuous = not self._begun or (header is not None and header.discontinuous)
        self._begun = True
        last = header is not None and (header.last or header.terminal)
        yield Picture(packets, at, clean, discontinuous, last)

    @property
    def _is_clean(self) -> bool:
        """Some recorders never set the bit that says so; of a codec that nobody here reads, it alone counts."""
        if self._header is None:
            return self._starts
        return self._header.clean or (self._starts and self._video.codec is not Codec.OTHER)


def _both(first: ReplayHeader, second: ReplayHeader) -> ReplayHeader:
    """What two headers of one picture say together: the first's instant, and every flag that either has."""
    return ReplayHeader(
        first.at,
        clean=first.clean or second.clean,
        last=first.last or second.last,
        discontinuous=first.discontinuous or second.discontinuous,
        terminal=first.terminal or second.terminal,
        cseq=first.cseq,
    )
