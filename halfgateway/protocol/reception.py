"""What a receiver tells its source of how it is heard: a report block (RFC 3550 section 6.4.1, appendix A)."""

from __future__ import annotations

from typing import Final

from halfgateway.protocol.rtcp import ReportBlock, SenderReport
from halfgateway.protocol.rtp import sequence, sequence_distance, ssrc, timestamp, timestamp_distance

_MOST_LOST: Final = 0x7FFFFF  # what 24 bits with a sign hold (appendix A.3)
_MAX_STEPS: Final = 3000  # MAX_DROPOUT of appendix A.1: a source that jumps further counts from there


class Reception:
    """One source as it is received; ``clock_hz`` is that of its timestamps. Times are monotonic seconds."""

    def __init__(self, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        self._ssrc: int | None = None
        self._first = 0
        self._highest = 0
        self._received = 0
        self._told = (0, 0)
        self._jitter = 0.0
        self._last: tuple[int, float] | None = None
        self._sender_report: tuple[int, int, float] | None = None

    def take(self, packet: bytes, arrival_s: float) -> None:
        """Count a packet with the 12 bytes of an RTP header; packets are in order, each once."""
        steps = sequence_distance(self._highest & 0xFFFF, sequence(packet, 0))
        if ssrc(packet, 0) != self._ssrc or not 0 < steps <= _MAX_STEPS:
            self._begin(packet)
        else:
            self._highest += steps
        self._received += 1
        rtp_ts = timestamp(packet, 0)
        if self._last is not None:
            earlier_ts, earlier_s = self._last
            transit = (arrival_s - earlier_s) * self._clock_hz - timestamp_distance(earlier_ts, rtp_ts)
            self._jitter += (abs(transit) - self._jitter) / 16
        self._last = rtp_ts, arrival_s

    def take_report(self, report: SenderReport, arrival_s: float) -> None:
        """Note the source's last report, from which it can tell the round trip. It may come before any packet."""
        self._sender_report = report.ssrc, report.ntp_timestamp >> 16 & 0xFFFFFFFF, arrival_s

    def block(self, now_s: float) -> ReportBlock | None:
        """The block since the last one that was made; None while nothing has come."""
        if self._ssrc is None:
            return None
        expected = self._highest - self._first + 1
        lost = expected - self._received
        told_expected, told_lost = self._told
        self._told = expected, lost
        since, lost_since = expected - told_expected, max(0, lost - told_lost)
        reporter, report_id, reported_s = self._sender_report or (self._ssrc, 0, now_s)
        if reporter != self._ssrc:
            report_id, reported_s = 0, now_s
        return ReportBlock(
            ssrc=self._ssrc,
            fraction_lost=min(255, (lost_since << 8) // since) if since else 0,
            cumulative_lost=min(lost, _MOST_LOST),
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=round(self._jitter) & 0xFFFFFFFF,
            last_sender_report=report_id,
            delay_since_last_sender_report=round((now_s - reported_s) * 65536) & 0xFFFFFFFF,
        )

    def _begin(self, packet: bytes) -> None:
        self._ssrc = ssrc(packet, 0)
        self._first = self._highest = sequence(packet, 0)
        self._received = 0
        self._told = 0, 0
        self._jitter = 0.0
        self._last = None
