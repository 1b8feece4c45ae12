"""When each device is asked next: those in order all together, the others by themselves, ever more seldom.

Pure: the time and the chance are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

SURVEY_S: Final = 3600.0
"""How often devices are asked again: their clocks drift, their profiles change (quirk onvif-clock). All in one round:
in between, nothing that asks devices takes any memory."""

FIRST_RETRY_S: Final = 60.0
"""How long at most after a device could not be asked it is asked again; doubled with each further failure."""

LONGEST_RETRY_S: Final = 600.0
"""And this long at most: a device that comes back is on record within ten minutes and the round that is under way."""


class Schedule:
    """The devices by identifier; times are monotonic seconds, ``chance`` gives a number in [0, 1).

    A device of which nothing is known yet is due at once. Bound: one entry a device.
    """

    def __init__(
        self,
        began_s: float,
        *,
        chance: Callable[[], float],
        every_s: float = SURVEY_S,
        first_retry_s: float = FIRST_RETRY_S,
        longest_retry_s: float = LONGEST_RETRY_S,
    ) -> None:
        self._began_s = began_s
        self._chance = chance
        self._every_s = every_s
        self._first_retry_s = first_retry_s
        self._longest_retry_s = longest_retry_s
        self._due_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def is_due(self, device: str, now_s: float) -> bool:
        """Return whether the device is to be asked now."""
        return self._due_s.get(device, -math.inf) <= now_s

    def answered(self, device: str, now_s: float) -> None:
        """The device said what was wanted: it is asked again in the next round."""
        self._failures.pop(device, None)
        rounds = math.floor((now_s - self._began_s) / self._every_s) + 1
        self._due_s[device] = self._began_s + rounds * self._every_s

    def failed(self, device: str, now_s: float) -> None:
        """It did not: it is asked again after between half its delay and all of it, so that a site's do not crowd."""
        failures = self._failures.get(device, 0)
        self._failures[device] = failures + 1
        delay_s = min(self._longest_retry_s, self._first_retry_s * 2.0 ** min(failures, 16))
        self._due_s[device] = now_s + delay_s * (1 + self._chance()) / 2
