"""Measures a stream as it comes, without decoding it: rate, groups of pictures, size, what its packets are like."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch
from halfgateway.protocol.keyframe import KeyframeFinder, holds_parameter_sets
from halfgateway.protocol.rtcp import SenderReport, parse_compound, unix_ns
from halfgateway.protocol.rtp import RtpView, sequence_distance, timestamp_distance
from halfgateway.protocol.sps import carried_sps, picture_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What was measured; None where the stream was too short, or silent on it.

    ``fps`` is by the camera's own timestamps, ``kbps`` by arrival and with RTP headers; ``gop_frames`` is the longest
    group of pictures that was seen whole, ``gop_s`` its length in seconds; ``largest_packet_bytes`` includes the RTP
    header. ``clock_offset_s`` is how far the last sender report was ahead of our clock.
    """

    packets: int
    lost_packets: int
    frames: int
    key_frames: int
    fps: float | None
    kbps: float | None
    gop_frames: int | None
    gop_s: float | None
    width: int | None
    height: int | None
    parameter_sets_in_band: bool
    largest_packet_bytes: int
    sender_reports: int
    clock_offset_s: float | None


class StreamMeter:
    """Takes the interleaved frames of one video track.

    ``channels`` are those of its RTP and RTCP; ``wall_ns`` is our Unix time in nanoseconds.
    """

    def __init__(self, codec: Codec, clock_hz: int, channels: tuple[int, int], *, wall_ns: Callable[[], int]) -> None:
        self._codec = codec
        self._clock_hz = clock_hz
        self._rtp, self._rtcp = channels
        self._wall_ns = wall_ns
        self._finder = KeyframeFinder(codec)
        self._packets = self._lost = self._frames = self._octets = self._largest = self._reports = 0
        self._starts: list[int] = []
        self._size: tuple[int, int] | None = None
        self._sets_in_band = False
        self._sequence: int | None = None
        self._timestamp: int | None = None
        self._media_ticks = 0
        self._first_arrival_s: float | None = None
        self._last_arrival_s = 0.0
        self._offset_ns: int | None = None

    @property
    def saw_a_group(self) -> bool:
        """Whether a whole group of pictures has passed."""
        return len(self._starts) > 1

    def feed(self, batch: InterleavedBatch, now_s: float) -> None:
        """Take what came at ``now_s``, in monotonic seconds."""
        view = memoryview(batch.data)
        for channel, start, end in batch.frames:
            packet = view[start + FRAME_HEADER_BYTES : end]
            try:
                if channel == self._rtp:
                    self._take_rtp(RtpView(packet), len(packet), now_s)
                elif channel == self._rtcp:
                    self._take_rtcp(packet)
            except RemoteProtocolError:
                continue

    def result(self) -> Measurements:
        """What was measured so far."""
        media_s = self._media_ticks / self._clock_hz
        took_s = self._last_arrival_s - (self._first_arrival_s or self._last_arrival_s)
        fps = (self._frames - 1) / media_s if self._frames > 1 and media_s > 0 else None
        groups = [later - earlier for earlier, later in pairwise(self._starts)]
        gop = max(groups, default=None)
        return Measurements(
            packets=self._packets,
            lost_packets=self._lost,
            frames=self._frames,
            key_frames=len(self._starts),
            fps=round(fps, 2) if fps else None,
            kbps=round(self._octets * 8 / took_s / 1000, 1) if took_s > 0 else None,
            gop_frames=gop,
            gop_s=round(gop / fps, 2) if gop and fps else None,
            width=self._size[0] if self._size else None,
            height=self._size[1] if self._size else None,
            parameter_sets_in_band=self._sets_in_band,
            largest_packet_bytes=self._largest,
            sender_reports=self._reports,
            clock_offset_s=None if self._offset_ns is None else round(self._offset_ns / 1e9, 1),
        )

    def _take_rtcp(self, compound: memoryview) -> None:
        for report in parse_compound(compound):
            if isinstance(report, SenderReport):
                self._reports += 1
                wall_ns = self._wall_ns()
                self._offset_ns = unix_ns(report.ntp_timestamp, wall_ns) - wall_ns if report.ntp_timestamp else None

    def _take_rtp(self, packet: RtpView, size: int, now_s: float) -> None:
        self._packets += 1
        self._octets += size
        self._largest = max(self._largest, size)
        self._first_arrival_s, self._last_arrival_s = self._first_arrival_s or now_s, now_s
        if self._sequence is not None:
            self._lost += max(0, sequence_distance(self._sequence, packet.sequence) - 1)
        self._sequence = packet.sequence
        if packet.timestamp != self._timestamp:
            if self._timestamp is not None:
                self._media_ticks += max(0, timestamp_distance(self._timestamp, packet.timestamp))
            self._timestamp = packet.timestamp
            self._frames += 1
        if holds_parameter_sets(self._codec, packet.payload):
            self._take_parameter_sets(packet)
        if self._finder.feed(packet.payload, packet.timestamp, packet.marker):
            self._starts.append(self._frames)
        elif self._finder.false_start:
            self._starts.pop()

    def _take_parameter_sets(self, packet: RtpView) -> None:
        self._sets_in_band = True
        sps = carried_sps(self._codec, packet.payload)
        if sps is not None and self._size is None:
            with suppress(RemoteProtocolError):
                self._size = picture_size(self._codec, sps)
