"""Planned technical changes of either party (article 8, « Évolutions techniques »; C15). Pure.

====================  ==================================================================================
from                  one step
====================  ==================================================================================
announced             classified, withdrawn
classified, agreed    classified anew, agreed, scheduled, withdrawn
scheduled             classified anew (which takes it off the schedule), agreed, scheduled anew, live, withdrawn
live, withdrawn       none
====================  ==================================================================================

Two rules. A major change goes live thirty calendar days after its announcement at the earliest, counted in Paris:
announced on D, from D + 30; earlier only from a day that both parties have agreed to on record. Whether a change is
major, and whether it takes a project structure, is never computed: somebody decides it, with a reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from camera_registry.paris import day_of
from ops.errors import ChangeRefused
from ops.parties import Party

NOTICE_DAYS = 30
"""Calendar days between a major change's announcement and its going live (article 8)."""


class ChangeState(StrEnum):
    """How far a change has come."""

    ANNOUNCED = "announced"
    CLASSIFIED = "classified"
    AGREED = "agreed"
    SCHEDULED = "scheduled"
    LIVE = "live"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Classification:
    """What was decided of a change: ``by`` is a function or an account, ``reference`` that of the decision."""

    major: bool
    project_structure: bool
    decided_by: str
    reference: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Agreement:
    """A party's agreement that the change goes live from ``not_before`` on."""

    not_before: date
    reference: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of ``party``'s system; ``wished_on`` is the day on which the party would have it live."""

    number: int
    party: Party
    title: str
    description: str
    reference: str | None
    announced_at: datetime
    wished_on: date
    classification: Classification | None = None
    agreements: Mapping[Party, Agreement] = field(default_factory=lambda: MappingProxyType({}))
    scheduled_on: date | None = None
    went_live_at: datetime | None = None
    withdrawn_at: datetime | None = None
    withdrawal: str | None = None

    @property
    def state(self) -> ChangeState:
        """How far it has come."""
        if self.withdrawn_at is not None:
            return ChangeState.WITHDRAWN
        if self.went_live_at is not None:
            return ChangeState.LIVE
        if self.scheduled_on is not None:
            return ChangeState.SCHEDULED
        if self.classification is None:
            return ChangeState.ANNOUNCED
        return ChangeState.AGREED if self.agreements.keys() == set(Party) else ChangeState.CLASSIFIED

    @property
    def earliest(self) -> date:
        """The first day in Paris on which it may go live, as it stands."""
        announced_on = day_of(self.announced_at)
        if self.classification is None or not self.classification.major:
            return announced_on
        notice_over = notice_ends(announced_on)
        if self.agreements.keys() != set(Party):
            return notice_over
        agreed = max(agreement.not_before for agreement in self.agreements.values())
        return max(announced_on, min(notice_over, agreed))


def notice_ends(announced_on: date) -> date:
    """The first day on which what was announced on that day may go live: thirty calendar days later."""
    return announced_on + timedelta(days=NOTICE_DAYS)


def classify(change: Change, classification: Classification) -> Change:
    """Record the decision on a change; a schedule that stood is void. Raises ChangeRefused."""
    _require_open(change)
    return replace(change, classification=classification, scheduled_on=None)


def agree(change: Change, party: Party, agreement: Agreement) -> Change:
    """Record a party's agreement to an earlier day. Raises ChangeRefused."""
    _require_open(change)
    if change.classification is None:
        raise ChangeRefused("L'évolution n'est pas classée : il faut d'abord décider si elle est majeure.")
    return replace(change, agreements=MappingProxyType({**change.agreements, party: agreement}))


def schedule(change: Change, day: date) -> Change:
    """Set the day on which it goes live. Raises ChangeRefused for one that is too early (C15)."""
    _require_open(change)
    if change.classification is None:
        raise ChangeRefused("L'évolution n'est pas classée : il faut d'abord décider si elle est majeure.")
    if day < change.earliest:
        raise ChangeRefused(
            f"Mise en service au plus tôt le {change.earliest:%d/%m/%Y} : une évolution majeure est annoncée "
            f"{NOTICE_DAYS} jours calendaires avant (article 8), sauf accord enregistré des deux parties."
        )
    return replace(change, scheduled_on=day)


def go_live(change: Change, at: datetime) -> Change:
    """Record that it went live. Raises ChangeRefused before its day, or where it has none."""
    _require_open(change)
    if change.scheduled_on is None:
        raise ChangeRefused("L'évolution n'est pas programmée.")
    if day_of(at) < change.scheduled_on:
        raise ChangeRefused(f"L'évolution est programmée pour le {change.scheduled_on:%d/%m/%Y}.")
    return replace(change, went_live_at=at)


def withdraw(change: Change, at: datetime, reason: str) -> Change:
    """Give it up. Raises ChangeRefused."""
    _require_open(change)
    return replace(change, withdrawn_at=at, withdrawal=reason)


def _require_open(change: Change) -> None:
    if change.state is ChangeState.WITHDRAWN:
        raise ChangeRefused("L'évolution a été retirée.")
    if change.state is ChangeState.LIVE:
        raise ChangeRefused("L'évolution est en service.")
