"""Puts RTP packets that came by UDP back in order, with a short, bounded wait for those that are missing.

Interleaved readers are promised the order of a TCP stream; datagrams overtake each other, come twice, or never.
"""

from __future__ import annotations

from typing import Final

from halfgateway.protocol.rtp import sequence, sequence_distance, ssrc

#: Seconds for which a packet waits for an earlier one. A detour on a camera's network costs milliseconds; past this
#: the missing one is taken for lost, for a picture a tenth of a second late is late for its reader too.
PATIENCE_S: Final = 0.1

#: Packets that wait at once: some 0.7 MB, more than a 4K camera's key frame has. With one more, or with more bytes
#: than these, the missing packets are given up at once.
MAX_HELD_PACKETS: Final = 512
MAX_HELD_BYTES: Final = 2 * 1024 * 1024

#: Steps ahead of, or behind, what is awaited that are believed at once; 3,000 is MAX_DROPOUT of RFC 3550 appendix
#: A.1, and nothing that is late comes after more packets than may wait. Further away, the source has begun anew if
#: a second packet follows the first, and the first was a stray if none does.
MAX_STEPS_AHEAD: Final = 3000
MAX_STEPS_BEHIND: Final = MAX_HELD_PACKETS


class ReorderBuffer:
    """The packets of one RTP stream, in order, each at most once. Times are monotonic seconds, passed in.

    ``lost`` counts the packets that were given up, ``discarded`` those that came twice or after that.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.discarded = 0
        self._ssrc: int | None = None
        self._expected = 0
        self._held: dict[int, tuple[bytes, float]] = {}  # by sequence number, in the order of arrival
        self._held_bytes = 0
        self._after_stray: int | None = None

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`overdue` has something to give; None while nothing waits."""
        for _, arrival_s in self._held.values():
            return arrival_s + PATIENCE_S
        return None

    def push(self, packet: bytes, now_s: float) -> list[bytes]:
        """Take a packet that has the 12 bytes of an RTP header; what is in order now.

        The first packet of a source begins it: one that it has overtaken is late.
        """
        number = sequence(packet, 0)
        if ssrc(packet, 0) != self._ssrc:
            return self._begin_anew(packet, number)
        ahead = sequence_distance(self._expected, number)
        if ahead == 0 and not self._held:
            self._expected = (number + 1) & 0xFFFF
            return [packet]
        if not -MAX_STEPS_BEHIND <= ahead <= MAX_STEPS_AHEAD:
            return self._take_stray(packet, number)
        if ahead < 0 or number in self._held:
            self.discarded += 1
            return []
        self._held[number] = packet, now_s
        self._held_bytes += len(packet)
        ready = self._in_order()
        while len(self._held) > MAX_HELD_PACKETS or self._held_bytes > MAX_HELD_BYTES:
            ready += self._past_the_gap()
        return ready

    def overdue(self, now_s: float) -> list[bytes]:
        """What has waited for long enough, and all that it waited with, in order."""
        ready: list[bytes] = []
        while (deadline_s := self.deadline_s) is not None and deadline_s <= now_s:
            ready += self._past_the_gap()
        return ready

    def _begin_anew(self, packet: bytes, number: int) -> list[bytes]:
        """Everything that still waits, then the first packet of a source, or of its new numbers."""
        ready: list[bytes] = []
        while self._held:
            ready += self._past_the_gap()
        self._ssrc = ssrc(packet, 0)
        self._expected = (number + 1) & 0xFFFF
        self._after_stray = None
        return [*ready, packet]

    def _take_stray(self, packet: bytes, number: int) -> list[bytes]:
        if number == self._after_stray:
            return self._begin_anew(packet, number)
        self._after_stray = (number + 1) & 0xFFFF
        self.discarded += 1
        return []

    def _past_the_gap(self) -> list[bytes]:
        """Give up what is missing before the first packet that waits."""
        while self._expected not in self._held:
            self._expected = (self._expected + 1) & 0xFFFF
            self.lost += 1
        return self._in_order()

    def _in_order(self) -> list[bytes]:
        ready: list[bytes] = []
        while (found := self._held.pop(self._expected, None)) is not None:
            ready.append(found[0])
            self._held_bytes -= len(found[0])
            self._expected = (self._expected + 1) & 0xFFFF
        return ready
