"""The trace follows the books of incidents: at least once, in order, whoever wrote them (T02)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth.trace import Draft, Kind
from halfgateway.control.incident_entries import LONG_CHARS, IncidentEntries
from halfgateway.errors import TraceUnavailable
from ops.incidents.book import IncidentBooks
from ops.incidents.desk import IncidentDesk
from ops.interconnection import Author, Ground, cut, first_open, restore
from ops.local_record import LocalRecord
from tests.held_clock import HeldClock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Trace:
    def __init__(self) -> None:
        self.entries: list[Draft] = []
        self.fails = False

    async def record(self, draft: Draft) -> None:
        if self.fails:
            raise TraceUnavailable("disque plein")
        self.entries.append(draft)

    @property
    def kinds(self) -> list[Kind]:
        return [entry.kind for entry in self.entries]


@pytest.fixture
def books(tmp_path: Path, clock: HeldClock) -> IncidentBooks:
    return IncidentBooks(tmp_path / "incidents", clock=clock)


@pytest.fixture
def record(tmp_path: Path) -> LocalRecord:
    record = LocalRecord(tmp_path / "interconnection.record")
    record.initialise(first_open(NOON))
    return record


async def test_a_cut_from_the_record_and_what_is_done_about_it(
    books: IncidentBooks, record: LocalRecord, clock: HeldClock
) -> None:
    # C10, C11, C12
    trace, desk = Trace(), IncidentDesk(books, clock)
    entries = IncidentEntries(books, record, trace.record)
    await entries.follow()
    assert trace.entries == []
    record.update(
        lambda s: cut(s, ground=Ground.CRITICAL_INCIDENT, reason="fuite", by=Author.OPS, since=NOON, incident="i1")
    )
    await entries.follow()
    assert trace.kinds == [Kind.INCIDENT_OPENED]
    assert trace.entries[0].detail["incident"] == "i1"
    desk.note("i1", "local:anne", about="cause", text="x" * (LONG_CHARS + 1))
    await entries.follow()
    await entries.follow()
    assert trace.kinds == [Kind.INCIDENT_OPENED, Kind.INCIDENT_NOTED]
    assert trace.entries[1].account == "local:anne"
    assert trace.entries[1].detail["text"].startswith("sha256:")
    record.update(lambda s: restore(s, incident="i1", reason="fini", by=Author.OPS, since=NOON + timedelta(hours=1)))
    await entries.follow()
    assert trace.kinds[2:] == [Kind.INCIDENT_RECOVERED]


async def test_what_the_trace_could_not_take_is_told_later_and_after_a_restart(
    books: IncidentBooks, record: LocalRecord, clock: HeldClock
) -> None:
    trace, desk = Trace(), IncidentDesk(books, clock)
    incident = desk.declare("local:anne", by=Author.OPS, reason="panne", critical=True)
    trace.fails = True
    entries = IncidentEntries(books, record, trace.record)
    with pytest.raises(TraceUnavailable):
        await entries.follow()
    trace.fails = False
    await entries.follow()
    desk.note(incident.id, "local:anne", about="timeline", text="onduleur")
    await IncidentEntries(books, record, trace.record).follow()  # another process of the node, later
    assert [(entry.kind, entry.detail["event"]) for entry in trace.entries] == [
        (Kind.INCIDENT_OPENED, 0),
        (Kind.INCIDENT_NOTED, 1),
    ]


async def test_a_damaged_book_keeps_no_other_from_being_told(
    books: IncidentBooks, record: LocalRecord, clock: HeldClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trace, desk = Trace(), IncidentDesk(books, clock)
    first = desk.declare("local:anne", by=Author.OPS, reason="panne", critical=True)
    (tmp_path / "incidents" / first.id / "events").write_bytes(b"rubbish\n")
    clock.advance(timedelta(seconds=1))
    second = desk.declare("local:anne", by=Author.OPS, reason="panne", critical=True)
    await IncidentEntries(books, record, trace.record).follow()
    assert [entry.detail["incident"] for entry in trace.entries] == [second.id]
    assert "incident.unreadable" in caplog.text
