"""One reader of a source: a bounded queue that never blocks the others.

A reader that cannot keep up loses whole groups of pictures, never parts of them: its queue is emptied and it
goes on at the next keyframe. It may deliver only while its :class:`Gate` is open, which is asked for every
chunk, so that a cut or a lapsed lease needs nobody's cooperation.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from halfgateway.errors import Refusal
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL, Chunk
from halfgateway.relay.gop import Opening

QUEUE_LIMIT_BYTES = 1 << 20
"""What one reader may leave unsent: two seconds at 4 Mb/s. When full, the reader skips to the next keyframe."""

PIECE_BYTES = 64 * 1024
"""How much of an opening is handed over at once: what waits in the event loop's own buffer escapes the gate."""


REMEMBERED_BYTES = 128 * 1024
"""What was handed over before the last chunk and is remembered, to tell at the end which packet was the last: twice
what a sink holds back beside that chunk. When full, the oldest is forgotten."""

_RTP_HEADER_BYTES = 12


@dataclass(frozen=True, slots=True)
class LastPacket:
    """An RTP packet's sequence number, and when it was handed over (monotonic seconds)."""

    sequence: int
    at_s: float


class TooSlow(Refusal):
    """A reader that has taken nothing for so long that what it shows is no live picture any more."""

    code, http_status, rtsp_status = "reader-too-slow", 410, 454


class Sink(Protocol):
    """Where a reader's bytes go: one connection."""

    @property
    def writable(self) -> bool:
        """False while the connection's own send buffer is full."""

    def write(self, data: bytes) -> None:
        """Take whole interleaved frames."""


class Gate:
    """Whether, and until when, a stream may deliver.

    ``until`` is an instant of the monotonic clock, in seconds: the end of the slot's lease as this node knows
    it. Closing is final.
    """

    def __init__(self, until: float = math.inf) -> None:
        self.until = until
        self._closed = False

    def close(self) -> None:
        """Deliver nothing from now on."""
        self._closed = True

    def allows(self, now: float) -> bool:
        """Whether media may be handed over at ``now`` (monotonic seconds)."""
        return not self._closed and now < self.until


