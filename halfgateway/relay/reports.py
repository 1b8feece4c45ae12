"""Tells readers of what time the pictures are: the camera's sender reports, and ours where it sends none.

RFC 3550 section 6.4.1; docs/conformance.md row 53. Recorders refuse or misplace a stream without them, many cameras
send none, and some send them with a clock that is hours off: those pass as they are, for the clock is the camera's to
tell, and are measured against ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES
from halfgateway.protocol.rtcp import SenderReport, ntp_timestamp, parse_compound, sender_report, unix_ns
from halfgateway.protocol.rtp import timestamp, timestamp_distance
from halfgateway.relay.chunk import RTCP_CHANNEL, Chunk

log = logging.getLogger(__name__)

FIRST_REPORT_S = 0.5
"""How long after its first packet a camera may begin with reports before we do: readers have one within a second."""

REPORT_INTERVAL_S = 5.0
"""Between two reports of ours (RFC 3550 section 6.2 has 5 s as the minimum)."""

CLOCK_WARNING_S = 5.0
"""A camera's clock further off than this is worth a word (docs/quirks.md, clock-off)."""


class Reports:
    """The reports of one source; ``cname`` names it to readers, ``wall_ns`` is our Unix time in nanoseconds."""

    def __init__(self, cname: str, *, wall_ns: Callable[[], int]) -> None:
        self._cname = cname
        self._wall_ns = wall_ns
        self._clock_rate_hz = 0
        self._camera: SenderReport | None = None
        self._offset_ns: int | None = None
        self._began_s: float | None = None
        self._sent_s: float | None = None
        self._packets = 0
        self._octets = 0
        self._for_who_plays = False
        self._for_who_waits = False

    @property
    def clock_offset_s(self) -> float | None:
        """How far the camera's clock is ahead of ours, by its last report; None if it never sent one."""
        return None if self._offset_ns is None else self._offset_ns / 1_000_000_000

    def connected(self, clock_rate_hz: int) -> None:
        """The camera is about to play, for the first time or again."""
        self._clock_rate_hz = clock_rate_hz
        self._camera = self._began_s = self._sent_s = None

    def joined(self) -> None:
        """A reader takes part from now on: it is not to wait for the next regular report."""
        self._for_who_plays = self._for_who_waits = True

    def apply(self, chunk: Chunk, ssrc: int | None, now: float) -> Chunk:
        """Take what readers are about to get, and add a report where one is due. ``now`` is in monotonic seconds."""
        for stretch in chunk.others:
            for index in range(stretch.first, stretch.after):
                start, end = chunk.batch.bounds(index)
                self._note(chunk.data[start + FRAME_HEADER_BYTES : end])
        if not chunk.packets or ssrc is None:
            return chunk
        self._packets += chunk.packets
        self._octets += chunk.octets
        if self._began_s is None:
            self._began_s = now
        keyframe = chunk.keyframe is not None  # there readers begin that waited for one
        if not self._is_due(now, keyframe=keyframe):
            return chunk
        self._sent_s = now
        self._for_who_plays = False
        self._for_who_waits &= not keyframe
        told = self._report(ssrc, timestamp(chunk.data, chunk.last_packet))
        return chunk.followed_by(RTCP_CHANNEL, sender_report(told, self._cname))

    def _note(self, compound: bytes) -> None:
        try:
            found = next((each for each in parse_compound(compound) if isinstance(each, SenderReport)), None)
        except RemoteProtocolError:
            return
        if found is None:
            return
        wall_ns = self._wall_ns()
        self._offset_ns = unix_ns(found.ntp_timestamp, wall_ns) - wall_ns
        if self._camera is None and abs(self._offset_ns) > CLOCK_WARNING_S * 1_000_000_000:
            log.warning("source.clock_off camera=%s offset_s=%.1f", self._cname, self._offset_ns / 1_000_000_000)
        self._camera = found

    def _is_due(self, now: float, *, keyframe: bool) -> bool:
        if self._camera is None:
            if self._began_s is None or now - self._began_s < FIRST_REPORT_S:
                return False
            if self._sent_s is None or now - self._sent_s >= REPORT_INTERVAL_S:
                return True
        return self._for_who_plays or (self._for_who_waits and keyframe)

    def _report(self, ssrc: int, rtp_timestamp: int) -> SenderReport:
        """What we say: of the last packet, the time that the camera's own report gives it, else that of its arrival.

        A camera that reported before it was lost keeps its clock, so that time does not jump for its readers.
        """
        if self._camera is None:
            told = ntp_timestamp(self._wall_ns() + (self._offset_ns or 0))
        else:
            ticks = timestamp_distance(self._camera.rtp_timestamp, rtp_timestamp)
            told = self._camera.ntp_timestamp + (ticks << 32) // self._clock_rate_hz
        return SenderReport(ssrc, told % (1 << 64), rtp_timestamp, self._packets, self._octets)
