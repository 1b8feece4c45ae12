"""A total stop is one incident, from the last instant at which all was well (N02, N03, C12)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ops.incidents.book import IncidentBooks
from ops.incidents.detecting import StopDetector
from ops.incidents.duties import Rules, next_duty
from ops.incidents.incident import State
from tests.held_clock import HeldClock

RULES = Rules()
WHY = ["aucune caméra ne répond"]


@pytest.fixture
def books(tmp_path: Path, clock: HeldClock) -> IncidentBooks:
    return IncidentBooks(tmp_path / "incidents", clock=clock)


def for_seconds(detector: StopDetector, clock: HeldClock, seconds: int, causes: list[str]) -> None:
    for _ in range(seconds):
        clock.advance(timedelta(seconds=1))
        detector.look(causes)


def test_t0_is_the_last_instant_at_which_all_was_well(books: IncidentBooks, clock: HeldClock) -> None:
    # N02
    detector = StopDetector(books, RULES, clock)
    for_seconds(detector, clock, 5, [])
    well_at = clock.now()
    for_seconds(detector, clock, 9, WHY)
    assert books.ids() == ()
    for_seconds(detector, clock, 60, WHY)
    (incident,) = books.all()
    assert (incident.t0, incident.t0_source, incident.critical) == (well_at, "heartbeat", True)
    assert incident.opened.reason == WHY[0]


def test_forty_seconds_are_told_to_nobody(books: IncidentBooks, clock: HeldClock) -> None:
    # N03
    detector = StopDetector(books, RULES, clock)
    for_seconds(detector, clock, 40, WHY)
    for_seconds(detector, clock, 299, [])
    (incident,) = books.all()
    assert incident.recovered_at is not None
    assert incident.state is State.OPEN
    for_seconds(detector, clock, 2, [])
    (incident,) = books.all()
    assert incident.state is State.RESOLVED
    assert next_duty(incident, RULES, clock.now()) is None


def test_twenty_stops_in_ten_minutes_are_one_incident(books: IncidentBooks, clock: HeldClock) -> None:
    # C12: a flapping link
    detector = StopDetector(books, RULES, clock)
    for _ in range(20):
        for_seconds(detector, clock, 15, WHY)
        for_seconds(detector, clock, 15, [])
    (incident,) = books.all()
    kinds = [event.said.kind for event in incident.timeline]
    assert kinds.count("incident.opened") == 1
    assert kinds.count("incident.relapsed") == 19
    for_seconds(detector, clock, 301, [])
    for_seconds(detector, clock, 15, WHY)
    assert len(books.ids()) == 2


def test_a_restart_goes_on_with_what_was_found(books: IncidentBooks, clock: HeldClock) -> None:
    for_seconds(StopDetector(books, RULES, clock), clock, 15, WHY)
    again = StopDetector(books, RULES, clock)
    for_seconds(again, clock, 15, WHY)
    assert len(books.ids()) == 1
    for_seconds(again, clock, 1, [])
    (incident,) = books.all()
    assert incident.recovered_at == clock.now()


def test_a_stop_before_the_process_began_starts_at_the_last_heartbeat(books: IncidentBooks, clock: HeldClock) -> None:
    # N02: the gateway itself was down
    last_heartbeat = clock.now() - timedelta(hours=3)
    detector = StopDetector(books, RULES, clock, all_well_at=last_heartbeat)
    detector.look(WHY)
    (incident,) = books.all()
    assert incident.deadline == last_heartbeat + timedelta(hours=8)
