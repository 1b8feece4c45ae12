"""What a person does to an incident (C13, N02, N08, L22, L23)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ops.errors import IncidentRefused, UnknownIncident
from ops.incidents.book import IncidentBooks
from ops.incidents.desk import MAX_UNRESOLVED_REPORTS, IncidentDesk
from ops.incidents.events import Level, NoticeKind, NoticeQueued, NoticeSubmitted
from ops.incidents.following import follow_record
from ops.incidents.incident import State
from ops.interconnection import Author, Ground, cut, first_open
from tests.held_clock import HeldClock

PP = "permanence@pp.example"


@pytest.fixture
def books(tmp_path: Path, clock: HeldClock) -> IncidentBooks:
    return IncidentBooks(tmp_path / "incidents", clock=clock)


@pytest.fixture
def desk(books: IncidentBooks, clock: HeldClock) -> IncidentDesk:
    return IncidentDesk(books, clock)


def declared(desk: IncidentDesk, *, critical: bool = True) -> str:
    return desk.declare("ops-1", by=Author.OPS, reason="panne du stockage", critical=critical).id


def told(books: IncidentBooks, incident: str) -> None:
    queued = NoticeQueued(
        notice="cut-1",
        tells=NoticeKind.CUT,
        message_id="<cut-1@syn.example>",
        sha256="0" * 64,
        recipients=(PP,),
    )
    books.say(incident, "notifier", queued, NoticeSubmitted(notice="cut-1", recipient=PP, evidence="250 queued as 4F"))


def test_a_declared_incident_began_when_it_occurred(desk: IncidentDesk, clock: HeldClock) -> None:
    # N02
    occurred = clock.now() - timedelta(minutes=40)
    incident = desk.declare("ops-1", by=Author.OPS, reason="panne", critical=True, occurred_at=occurred)
    assert incident.deadline == occurred + timedelta(hours=8)
    with pytest.raises(IncidentRefused, match="à venir"):
        desk.declare("ops-1", by=Author.OPS, reason="x", critical=True, occurred_at=clock.now() + timedelta(hours=1))


def test_pps_report_has_a_reference_and_is_critical_once_somebody_finds_it_so(desk: IncidentDesk) -> None:
    # C13
    reported = desk.report("machine-pp", reported_by="salle de commandement", reason="plus d'image")
    assert not reported.critical
    assert desk.find(reported.id).opened.reported_by == "salle de commandement"
    assert desk.classify(reported.id, "ops-1", critical=True, reason="panne générale").critical


def test_what_pp_was_told_of_as_critical_stays_so(desk: IncidentDesk, books: IncidentBooks) -> None:
    incident = declared(desk)
    told(books, incident)
    with pytest.raises(IncidentRefused, match="il le reste"):
        desk.classify(incident, "ops-1", critical=False, reason="fausse alerte")


def test_a_telephone_call_acknowledges_the_notice_of_whoever_called(desk: IncidentDesk, books: IncidentBooks) -> None:
    # N08
    incident = declared(desk)
    told(books, incident)
    with pytest.raises(IncidentRefused):
        desk.acknowledge(incident, "ops-1", means="telephone", recipient="autre@pp.example")
    heard = desk.acknowledge(incident, "ops-1", means="telephone", contact="permanence", recipient=PP)
    assert heard.state is State.ACKNOWLEDGED
    assert heard.notices[0].recipients[0].level is Level.ACKNOWLEDGED


def test_a_legal_clock_has_its_own_start(desk: IncidentDesk, clock: HeldClock) -> None:
    # L22, L23
    incident = declared(desk)
    aware = clock.now() - timedelta(hours=2)
    running = desk.start_clock(incident, "ops-1", clock="cnil-72h", start=aware, within=timedelta(hours=72))
    assert running.clocks["cnil-72h"].deadline == aware + timedelta(hours=72)
    assert running.deadline == running.t0 + timedelta(hours=8)
    with pytest.raises(IncidentRefused):
        desk.stop_clock(incident, "ops-1", clock="nis2-24h", done="notifié")
    assert desk.stop_clock(incident, "ops-1", clock="cnil-72h", done="notifié").clocks["cnil-72h"].done_at is not None


def test_a_cut_is_restored_before_its_incident_is_resolved(
    desk: IncidentDesk, books: IncidentBooks, clock: HeldClock
) -> None:
    state = cut(
        first_open(clock.now()),
        ground=Ground.SECURITY,
        reason="mesure",
        by=Author.OFFICER,
        since=clock.now(),
        incident="i1",
    )
    follow_record(books, [state])
    with pytest.raises(IncidentRefused, match="rétablir"):
        desk.resolve("i1", "ops-1", reason="fini")
    incident = declared(desk)
    assert desk.resolve(incident, "ops-1", reason="fini").state is State.RESOLVED
    with pytest.raises(IncidentRefused, match="déjà"):
        desk.resolve(incident, "ops-1", reason="fini")


def test_a_step_tells_of_the_next_one(desk: IncidentDesk, clock: HeldClock) -> None:
    incident = declared(desk)
    next_by = clock.now() + timedelta(hours=2)
    assert desk.tell_step(incident, "ops-1", text="Recherche en cours.", next_by=next_by).next_step_by == next_by
    with pytest.raises(IncidentRefused):
        desk.tell_step(incident, "ops-1", text="Recherche en cours.", next_by=clock.now())


def test_a_client_that_reports_and_reports_is_stopped(desk: IncidentDesk) -> None:
    # C13
    reported = [desk.report("vms", reported_by="salle", reason="x") for _ in range(MAX_UNRESOLVED_REPORTS)]
    with pytest.raises(IncidentRefused, match="point de contact unique"):
        desk.report("vms", reported_by="salle", reason="x")
    desk.resolve(reported[0].id, "ops-1", reason="vu")
    assert desk.report("vms", reported_by="salle", reason="x").opened.reported_by == "salle"


def test_nothing_is_done_to_what_is_not(desk: IncidentDesk, tmp_path: Path) -> None:
    with pytest.raises(UnknownIncident):
        desk.note("nope", "ops-1", about="timeline", text="x")
    with pytest.raises(UnknownIncident):
        desk.resolve("nope", "ops-1", reason="x")
    for elsewhere in ("../outside", "..", "a/b", ""):
        with pytest.raises(UnknownIncident):
            desk.note(elsewhere, "ops-1", about="timeline", text="x")
        with pytest.raises(UnknownIncident):
            desk.find(elsewhere)
    assert list(tmp_path.iterdir()) == []
