"""How far this machine's clock is from true, by the kernel's own word (T08).

Whatever disciplines the clock (chrony, systemd-timesyncd, ntpd, PTP) tells the kernel how well it does: adjtimex(2)
gives the remaining offset, the estimated and the largest error, and whether it is synchronised at all.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIME_ERROR = 5
_NANOSECONDS_A_MICROSECOND = 1000


class _Timex(ctypes.Structure):
    """``struct timex`` (linux/timex.h), as far as it is read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_room", ctypes.c_long * 40),
    )


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What is known of the clock, in microseconds; ``offset_us`` is what is still to be corrected.

    An unsynchronised clock has no offset that is known.
    """

    synchronised: bool
    offset_us: int | None
    estimated_error_us: int | None
    max_error_us: int | None

    def to_detail(self) -> dict[str, Any]:
        """Return it as an entry's detail has it."""
        members = {
            "synchronised": self.synchronised,
            "offset_us": self.offset_us,
            "estimated_error_us": self.estimated_error_us,
            "max_error_us": self.max_error_us,
        }
        return {name: value for name, value in members.items() if value is not None}


def read_kernel_clock() -> ClockReading | None:
    """Ask the kernel; None where it does not say (a container may not be let)."""
    told = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told))
    if state < 0:
        ctypes.set_errno(0)
        return None
    return interpreted(state, told.status, told.offset, told.esterror, told.maxerror)


def interpreted(state: int, status: int, offset: int, estimated_error_us: int, max_error_us: int) -> ClockReading:
    """Read what adjtimex(2) answers; ``offset`` is in nanoseconds where the status says so."""
    if state == _TIME_ERROR or status & _STA_UNSYNC:
        return ClockReading(synchronised=False, offset_us=None, estimated_error_us=None, max_error_us=None)
    offset_us = round(offset / _NANOSECONDS_A_MICROSECOND) if status & _STA_NANO else offset
    return ClockReading(True, offset_us, estimated_error_us, max_error_us)
