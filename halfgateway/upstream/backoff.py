"""How long to leave a camera alone after it failed: jittered, growing, and obedient to what the camera said."""

from __future__ import annotations

from collections.abc import Callable

from halfgateway.errors import CameraUnreachable

FIRST_DELAY_S = 0.5
"""After the first failure; doubles with each further one."""

LONGEST_DELAY_S = 30.0
"""A camera that has been gone for hours is still tried twice a minute."""

BUSY_DELAY_S = 10.0
"""After 453 or 503 without Retry-After: all of the camera's sessions are taken, and hammering takes none back."""

LOCKOUT_DELAY_S = 300.0
"""After 401 with our own password: devices lock an account for 5 to 30 minutes after a few wrong attempts."""

LONGEST_RETRY_AFTER_S = 300.0
"""A camera that asks to be left alone for longer is not believed."""

STEADY_S = 10.0
"""How long a camera must have played for its earlier failures to be forgotten: one that drops each connection as
soon as it plays is not dialled twice a second for ever."""


class CameraFailure(CameraUnreachable):
    """An attempt to pull a camera failed.

    ``status`` is the camera's RTSP status, or None where it gave none; ``wait_s`` the Retry-After it asked for.
    """

    def __init__(self, detail: str, *, status: int | None = None, wait_s: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.wait_s = wait_s


class Backoff:
    """The delays of one camera since it last played steadily. ``chance`` gives a number in [0, 1)."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0

    def failed(self, failure: CameraFailure) -> float:
        """Seconds to wait after this failure, between the delay and one and a half times it."""
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        if failure.status == 401:
            delay_s = LOCKOUT_DELAY_S
        elif failure.status in {453, 503}:
            delay_s = max(delay_s, min(failure.wait_s or BUSY_DELAY_S, LONGEST_RETRY_AFTER_S))
        return delay_s * (1.0 + self._chance() / 2)

    def played(self, duration_s: float) -> None:
        """The camera played for so long before it failed."""
        if duration_s >= STEADY_S:
            self._failures = 0
