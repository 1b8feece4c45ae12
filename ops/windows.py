"""Maintenance windows: an interruption that is announced, begins and ends by the calendar (P07). Pure.

::

    planned ── starts_at ── drain: no new stream ── cut, ground maintenance ── ends_at ── pre-flight ── restored
                                                                                           └ fails: stays cut, alarm

What is to be done is computed anew at each look from the window, the clock and the interconnection's own state: the
cut bears the window's incident, so that a node that was down, or another node, neither cuts twice nor reopens what
somebody else has cut meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ops.errors import WindowRefused
from ops.interconnection import Author, InterconnectionState

LONGEST_WINDOW = timedelta(days=7)
"""A longer interruption is no maintenance window but a cut that a person ends."""

LONGEST_DRAIN = timedelta(hours=1)
"""Streams that run may go on for so long into a window at most; half of it at least is left for the work."""


class WindowState(StrEnum):
    """How far a window has come."""

    PLANNED = "planned"
    UNDER_WAY = "under-way"
    OVER = "over"
    HELD = "held"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What a node is to do about a window now."""

    WAIT = "wait"
    DRAIN = "drain"
    CUT = "cut"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """One planned interruption. ``drain`` is how long new streams are refused before those that run are cut.

    ``planned_by`` is the account whose decision also ends it; ``author`` their hand, as a restoration has it.
    ``held_at``: the pre-flight at its end failed, and a person restores.
    """

    number: int
    starts_at: datetime
    ends_at: datetime
    drain: timedelta
    reason: str
    change: int | None
    planned_by: str
    author: Author
    announced_at: datetime
    held_at: datetime | None = None
    withdrawn_at: datetime | None = None
    withdrawal: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a window. Raises WindowRefused."""
        length = self.ends_at - self.starts_at
        if not timedelta() < length <= LONGEST_WINDOW:
            raise WindowRefused("Une fenêtre de maintenance se termine après son début, et au plus sept jours après.")
        if not timedelta() <= self.drain <= min(LONGEST_DRAIN, length / 2):
            raise WindowRefused("L'écoulement dure au plus une heure, et au plus la moitié de la fenêtre.")

    @property
    def incident(self) -> str:
        """The id of the incident that its cut opens: the same on every node."""
        return f"window-{self.number}"

    @property
    def cut_at(self) -> datetime:
        """When what still runs is cut."""
        return self.starts_at + self.drain

    def state(self, now: datetime) -> WindowState:
        """How far it has come."""
        if self.withdrawn_at is not None:
            return WindowState.WITHDRAWN
        if self.held_at is not None:
            return WindowState.HELD
        if now < self.starts_at:
            return WindowState.PLANNED
        return WindowState.UNDER_WAY if now < self.ends_at else WindowState.OVER


def plan(window: MaintenanceWindow, others: tuple[MaintenanceWindow, ...]) -> MaintenanceWindow:
    """Let a window be planned that is to come and meets no other. Raises WindowRefused."""
    if window.starts_at <= window.announced_at:
        raise WindowRefused("Une interruption programmée s'annonce avant son début.")
    for other in others:
        if other.withdrawn_at is None and window.starts_at < other.ends_at and other.starts_at < window.ends_at:
            raise WindowRefused(f"La fenêtre n° {other.number} couvre déjà une partie de cette période.")
    return window


def withdraw(window: MaintenanceWindow, at: datetime, reason: str) -> MaintenanceWindow:
    """Give up a window that has not begun; one that has is ended by a restoration. Raises WindowRefused."""
    if window.state(at) is not WindowState.PLANNED:
        raise WindowRefused("Seule une fenêtre qui n'a pas commencé peut être retirée.")
    return replace(window, withdrawn_at=at, withdrawal=reason)


def next_step(window: MaintenanceWindow, state: InterconnectionState, now: datetime) -> Step:
    """What is to be done about the window now, given how the interconnection stands.

    What is cut for another reason is not cut again, nor reopened by a window's end.
    """
    if window.withdrawn_at is not None or now < window.starts_at:
        return Step.WAIT
    is_ours = state.incident == window.incident
    if now >= window.ends_at:
        return Step.REOPEN if is_ours and window.held_at is None else Step.WAIT
    if now < window.cut_at:
        return Step.DRAIN
    has_been_cut = is_ours or window.incident in state.settled
    return Step.WAIT if has_been_cut or state.closed else Step.CUT


def drains_until(windows: Iterable[MaintenanceWindow], state: InterconnectionState, now: datetime) -> datetime | None:
    """When the window is over that lets no new stream begin now; None where none does."""
    closing = {Step.DRAIN, Step.CUT}
    return max((each.ends_at for each in windows if next_step(each, state, now) in closing), default=None)


def held(windows: Iterable[MaintenanceWindow], state: InterconnectionState, now: datetime) -> int:
    """How many windows are over and still cut: their pre-flight failed, and a person has to look."""
    return sum(each.ends_at <= now and each.incident == state.incident for each in windows)
