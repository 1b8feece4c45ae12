"""Which packets belong to the passage that was just asked for, and which to the one before (ONVIF Streaming 6.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from halfgateway.protocol import rtp
from halfgateway.protocol.replay_header import read_replay_header

STRAGGLERS: Final = 512
"""Packets of the passage before that may still come once PLAY was answered: what a recorder had in hand, not what it
has stored. Past as many what comes is taken for the new one, whatever the recorder has said of it."""


class PassageGate:
    """Lets the packets of one passage in. It is shut until one of it comes, then open for good.

    ``at_rest``: nothing was playing when PLAY was sent, so that all that comes is of it. Else ``last_cseq`` tells the
    number of the request that was sent last, until PLAY was answered, and what comes before the answer counts only
    where it bears that number: recorders may leave it 0, and then it is never asked for.
    """

    def __init__(self, *, at_rest: bool, immediate: bool, last_cseq: Callable[[], int], cseq_before: int) -> None:
        self._at_rest = at_rest
        self._immediate = immediate
        self._last_cseq = last_cseq
        self._cseq_before = cseq_before & 0xFF
        self._cseq: int | None = None
        self._first_sequence: int | None = None
        self._turned_away = 0
        self.open = False

    def answered(self, first_sequence: int | None) -> None:
        """PLAY was answered; ``first_sequence`` is what ``RTP-Info`` calls the first packet."""
        self._cseq = self._last_cseq()
        self._first_sequence = first_sequence

    def admits(self, packet: bytes) -> bool:
        """Whether a packet is of the new passage."""
        if not self.open:
            self.open = self._is_first(packet)
            self._turned_away += self._cseq is not None and not self.open
        return self.open

    def _is_first(self, packet: bytes) -> bool:
        if self._turned_away >= STRAGGLERS:
            return True
        if self._first_sequence is not None:
            distance = rtp.sequence_distance(self._first_sequence, rtp.sequence(packet, 0))
            return not -STRAGGLERS <= distance < 0
        if self._at_rest:
            return True
        header = read_replay_header(packet)
        if header is not None and header.cseq:
            asked = self._last_cseq() if self._cseq is None else self._cseq
            return header.cseq == asked & 0xFF and header.cseq != self._cseq_before
        return self._cseq is not None and (not self._immediate or header is None or header.discontinuous)
