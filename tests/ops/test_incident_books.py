"""The books of incidents: durable, shared by processes, whole or told to be damaged (N01, N10)."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.errors import BookError, DamagedBook, UnknownIncident
from ops.incidents.book import IncidentBooks
from ops.incidents.events import (
    Level,
    Noted,
    NoticeAcknowledged,
    NoticeDelivered,
    NoticeFailed,
    NoticeKind,
    NoticeQueued,
    NoticeRelayed,
    NoticeSubmitted,
    Opened,
    Recovered,
    Revised,
    Said,
    Source,
)
from ops.incidents.following import RecordFollower, follow_record
from ops.incidents.incident import Incident, State
from ops.interconnection import Author, Ground, cut, first_open, restore
from ops.local_record import LocalRecord
from tests.held_clock import HeldClock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PP = "permanence@pp.example"


def opened(t0: datetime = NOON) -> Opened:
    return Opened(
        t0=t0,
        t0_source=Source.DECLARED,
        critical=True,
        by=Author.OPS,
        reason="panne",
        ground=Ground.CRITICAL_INCIDENT,
        interrupted_at=t0,
    )


def queued(*recipients: str) -> NoticeQueued:
    return NoticeQueued(
        notice="cut-1",
        tells=NoticeKind.CUT,
        message_id="<i1.cut-1@syn.example>",
        sha256="0" * 64,
        recipients=recipients or (PP,),
    )


@pytest.fixture
def books(tmp_path: Path, clock: HeldClock) -> IncidentBooks:
    return IncidentBooks(tmp_path / "incidents", clock=clock)


def test_what_was_said_is_there_for_another_process(books: IncidentBooks, tmp_path: Path, clock: HeldClock) -> None:
    # N01
    said = books.update("i1", "os:anne", lambda _: [opened(), Noted(about="nature", text="coupure électrique")])
    again = IncidentBooks(tmp_path / "incidents", clock=clock).read("i1")
    assert again == said
    assert [event.who for event in again.timeline] == ["os:anne", "os:anne"]
    assert again.state is State.OPEN
    assert again.deadline == NOON + timedelta(hours=8)


def test_an_earlier_t0_moves_the_deadline_and_a_later_one_does_not(books: IncidentBooks) -> None:
    # N02
    books.update("i1", "ops", lambda _: [opened()])
    earlier = books.say("i1", "ops", Revised(t0=NOON - timedelta(hours=1), reason="journal du commutateur"))
    later = books.say("i1", "ops", Revised(t0=NOON + timedelta(hours=1), reason="erreur de lecture"))
    assert earlier.deadline == later.deadline == NOON + timedelta(hours=7)
    assert len(later.timeline) == 3
    assert later.opened.t0 == NOON


def test_levels_only_grow_but_for_a_failure_of_what_was_only_submitted(books: IncidentBooks) -> None:
    # N04, N07
    other = "astreinte@pp.example"

    def level_after(*said: Said) -> list[Level]:
        return [recipient.level for recipient in books.say("i1", "notifier", *said).notices[0].recipients]

    def of(shape: type[NoticeSubmitted | NoticeRelayed], to: str = PP) -> Said:
        return shape(notice="cut-1", recipient=to, evidence="250 2.0.0 queued as 4F")

    books.update("i1", "ops", lambda _: [opened(), queued(PP, other)])
    assert level_after(of(NoticeSubmitted)) == [Level.SUBMITTED, Level.QUEUED]
    assert level_after(NoticeFailed(notice="cut-1", recipient=other, evidence="550 5.1.1")) == [
        Level.SUBMITTED,
        Level.FAILED,
    ]
    assert level_after(of(NoticeRelayed), of(NoticeSubmitted)) == [Level.RELAYED, Level.FAILED]
    failed = NoticeFailed(notice="cut-1", recipient=PP, evidence="5.4.7 expired")
    assert level_after(failed)[0] is Level.FAILED
    assert books.read("i1").informed_at is None
    assert level_after(NoticeDelivered(notice="cut-1", recipient=PP, evidence="2.1.5"), failed)[0] is Level.DELIVERED
    assert (
        level_after(NoticeAcknowledged(notice="cut-1", recipient=PP.upper(), evidence="réponse"))[0] == "acknowledged"
    )


def test_nothing_is_said_of_an_incident_that_is_not(books: IncidentBooks) -> None:
    with pytest.raises(UnknownIncident):
        books.read("i1")
    with pytest.raises(UnknownIncident):
        books.say("i1", "ops", Noted(about="timeline", text="rien"))
    with pytest.raises(UnknownIncident):
        books.update("i1", "ops", lambda _: [Noted(about="timeline", text="rien")])
    assert books.ids() == ()


def test_every_byte_of_a_book_counts(books: IncidentBooks, tmp_path: Path, clock: HeldClock) -> None:
    """Each flipped byte is seen: what stands before it is told, and the incident is damaged or unreadable."""
    books.update("i1", "ops", lambda _: [opened(), queued(), Noted(about="cause", text="onduleur")])
    path = tmp_path / "incidents" / "i1" / "events"
    whole = path.read_bytes()
    first_line = whole.index(b"\n")
    for place in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if place <= first_line:
            with pytest.raises(DamagedBook):
                books.read("i1")
            assert books.unreadable() == ("i1",)
            continue
        assert books.read("i1").damaged
        with pytest.raises(DamagedBook):
            books.say("i1", "ops", Noted(about="timeline", text="encore"))
    path.write_bytes(whole)
    assert not books.read("i1").damaged


def test_a_torn_last_line_was_never_acknowledged(books: IncidentBooks, tmp_path: Path) -> None:
    # N01: a crash at any byte of the last line leaves the incident as it was before, and the next event takes its place
    before = books.update("i1", "ops", lambda _: [opened()])
    path = tmp_path / "incidents" / "i1" / "events"
    size = path.stat().st_size
    books.say("i1", "ops", queued())
    whole = path.read_bytes()
    for cut_at in range(size, len(whole), 11):
        path.write_bytes(whole[:cut_at])
        assert books.read("i1") == before
        assert books.say("i1", "ops", Noted(about="timeline", text="repris")).timeline[-1].n == 1
    assert not books.read("i1").damaged


def test_a_disk_that_fails_says_so(tmp_path: Path, clock: HeldClock) -> None:
    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    books = IncidentBooks(tmp_path / "incidents", clock=clock, fsync=fsync)
    with pytest.raises(BookError, match="Input/output error"):
        books.update("i1", "ops", lambda _: [opened()])


def test_a_message_is_kept_to_the_byte(books: IncidentBooks, tmp_path: Path) -> None:
    # N05
    books.update("i1", "ops", lambda _: [opened()])
    content = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
    digest = books.keep_message("i1", content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert books.message("i1", digest) == content
    (tmp_path / "incidents" / "i1" / f"{digest}.eml").write_bytes(content + b" ")
    with pytest.raises(BookError, match="not as it was written"):
        books.message("i1", digest)


WRITER = """
import sys
from pathlib import Path
from camera_registry.clock import SystemClock
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Noted
books = IncidentBooks(Path(sys.argv[1]), clock=SystemClock())
for n in range(25):
    books.say("i1", sys.argv[2], Noted(about="timeline", text=f"{sys.argv[2]} {n}"))
