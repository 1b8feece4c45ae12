"""The ``Range`` header: relative time (npt) for what is live, UTC (clock) for recordings.

RFC 2326 sections 3.6, 3.7 and 12.29; ONVIF Streaming 6.5.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from halfgateway.errors import RemoteProtocolError

_NPT_TIME = r"now|[0-9]{1,10}(?:\.[0-9]{0,9})?|[0-9]{1,5}:[0-5]?[0-9]:[0-5]?[0-9](?:\.[0-9]{0,9})?"
_NPT = re.compile(rf"(?P<start>{_NPT_TIME})?\s*-\s*(?P<end>{_NPT_TIME})?", re.IGNORECASE)
_CLOCK_TIME = r"[0-9]{8}T[0-9]{6}(?:\.[0-9]{1,9})?Z"
_CLOCK = re.compile(rf"(?P<start>{_CLOCK_TIME})\s*-\s*(?P<end>{_CLOCK_TIME})?", re.IGNORECASE)
_INSTANT = re.compile(
    r"(?P<day>[0-9]{8})T(?P<minute>[0-9]{4})(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?Z", re.IGNORECASE
)


class Now:
    """The live edge, ``npt=now``."""

    def __repr__(self) -> str:
        return "NOW"


NOW: Final = Now()


@dataclass(frozen=True, slots=True)
class NptRange:
    """Seconds from the beginning of what is played, or ``NOW``; None is open. At least one end is given."""

    start_s: float | Now | None
    end_s: float | Now | None = None

    def __str__(self) -> str:
        return f"npt={_npt_text(self.start_s)}-{_npt_text(self.end_s)}"


@dataclass(frozen=True, slots=True)
class ClockRange:
    """Instants in UTC, to the microsecond; ``end`` None is open, ``end`` before ``start`` asks for reverse."""

    start: datetime
    end: datetime | None = None

    def __str__(self) -> str:
        return f"clock={clock_text(self.start)}-{clock_text(self.end) if self.end else ''}"


Range: TypeAlias = NptRange | ClockRange

#: What is live: from now on, without an end.
LIVE: Final = NptRange(NOW)


def parse_range(value: str) -> Range:
    """Read a ``Range`` header or the value of ``a=range``; a ``;time=`` parameter is not acted upon.

    Raises:
        RemoteProtocolError: 400 for a malformed value, 457 for another unit (smpte).
    """
    unit, equals, text = value.partition(";")[0].strip().partition("=")
    match unit.strip().lower():
        case "npt" if equals:
            return _npt(text.strip())
        case "clock" if equals:
            return _clock(text.strip())
        case _ if equals:
            raise RemoteProtocolError("only npt and clock ranges are known", status=457)
        case _:
            raise RemoteProtocolError("not a range")


def parse_instant(text: str) -> datetime:
    """An instant as ``clock`` ranges write it: ``20261120T101500.5Z``.

    Digits beyond the microsecond are cut off; a leap second is the instant after it, as in POSIX time.

    Raises:
        RemoteProtocolError: not an instant (400).
    """
    match = _INSTANT.fullmatch(text)
    if match is None or int(match["second"]) > 60:
        raise RemoteProtocolError("not a UTC instant")
    fraction = timedelta(microseconds=int((match["fraction"] or "0")[:6].ljust(6, "0")))
    try:
        minute = datetime.strptime(match["day"] + match["minute"], "%Y%m%d%H%M").replace(tzinfo=UTC)
        return minute + timedelta(seconds=int(match["second"])) + fraction
    except (ValueError, OverflowError) as error:
        raise RemoteProtocolError("no such UTC instant") from error


def clock_text(instant: datetime) -> str:
    """An aware instant as ``clock`` ranges write it, in UTC, its fraction only where there is one."""
    utc = instant.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}".rstrip("0") if utc.microsecond else ""
    return f"{utc.year:04d}{utc:%m%dT%H%M%S}{fraction}Z"


def _npt(text: str) -> NptRange:
    match = _NPT.fullmatch(text)
    if match is None or not (match["start"] or match["end"]):
        raise RemoteProtocolError("not an npt range")
    return NptRange(_npt_time(match["start"]), _npt_time(match["end"]))


def _npt_time(text: str | None) -> float | Now | None:
    if not text:
        return None
    if text.lower() == "now":
        return NOW
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _npt_text(value: float | Now | None) -> str:
    match value:
        case None:
            return ""
        case Now():
            return "now"
        case _:
            return f"{value:.6f}".rstrip("0").rstrip(".")


def _clock(text: str) -> ClockRange:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise RemoteProtocolError("not a clock range")
    return ClockRange(parse_instant(match["start"]), parse_instant(match["end"]) if match["end"] else None)
