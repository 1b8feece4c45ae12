"""Which packets belong to the passage that was just asked for, and which to the one before (ONVIF Streaming 6.10)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from halfgateway.protocol import rtp
from halfgateway.protocol.replay_header import read_replay_header

STRAGGLERS: Final = 512
"""Packets of the passage before that may still come once PLAY was answered: what a recorder had in hand, not what it
has stored. Past as many what comes is taken for the new one, whatever the recorder has said of it."""

HELD_BYTES: Final = 2 * 1024 * 1024
"""Bytes of packets kept that come before PLAY's answer and may be of either passage: a recorder without rate control
sends some before it has answered. The oldest are dropped past it, and the passage begins a keyframe later."""


BEGINS_WITHIN: Final = timedelta(seconds=30)
"""How far from where a passage was to begin its first picture may lie, to be taken for it by that alone: a group of
pictures."""


class PassageGate:
    """Lets the packets of one passage in. It is shut until one of it comes, then open for good.

    ``at_rest``: nothing was playing when PLAY was sent, so that all that comes is of it. Else what bears PLAY's number
    is, which ``last_cseq`` tells until PLAY is answered; recorders may leave it 0. What bears no number waits for the
    answer: it counts from the last packet on that says that it follows nothing, if it is from about ``start``, or else
    from the one that ``RTP-Info`` names. GStreamer names one that is some pictures late.
    """

    def __init__(
        self, start: datetime, *, at_rest: bool, immediate: bool, last_cseq: Callable[[], int], cseq_before: int
    ) -> None:
        self._start = start
        self._at_rest = at_rest
        self._immediate = immediate
        self._last_cseq = last_cseq
        self._cseq_before = cseq_before & 0xFF
        self._cseq: int | None = None
        self._first_sequence: int | None = None
        self._turned_away = 0
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self.open = False

    def answered(self, first_sequence: int | None) -> Sequence[bytes]:
        """PLAY was answered, ``first_sequence`` is what ``RTP-Info`` calls the first packet; give those let in."""
        self._cseq = self._last_cseq()
        self._first_sequence = first_sequence
        held, self._held = list(self._held), deque()
        if self.open:
            return ()
        first = self._first_of(held)
        self.open = first is not None
        return held[first:] if first is not None else ()

    def admits(self, packet: bytes) -> bool:
        """Whether a packet is of the new passage for certain."""
        if self.open:
            return True
        self.open = self._is_first(packet)
        if not self.open and self._cseq is None:
            self._hold(packet)
        elif not self.open:
            self._turned_away += 1
        return self.open

    def _is_first(self, packet: bytes) -> bool:
        if self._at_rest or self._turned_away >= STRAGGLERS:
            return True
        header = read_replay_header(packet)
        if header is not None and header.cseq:
            asked = self._last_cseq() if self._cseq is None else self._cseq
            return header.cseq == asked & 0xFF and header.cseq != self._cseq_before
        if self._cseq is None:
            return False
        if self._first_sequence is not None:
            distance = rtp.sequence_distance(self._first_sequence, rtp.sequence(packet, 0))
            if distance == 0 or -STRAGGLERS <= distance < 0:
                return distance == 0
        return not self._immediate or header is None or header.discontinuous

    def _first_of(self, held: list[bytes]) -> int | None:
        if self._immediate:
            for number in range(len(held) - 1, -1, -1):
                header = read_replay_header(held[number])
                if header is not None and header.discontinuous and abs(header.at - self._start) <= BEGINS_WITHIN:
                    return number
        if self._first_sequence is None:
            return None
        named = (number for number, packet in enumerate(held) if rtp.sequence(packet, 0) == self._first_sequence)
        return next(named, None)

    def _hold(self, packet: bytes) -> None:
        self._held.append(packet)
        self._held_bytes += len(packet)
        while self._held_bytes > HELD_BYTES:
            self._held_bytes -= len(self._held.popleft())
