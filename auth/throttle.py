"""Attempts, bounded so that guessing is slow, and that nobody who fails on purpose keeps a colleague out (S03).

Two rules. Who has come in before as this account, from this source and by this certificate, has a budget of their
own that nobody else can spend. Everybody else shares the budget of their source and, without a certificate, that of
the strangers to this account. Names that no account has are counted like those that one has.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

from auth.errors import ThrottledError
from camera_registry.clock import Clock

FAILURES_PER_MINUTE = 20
"""Of one source: a room of operators behind one address mistypes less than this; a guesser gets no further."""

FAILURES_PER_MINUTE_OF_STRANGERS = 10
"""Of all sources that have never come in as an account, together: a thousand sources guess no faster than one."""

FAILURES_PER_MINUTE_OF_ACQUAINTANCE = 10
"""Of one account from one source that has come in so before."""

MAX_BUDGETS = 10_000
"""Budgets remembered, about 2 MB; when full the one used longest ago is forgotten, and starts afresh."""

MAX_ACQUAINTANCES = 10_000
"""Accounts with the sources from which they came in. When full, the one that came longest ago is a stranger again."""

_IPV6_CUSTOMER_PREFIX = 64


@dataclass(slots=True)
class _Budget:
    capacity: int
    left: float
    seen_at: float
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was counted, and against which budgets."""

    acquaintance: str
    budgets: tuple[tuple[str, int], ...]


class Throttle:
    """Token buckets: each attempt takes one of each that it is counted against, a success gives them back, a minute
    refills all.

    An attempt is counted when it begins, so that parallel guesses cannot outrun the count.
    """

    def __init__(self, clock: Clock, *, failures_per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._clock = clock
        self._per_source = failures_per_minute
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()
        self._acquaintances: OrderedDict[str, None] = OrderedDict()

    def begin(self, source: str, account: str, certificate_der: bytes | None = None) -> Attempt:
        """Count one attempt to come in as ``account``, which need not exist.

        Raises:
            ThrottledError: one of its budgets has nothing left.
        """
        origin, name = _customer(source), _digest(account.encode())
        acquaintance = f"{name} {origin} {_digest(certificate_der or b'')}"
        if acquaintance in self._acquaintances:
            counted = [(f"known {acquaintance}", FAILURES_PER_MINUTE_OF_ACQUAINTANCE)]
        else:
            counted = [(f"source {origin}", self._per_source)]
            counted += [] if certificate_der else [(f"strangers to {name}", FAILURES_PER_MINUTE_OF_STRANGERS)]
        attempt = Attempt(acquaintance, tuple(counted))
        self._take(attempt.budgets)
        return attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Give back what an attempt took that turned out well; its source is an acquaintance from now on."""
        for key, capacity in attempt.budgets:
            budget = self._refilled(key, capacity)
            budget.left = min(capacity, budget.left + 1)
        self._acquaintances[attempt.acquaintance] = None
        self._acquaintances.move_to_end(attempt.acquaintance)
        if len(self._acquaintances) > MAX_ACQUAINTANCES:
            self._acquaintances.popitem(last=False)

    def count_failure(self, source: str) -> None:
        """Count an attempt that has failed already, where secrets are too long to be guessed (RTSP Digest).

        Raises:
            ThrottledError: the source has no more of them.
        """
        self._take(((f"source {_customer(source)}", self._per_source),))

    def _take(self, counted: tuple[tuple[str, int], ...]) -> None:
        budgets = [self._refilled(key, capacity) for key, capacity in counted]
        spent = [budget for budget in budgets if budget.left < 1]
        if spent:
            just_locked = not all(budget.locked for budget in spent)
            for budget in spent:
                budget.locked = True
            retry_after_s = max(math.ceil((1 - budget.left) * 60 / budget.capacity) for budget in spent)
            raise ThrottledError(retry_after_s=retry_after_s, just_locked=just_locked)
        for budget in budgets:
            budget.left -= 1

    def _refilled(self, key: str, capacity: int) -> _Budget:
        now = self._clock.monotonic()
        budget = self._budgets.pop(key, None) or _Budget(capacity, capacity, now)
        budget.left = min(capacity, budget.left + (now - budget.seen_at) * capacity / 60)
        budget.seen_at = now
        if budget.left >= capacity / 2:
            budget.locked = False
        self._budgets[key] = budget
        if len(self._budgets) > MAX_BUDGETS:
            self._budgets.popitem(last=False)
        return budget


def _digest(data: bytes) -> str:
    """What was typed as a name may be a password: it is not kept."""
    return hashlib.sha256(data).hexdigest()[:32]


def _customer(source: str) -> str:
    """One customer is one source: an IPv6 /64 counts as a whole, an IPv4 address alone."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((address, _IPV6_CUSTOMER_PREFIX), strict=False))
