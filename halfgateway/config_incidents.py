"""The configuration of an incident's course and of a restoration. Read as part of :mod:`halfgateway.config`.

The notifier and the watchdog read it too, as processes of their own (:mod:`halfgateway.attending`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from halfgateway.sections import Section
from ops.incidents.clocks import USUAL_CLOCKS, ClockStart, LegalClock
from ops.incidents.detecting import LASTING
from ops.incidents.duties import Rules
from ops.incidents.incident import NOTICE_WITHIN
from ops.notices.escalation import EscalationPlan
from ops.notices.watchdog import LOST_AFTER

_RULES, _PLAN = Rules(), EscalationPlan()
_MINUTE = timedelta(minutes=1)

LOST_BEATS = 2.5
"""Heartbeats that a node may owe: one may come late, and one be lost."""

MAX_CLOCKS = 16
"""Legal clocks beside article 8's; the law has four."""


class ClockSection(Section):
    """A legal clock: ``hours``, or calendar ``months``, from the awareness that a person states or from T0."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    starts: ClockStart = ClockStart.AWARENESS
    hours: Annotated[int, Field(ge=1, le=24 * 62)] | None = None
    months: Annotated[int, Field(ge=1, le=12)] | None = None

    @model_validator(mode="after")
    def _is_a_clock(self) -> ClockSection:
        self.record()
        return self

    def record(self) -> LegalClock:
        """The clock as an incident's desk reads it."""
        return LegalClock(**self.model_dump())


def _usual_clocks() -> tuple[ClockSection, ...]:
    return tuple(
        ClockSection(name=clock.name, starts=clock.starts, hours=clock.hours, months=clock.months)
        for clock in USUAL_CLOCKS
    )


class IncidentsSection(Section):
    """The course of an incident, within article 8's eight hours, which nothing configures. Minutes, where not seconds.

    ``lasting_s`` is how long a total stop lasts before it is an incident, ``gateway_lost_s`` how long a node is silent
    before it is one (two heartbeats and a half by default); T0 is moved by neither. An automatic stop is told after
    ``critical_after_min``; a recovery is announced once it has held for ``hold_down_min``, and a stop that comes back
    before is the same incident. ``shout_after_min`` after T0 the watchdog calls where no server has taken the notice;
    ``red_before_min`` before the deadline no step of the escalation waits longer than ``red_wait_min``.
    """

    lasting_s: Annotated[float, Field(ge=1, le=600)] = LASTING.total_seconds()
    gateway_lost_s: Annotated[float, Field(ge=5, le=3600)] | None = None
    critical_after_min: Annotated[float, Field(ge=0, le=120)] = _RULES.critical_after / _MINUTE
    hold_down_min: Annotated[float, Field(ge=1, le=120)] = _RULES.hold_down / _MINUTE
    shout_after_min: Annotated[float, Field(ge=5, le=420)] = _RULES.shout_within / _MINUTE
    red_before_min: Annotated[float, Field(ge=15, le=420)] = _PLAN.red_before / _MINUTE
    red_wait_min: Annotated[float, Field(ge=1, le=60)] = _PLAN.red_wait / _MINUTE
    clocks: Annotated[tuple[ClockSection, ...], Field(max_length=MAX_CLOCKS)] = _usual_clocks()

    @model_validator(mode="after")
    def _is_a_course(self) -> IncidentsSection:
        faults = []
        if self.lasting_s > self.critical_after_min * 60:
            faults.append("lasting_s is longer than critical_after_min: PP would be told later than agreed")
        if self.critical_after_min >= self.shout_after_min:
            faults.append("shout_after_min must be after critical_after_min: nothing is owed before")
        if self.shout_after_min + self.red_before_min > NOTICE_WITHIN / _MINUTE:
            faults.append("shout_after_min and red_before_min overlap within the eight hours: the shout comes first")
        names = [clock.name for clock in self.clocks]
        faults += [
            f"clocks: {name} appears twice" for name in sorted({name for name in names if names.count(name) > 1})
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def rules(self) -> Rules:
        """The rules as the node, the notifier and the watchdog read them."""
        return Rules(
            critical_after=self.critical_after_min * _MINUTE,
            hold_down=self.hold_down_min * _MINUTE,
            shout_within=self.shout_after_min * _MINUTE,
        )

    def gateway_lost_after(self, *heartbeats_s: float) -> timedelta:
        """How long a node may be silent that writes a heartbeat as seldom as the longest of these has it."""
        agreed = LOST_AFTER if self.gateway_lost_s is None else timedelta(seconds=self.gateway_lost_s)
        return max(agreed, timedelta(seconds=LOST_BEATS * max(heartbeats_s)))

    def lasting(self) -> timedelta:
        """How long a stop lasts before it is an incident."""
        return timedelta(seconds=self.lasting_s)

    def legal_clocks(self) -> dict[str, LegalClock]:
        """The clocks by their names."""
        return {clock.name: clock.record() for clock in self.clocks}


class RestorationSection(Section):
    """What a restoration asks for.

    ``four_eyes``: one account proposes it, another confirms within ``confirm_within_min``; a cut never waits for that.
    ``cameras_share`` of the cameras must be reachable, and the clock within ``max_clock_offset_s`` where its offset is
    known: else a motive is asked for.
    """

    four_eyes: bool = False
    confirm_within_min: Annotated[float, Field(ge=1, le=240)] = 15.0
    cameras_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_clock_offset_s: Annotated[float, Field(ge=0.01, le=60)] = 1.0

    def confirm_within(self) -> timedelta | None:
        """How long a proposal stands; None where one person suffices."""
        return self.confirm_within_min * _MINUTE if self.four_eyes else None
