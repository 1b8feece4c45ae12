"""Dates and durations as people read them: French, in Paris time, with UTC where it is asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from camera_registry.paris import PARIS

MONTHS: Final = (
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
)


def day(of: date) -> str:
    """Write a day: ``21 novembre 2026``, ``1er mars 2027``."""
    return f"{'1er' if of.day == 1 else of.day} {MONTHS[of.month - 1]} {of.year}"


def moment(instant: datetime) -> str:
    """Write an aware instant in Paris time, to the whole minute: ``21 novembre 2026 à 03 h 12``.

    In the hour that comes twice in October, which of the two it is.
    """
    which = _which(instant)
    return f"{_to_the_minute(instant)} ({which})" if which else _to_the_minute(instant)


def moment_in_paris(instant: datetime) -> str:
    """Write it and say whose time it is: ``21 novembre 2026 à 03 h 12 (heure de Paris)``."""
    which = _which(instant)
    zone = f"heure de Paris, {which}" if which else "heure de Paris"
    return f"{_to_the_minute(instant)} ({zone})"


def le(instant: datetime) -> str:
    """Write it as when something happened: ``le 21 novembre 2026 à 03 h 12``."""
    return f"le {moment(instant)}"


def le_utc(instant: datetime) -> str:
    """Write it with UTC beside: ``le 21 novembre 2026 à 03 h 12 (heure de Paris ; 02:12 UTC)``."""
    local, utc = instant.astimezone(PARIS), instant.astimezone(UTC)
    eve = " la veille" if utc.date() < local.date() else ""
    return f"le {_to_the_minute(instant)} (heure de Paris ; {utc:%H:%M} UTC{eve})"


def duration(lasted: timedelta) -> str:
    """Write how long something lasted: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 jours 0 h 30 min``; whole minutes.

    Raises ValueError for what ended before it began.
    """
    if lasted < timedelta():
        raise ValueError("a duration is never negative")
    if lasted < timedelta(minutes=1):
        return f"{int(lasted.total_seconds())} s"
    days, rest = divmod(int(lasted.total_seconds()) // 60, 24 * 60)
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{days} jour{'s' if days > 1 else ''} {hours} h {minutes:02d} min"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def month(of: date) -> str:
    """Write a month: ``novembre 2026``."""
    return f"{MONTHS[of.month - 1]} {of.year}"


def _to_the_minute(instant: datetime) -> str:
    local = instant.astimezone(PARIS)
    return f"{day(local)} à {local:%H h %M}"


def _which(instant: datetime) -> str:
    """Tell the two equal hours of the night in October apart."""
    local = instant.astimezone(PARIS)
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return ""
    return "heure d'hiver" if local.fold else "heure d'été"
