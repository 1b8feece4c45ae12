"""Where a segment lies below its camera's folder: a pattern of strftime, by the instant at which it begins.

A pattern in local time is ambiguous in the hour that comes twice when summer time ends: its names are read as those of
the first pass, and a name in the hour that summer time skips is none. ``%z`` in the pattern, or UTC, says which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import PurePosixPath
from typing import Final

DEFAULT_PATTERN: Final = "%Y-%m-%d/%Y%m%dT%H%M%S.%fZ.mp4"
"""By day, the instant in UTC in the name: how segments lie that are ours."""

_DIGITS: Final = {
    "Y": "[0-9]{4}",
    "m": "[0-9]{2}",
    "d": "[0-9]{2}",
    "j": "[0-9]{3}",
    "H": "[0-9]{2}",
    "M": "[0-9]{2}",
    "S": "[0-9]{2}",
    "f": "[0-9]{1,6}",
    "z": "[+-][0-9]{4}",
}
"""The directives that may stand in a pattern, by their letters, as they are read."""

_FOLDERS: Final = ("", "Y", "Ym", "Ymd", "YmdH", "YmdHM", "Yj", "YjH", "YjHM")
"""What the folders of a pattern may say together: what tells the files of one time from those of another."""

_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_WHOLE = ({"Y", "m", "d", "H", "M", "S"}, {"Y", "j", "H", "M", "S"})
_MARGIN: Final = timedelta(hours=2)
"""By how much a folder's local time may be off, where its clock is put forward or back."""


def check_pattern(pattern: str) -> None:
    """Refuse a pattern whose paths do not tell the instant at which a segment begins.

    Raises:
        ValueError: which of its rules it breaks, in words for who wrote it.
    """
    parts = pattern.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError("a path below the camera's folder is wanted")
    named = _DIRECTIVE.findall(pattern.replace("%%", ""))
    unknown = sorted({f"%{letter}" for letter in named if letter not in _DIGITS})
    if unknown or "%" in _DIRECTIVE.sub("", pattern):
        raise ValueError(f"{', '.join(unknown) or '%'} cannot be read back: %Y %m %d %j %H %M %S %f %z may stand in it")
    if not any(whole <= set(named) for whole in _WHOLE):
        raise ValueError("a full date and time is wanted: %Y, %m and %d (or %j), %H, %M and %S")
    folders = set(_DIRECTIVE.findall("/".join(parts[:-1]).replace("%%", "")))
    if folders not in [set(allowed) for allowed in _FOLDERS]:
        raise ValueError("folders may tell the year, then month and day (or %j), then hour, then minute, none left out")


@dataclass(frozen=True)
class Layout:
    """``pattern`` is one that :func:`check_pattern` lets pass; ``zone`` is that of the clock which its paths show."""

    pattern: str
    zone: tzinfo = UTC
    _levels: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make ready to read paths, level by level."""
        parts = self.pattern.split("/")
        levels = (re.compile(_expression("/".join(parts[: count + 1]))) for count in range(len(parts)))
        object.__setattr__(self, "_levels", tuple(levels))

    @property
    def depth(self) -> int:
        """How many folders lie between the camera's and its segments."""
        return len(self._levels) - 1

    def path_of(self, instant: datetime) -> PurePosixPath:
        """Where the segment lies that begins at an aware instant."""
        return PurePosixPath(instant.astimezone(self.zone).strftime(self.pattern))

    def instant_of(self, path: PurePosixPath | str) -> datetime | None:
        """The instant (UTC) at which the segment of this path begins; None where it is none of a segment."""
        match = self._levels[-1].fullmatch(str(path))
        told = _local(match.groupdict()) if match else None
        if told is None or told.tzinfo is not None:
            return told and told.astimezone(UTC)
        instant = told.replace(tzinfo=self.zone).astimezone(UTC)
        shown = instant.astimezone(self.zone).replace(tzinfo=None, fold=0)
        return instant if shown == told else None

    def begins(self, folder: str) -> datetime | None:
        """The earliest local time that the segments of a folder may have; None where it is none of the pattern's."""
        match = self._levels[folder.count("/")].fullmatch(folder)
        return _local(match.groupdict()) if match else None

    def may_hold(self, folder: str, start: datetime, end: datetime) -> bool:
        """Whether a folder, of whichever level, may hold segments that begin between two instants."""
        match = self._levels[folder.count("/")].fullmatch(folder)
        told = match.groupdict() if match else None
        first = _local(told) if told is not None else None
        if told is None or first is None:
            return False
        if "Y" not in told:
            return True
        after, before = (each.astimezone(self.zone).replace(tzinfo=None) for each in (start, end))
        return first <= before + _MARGIN and after - _MARGIN < first + _length(told)


def _expression(pattern: str) -> str:
    """Read each directive into a group of its letter; one that comes again must say the same."""
    seen: set[str] = set()
    text = ""
    position = 0
    for match in _DIRECTIVE.finditer(pattern):
        letter = match[1]
        text += re.escape(pattern[position : match.start()])
        if letter == "%":
            text += "%"
        else:
            text += f"(?P={letter})" if letter in seen else f"(?P<{letter}>{_DIGITS[letter]})"
            seen.add(letter)
        position = match.end()
    return text + re.escape(pattern[position:])


def _local(told: dict[str, str]) -> datetime | None:
    """The time that these directives tell, the earliest that it may be; naive but where they tell its offset."""
    try:
        local = datetime(
            int(told.get("Y", 1)),
            int(told.get("m", 1)),
            int(told.get("d", 1)),
            int(told.get("H", 0)),
            int(told.get("M", 0)),
            int(told.get("S", 0)),
            int(told.get("f", "").ljust(6, "0")),
            tzinfo=_offset(told["z"]) if "z" in told else None,
        )
        day = local + timedelta(days=int(told.get("j", 1)) - 1)
    except (ValueError, OverflowError):
        return None
    return day if day.year == local.year else None


def _offset(text: str) -> timezone:
    minutes = int(text[1:3]) * 60 + int(text[3:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _length(told: dict[str, str]) -> timedelta:
    """How long a time the directives of a folder leave open, at the most."""
    if "M" in told:
        return timedelta(minutes=1)
    if "H" in told:
        return timedelta(hours=1)
    if "d" in told or "j" in told:
        return timedelta(days=1)
    return timedelta(days=31 if "m" in told else 366)
