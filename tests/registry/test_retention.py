"""What a recorder has of a camera against the three numbers: kept, accessible, destroyed (C04, L02)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry.paris import days_before
from camera_registry.retention import SEGMENT, Breach, Verdict, judge, keeping_order, terms_of
from camera_registry.retention_store import CLAIM_LASTS, Finding, RetentionStore, Transition
from camera_registry.spans import Span, joined, within, without
from halfgateway.database import Database
from tests.held_clock import HeldClock
from tests.rights import order

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
LONG_AGO = NOW - 400 * DAY
ORDER = order(["cam-1"])


def found(*spans: tuple[timedelta, timedelta], days: int = 30, now: datetime = NOW, **more: object) -> Verdict:
    """The verdict on footage told by how long ago it begins and ends."""
    footage = [Span(now - begins, now - ends) for begins, ends in spans]
    return judge(footage, order(["cam-1"], retention_min_days=0, retention_max_days=days), now, LONG_AGO, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spans", "days", "breaches"),
    [
        ([(20 * DAY, MINUTE)], 30, set()),
        ([(10 * DAY + 2 * MINUTE, MINUTE)], 30, set()),
        ([(10 * DAY - HOUR, MINUTE)], 30, {Breach.EARLY_PURGE}),
        ([(10 * DAY + 10 * SEGMENT / 20, MINUTE)], 30, {Breach.EARLY_PURGE}),  # ten days, but no segment more
        ([(31 * DAY, MINUTE)], 30, {Breach.LATE_PURGE}),
        ([(30 * DAY + SEGMENT / 2, MINUTE)], 30, set()),  # a segment that is being purged
        ([(7 * DAY, MINUTE)], 7, set()),  # the order's maximum wins over the ten days
        ([(8 * DAY, MINUTE)], 7, {Breach.LATE_PURGE}),
        ([(6 * DAY, MINUTE)], 7, {Breach.EARLY_PURGE}),
        ([(20 * DAY, 5 * DAY), (5 * DAY - HOUR, MINUTE)], 30, {Breach.GAP}),
        ([(20 * DAY, 5 * DAY), (5 * DAY - MINUTE / 2, MINUTE)], 30, set()),
        ([(20 * DAY, 12 * DAY), (11 * DAY, MINUTE)], 30, set()),  # a gap before the window is nobody's
        ([(20 * DAY, 10 * DAY + HOUR), (9 * DAY, MINUTE)], 30, {Breach.GAP}),  # and not an early purge
        ([(20 * DAY, 10 * MINUTE)], 30, set()),
        ([(20 * DAY, HOUR)], 30, {Breach.GAP}),  # it is recorded no more
        ([(20 * DAY, 15 * DAY)], 30, {Breach.GAP}),
        ([], 30, {Breach.NO_FOOTAGE}),
        ([(400 * DAY, 399 * DAY)], 30, {Breach.LATE_PURGE, Breach.GAP}),
    ],
)
def test_each_breach_is_found_and_no_other(
    spans: list[tuple[timedelta, timedelta]], days: int, breaches: set[Breach]
) -> None:  # C04, L02
    assert found(*spans, days=days).breaches == breaches


def test_a_camera_added_five_days_ago_is_not_early() -> None:  # C04
    for recorded_for, breaches in ((5 * DAY, set()), (4.5 * DAY, set()), (2 * DAY, {Breach.EARLY_PURGE})):
        footage = [Span(NOW - recorded_for, NOW)]
        assert judge(footage, ORDER, NOW, NOW - 5 * DAY).breaches == breaches
    assert judge([], ORDER, NOW, NOW - HOUR).breaches == set()


def test_what_a_hold_keeps_is_neither_late_nor_hides_an_early_purge() -> None:  # L26, L02
    held = [Span(NOW - 60 * DAY, NOW - 59 * DAY)]
    kept = (60 * DAY, 59 * DAY)
    assert found(kept, (20 * DAY, MINUTE), held=held).breaches == set()
    assert found(kept, (3 * DAY, MINUTE), held=held).breaches == {Breach.EARLY_PURGE}
    assert found((60 * DAY, 58 * DAY), (20 * DAY, MINUTE), held=held).breaches == {Breach.LATE_PURGE}


def test_a_recorder_that_tells_only_its_first_and_last_instant_is_not_judged_by_gaps() -> None:
    verdict = found((20 * DAY, HOUR), verified=False)
    assert (verdict.breaches, verdict.gaps, verdict.verified) == (frozenset(), (), False)
    assert found((10 * DAY, timedelta()), verified=False).breaches == set()
    assert found((9 * DAY, timedelta()), verified=False).breaches == {Breach.EARLY_PURGE}


@pytest.mark.parametrize("now", ["2026-10-25T12:00:00+00:00", "2026-11-02T09:00:00+00:00", "2027-03-30T08:00:00+00:00"])
def test_days_are_counted_by_the_clock_in_paris_when_it_is_changed(now: str) -> None:  # C03
    at = datetime.fromisoformat(now)
    terms = terms_of(ORDER, at)
    assert terms.accessible_from == days_before(at, 10)
    assert terms.accessible_from - (at - 10 * DAY) in {HOUR, -HOUR}  # the wall clock, not 240 hours
    exact = judge([Span(terms.kept_from, at)], ORDER, at, LONG_AGO)
    assert exact.breaches == set()
    later = judge([Span(terms.kept_from + timedelta(seconds=1), at)], ORDER, at, LONG_AGO)
    assert later.breaches == {Breach.EARLY_PURGE}


def test_the_shortest_maximum_prevails() -> None:  # C04, L02
    short = order(["cam-1"], reference="a", retention_min_days=0, retention_max_days=8)
    over = order(["cam-1"], reference="b", retention_max_days=10, last_day=NOW.date() - DAY)
    live = order(["cam-1"], reference="c", recorded=False, retention_min_days=0, retention_max_days=1)
    withdrawn = order(["cam-1"], reference="d", retention_min_days=0, retention_max_days=2, withdrawn_at=NOW - DAY)
    assert keeping_order([ORDER, short, over, live, withdrawn], NOW) == short
    assert keeping_order([ORDER, over], NOW) == ORDER
    assert keeping_order([over, live], NOW) == over
    assert keeping_order([live, withdrawn], NOW) is None
    assert terms_of(None, NOW).destroyed_before == days_before(NOW, 31)  # L02: the law's own


spans = st.lists(
    st.tuples(st.integers(0, 40 * 1440), st.integers(0, 40 * 1440)).map(
        lambda minutes: Span(NOW - max(minutes) * MINUTE, NOW - min(minutes) * MINUTE)
    ),
    max_size=6,
)


@given(spans, spans, st.integers(1, 31), st.integers(0, 40))
def test_the_judge_says_of_any_footage_what_its_instants_say(
    footage: list[Span], held: list[Span], days: int, age_days: int
) -> None:  # C04
    limit = order(["cam-1"], retention_min_days=0, retention_max_days=days)
    verdict = judge(footage, limit, NOW, NOW - age_days * DAY, held=held)
    terms = verdict.terms
    assert terms.destroyed_before <= terms.accessible_from
    assert terms.destroyed_before <= terms.kept_from
    past = within(without(footage, held), LONG_AGO, terms.destroyed_before - SEGMENT)
    assert (Breach.LATE_PURGE in verdict.breaches) == bool(past)
    whole = judge([*footage, Span(terms.kept_from, NOW)], limit, NOW, NOW - age_days * DAY, held=held)
    assert whole.breaches - {Breach.LATE_PURGE} == set()
    assert not {Breach.EARLY_PURGE, Breach.NO_FOOTAGE} <= verdict.breaches
    assert (Breach.GAP in verdict.breaches) == (verdict.gap_count > 0)
    for gap in verdict.gaps:
        assert gap.start >= terms.accessible_from
        assert within(footage, gap.start, gap.end) == []
    shuffled = judge(footage[::-1], limit, NOW, NOW - age_days * DAY, held=held[::-1])
    assert shuffled == verdict


@given(spans, spans)
def test_spans_are_sets_of_instants(some: list[Span], others: list[Span]) -> None:
    left = without(some, others)
    assert left == joined(left)
    for instant in {edge for span in (*some, *others) for edge in (span.start, span.end)}:
        is_left = any(span.start <= instant < span.end for span in left)
        is_there = any(span.start <= instant < span.end for span in some)
        is_taken = any(span.start <= instant < span.end for span in others)
        assert is_left == (is_there and not is_taken)


@pytest.fixture
def store(database: Database, clock: HeldClock) -> RetentionStore:
    return RetentionStore(database.sessions, clock)


async def test_a_round_is_begun_once_a_day_and_taken_over_from_who_never_ends_it(
    store: RetentionStore, clock: HeldClock
) -> None:
    day = clock.now().date()
    number = await store.claim(day)
    assert number is not None
    assert await store.claim(day) is None
    assert await store.claim(None) not in {None, number}
    clock.advance(CLAIM_LASTS)
    assert await store.claim(day) == number
    await store.keep(number, [], told)
    clock.advance(CLAIM_LASTS)
    assert await store.claim(day) is None
    assert (await store.standing()).probed_at == clock.now() - CLAIM_LASTS
    assert await store.claim(day + DAY) is not None


async def test_a_breach_is_told_when_it_begins_and_when_it_is_mended(store: RetentionStore, clock: HeldClock) -> None:
    early, well = found((3 * DAY, MINUTE)), found((20 * DAY, MINUTE))

    async def keep(verdict: Verdict | None) -> list[Transition]:
        number = await store.claim(None)
        assert number is not None
        finding = Finding(camera="cam-1", probed_at=clock.now(), reached=verdict is not None, verdict=verdict)
        return await store.keep(number, [finding], told)

    assert [(each.breach, each.begun) for each in await keep(early)] == [(Breach.EARLY_PURGE, True)]
    assert await keep(early) == []
    assert await keep(None) == []  # a recorder that does not answer mends nothing
    (standing,) = (await store.standing()).findings
    assert (standing.reached, standing.verdict) == (False, early)
    assert [(each.breach, each.begun) for each in await keep(well)] == [(Breach.EARLY_PURGE, False)]


async def test_where_the_trace_cannot_be_written_nothing_is_kept(store: RetentionStore, clock: HeldClock) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("unwritable")

    number = await store.claim(None)
    assert number is not None
    finding = Finding(camera="cam-1", probed_at=clock.now(), reached=True, verdict=found((3 * DAY, MINUTE)))
    with pytest.raises(RuntimeError):
        await store.keep(number, [finding], broken)
    assert (await store.standing()).findings == ()


async def told(*_: object) -> None:
    """The trace has taken the entries."""
