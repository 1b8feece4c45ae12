"""When a notice is sent to whom, by which way, in numbers (C11, N03, N04)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.incidents.events import Level, NoticeAttempted, NoticeKind
from ops.incidents.incident import Attempt, Notice, Recipient
from ops.notices.sending import Pace, next_contacts, next_sending

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DEADLINE = NOON + timedelta(hours=8)
PACE = Pace()
ROUTES = ("first", "second")


def attempt(at: datetime, route: str = "first") -> Attempt:
    said = NoticeAttempted(
        notice="cut-1", route=route, sha256="0" * 64, server="-", dialogue="-", outcome="unreachable"
    )
    return Attempt(at, said)


def notice(*attempts: Attempt, recipients: tuple[Recipient, ...] = (), first: tuple[str, ...] = ("a@pp",)) -> Notice:
    queued = recipients or (Recipient("a@pp", Level.QUEUED, NOON),)
    return Notice("cut-1", NoticeKind.CUT, "<i@x>", "0" * 64, NOON, False, queued, attempts, first_recipients=first)


def simulated(deadline: datetime | None, until: datetime) -> list[tuple[datetime, str]]:
    """Every attempt of a notice that nobody takes, each failing after its whole limit."""
    made: list[Attempt] = []
    begun = []
    now = NOON
    while now < until:
        planned = next_sending(notice(*made), deadline=deadline, routes=ROUTES, pace=PACE, now=now)
        assert planned is not None
        now = max(now, planned.at)
        planned = next_sending(notice(*made), deadline=deadline, routes=ROUTES, pace=PACE, now=now)
        assert planned is not None
        begun.append((now, planned.route))
        now += timedelta(seconds=planned.limit_s)
        made.append(attempt(now, planned.route))
    return begun


def test_even_a_black_hole_leaves_an_attempt_a_minute_at_the_end() -> None:
    begun = [at for at, _ in simulated(DEADLINE, DEADLINE + timedelta(hours=1))]
    quarter = [at for at in begun if DEADLINE - timedelta(minutes=15) <= at <= DEADLINE]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(quarter)]
    assert quarter[0] - (DEADLINE - timedelta(minutes=15)) <= timedelta(minutes=2)
    assert max(gaps) <= 60
    assert DEADLINE - quarter[-1] <= timedelta(minutes=1)
    before = [at for at in begun if at < DEADLINE - timedelta(minutes=15)]
    waits = [later - earlier for earlier, later in pairwise(before)]
    assert max(waits) <= PACE.longest_wait + timedelta(seconds=PACE.limit_s)
    assert waits[0] < waits[2] < waits[4]


def test_the_second_way_is_taken_after_three_failures_and_then_in_turn() -> None:
    routes = [route for _, route in simulated(None, NOON + timedelta(hours=1))]
    assert routes[:7] == ["first", "first", "first", "second", "first", "second", "first"]


@given(
    offsets=st.lists(st.integers(0, 9 * 3600), max_size=30),
    now_s=st.integers(-3600, 10 * 3600),
)
def test_no_wait_goes_past_the_deadline_nor_past_its_bound(offsets: list[int], now_s: int) -> None:
    made = [attempt(NOON + timedelta(seconds=offset)) for offset in sorted(offsets)]
    now = NOON + timedelta(seconds=now_s)
    planned = next_sending(notice(*made), deadline=DEADLINE, routes=ROUTES, pace=PACE, now=now)
    assert planned is not None
    if not made:
        assert planned.at == NOON
    else:
        last = made[-1].at
        assert planned.at <= now + PACE.longest_wait
        assert planned.at <= max(last, DEADLINE - PACE.near) + PACE.longest_wait
        if last < DEADLINE:
            assert planned.at <= DEADLINE


@pytest.mark.parametrize(
    ("levels", "added", "expected"),
    [
        ([Level.SUBMITTED, Level.SUBMITTED], [], ()),
        ([Level.SUBMITTED, Level.FAILED], [], ("x@pp",)),
        ([Level.FAILED, Level.FAILED], [], ("x@pp", "y@pp")),
        ([Level.SUBMITTED, Level.FAILED], [("x@pp", Level.QUEUED)], ()),
        ([Level.SUBMITTED, Level.FAILED], [("x@pp", Level.FAILED)], ("y@pp",)),
        ([Level.FAILED, Level.FAILED], [("x@pp", Level.FAILED), ("y@pp", Level.FAILED)], ()),
    ],
)
def test_each_failure_is_made_good_once(
    levels: list[Level], added: list[tuple[str, Level]], expected: tuple[str, ...]
) -> None:
    # N04
    first = ("a@pp", "b@pp")
    recipients = tuple(Recipient(one, level, NOON) for one, level in [*zip(first, levels, strict=True), *added])
    assert next_contacts(notice(recipients=recipients, first=first), ["x@pp", "A@PP", "y@pp"]) == expected
