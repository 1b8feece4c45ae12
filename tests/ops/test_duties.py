"""What an incident asks for, and by when (article 8, C11, C12, N02, N03, N09, N10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ops.incidents.duties import (
    Duty,
    Rules,
    deadline_missed,
    next_duty,
    over,
    relapses,
    to_be_shouted,
)
from ops.incidents.events import (
    Classified,
    Event,
    NoticeFailed,
    NoticeKind,
    NoticeQueued,
    NoticeSubmitted,
    NoticeWithdrawn,
    Opened,
    Recovered,
    Relapsed,
    Resolved,
    Said,
    Source,
)
from ops.incidents.incident import Incident, incident_of
from ops.interconnection import Author, Ground

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULES = Rules()
PP = "permanence@pp.example"


def after(**offset: float) -> datetime:
    return NOON + timedelta(**offset)


def incident(*said: tuple[datetime, Said], by: Author = Author.OPS, ground: Ground | None = None) -> Incident:
    """An incident of noon, opened by a person or found a minute later, and what came after."""
    detected = by is Author.DETECTION
    begun = Opened(
        t0=NOON,
        t0_source=Source.HEARTBEAT if detected else Source.DECLARED,
        critical=ground in {None, Ground.CRITICAL_INCIDENT},
        by=by,
        reason="panne",
        ground=ground,
        interrupted_at=NOON,
    )
    first = Event(n=0, at=after(minutes=1) if detected else NOON, who="x", said=begun)
    rest = [Event(n=place, at=at, who="x", said=one) for place, (at, one) in enumerate(said, start=1)]
    found = incident_of("i1", [first, *rest])
    assert found is not None
    return found


def queued(at: datetime, tells: NoticeKind = NoticeKind.CUT, notice: str = "cut-1") -> tuple[datetime, Said]:
    message_id = f"<{notice}@syn.example>"
    return at, NoticeQueued(notice=notice, tells=tells, message_id=message_id, sha256="0" * 64, recipients=(PP,))


def submitted(at: datetime, notice: str = "cut-1") -> tuple[datetime, Said]:
    return at, NoticeSubmitted(notice=notice, recipient=PP, evidence="250 queued as 4F")


def recovered(at: datetime) -> tuple[datetime, Said]:
    return at, Recovered(at=at, reason="rétabli")


def test_a_persons_cut_is_told_at_once_and_within_eight_hours() -> None:
    # C11, N03
    duty = next_duty(incident(ground=Ground.CRITICAL_INCIDENT), RULES, NOON)
    assert duty == Duty(NoticeKind.CUT, NOON, after(hours=8))


@pytest.mark.parametrize("ground", [Ground.SECURITY, Ground.MAINTENANCE, Ground.END])
def test_another_grounds_cut_is_told_without_the_eight_hours(ground: Ground) -> None:
    # C10
    cut_incident = incident(ground=ground)
    assert next_duty(cut_incident, RULES, NOON) == Duty(NoticeKind.CUT, NOON, None)
    assert not deadline_missed(cut_incident, RULES, after(hours=9))


def test_a_drill_runs_like_what_it_plays() -> None:
    # N14
    assert next_duty(incident(ground=Ground.DRILL), RULES, NOON) == Duty(NoticeKind.CUT, NOON, after(hours=8))


def test_an_automatic_stop_is_told_after_critical_after_with_its_t0_where_it_was() -> None:
    # N03
    found = incident(by=Author.DETECTION)
    duty = next_duty(found, RULES, after(minutes=1))
    assert duty == Duty(NoticeKind.CUT, after(minutes=5), after(hours=8))


def test_a_stop_of_forty_seconds_is_told_to_nobody_and_one_of_six_minutes_is() -> None:
    # N03
    short = incident(recovered(after(seconds=100)), by=Author.DETECTION)
    assert next_duty(short, RULES, after(hours=1)) is None
    assert not deadline_missed(short, RULES, after(hours=9))
    assert not to_be_shouted(short, RULES, after(hours=9))
    assert not over(short, RULES, after(minutes=6))
    assert over(short, RULES, after(minutes=7))
    long = incident(recovered(after(minutes=6)), by=Author.DETECTION)
    assert next_duty(long, RULES, after(minutes=6)) == Duty(NoticeKind.CUT, after(minutes=5), after(hours=8))


def test_the_recovery_is_told_once_it_has_held() -> None:
    # C12
    told = incident(queued(NOON), submitted(NOON), recovered(after(hours=1)), ground=Ground.CRITICAL_INCIDENT)
    assert next_duty(told, RULES, after(hours=1)) == Duty(NoticeKind.RESTORED, after(hours=1, minutes=5), None)
    again = queued(after(hours=1, minutes=5), NoticeKind.RESTORED, "restored-1")
    said = incident(queued(NOON), submitted(NOON), recovered(after(hours=1)), again, ground=Ground.CRITICAL_INCIDENT)
    assert next_duty(said, RULES, after(hours=2)) is None


def test_restored_before_the_first_left_is_one_mail_with_both_facts() -> None:
    # C12
    unsent = incident(queued(NOON), recovered(after(hours=1)), ground=Ground.CRITICAL_INCIDENT)
    assert next_duty(unsent, RULES, after(hours=1)) is None  # the first is still being tried
    at = after(hours=1, minutes=5)
    assert next_duty(unsent, RULES, at) == Duty(NoticeKind.CUT_AND_RESTORED, at, after(hours=8), replaces=("cut-1",))
    replaced = incident(
        queued(NOON),
        recovered(after(hours=1)),
        (at, NoticeWithdrawn(notice="cut-1", reason="rétabli avant l'envoi")),
        queued(at, NoticeKind.CUT_AND_RESTORED, "both-1"),
        submitted(after(hours=2), "both-1"),
        ground=Ground.CRITICAL_INCIDENT,
    )
    assert next_duty(replaced, RULES, after(hours=3)) is None
    assert replaced.informed_at == after(hours=2)


def test_a_stop_before_the_recovery_held_is_the_same_incident() -> None:
    # C12: a flapping link
    flapping = incident(recovered(after(hours=1)), by=Author.DETECTION)
    assert relapses(flapping, RULES, after(hours=1, minutes=4))
    assert not relapses(flapping, RULES, after(hours=1, minutes=6))
    fallen = incident(
        recovered(after(hours=1)), (after(hours=1, minutes=1), Relapsed(at=after(hours=1), reason="rechute"))
    )
    assert fallen.recovered_at is None


def test_a_missed_deadline_is_missed_even_once_somebody_called_it_resolved() -> None:
    # N10
    late = incident(queued(NOON), ground=Ground.CRITICAL_INCIDENT)
    assert not deadline_missed(late, RULES, after(hours=8))
    assert deadline_missed(late, RULES, after(hours=8, seconds=1))
    closed = incident(
        recovered(after(hours=1)),
        (after(hours=2), Resolved(reason="clos")),
        ground=Ground.CRITICAL_INCIDENT,
    )
    assert deadline_missed(closed, RULES, after(hours=9))
    assert next_duty(closed, RULES, after(hours=2)) is not None


def test_one_failed_recipient_is_no_success() -> None:
    # N04
    failed = (after(minutes=5), NoticeFailed(notice="cut-1", recipient=PP, evidence="5.1.1"))
    bounced = incident(queued(NOON), submitted(NOON), failed, ground=Ground.CRITICAL_INCIDENT)
    assert bounced.informed_at is None
    assert to_be_shouted(bounced, RULES, after(hours=2))


def test_the_watchdog_shouts_two_hours_after_t0() -> None:
    # N09
    untold = incident(queued(NOON), ground=Ground.CRITICAL_INCIDENT)
    assert not to_be_shouted(untold, RULES, after(minutes=119))
    assert to_be_shouted(untold, RULES, after(hours=2))
    told = incident(queued(NOON), submitted(NOON), ground=Ground.CRITICAL_INCIDENT)
    assert not to_be_shouted(told, RULES, after(hours=3))


def test_what_pp_reported_is_told_once_a_person_finds_it_critical() -> None:
    # C13
    report = Opened(t0=NOON, t0_source=Source.DECLARED, critical=False, by=Author.OPS, reason="signalé par PP")
    begun = Event(n=0, at=NOON, who="x", said=report)
    reported = incident_of("i1", [begun])
    assert reported is not None
    assert next_duty(reported, RULES, after(hours=1)) is None
    found = Event(n=1, at=after(hours=2), who="x", said=Classified(critical=True, reason="panne générale"))
    classified = incident_of("i1", [begun, found])
    assert classified is not None
    assert next_duty(classified, RULES, after(hours=2)) == Duty(NoticeKind.CUT, after(hours=2), after(hours=8))


def test_no_event_at_all_is_no_incident() -> None:
    assert incident_of("i1", []) is None
    assert incident_of("i1", [Event(n=0, at=NOON, who="x", said=Resolved(reason="clos"))]) is None
