"""The group of pictures that is on its way, for readers that join in the middle of it (ADR 4).

A reader that waited for the next keyframe would see nothing for seconds; one that got the group with its true
timestamps would stay behind live by as much. So it gets the group at once, its frames a millisecond apart: a player
runs through them and is at the live edge. Only the copy for the joining reader is changed; sequence numbers are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from halfgateway.protocol import rtp
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch
from halfgateway.relay.chunk import Chunk

MAX_GOP_S = 2.0
"""Seconds of a group that are kept. Past it a reader waits for the next keyframe: a player would choke on the burst."""

MAX_GOP_BYTES = 4 << 20
"""Bytes of it: 2 s of 16 Mb/s. Past it as past ``MAX_GOP_S``."""

FRAMES_PER_S = 1000
"""How close frames are drawn together: as close as players still tell them apart."""

_TIMESTAMP_MODULUS = 1 << 32


@dataclass(frozen=True, slots=True)
class Opening:
    """What a joining reader is sent before the live packets: ``chunk`` is a whole start of a group.

    ``sequence`` and ``timestamp`` are those of its first packet, as RTP-Info tells them (RFC 2326 section 12.33).
    """

    chunk: Chunk
    sequence: int
    timestamp: int


class GroupOfPictures:
    """Collects one source's current group. ``clock_rate_hz`` is that of its RTP timestamps."""

    def __init__(self, clock_rate_hz: int, *, max_s: float = MAX_GOP_S, max_bytes: int = MAX_GOP_BYTES) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._max_s = max_s
        self._max_bytes = max_bytes
        self._chunks: list[Chunk] = []
        self._first_frame = 0
        self._bytes = 0
        self._began_s = 0.0

    def forget(self) -> None:
        """Keep nothing until the next keyframe: what was kept is no start, or no sequel will come."""
        self._chunks = []
        self._bytes = 0

    def add(self, chunk: Chunk, now: float) -> None:
        """Take what has just been delivered, at ``now`` (monotonic seconds)."""
        if chunk.keyframe is not None:
            self._chunks = [chunk]
            self._first_frame = chunk.keyframe
            self._bytes = len(chunk.data)
            self._began_s = now
        elif self._chunks:
            self._chunks.append(chunk)
            self._bytes += len(chunk.data)
        if self._bytes > self._max_bytes or now - self._began_s > self._max_s:
            self.forget()

    def opening(self) -> Opening | None:
        """The group so far, drawn together; None where a joining reader has to wait for the next keyframe."""
        if not self._chunks:
            return None
        group = InterleavedBatch(self._packets())
        data = bytearray(group.data)
        packets = [start + FRAME_HEADER_BYTES for _, start, _ in group.frames]
        times = {packet: rtp.timestamp(data, packet) for packet in packets}
        last = times[packets[-1]]
        in_order = sorted({rtp.timestamp_distance(last, time) for time in times.values()})
        step = max(1, self._clock_rate_hz // FRAMES_PER_S)
        drawn = {
            (last + far) % _TIMESTAMP_MODULUS: (last + in_order[-1] - back * step) % _TIMESTAMP_MODULUS
            for back, far in enumerate(reversed(in_order))
        }
        for packet, time in times.items():
            rtp.set_timestamp(data, packet, drawn[time])
        first = packets[0]
        return Opening(Chunk(InterleavedBatch(bytes(data)), 0), rtp.sequence(data, first), rtp.timestamp(data, first))

    def _packets(self) -> bytes:
        """The frames of the group's RTP packets alone: its reports tell of other timestamps."""
        parts: list[bytes] = []
        for number, chunk in enumerate(self._chunks):
            begin = self._first_frame if number == 0 else 0
            for stretch in chunk.video:
                if stretch.after > begin:
                    start, _ = chunk.batch.bounds(max(begin, stretch.first))
                    parts.append(chunk.data[start : chunk.batch.ends[stretch.after - 1]])
        return b"".join(parts)
