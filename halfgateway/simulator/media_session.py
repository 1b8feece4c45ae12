"""What one RTSP session of a simulated camera receives: RTP and sender reports, in ``$`` frames on its wire."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from halfgateway.protocol.interleaved import FRAME_MARK, frame
from halfgateway.protocol.rtcp import SenderReport, bye, ntp_timestamp, sender_report
from halfgateway.protocol.rtp import RTP_HEADER_BYTES
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.clips import AUDIO_RATE_HZ
from halfgateway.simulator.packets import (
    AUDIO_PAYLOAD_TYPE,
    AUDIO_PER_FRAME,
    AUDIO_TICKS,
    VIDEO_CLOCK_HZ,
    VIDEO_PAYLOAD_TYPE,
    VIDEO_TICKS,
    AccessUnit,
    Clip,
)
from halfgateway.simulator.player import Player

MAX_WAITING_BYTES: Final = 1024 * 1024
"""What a camera holds for a reader that does not read; past it, it skips to the next key frame."""

REPORT_INTERVAL_S: Final = 5.0
"""Seconds between two sender reports (RFC 3550 section 6.2 has 5 as the minimum)."""

_HEADER: Final = struct.Struct("!BBHBBHII")


class Wire(Protocol):
    """The part of a transport that media is written to."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes queued."""


@dataclass(slots=True)
class MediaCounters:
    """What a camera has sent, over all its sessions: packets of each kind."""

    video_packets: int = 0
    audio_packets: int = 0


class Track:
    """One RTP stream of a session: its channel, source, numbers and reports."""

    def __init__(self, *, channel: int, payload_type: int, clock_hz: int, random_32: Callable[[], int]) -> None:
        self.ssrc = random_32()
        self.sequence = random_32() & 0xFFFF
        self.timestamp_base = random_32()
        self._channel = channel
        self._payload_type = payload_type
        self._clock_hz = clock_hz
        self._packets = 0
        self._octets = 0

    def packet(self, payload: bytes, ticks: int, *, marker: bool = False, extension: bytes = b"") -> bytes:
        """Return the next packet in its ``$`` frame; ``ticks`` is its media time in clock units."""
        header = _HEADER.pack(
            FRAME_MARK,
            self._channel,
            RTP_HEADER_BYTES + len(extension) + len(payload),
            0x90 if extension else 0x80,
            self._payload_type | (0x80 if marker else 0),
            self.sequence,
            self.timestamp(ticks),
            self.ssrc,
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        return header + extension + payload

    def goodbye(self, cname: str) -> bytes:
        """Return the word that this stream ends, in its ``$`` frame."""
        return frame(self._channel + 1, bye(self.ssrc, cname=cname))

    def timestamp(self, ticks: int) -> int:
        """Return the RTP timestamp of a media time in clock units."""
        return (self.timestamp_base + ticks) & 0xFFFFFFFF

    def report(self, *, unix_ns: int, media_s: float, cname: str) -> bytes:
        """Return a sender report in its ``$`` frame: wall clock and media time now."""
        report = SenderReport(
            ssrc=self.ssrc,
            ntp_timestamp=ntp_timestamp(unix_ns),
            rtp_timestamp=self.timestamp(round(media_s * self._clock_hz)),
            packet_count=self._packets & 0xFFFFFFFF,
            octet_count=self._octets & 0xFFFFFFFF,
        )
        return frame(self._channel + 1, sender_report(report, cname))


class MediaSession:
    """A session's tracks while they are set up, and their packets while it plays."""

    def __init__(
        self,
        *,
        clip: Clip,
        player: Player,
        wire: Wire,
        behaviour: Behaviour,
        counters: MediaCounters,
        unix_ns: Callable[[], int],
        random_32: Callable[[], int],
        cname: str,
    ) -> None:
        self._clip = clip
        self._player = player
        self._wire = wire
        self._behaviour = behaviour
        self._counters = counters
        self._unix_ns = unix_ns
        self._random_32 = random_32
        self._cname = cname
        self._begins = 0
        self._skipping = False
        self._next_report_s = 0.0
        self.video: Track | None = None
        self.audio: Track | None = None

    def set_up_video(self, channel: int) -> Track:
        """Give the video track its channel; RTCP goes on the next one."""
        self.video = Track(
            channel=channel,
            payload_type=VIDEO_PAYLOAD_TYPE,
            clock_hz=VIDEO_CLOCK_HZ,
            random_32=self._random_32,
        )
        return self.video

    def set_up_audio(self, channel: int) -> Track:
        """Give the audio track its channel; RTCP goes on the next one."""
        self.audio = Track(
            channel=channel,
            payload_type=AUDIO_PAYLOAD_TYPE,
            clock_hz=AUDIO_RATE_HZ,
            random_32=self._random_32,
        )
        return self.audio

    def play(self) -> int:
        """Begin to send; return the number of the first frame."""
        self._skipping = True
        self._begins = self._player.join(self)
        self._next_report_s = 0.0
        return self._begins

    def stop(self) -> None:
        """Send nothing more."""
        self._player.leave(self)

    def take(self, frame: int, unit: AccessUnit, first: int, end: int) -> None:
        """Send part of a frame; see :class:`~halfgateway.simulator.player.Reader`."""
        if first == 0:
            self._decide(frame, unit)
        if self._skipping:
            return
        pieces: list[bytes] = []
        if first == 0:
            pieces += self._audio_of(frame)
            pieces += self._reports()
        if self.video is not None:
            ticks = frame * VIDEO_TICKS
            packets = unit.packets[first:end]
            pieces += [self.video.packet(each.payload, ticks, marker=each.marker) for each in packets]
            self._counters.video_packets += len(packets)
        self._wire.write(b"".join(pieces))

    def _decide(self, frame: int, unit: AccessUnit) -> None:
        """Skip from here on, or no longer: only ever from a frame's first packet, and back on a key frame."""
        if self._behaviour.stalled or self._wire.get_write_buffer_size() > MAX_WAITING_BYTES:
            self._skipping = True
        elif unit.key and frame >= self._begins:
            self._skipping = False

    def _audio_of(self, frame: int) -> list[bytes]:
        if self.audio is None:
            return []
        numbers = range(frame * AUDIO_PER_FRAME, (frame + 1) * AUDIO_PER_FRAME)
        blocks = self._clip.audio
        self._counters.audio_packets += len(numbers)
        return [self.audio.packet(blocks[n % len(blocks)], n * AUDIO_TICKS) for n in numbers]

    def _reports(self) -> list[bytes]:
        media_s = self._player.seconds()
        if media_s < self._next_report_s:
            return []
        self._next_report_s = media_s + REPORT_INTERVAL_S
        now_ns = self._unix_ns()
        tracks = [track for track in (self.video, self.audio) if track is not None]
        return [track.report(unix_ns=now_ns, media_s=media_s, cname=self._cname) for track in tracks]