"""


def test_three_processes_write_one_book(books: IncidentBooks, tmp_path: Path) -> None:
    books.update("i1", "ops", lambda _: [opened()])
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "incidents")]
    writers = [subprocess.Popen([*arguments, name]) for name in ("node", "notifier", "watchdog")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    incident = books.read("i1")
    assert not incident.damaged
    for name in ("node", "notifier", "watchdog"):
        told = [event.said for event in incident.timeline if event.who == name]
        assert told == [Noted(about="timeline", text=f"{name} {n}") for n in range(25)]


def test_each_cut_has_its_incident_from_the_record_alone(books: IncidentBooks, tmp_path: Path) -> None:
    # C10, N01, N02
    record = LocalRecord(tmp_path / "interconnection.record")
    record.initialise(first_open(NOON))

    def cut_as(incident: str, ground: Ground, at: datetime, occurred_at: datetime | None = None) -> None:
        record.update(
            lambda current: cut(
                current,
                ground=ground,
                reason="fuite",
                by=Author.OPS,
                since=at,
                incident=incident,
                occurred_at=occurred_at,
            )
        )

    cut_as("i1", Ground.CRITICAL_INCIDENT, NOON, NOON - timedelta(minutes=40))
    assert follow_record(books, record.history()) == ("i1",)
    first = books.read("i1")
    assert (first.t0, first.critical, first.interrupted_at) == (NOON - timedelta(minutes=40), True, NOON)

    cut_as("i2", Ground.MAINTENANCE, NOON + timedelta(hours=1))
    assert follow_record(books, record.history()) == ("i2",)
    assert books.read("i1").recovered_at is None  # replaced, and not over

    ended_at = NOON + timedelta(hours=2)
    record.update(lambda s: restore(s, incident="i2", reason="fini", by=Author.OPS, since=ended_at))
    assert follow_record(books, record.history()) == ()
    assert follow_record(books, record.history()) == ()
    for incident in map(books.read, ("i1", "i2")):
        assert [type(e.said) for e in incident.timeline] == [Opened, Recovered]
        assert incident.recovered_at == ended_at
    assert not books.read("i2").critical


def test_a_record_that_is_yet_to_begin_is_no_loss_and_one_that_was_there_is(
    books: IncidentBooks, tmp_path: Path, clock: HeldClock
) -> None:
    # C10: the attendants may be started before a new installation's node
    record = LocalRecord(tmp_path / "record", clock=clock)
    follower = RecordFollower(books, record)
    follower.follow()
    assert (books.ids(), record.stamp()) == ((), None)
    record.initialise(first_open(clock.now()))
    follower.follow()
    assert books.ids() == ()
    (tmp_path / "record").unlink()
    follower.follow()
    assert [incident.opened.ground for incident in books.all()] == [Ground.SECURITY]


def test_an_incident_is_worth_what_its_events_are(books: IncidentBooks) -> None:
    assert isinstance(books.update("i1", "ops", lambda _: [opened()]), Incident)
    assert [incident.id for incident in books.all()] == ["i1"]
