"""What is agreed now: one frozen record of each kind, replaced whole when the configuration is read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from auth.policy import Convention, DegradedMode
from halfgateway.control.bandwidth import Line
from halfgateway.control.streams import Timings


@dataclass(frozen=True, slots=True)
class IdleRule:
    """PP's rule for its slots (S16): at the cap, the stream that has been idle the longest gives way to a new one.

    A stream counts that has been idle for ``after_s`` seconds; ``reference`` is that of PP's decision.
    """

    after_s: float
    reference: str


@dataclass(slots=True)
class Terms:
    """The one place where they are replaced; who needs one asks here each time and keeps none.

    The accounts in ``join_at_keyframe`` want every timestamp true: their streams begin at the next keyframe.
    ``sites`` are the viewing sites that PP has declared (annex 6). Without an ``idle_rule`` no idle stream gives way.
    ``modes`` are the degraded ones that PP has agreed to, by name. The ``bulk_accounts`` may have recordings faster
    than they are watched (S14); so may, where that is agreed at all, who is habilitated to it.
    """

    convention: Convention
    timings: Timings
    join_at_keyframe: frozenset[str] = frozenset()
    line: Line = field(default_factory=Line)
    sites: frozenset[str] = frozenset()
    idle_rule: IdleRule | None = None
    modes: Mapping[str, DegradedMode] = field(default_factory=dict)
    bulk_accounts: frozenset[str] = frozenset()
    bulk_agreed: bool = False

    def mode(self, name: str | None) -> DegradedMode | None:
        """The degraded mode of this name; one that is not agreed here lets nothing be seen."""
        return None if name is None else self.modes.get(name) or DegradedMode.unknown(name)

    def cap(self, mode: str | None) -> int:
        """Streams that may be open at once, in this degraded mode if one is in force."""
        degraded = self.mode(mode)
        return self.convention.cap if degraded is None else degraded.cap_of(self.convention)

    def replace(self, others: Terms) -> None:
        """Let others hold from now on."""
        self.convention = others.convention
        self.timings = others.timings
        self.join_at_keyframe = others.join_at_keyframe
        self.line = others.line
        self.sites = others.sites
        self.idle_rule = others.idle_rule
        self.modes = others.modes
        self.bulk_accounts = others.bulk_accounts
        self.bulk_agreed = others.bulk_agreed
