"""When pictures were filmed: by the camera's sender reports where its clock is right, else by ours (RFC 3550 6.4.1)."""

from __future__ import annotations

from typing import Final

from halfgateway.protocol.rtcp import SenderReport, unix_ns
from halfgateway.protocol.rtp import timestamp_distance

PLAUSIBLE_NS: Final = 5_000_000_000
"""A camera's clock that is further than this from ours is wrong (quirk clock-off): ours is taken. So is it for
what a report would put further than this from its arrival."""


class Timeline:
    """One stream's RTP timestamps as instants, in nanoseconds of Unix time."""

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._report: tuple[int, int] | None = None

    def note(self, report: SenderReport, arrival_ns: int) -> None:
        """Take a report that came at ``arrival_ns``."""
        told_ns = unix_ns(report.ntp_timestamp, arrival_ns)
        is_right = abs(told_ns - arrival_ns) <= PLAUSIBLE_NS
        self._report = (report.rtp_timestamp, told_ns) if is_right else None

    def at(self, timestamp: int, arrival_ns: int) -> int:
        """When the picture of this timestamp was filmed, which came at ``arrival_ns``."""
        if self._report is None:
            return arrival_ns
        reported, told_ns = self._report
        ticks = timestamp_distance(reported, timestamp)
        filmed_ns = told_ns + ticks * 1_000_000_000 // self._clock_rate_hz
        return filmed_ns if abs(filmed_ns - arrival_ns) <= PLAUSIBLE_NS else arrival_ns
