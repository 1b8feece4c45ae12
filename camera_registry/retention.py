"""Whether recordings are kept, accessible and destroyed as they must be, by what a recorder says it has (C04, L02).

Three numbers for each camera, each counted in Paris as C03 says::

    destroyed_before      kept_from   accessible_from                                              now
    ─────┼────────────────────┼──────────────┼──────────────────────────────────────────────────────┼
    late │  may be kept       │ a segment    │   ten days, or the order's maximum if that is less   │

Where the order's maximum leaves no room for ten days and a segment, the maximum wins (:data:`AHEAD`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from camera_registry.orders import CONVENTION_RETENTION_DAYS, LONGEST_RETENTION_DAYS, Order
from camera_registry.paris import days_before
from camera_registry.spans import Span, joined, within, without

SEGMENT: Final = timedelta(minutes=1)
"""A recorder purges whole segments, by a clock that is off by seconds: so much more is kept than the ten days, and so
much past the maximum is not yet called late."""

AHEAD: Final = timedelta(hours=2)
"""How long before the order's maximum a recorder may destroy, where that leaves no room for ten days and a segment: an
hour that Paris has twice in October, and the rounds that it takes not to be late."""

SHORTEST_GAP: Final = timedelta(minutes=1)
"""A shorter interruption is a camera that starts again, or two segments that do not join."""

LIVE_EDGE: Final = timedelta(minutes=15)
"""How long after it was filmed footage may come into a recorder's index; past it, the camera is not recorded."""

SET_UP: Final = timedelta(days=1)
"""How long after it was put on record a camera may be recorded for the first time."""

MAX_GAPS: Final = 50
"""Gaps that a verdict names, the newest first: one for each ten minutes of a bad day. All are counted."""


class Breach(StrEnum):
    """What is not as it must be."""

    NO_FOOTAGE = "no-footage"
    EARLY_PURGE = "early-purge"
    LATE_PURGE = "late-purge"
    GAP = "gap"

    @property
    def wording(self) -> str:
        """What people read."""
        return _WORDINGS[self]


_WORDINGS = {
    Breach.NO_FOOTAGE: "aucun enregistrement",
    Breach.EARLY_PURGE: "purge anticipée",
    Breach.LATE_PURGE: "destruction en retard",
    Breach.GAP: "lacune",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """The three numbers as instants: what is older than the first is destroyed, what is younger is kept."""

    destroyed_before: datetime
    kept_from: datetime
    accessible_from: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a recorder's answer amounts to. ``gaps`` are the newest; ``gap_count`` how many there are within the window.

    ``verified`` is False where the recorder tells only its first and last instant: gaps are then not known.
    """

    terms: Terms
    oldest: datetime | None
    newest: datetime | None
    gaps: tuple[Span, ...]
    gap_count: int
    breaches: frozenset[Breach]
    verified: bool = True


def keeping_orders(orders: Iterable[Order], now: datetime) -> Sequence[Order]:
    """The orders by which footage is kept: those that allow recording, and of them those in force if any is.

    One that is suspended or over shows nothing, and its footage goes by its maximum all the same.
    """
    recording = [order for order in orders if order.recorded and order.withdrawn_at is None]
    return [order for order in recording if order.state(now) == "in-force"] or recording


def keeping_order(orders: Iterable[Order], now: datetime) -> Order | None:
    """Of the :func:`keeping_orders` the one whose maximum is the shortest, and prevails; None where there is none."""
    counting = keeping_orders(orders, now)
    return min(counting, key=lambda order: (order.retention_max_days, order.reference), default=None)


def terms_of(order: Order | None, now: datetime) -> Terms:
    """The three instants of a camera; without an order the law's own maximum counts (CSI L252-5)."""
    longest = order.retention_max_days if order is not None else LONGEST_RETENTION_DAYS
    destroyed_before = days_before(now, longest)
    accessible_from = days_before(now, min(CONVENTION_RETENTION_DAYS, longest))
    wanted = accessible_from - SEGMENT
    kept_from = wanted if destroyed_before <= wanted else destroyed_before + AHEAD
    return Terms(destroyed_before, kept_from, accessible_from)


def judge(
    footage: Sequence[Span],
    order: Order | None,
    now: datetime,
    added_at: datetime,
    *,
    held: Sequence[Span] = (),
    verified: bool = True,
) -> Verdict:
    """Judge what a recorder has of one camera, which was put on record at ``added_at``.

    ``order`` is the one under which it is kept (:func:`keeping_order`), ``held`` what judicial holds in force keep.
    Where it is not ``verified``, the ten days alone are asked for: nobody knows of a segment more.
    """
    terms = terms_of(order, now)
    there = joined(Span(span.start, min(span.end, now)) for span in footage)
    free = without(there, held)
    breaches = set()
    if free and free[0].start < terms.destroyed_before - SEGMENT:
        breaches.add(Breach.LATE_PURGE)
    window = within(there, terms.kept_from, now)
    kept_before = bool(free) and free[0].start < terms.kept_from
    believed = terms.kept_from if verified else terms.accessible_from + SEGMENT
    due = max(terms.kept_from, believed, added_at + SET_UP)
    if not kept_before and due < now and not (window and window[0].start <= due):
        breaches.add(Breach.EARLY_PURGE if there else Breach.NO_FOOTAGE)
    watched_from = max(terms.accessible_from, terms.kept_from)
    begins = watched_from if kept_before or not window else max(window[0].start, watched_from)
    gaps = _gaps(window, begins, now) if there and verified else []
    if gaps:
        breaches.add(Breach.GAP)
    return Verdict(
        terms=terms,
        oldest=there[0].start if there else None,
        newest=there[-1].end if there else None,
        gaps=tuple(gaps[::-1][:MAX_GAPS]),
        gap_count=len(gaps),
        breaches=frozenset(breaches),
        verified=verified,
    )


def _gaps(window: Sequence[Span], begins: datetime, now: datetime) -> list[Span]:
    """Where nothing is between two instants, but for what is too short, or too young to be there yet."""
    missing = without([Span(begins, now)], window)
    return [gap for gap in missing if gap.end - gap.start > (LIVE_EDGE if gap.end == now else SHORTEST_GAP)]
