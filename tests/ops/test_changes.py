"""Planned changes: thirty calendar days in Paris, decisions on record, an earlier day only by both parties (C15)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry.paris import PARIS, day_of
from ops import changes
from ops.changes import NOTICE_DAYS, Agreement, Change, ChangeState, Classification
from ops.errors import ChangeRefused
from ops.parties import Party

NOON = datetime(2026, 11, 21, 11, tzinfo=UTC)
MAJOR = Classification(True, True, "comité technique", "CT-7", NOON)
MINOR = Classification(False, False, "exploitation", "EX-2", NOON)
DAY = timedelta(days=1)


def announced(at: datetime = NOON, party: Party = Party.SYN) -> Change:
    return Change(
        number=1,
        party=party,
        title="Pare-feu",
        description="Remplacement.",
        reference=None,
        announced_at=at,
        wished_on=day_of(at) + 40 * DAY,
    )


def agreed(change: Change, *days: tuple[Party, date]) -> Change:
    for party, day in days:
        change = changes.agree(change, party, Agreement(day, f"{party}-1", NOON))
    return change


@given(
    day=st.dates(date(2024, 1, 1), date(2040, 12, 31)),
    at=st.times(),
    party=st.sampled_from(Party),
)
def test_a_major_change_goes_live_thirty_calendar_days_after_its_announcement(
    day: date, at: time, party: Party
) -> None:
    # C15: whatever the clock did in between, whoever announces
    change = changes.classify(announced(datetime.combine(day, at, PARIS), party), MAJOR)
    assert change.earliest == day + NOTICE_DAYS * DAY
    assert changes.schedule(change, change.earliest).state is ChangeState.SCHEDULED
    with pytest.raises(ChangeRefused, match="30 jours calendaires"):
        changes.schedule(change, change.earliest - DAY)


def test_the_day_of_an_announcement_is_that_of_paris() -> None:
    late = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)  # 00:30 on the 22nd in Paris
    assert changes.classify(announced(late), MAJOR).earliest == date(2026, 12, 22)


def test_nothing_is_scheduled_before_it_was_decided_whether_it_is_major() -> None:
    with pytest.raises(ChangeRefused, match="pas classée"):
        changes.schedule(announced(), date(2027, 6, 1))
    minor = changes.classify(announced(), MINOR)  # a security patch is not major by itself
    assert changes.schedule(minor, date(2026, 11, 21)).state is ChangeState.SCHEDULED
    with pytest.raises(ChangeRefused):
        changes.schedule(minor, date(2026, 11, 20))


def test_an_earlier_day_takes_the_agreement_of_both_parties() -> None:
    change = changes.classify(announced(), MAJOR)
    early = date(2026, 12, 1)
    alone = agreed(change, (Party.SYN, early))
    assert (alone.state, alone.earliest) == (ChangeState.CLASSIFIED, date(2026, 12, 21))
    with pytest.raises(ChangeRefused):
        changes.schedule(alone, early)
    both = agreed(alone, (Party.PP, early + DAY))
    assert (both.state, both.earliest) == (ChangeState.AGREED, early + DAY)
    assert changes.schedule(both, early + DAY).scheduled_on == early + DAY
    later = agreed(change, (Party.SYN, date(2027, 3, 1)), (Party.PP, date(2027, 3, 1)))
    assert later.earliest == date(2026, 12, 21)  # an agreement never lengthens the notice


def test_another_classification_takes_a_change_off_the_schedule() -> None:
    scheduled = changes.schedule(changes.classify(announced(), MINOR), date(2026, 11, 25))
    assert changes.classify(scheduled, MAJOR).state is ChangeState.CLASSIFIED


def test_a_change_goes_live_on_its_day_once() -> None:
    scheduled = changes.schedule(changes.classify(announced(), MINOR), date(2026, 11, 25))
    with pytest.raises(ChangeRefused, match="25/11/2026"):
        changes.go_live(scheduled, NOON)
    live = changes.go_live(scheduled, datetime(2026, 11, 24, 23, 1, tzinfo=UTC))  # the 25th in Paris
    assert live.state is ChangeState.LIVE
    with pytest.raises(ChangeRefused):
        changes.withdraw(live, NOON, "trop tard")
    with pytest.raises(ChangeRefused):
        changes.go_live(announced(), NOON)


def test_what_was_withdrawn_goes_no_further() -> None:
    withdrawn = changes.withdraw(announced(), NOON, "abandon")
    assert withdrawn.state is ChangeState.WITHDRAWN
    for step in (
        lambda: changes.classify(withdrawn, MAJOR),
        lambda: agreed(withdrawn, (Party.PP, date(2026, 12, 1))),
        lambda: changes.schedule(withdrawn, date(2027, 1, 1)),
        lambda: changes.go_live(withdrawn, NOON),
    ):
        with pytest.raises(ChangeRefused, match="retirée"):
            step()
