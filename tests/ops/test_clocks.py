"""Legal clocks, each from its own start: 72 h (CNIL), NIS2's 24 h, 72 h and a month (L22, L23)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from camera_registry.paris import PARIS
from ops.errors import IncidentRefused
from ops.incidents.book import IncidentBooks
from ops.incidents.clocks import USUAL_CLOCKS, ClockStart, LegalClock
from ops.incidents.desk import IncidentDesk
from ops.interconnection import Author
from tests.held_clock import HeldClock

OF_T0 = LegalClock("registre", ClockStart.INCIDENT, hours=48)
CLOCKS = {clock.name: clock for clock in (*USUAL_CLOCKS, OF_T0)}


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def desk(tmp_path: Path, clock: HeldClock) -> IncidentDesk:
    return IncidentDesk(IncidentBooks(tmp_path, clock=clock), clock, clocks=CLOCKS)


@pytest.fixture
def incident(desk: IncidentDesk, clock: HeldClock) -> str:
    began = clock.now() - timedelta(hours=5)
    return desk.declare("ops-1", by=Author.OPS, reason="panne", critical=True, occurred_at=began).id


@pytest.mark.parametrize(
    ("began", "over"),
    [
        (datetime(2026, 11, 21, 9, tzinfo=PARIS), datetime(2026, 12, 21, 9, tzinfo=PARIS)),
        (datetime(2026, 1, 31, 9, tzinfo=PARIS), datetime(2026, 2, 28, 9, tzinfo=PARIS)),
        (datetime(2026, 3, 15, 9, tzinfo=PARIS), datetime(2026, 4, 15, 9, tzinfo=PARIS)),  # summer time begins between
        (datetime(2026, 12, 31, 23, 30, tzinfo=PARIS), datetime(2027, 1, 31, 23, 30, tzinfo=PARIS)),
    ],
)
def test_a_month_ends_at_the_same_time_in_paris(began: datetime, over: datetime) -> None:
    # L23
    assert CLOCKS["nis2-1m"].deadline(began.astimezone(UTC)) == over


def test_hours_are_elapsed_ones() -> None:
    # L22: 28 March, 03:00 in Paris comes an hour after 01:59
    began = datetime(2026, 3, 28, 12, tzinfo=PARIS).astimezone(UTC)
    assert CLOCKS["cnil-72h"].deadline(began) - began == timedelta(hours=72)


def test_each_clock_has_its_own_start(desk: IncidentDesk, incident: str, clock: HeldClock) -> None:
    # C11, L22, L23: eight hours from the incident, of themselves; the others from awareness, or from T0 if agreed
    aware = clock.now() - timedelta(hours=1)
    for name in ("cnil-72h", "nis2-24h", "nis2-72h", "nis2-1m"):
        desk.start_clock(incident, "ops-1", clock=name, start=aware)
    found = desk.start_clock(incident, "ops-1", clock="registre")
    assert found.deadline == found.t0 + timedelta(hours=8)
    running = {name: each.deadline - each.start for name, each in found.clocks.items()}
    assert running["nis2-24h"] == timedelta(hours=24)
    assert running["cnil-72h"] == running["nis2-72h"] == timedelta(hours=72)
    assert found.clocks["nis2-1m"].start == aware
    assert (found.clocks["registre"].start, running["registre"]) == (found.t0, timedelta(hours=48))


def test_what_does_not_fit_a_clock_is_refused(desk: IncidentDesk, incident: str, clock: HeldClock) -> None:
    now = clock.now()
    for name, start, within in (
        ("nis2-24h", None, None),  # awareness is stated by a person
        ("registre", now, None),  # it runs from T0
        ("autre", now, None),  # for how long?
        ("nis2-24h", now, timedelta(hours=25)),  # the law says 24
        ("nis2-24h", now + timedelta(hours=1), None),
    ):
        with pytest.raises(IncidentRefused):
            desk.start_clock(incident, "ops-1", clock=name, start=start, within=within)
    assert desk.find(incident).clocks == {}
    assert "autre" in desk.start_clock(incident, "ops-1", clock="autre", start=now, within=timedelta(hours=6)).clocks


def test_a_clock_that_runs_is_never_put_off(desk: IncidentDesk, incident: str, clock: HeldClock) -> None:
    # as T0 (N02): an earlier awareness may be found, a later one extends nothing
    aware = clock.now() - timedelta(hours=1)
    desk.start_clock(incident, "ops-1", clock="cnil-72h", start=aware)
    with pytest.raises(IncidentRefused, match="antérieur"):
        desk.start_clock(incident, "ops-1", clock="cnil-72h", start=clock.now())
    earlier = desk.start_clock(incident, "ops-1", clock="cnil-72h", start=aware - timedelta(hours=1))
    assert earlier.clocks["cnil-72h"].deadline == aware + timedelta(hours=71)


@pytest.mark.parametrize("span", [{}, {"hours": 1, "months": 1}])
def test_a_clock_runs_for_hours_or_for_months(span: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one of the two"):
        LegalClock("x", **span)  # type: ignore[arg-type]