class Reader:
    """A bounded queue between one source and one sink.

    ``channels`` are the reader's own interleaved channel numbers for RTP and RTCP. The counters are of
    what was handed to the sink; ``lost_packets`` of what this reader alone did not get.
    """

    def __init__(
        self,
        sink: Sink,
        gate: Gate,
        *,
        now: Callable[[], float],
        channels: tuple[int, int] = (RTP_CHANNEL, RTCP_CHANNEL),
        limit_bytes: int = QUEUE_LIMIT_BYTES,
    ) -> None:
        self._sink = sink
        self._gate = gate
        self._now = now
        self._channels = channels
        self._limit_bytes = limit_bytes
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued_bytes = 0
        self._exempt_bytes = 0
        self._waits_for_keyframe = True
        self._stuck_since_s: float | None = None
        self._looked_at_s = -math.inf
        self._handed_over: deque[tuple[bytes, float]] = deque()
        self._remembered_bytes = 0
        self._has_room = asyncio.Event()
        self.sent_bytes = 0
        self.sent_packets = 0
        self.lost_packets = 0
        self.ssrc: int | None = None

    @property
    def channels(self) -> tuple[int, int]:
        """The channels on which this reader expects RTP and RTCP."""
        return self._channels

    @property
    def waits_for_keyframe(self) -> bool:
        """Whether the next thing that it can use is a keyframe."""
        return self._waits_for_keyframe

    @property
    def queued_bytes(self) -> int:
        """What waits for the sink to be writable again."""
        return self._queued_bytes

    def last_handed_over(self, discarded_bytes: int = 0) -> LastPacket | None:
        """The last RTP packet that went all the way to the kernel; None if none did, or that is not known any more.

        ``discarded_bytes`` are those at the end of what the sink was given that it still held and threw away.
        """
        for data, at_s in reversed(self._handed_over):
            sequence = _last_sequence(data[: max(0, len(data) - discarded_bytes)], self._channels[0])
            if sequence is not None:
                return LastPacket(sequence, at_s)
            discarded_bytes = max(0, discarded_bytes - len(data))
        return None

    def stuck_s(self, now: float) -> float:
        """For how many seconds something has waited and the sink has taken nothing, at ``now`` (monotonic)."""
        return 0.0 if self._stuck_since_s is None else now - self._stuck_since_s

    def open(self, opening: Opening) -> None:
        """Begin with what leads to the next chunk. It counts for nothing in what this reader may leave unsent."""
        chunk = opening.chunk
        self._waits_for_keyframe = False
        self.ssrc = _ssrc_at(chunk, 0)
        self._exempt_bytes = len(chunk.data)
        for piece in chunk.pieces(PIECE_BYTES):
            self.deliver(piece)
        if not self._queue:
            self._exempt_bytes = 0

    def deliver(self, chunk: Chunk) -> None:
        """Hand one chunk over, queue it, or drop it: never wait."""
        self._looked_at_s = self._now()
        if not self._gate.allows(self._looked_at_s):
            self._discard()
            return
        if self._queued_bytes and self._queued_bytes + len(chunk.data) > self._limit_bytes + self._exempt_bytes:
            self._discard()
            self._waits_for_keyframe = True
        if self._waits_for_keyframe:
            self._begin_at_keyframe(chunk)
        else:
            self._push(chunk.bytes_from(0, self._channels), chunk.packets)

    def _begin_at_keyframe(self, chunk: Chunk) -> None:
        """Hand over what begins with a keyframe; what comes before one is lost."""
        begin = chunk.keyframe
        if begin is None:
            if self.sent_packets:
                self.lost_packets += chunk.packets
            return
        self._waits_for_keyframe = False
        if self.ssrc is None:
            self.ssrc = _ssrc_at(chunk, begin)
        self._push(chunk.bytes_from(begin, self._channels), chunk.packets_from(begin))

    def hand(self, data: bytes, packets: int) -> bool:
        """Hand over whole frames of which none may be lost, or keep them; False once the gate is closed.

        Who gives them waits for :meth:`room` before giving more.
        """
        self._looked_at_s = self._now()
        if not self._gate.allows(self._looked_at_s):
            self._discard()
            return False
        self._push(data, packets)
        return True

    async def room(self) -> None:
        """Wait until nothing waits to be handed over."""
        while self._queue:
            self._has_room.clear()
            await self._has_room.wait()

    def drain(self) -> None:
        """Hand over what waits, as far as the sink takes it; called when it is writable again."""
        while self._queue and self._sink.writable:
            self._looked_at_s = self._now()
            if not self._gate.allows(self._looked_at_s):
                self._discard()
                return
            data, packets = self._queue.popleft()
            self._queued_bytes -= len(data)
            self._hand_over(data, packets)
        if not self._queue:
            self._exempt_bytes = 0
            self._has_room.set()

    def not_sent(self, packets: int, size_bytes: int) -> None:
        """Count as lost what the sink had taken and could not send on."""
        self.sent_packets -= packets
        self.lost_packets += packets
        self.sent_bytes -= size_bytes

    def restart(self) -> None:
        """Go on at the next keyframe: what comes now is no sequel of what came before (a camera reconnected)."""
        self._waits_for_keyframe = True

    def _push(self, data: bytes, packets: int) -> None:
        if self._queue or not self._sink.writable:
            self._queue.append((data, packets))
            self._queued_bytes += len(data)
            if self._stuck_since_s is None:
                self._stuck_since_s = self._now()
        else:
            self._hand_over(data, packets)

    def _hand_over(self, data: bytes, packets: int) -> None:
        self._stuck_since_s = None
        self.sent_bytes += len(data)
        self.sent_packets += packets
        if packets:
            self._remember(data)
        self._sink.write(data)

    def _remember(self, data: bytes) -> None:
        remembered = self._handed_over
        while remembered and self._remembered_bytes - len(remembered[0][0]) >= REMEMBERED_BYTES:
            self._remembered_bytes -= len(remembered.popleft()[0])
        remembered.append((data, self._looked_at_s))
        self._remembered_bytes += len(data)

    def _discard(self) -> None:
        self.lost_packets += sum(packets for _, packets in self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        self._exempt_bytes = 0
        self._has_room.set()


def _last_sequence(data: bytes, channel: int) -> int | None:
    """The sequence number of the last whole RTP packet in interleaved frames; None if there is none."""
    sequence, start = None, 0
    while (payload := start + FRAME_HEADER_BYTES) + _RTP_HEADER_BYTES <= len(data):
        end = payload + (data[start + 2] << 8 | data[start + 3])
        if end > len(data):
            break
        if data[start + 1] == channel:
            sequence = data[payload + 2] << 8 | data[payload + 3]
        start = end
    return sequence


def _ssrc_at(chunk: Chunk, index: int) -> int:
    packet = chunk.batch.bounds(index)[0] + FRAME_HEADER_BYTES
    return int.from_bytes(chunk.data[packet + 8 : packet + 12], "big")
