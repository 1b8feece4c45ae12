"""The one final stop: node, number and time are stamped here, and a clock that steps is seen (T08)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auth.trace.entry import Draft, Entry, instant, unix_us
from auth.trace.files import Stamped
from auth.trace.kinds import Kind
from auth.trace.layout import SALT_BYTES, StampWriter
from camera_registry.clock import Clock, rfc3339

CLOCK_STEP_S = 0.5
"""Seconds between wall and monotonic clock that make a step: time daemons step beyond 0.128 s, slew below."""

CLOCK_SLEW = 0.001
"""Seconds a second by which slewing may part the two clocks meanwhile: twice what the kernel allows."""

_SECOND_US = 1_000_000

Prepared = tuple[Draft, bytes]
"""A draft and its encoded body."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks, read together: Unix microseconds, and seconds that never go back."""

    wall_us: int
    monotonic_s: float


class Stamper:
    """Stamps groups. Owned by the writing thread; nothing is remembered of a group that was not kept."""

    def __init__(self, node: str, clock: Clock, random_bytes: Callable[[int], bytes], last_at_us: int | None) -> None:
        self._node = node
        self._clock = clock
        self._random_bytes = random_bytes
        self._stamps = StampWriter(node)
        self._last_at_us = last_at_us
        self._last_reading: Reading | None = None

    def read(self) -> Reading:
        """Read the clocks, once for a whole group."""
        return Reading(unix_us(self._clock.now()), self._clock.monotonic())

    def step(self, reading: Reading) -> Draft | None:
        """Return the entry that must come first when the wall clock has stepped: from what to what, and by how much.

        After a restart only a step back shows: the monotonic clock began anew.
        """
        before = self._last_at_us
        if before is None:
            return None
        step_us = reading.wall_us - before
        if last := self._last_reading:
            elapsed_s = reading.monotonic_s - last.monotonic_s
            drift_us = reading.wall_us - last.wall_us - round(elapsed_s * _SECOND_US)
            stepped = abs(drift_us) > (CLOCK_STEP_S + CLOCK_SLEW * elapsed_s) * _SECOND_US
            step_us = drift_us if stepped else step_us
        else:
            stepped = False
        if not stepped and before - reading.wall_us <= CLOCK_STEP_S * _SECOND_US:
            return None
        old, new = rfc3339(instant(reading.wall_us - step_us)), rfc3339(instant(reading.wall_us))
        told = {"after": rfc3339(instant(before)), "old": old, "new": new, "step_us": step_us}
        return Draft(kind=Kind.CLOCK_STEPPED, detail=told)

    def at(self, reading: Reading, draft: Draft) -> int:
        """Return the time to stamp: the clock's, held where it would go back less than a step."""
        if self._last_at_us is None or draft.kind is Kind.CLOCK_STEPPED:
            return reading.wall_us
        return max(reading.wall_us, self._last_at_us)

    def stamp(self, prepared: Sequence[Prepared], n: int, reading: Reading) -> list[tuple[Entry, Stamped]]:
        """Stamp a group whose first entry is number ``n``."""
        stamped = []
        for number, (draft, body) in enumerate(prepared, n):
            at_us = self.at(reading, draft)
            stamp = self._stamps.write(number, at_us, draft.kind.value, draft.kind.code)
            entry = Entry.from_draft(draft, node=self._node, n=number, at_us=at_us)
            salt = self._random_bytes(SALT_BYTES)
            stamped.append((entry, Stamped(number, at_us, draft.kind.code, salt, stamp.encode() + body)))
        return stamped

    def keep(self, reading: Reading, at_us: int) -> None:
        """Remember a group that became durable: its reading, and its last entry's time."""
        self._last_reading, self._last_at_us = reading, at_us
