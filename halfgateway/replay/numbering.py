"""One numbering for all that a session is given: sequence, time and source of its packets, and its sender reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from halfgateway.protocol.interleaved import frame_head
from halfgateway.protocol.replay_header import ReplayHeader, with_replay_header
from halfgateway.protocol.rtcp import SenderReport, bye, ntp_timestamp, sender_report
from halfgateway.protocol.rtp import RTP_HEADER_BYTES, timestamp, timestamp_distance
from halfgateway.replay.footage import Picture

REPORT_INTERVAL_S = 5.0
"""Between two sender reports (RFC 3550 section 6.2 has 5 s as the minimum)."""

STEP_S = 0.04
"""By how much RTP time goes on from the end of one passage to the beginning of the next."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Beginning:
    """The numbers of the first packet of a passage, for ``RTP-Info``."""

    sequence: int
    timestamp: int


class Numbering:
    """Renumbers what recorders send: each passage has numbers of its own there, and a reader has one stream.

    ``cname`` names the source in reports; ``random_bits`` draws the first numbers (RFC 3550 section 5.1).
    """

    def __init__(self, cname: str, clock_rate_hz: int, *, random_bits: Callable[[int], int]) -> None:
        self.ssrc = random_bits(32)
        self._cname = cname
        self._clock_rate_hz = clock_rate_hz
        self._random_bits = random_bits
        self._sequence = random_bits(16)
        self._timestamp = random_bits(32)
        self._offset: int | None = None
        self._packets = 0
        self._octets = 0
        self._reported_s: float | None = None
        self._ended = False

    def begin(self) -> Beginning:
        """Another passage begins. After a goodbye it is another source's: a player has forgotten the one before."""
        if self._ended:
            self.ssrc, self._ended = self._random_bits(32), False
            self._packets = self._octets = 0
        self._offset = self._reported_s = None
        self._timestamp = (self._timestamp + round(STEP_S * self._clock_rate_hz)) & 0xFFFFFFFF
        return Beginning(self._sequence, self._timestamp)

    def frames(self, picture: Picture, header: ReplayHeader | None, channel: int) -> bytes:
        """A picture's packets as interleaved frames; ``header`` goes into the first (ONVIF Streaming 6.3)."""
        theirs = timestamp(picture.packets[0], 0)
        if self._offset is None:
            self._offset = timestamp_distance(theirs, self._timestamp)
        self._timestamp = (theirs + self._offset) & 0xFFFFFFFF
        packets = picture.packets
        if header is not None:
            packets = [with_replay_header(packets[0], header), *packets[1:]]
        first, pieces = self._sequence, list[bytes]()
        for sequence, packet in enumerate(packets, first):
            head = frame_head(channel, packet, sequence=sequence, timestamp=self._timestamp, ssrc=self.ssrc)
            pieces += (head, packet[RTP_HEADER_BYTES:])
            self._octets += len(packet) - RTP_HEADER_BYTES
        self._packets += len(packets)
        self._sequence = (first + len(packets)) & 0xFFFF
        return b"".join(pieces)

    def report(self, filmed_at: datetime, now_s: float) -> bytes:
        """A sender report that says when the last picture was filmed, where one is due; else nothing."""
        if self._reported_s is not None and now_s - self._reported_s < REPORT_INTERVAL_S:
            return b""
        self._reported_s = now_s
        unix_ns = (filmed_at - _EPOCH) // timedelta(microseconds=1) * 1000
        told = SenderReport(self.ssrc, ntp_timestamp(unix_ns), self._timestamp, self._packets, self._octets)
        return sender_report(told, self._cname)

    def goodbye(self) -> bytes:
        """The RTCP BYE that ends this source."""
        self._ended = True
        return bye(self.ssrc)
