"""What a purge may erase, pure: the rule that its entry states, and whether it accounts for what is erased (T09).

A rule is over what the leaf tells alone (number, time, kind), so that whoever has the journal can apply it again,
and see that nothing was erased but what some ``trace.purged`` entry says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from auth.trace.layout import SALT_BYTES
from camera_registry.clock import rfc3339

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ErasureRule:
    """Every entry of these kinds, before an instant, among the first ``size`` entries.

    ``codes`` are kinds' numbers, ``before_us`` Unix microseconds, exclusive.
    """

    codes: frozenset[int]
    before_us: int
    size: int

    def covers(self, n: int, at_us: int, code: int) -> bool:
        """Tell whether an entry is one of those."""
        return n < self.size and at_us < self.before_us and code in self.codes

    def to_detail(self) -> dict[str, Any]:
        """Return the members of a ``trace.purged`` entry's detail that state the rule."""
        before = rfc3339(_EPOCH + self.before_us * _MICROSECOND)
        return {"kinds": sorted(self.codes), "before": before, "size": self.size}

    @classmethod
    def from_detail(cls, detail: Mapping[str, Any]) -> ErasureRule:
        """Read the rule that an entry states. Raises ValueError when it states none."""
        codes, before, size = detail.get("kinds"), detail.get("before"), detail.get("size")
        if not isinstance(codes, list) or not all(type(code) is int for code in codes):
            raise ValueError("kinds n'est pas une liste de nombres")
        if type(size) is not int or not isinstance(before, str):
            raise ValueError("size ou before manque")
        at = datetime.fromisoformat(before)
        if at.tzinfo is None:
            raise ValueError("before n'a pas de fuseau")
        return cls(frozenset(codes), (at - _EPOCH) // _MICROSECOND, size)

    @classmethod
    def from_salted(cls, n: int, salted: bytes) -> ErasureRule:
        """Read the rule of entry ``n``, a ``trace.purged``, from its salt and payload; it concerns what precedes it.

        Raises ValueError.
        """
        try:
            members = json.loads(salted[SALT_BYTES:])
        except RecursionError as error:
            raise ValueError("elle est trop imbriquée") from error
        if not isinstance(members, dict) or not isinstance(members.get("detail"), dict):
            raise ValueError("detail manque")
        rule = cls.from_detail(members["detail"])
        if not 0 <= rule.size <= n:
            raise ValueError("elle porte sur des entrées qui n'y étaient pas encore")
        return rule


class ErasedEntries:
    """Remembers of erased entries no more than it takes to tell whether rules cover them all.

    Of two entries of one kind, a rule that covers the later in number and time covers the other. So per kind only
    those are kept that no other exceeds in both: one, and one more for each step back of the clock.
    """

    def __init__(self) -> None:
        self._outermost: dict[int, list[tuple[int, int]]] = {}

    def add(self, n: int, at_us: int, code: int) -> None:
        """Take in an erased entry; they come in the order of their numbers."""
        outermost = self._outermost.setdefault(code, [])
        while outermost and outermost[-1][1] <= at_us:
            outermost.pop()
        outermost.append((n, at_us))

    def covered_by(self, rules: Iterable[ErasureRule]) -> bool:
        """Tell whether some rule covers each of them."""
        known = list(rules)
        return all(
            any(rule.covers(n, at_us, code) for rule in known)
            for code, outermost in self._outermost.items()
            for n, at_us in outermost
        )
