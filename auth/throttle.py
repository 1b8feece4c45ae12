"""Attempts per source, bounded: it slows guessing and says nothing of any account (S03)."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

from auth.errors import ThrottledError
from camera_registry.clock import Clock

FAILURES_PER_MINUTE = 20
"""A room of operators behind one address mistypes less than this; a guesser gets no further."""

MAX_SOURCES = 10_000
"""Sources remembered, about 2 MB; when full the one seen longest ago is forgotten, and starts afresh."""

_IPV6_CUSTOMER_PREFIX = 64


@dataclass(slots=True)
class _Budget:
    left: float
    seen_at: float
    locked: bool = False


class Throttle:
    """A token bucket per source: each attempt takes one, a success gives it back, a minute refills all.

    An attempt is counted when it begins, so that parallel guesses cannot outrun the count.
    """

    def __init__(self, clock: Clock, *, failures_per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._clock = clock
        self._capacity = failures_per_minute
        self._refill_per_s = failures_per_minute / 60
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    def begin(self, source: str) -> None:
        """Count one attempt.

        Raises:
            ThrottledError: the source has none left.
        """
        budget = self._refilled(source)
        if budget.left < 1:
            just_locked, budget.locked = not budget.locked, True
            retry_after_s = math.ceil((1 - budget.left) / self._refill_per_s)
            raise ThrottledError(retry_after_s=retry_after_s, just_locked=just_locked)
        budget.left -= 1

    def forgive(self, source: str) -> None:
        """Give back the attempt that turned out well."""
        budget = self._refilled(source)
        budget.left = min(self._capacity, budget.left + 1)

    def _refilled(self, source: str) -> _Budget:
        now, key = self._clock.monotonic(), _key(source)
        budget = self._budgets.pop(key, None) or _Budget(self._capacity, now)
        budget.left = min(self._capacity, budget.left + (now - budget.seen_at) * self._refill_per_s)
        budget.seen_at = now
        if budget.left >= self._capacity / 2:
            budget.locked = False
        self._budgets[key] = budget
        if len(self._budgets) > MAX_SOURCES:
            self._budgets.popitem(last=False)
        return budget


def _key(source: str) -> str:
    """One customer is one source: an IPv6 /64 counts as a whole, an IPv4 address alone."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((address, _IPV6_CUSTOMER_PREFIX), strict=False))
