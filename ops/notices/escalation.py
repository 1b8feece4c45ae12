"""Who is called when nobody answers: mail, then telephone, then the on-call (P01, C13, N08). Pure.

PP cannot open a link into SYN's enclave, and we cannot telephone: each step calls one of SYN's own (the on-call, by
mail, by a gateway to SMS, by a webhook), and tells whom at PP to telephone. Rules:

1. The first step is due ``after`` the notice could have been read, each next one its own ``after`` later; past the
   last the plan begins again with the first that is no mail, until PP has acknowledged.
2. In the red state, close to the deadline and PP untold, no step waits longer than ``red_wait``.
3. A step that a person enters, of either party, counts as ours: the next one follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ops.incidents.duties import Rules, has_deadline, to_be_told, told_from
from ops.incidents.events import Escalated
from ops.incidents.incident import Incident

Means = Literal["mail", "phone", "on-call", "webhook"]

MAX_STEPS = 100
"""Steps of one incident: a day and more of calls. Past it the red state and the watchdog go on, no call does."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: by ``means`` to ``contact`` (a function, and how it is reached), ``after`` the one before."""

    means: Means
    contact: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class EscalationPlan:
    """The steps in their order; ``red_before`` is how long before the deadline an untold incident turns red."""

    steps: tuple[Step, ...] = ()
    red_before: timedelta = timedelta(hours=1)
    red_wait: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NextStep:
    """A step that is due at ``at``; ``level`` is its place in the plan, from 1."""

    level: int
    step: Step
    at: datetime

    def said(self) -> Escalated:
        """As the incident's book keeps it."""
        return Escalated(level=self.level, contact=self.step.contact, means=self.step.means)


def is_red(incident: Incident, plan: EscalationPlan, rules: Rules, now: datetime) -> bool:
    """Whether the deadline is close, or passed, and nobody at PP is known to have been told (N08)."""
    owed = has_deadline(incident) and to_be_told(incident, rules)
    return owed and incident.informed_at is None and now >= incident.deadline - plan.red_before


def next_step(incident: Incident, plan: EscalationPlan, rules: Rules, now: datetime) -> NextStep | None:
    """Return the step that comes next, due now or later; None where nobody is to be called."""
    if not plan.steps or not has_deadline(incident) or not to_be_told(incident, rules):
        return None
    if incident.acknowledged_at is not None or incident.resolved_at is not None:
        return None
    taken = [(event.at, event.said) for event in incident.timeline if isinstance(event.said, Escalated)]
    if len(taken) >= MAX_STEPS:
        return None
    index = _place_after([said for _, said in taken], plan.steps)
    step = plan.steps[index]
    before = taken[-1][0] if taken else told_from(incident, rules)
    wait = min(step.after, plan.red_wait) if is_red(incident, plan, rules, now) else step.after
    return NextStep(index + 1, step, before + wait)


def _place_after(taken: Sequence[Escalated], steps: Sequence[Step]) -> int:
    """The index of the step that follows what was done last, by whichever party."""
    if not taken:
        return 0
    following = taken[-1].level
    if following < len(steps):
        return following
    return next((place for place, step in enumerate(steps) if step.means != "mail"), 0)
