"""Fewer, larger reads: a source whose picture is still on its way rests a moment, and is read once for all of it.

Waking up and sending are what a relay costs, not bytes: read packet by packet, a picture of sixteen packets costs
sixteen times the wake-ups and the sends of one that is read at once. All sources rest on one timer (docs/adr/0004).
"""

from __future__ import annotations

import asyncio

NAP_S = 0.002
"""Seconds of a rest: a picture's packets come within them, and nobody sees a delay of two milliseconds."""


class Coalescing:
    """The rests of one event loop."""

    def __init__(self, *, nap_s: float = NAP_S) -> None:
        self._nap_s = nap_s
        self._resting: list[asyncio.Transport] = []

    def rest(self, transport: asyncio.Transport) -> None:
        """Read nothing of ``transport`` for a moment; one that is closed meanwhile is left alone."""
        if not self._resting:
            asyncio.get_running_loop().call_later(self._nap_s, self._wake)
        transport.pause_reading()
        self._resting.append(transport)

    def _wake(self) -> None:
        resting, self._resting = self._resting, []
        for transport in resting:
            if not transport.is_closing():
                transport.resume_reading()
