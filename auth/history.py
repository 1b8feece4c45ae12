"""Who had what right on a day, from records that are ended and never edited (C09)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from auth.rights import Designation, Habilitation, earliest
from camera_registry.paris import end_of_day, start_of_day


@dataclass(frozen=True, slots=True)
class Held:
    """A right as it could be used: from the instant at which both records were made and in force, until one ended."""

    habilitation: Habilitation
    designation: Designation
    since: datetime
    until: datetime | None


def held_on(day: date, designations: Iterable[Designation], habilitations: Iterable[Habilitation]) -> list[Held]:
    """Every right that could be used at some instant of this day, in Paris, in the habilitations' order."""
    begins, ends = start_of_day(day), end_of_day(day)
    of_agent: dict[str, list[Designation]] = {}
    for designation in designations:
        of_agent.setdefault(designation.agent, []).append(designation)
    pairs = (_held(each, designation) for each in habilitations for designation in of_agent.get(each.agent, ()))
    return [held for held in pairs if held is not None and _overlaps(held, begins, ends)]


def _held(habilitation: Habilitation, designation: Designation) -> Held | None:
    """Nobody could use a right before it was recorded, whatever date it bears."""
    since = max(habilitation.start, habilitation.recorded_at, designation.start, designation.recorded_at)
    until = earliest(habilitation.until, designation.until)
    return Held(habilitation, designation, since, until) if until is None or since < until else None


def _overlaps(held: Held, begins: datetime, ends: datetime) -> bool:
    return held.since < ends and (held.until is None or held.until > begins)
