"""The convention's calendar: terms, renewal, denunciation, notices, reminders; never an end by itself (C18, C22)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.policy import Convention
from camera_registry.paris import PARIS, day_of, months_after, start_of_day
from ops import calendar
from ops.calendar import Act, ActKind, EndGround
from ops.errors import ActRefused
from ops.parties import Party

SIGNED = Convention("c", datetime(2025, 10, 21, 8, tzinfo=UTC))
DAY = timedelta(days=1)
days = st.dates(date(2020, 1, 1), date(2060, 12, 31))


def act(kind: ActKind, day: date, number: int = 1, **changes: object) -> Act:
    usual = Act(
        number=number,
        kind=kind,
        party=Party.PP,
        reference="LRAR 1A",
        day=day,
        recorded_at=start_of_day(day) + DAY,
        recorded_by="officer",
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


@given(days, st.integers(-240, 240))
def test_months_end_with_their_month(day: date, months: int) -> None:
    there = months_after(day, months)
    assert (there.year * 12 + there.month) - (day.year * 12 + day.month) == months
    assert there.day == day.day or (there.day < day.day and (there + DAY).month != there.month)


def test_a_month_after_the_31st_and_years_after_the_29th_of_february() -> None:
    assert months_after(date(2024, 1, 31), 1) == date(2024, 2, 29)
    assert months_after(date(2023, 1, 31), 1) == date(2023, 2, 28)
    assert months_after(date(2024, 2, 29), 60) == date(2029, 2, 28)
    assert months_after(date(2024, 3, 31), -1) == date(2024, 2, 29)
    with pytest.raises(ValueError, match="no date"):
        months_after(date(9999, 12, 1), 1)


@given(days)
def test_terms_fall_on_the_same_day_in_paris_five_and_ten_years_on(day: date) -> None:
    begun = Convention("c", datetime.combine(day, datetime.min.time(), PARIS) + timedelta(hours=9))
    for years, term in ((5, begun.first_term), (10, begun.last_term)):
        last = term - timedelta(microseconds=1)
        assert day_of(term) == months_after(day, 12 * years)
        assert day_of(last) == months_after(day, 12 * years) - DAY
    assert begun.in_force(begun.last_term - DAY)
    assert not begun.in_force(begun.last_term)


def test_five_years_of_silence_renew_it_once() -> None:
    term = SIGNED.first_term
    assert not calendar.is_due_for_renewal(SIGNED, [], term - DAY)
    assert calendar.is_due_for_renewal(SIGNED, [], term)
    renewed = [act(ActKind.RENEWED, day_of(term))]
    assert not calendar.is_due_for_renewal(SIGNED, renewed, term + DAY)
    assert calendar.standing(SIGNED, renewed, term).term == SIGNED.last_term


def test_a_denunciation_keeps_it_from_being_renewed_and_ends_nothing_by_itself() -> None:
    denounced = [act(ActKind.DENOUNCED, date(2030, 9, 1))]
    at_term = calendar.standing(SIGNED, denounced, SIGNED.first_term)
    assert not calendar.is_due_for_renewal(SIGNED, denounced, SIGNED.first_term)
    assert (at_term.ended_at, at_term.to_be_recorded) == (None, True)
    assert at_term.may_end_from == datetime(2030, 12, 1, 23, tzinfo=UTC)
    assert SIGNED.in_force(SIGNED.first_term + 100 * DAY)
    withdrawn = [*denounced, act(ActKind.DENUNCIATION_WITHDRAWN, date(2030, 9, 9), 2)]
    assert calendar.is_due_for_renewal(SIGNED, withdrawn, SIGNED.first_term)


@given(days)
def test_a_denunciation_has_three_months_and_a_formal_notice_thirty_days(day: date) -> None:
    assert day_of(calendar.denunciation_ends(day) - timedelta(microseconds=1)) == months_after(day, 3)
    assert day_of(calendar.formal_notice_ends(day) - timedelta(microseconds=1)) == day + 30 * DAY


def test_an_end_is_recorded_with_what_article_11_asks_for() -> None:
    denounced = [act(ActKind.DENOUNCED, date(2027, 1, 31))]
    earliest = calendar.denunciation_ends(date(2027, 1, 31))
    assert earliest == datetime(2027, 4, 30, 22, tzinfo=UTC)
    end = act(ActKind.END_RECORDED, date(2027, 2, 1), 2, ground=EndGround.DENUNCIATION, effect=earliest)
    calendar.check(SIGNED, denounced, end)
    for refused in (
        replace(end, effect=earliest - DAY),
        replace(end, effect=None),
        replace(end, ground=EndGround.TERMINATION),
    ):
        with pytest.raises(ActRefused):
            calendar.check(SIGNED, denounced, refused)
    with pytest.raises(ActRefused):
        calendar.check(SIGNED, [], end)
    calendar.check(SIGNED, [], replace(end, ground=EndGround.AGREEMENT, effect=earliest - 50 * DAY))
    ended = [*denounced, end]
    assert calendar.standing(SIGNED, ended, earliest).ended_at == earliest
    with pytest.raises(ActRefused, match="déjà"):
        calendar.check(SIGNED, ended, replace(end, number=3))
    undone = [*ended, act(ActKind.END_WITHDRAWN, date(2027, 3, 1), 3)]
    assert calendar.standing(SIGNED, undone, earliest).ended_at is None


def test_thirty_days_after_a_formal_notice_a_party_may_terminate_unless_it_was_met() -> None:
    notice = act(ActKind.FORMAL_NOTICE, date(2027, 6, 1), 7)
    from_then = calendar.formal_notice_ends(notice.day)
    known = calendar.standing(SIGNED, [notice], from_then)
    assert (known.may_terminate_from, known.ended_at, known.to_be_recorded) == (from_then, None, False)
    end = act(ActKind.END_RECORDED, date(2027, 6, 2), 8, ground=EndGround.TERMINATION, effect=from_then, answers=7)
    calendar.check(SIGNED, [notice], end)
    with pytest.raises(ActRefused, match="30 jours"):
        calendar.check(SIGNED, [notice], replace(end, effect=from_then - DAY))
    met = act(ActKind.FORMAL_NOTICE_MET, date(2027, 6, 20), 8, answers=7)
    calendar.check(SIGNED, [notice], met)
    assert calendar.standing(SIGNED, [notice, met], from_then).may_terminate_from is None
    for refused in (replace(end, number=9), replace(met, number=9)):
        with pytest.raises(ActRefused):
            calendar.check(SIGNED, [notice, met], refused)


def test_acts_that_make_no_sense_are_refused() -> None:
    for wrong in (
        act(ActKind.DENUNCIATION_WITHDRAWN, date(2027, 1, 1)),
        act(ActKind.END_WITHDRAWN, date(2027, 1, 1)),
        act(ActKind.PVPP_ORDER, date(2027, 1, 1)),
        act(ActKind.DENOUNCED, date(2027, 1, 5), recorded_at=datetime(2027, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(ActRefused):
            calendar.check(SIGNED, [], wrong)
    with pytest.raises(ActRefused, match="déjà"):
        calendar.check(SIGNED, [act(ActKind.DENOUNCED, date(2027, 1, 1))], act(ActKind.DENOUNCED, date(2027, 1, 9), 2))


@given(days)
@settings(max_examples=20)
def test_each_term_is_called_to_mind_five_times_and_never_twice(day: date) -> None:
    # C18: 12, 6, 3, 1 months and 7 days ahead
    begun = Convention("c", datetime.combine(day, datetime.min.time(), PARIS) + timedelta(hours=9))
    told: list[str] = []
    at = begun.first_term - 400 * DAY
    while at < begun.first_term:
        told += [reminder.id for reminder in calendar.reminders_due(begun, [], at, told)]
        at += timedelta(hours=20)
    assert [each.rpartition("-")[2] for each in told] == ["12m", "6m", "3m", "1m", "7d"]
    assert len(set(told)) == 5


def test_after_a_long_silence_only_the_nearest_reminder_is_sent() -> None:
    (reminder,) = calendar.reminders_due(SIGNED, [], SIGNED.first_term - 20 * DAY)
    assert (reminder.lead, reminder.what, reminder.term) == ("1m", "renewal", SIGNED.first_term)
    assert calendar.reminders_due(SIGNED, [], SIGNED.first_term - 500 * DAY) == []


def test_the_pvpps_order_and_a_recorded_end_have_their_reminders_too() -> None:
    # C22
    until = datetime(2027, 4, 6, 22, tzinfo=UTC)
    acts = [act(ActKind.PVPP_ORDER, date(2024, 4, 7), effect=until)]
    due = calendar.reminders_due(SIGNED, acts, until - 5 * DAY)
    assert [(each.what, each.lead) for each in due] == [("pvpp-order", "7d")]
    newer = [*acts, act(ActKind.PVPP_ORDER, date(2027, 3, 1), 2, effect=until + 1000 * DAY)]
    assert calendar.standing(SIGNED, newer, until).pvpp_until == until + 1000 * DAY
    assert calendar.reminders_due(SIGNED, newer, until - 5 * DAY) == []
