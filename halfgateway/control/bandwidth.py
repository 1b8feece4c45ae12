"""What the open streams take of the line to the prefecture, and how much of it they may take (L10).

The ceiling is the line's, in Mb/s, and holds for all nodes together: each tells with its leases what its streams take
(``slots.lua``), and a stream that would not fit is refused, instead of all of them losing packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from halfgateway.control.streams import Stream, StreamState

KEPT = 0.9
"""Part of the highest rate that is still counted one renewal later: a quiet scene does not give away at once what its
next busy moment needs. After half a minute a stream counts for half of it, and never for less than it takes."""


@dataclass(frozen=True, slots=True)
class Line:
    """The line to the prefecture: its ceiling in kb/s (None: none), and what a stream is taken to need of it unseen."""

    ceiling_kbps: int | None = None
    assumed_kbps: int = 4_000


class Rates:
    """What each stream of this node takes, in kb/s, from one look to the next."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int, int]] = {}

    def look(self, streams: Iterable[Stream], now: float, assumed_kbps: int) -> Mapping[str, int]:
        """The rate of each stream since the last look, at ``now`` (monotonic seconds); the assumed one until then."""
        rates: dict[str, int] = {}
        seen: dict[str, tuple[float, int, int]] = {}
        for stream in streams:
            sent = stream.traffic().bytes
            then, sent_then, rate = self._seen.get(stream.id, (now, sent, assumed_kbps))
            if stream.state is StreamState.PLAYING and now > then and sent_then:
                rate = max(round((sent - sent_then) * 8 / 1000 / (now - then)), round(rate * KEPT))
            seen[stream.id] = (now, sent, rate)
            rates[stream.id] = rate
        self._seen = seen
        return rates
