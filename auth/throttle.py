"""Attempts, bounded so that guessing is slow, and that nobody who fails on purpose keeps a colleague out (S03).

Two rules. Who has come in before as this account, from this source and by this certificate, has a budget of their
own that nobody else can spend. Everybody else shares the budget of their source and, without a certificate, that of
the strangers to this account. Names that no account has are counted like those that one has. Who has come in before
is for the caller to know (:mod:`auth.acquaintances`).
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

    def begin(self, source: str, account: str, certificate_der: bytes | None = None, *, known: bool = False) -> Attempt:
        """Count one attempt to come in as ``account``, which need not exist, by one who is ``known`` or a stranger.

        Raises:
            ThrottledError: one of its budgets has nothing left.
        """
        if known:
            name = acquaintance(source, account, certificate_der)
            counted = [(f"known {name}", FAILURES_PER_MINUTE_OF_ACQUAINTANCE)]
        else:
            counted = [(f"source {_customer(source)}", self._per_source)]
            to_whom = f"strangers to {_digest(account.encode())}"
            counted += [] if certificate_der else [(to_whom, FAILURES_PER_MINUTE_OF_STRANGERS)]
        attempt = Attempt(tuple(counted))
        self._take(attempt.budgets)
        return attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Give back what an attempt took that turned out well."""
        for key, capacity in attempt.budgets:
            budget = self._refilled(key, capacity)
            budget.left = min(capacity, budget.left + 1)

    def count_failure(self, source: str) -> None:
        """Count an attempt that has failed already, where secrets are too long to be guessed (RTSP Digest).

        Raises:
            ThrottledError: the source has no more of them.
        """
        self._take(((f"source {_customer(source)}", self._per_source),))

    def _take(self, counted: tuple[tuple[str, int], ...]) -> None:
        """Of each one, or of none: a source that has nothing left makes no budget of any account's."""
        budgets: list[_Budget] = []
        for key, capacity in counted:
            budget = self._refilled(key, capacity)
            if budget.left < 1:
                just_locked, budget.locked = not budget.locked, True
                retry_after_s = math.ceil((1 - budget.left) * 60 / capacity)
                raise ThrottledError(retry_after_s=retry_after_s, just_locked=just_locked)
            budgets.append(budget)
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


def acquaintance(source: str, account: str, certificate_der: bytes | None) -> str:
    """Name who comes as an account, from a source, by a certificate or without."""
    return f"{_digest(account.encode())} {_customer(source)} {_digest(certificate_der or b'')}"


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
