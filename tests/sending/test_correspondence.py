"""What is mailed outside incidents: from a durable record to each recipient, once, and shown (ADR 0014)."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from auth.trace import Draft, Entry, Kind
from auth.trace.scopes import Scope, seen
from halfgateway.control.incident_entries import BookEntries
from ops.announcements import Announcement, Announcements
from ops.conditions import Conditions
from ops.contacts import Contact, ContactRole, Directory
from ops.correspondence.correspondence import Answer, answer
from ops.correspondence.matters import Condition
from ops.errors import BookError, CallFailed
from ops.incidents.book import IncidentBooks
from ops.incidents.desk import IncidentDesk
from ops.incidents.events import CorrespondenceNoted, Level, NoticeKind, NoticeQueued, NoticeSubmitted
from ops.incidents.incident import Notice
from ops.notices.conversation import Conversation, Letter, Route
from ops.notices.mailboxes import Maildir
from ops.notices.queueing import StandIn
from ops.notices.shouting import Alarm, AlarmKind, MailVoice
from ops.parties import Party
from tests.held_clock import HeldClock
from tests.ops.told import DIRECTORY, MAILBOX
from tests.sending.office import NODE, office_of, traced
from tests.sending.stage import mail_server, opened

PP, SYN = "pvpp@pp.example", "dpp@syn.example"
LIFTED = {"block": "b-1", "of": "camera", "subject": "mairie", "ground": "securite", "reason": "essai"}


def levels(notice: Notice) -> dict[str, Level]:
    return {known.address: known.level for known in notice.recipients}


async def test_a_block_its_lifting_and_a_closed_stream_are_told_to_pps_mailbox(
    tmp_path: Path, clock: HeldClock
) -> None:
    async with mail_server() as server:
        office = office_of(tmp_path, clock, server.route())
        await office.round()  # no trace yet
        stopped = {"cause": "closed-by-syn", "why": "caméra en réparation", "by": "syn-ops-01"}
        await traced(
            tmp_path,
            clock,
            Draft(kind=Kind.BLOCK_SET, account="rssi", detail={**LIFTED, "expires": "2026-11-22T10:00:00Z"}),
            Draft(kind=Kind.STREAM_STOPPED, stream="s-41", detail=stopped),
            Draft(kind=Kind.STREAM_STOPPED, stream="s-42", detail={**stopped, "cause": "closed-on-request"}),
            Draft(kind=Kind.BLOCK_EXPIRED, account="calendar", detail={**LIFTED, "block": "b-2"}),
        )
        for _ in range(3):
            await office.round(timedelta(seconds=1))
        assert office.books.ids() == ("mesure-b-1-blocked", "mesure-b-2-unblocked", "mesure-s-41-closed")
        assert sorted(message_from_bytes(content)["Message-ID"] for _, content in server.taken) == [
            "<b-1.blocked@syn.example>",
            "<b-2.unblocked@syn.example>",
            "<s-41.closed@syn.example>",
        ]
        assert {recipients for recipients, _ in server.taken} == {(PP, SYN)}
        assert levels(office.books.read("mesure-b-1-blocked").notices[0]) == {PP: Level.SUBMITTED, SYN: Level.SUBMITTED}

        # the cursor lost, and the same notifier born again: what has its book is not sent again
        (tmp_path / "correspondence" / "followed").unlink()
        again = office_of(tmp_path, clock, server.route())
        await again.round()
        assert len(server.taken) == 3

        # what was done long ago, with no notifier there, is nobody's news any more
        clock.advance(timedelta(days=4))
        late = office_of(tmp_path / "late", clock, server.route())
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "trace").symlink_to(tmp_path / "trace")
        await late.round()
        assert late.books.ids() == ()


async def test_a_word_that_no_server_takes_is_tried_again_and_by_the_next_contact(
    tmp_path: Path, clock: HeldClock
) -> None:
    # N04: a result for each recipient
    async with mail_server() as server:
        await server.down()
        office = office_of(tmp_path, clock, server.route())
        await traced(tmp_path, clock, Draft(kind=Kind.BLOCK_SET, account="rssi", detail=LIFTED))
        await office.round()
        found = office.only("mesure-b-1-blocked")
        assert found.owed
        assert [attempt.said.outcome for attempt in found.notices[0].attempts] == ["unreachable"]
        server.refusals[PP] = "550 5.1.1 no such user"
        await server.up()
        await office.round(timedelta(seconds=31))
        await office.round(timedelta(seconds=31))
        found = office.only("mesure-b-1-blocked")
        assert levels(found.notices[0]) == {
            PP: Level.FAILED,
            SYN: Level.SUBMITTED,
            "direction@pp.example": Level.SUBMITTED,
        }
        assert not found.owed
        assert len({event.said.sha256 for event in found.timeline if isinstance(event.said, NoticeQueued)}) == 1


async def test_an_announcement_is_sent_once_and_then_put_away(tmp_path: Path, clock: HeldClock) -> None:
    # P07, C15
    async with mail_server() as server:
        office, filed = office_of(tmp_path, clock, server.route()), Announcements(tmp_path / "announcements")
        planned = Announcement(
            id="window-1-planned",
            made_at=clock.now(),
            to=(Party.PP, Party.SYN),
            subject="[PVPP – SYN] Interruption programmée n° 1",
            text="Du 21 au 22.\n\n– Objet : commutateur",
        )
        filed.put(planned)
        filed.put(replace_id(planned, "change-1-announced", to=(Party.SYN,)))
        await office.round()
        assert filed.pending() == []
        sent = {message_from_bytes(content)["Message-ID"]: recipients for recipients, content in server.taken}
        assert sent == {"<window-1-planned@syn.example>": (PP, SYN), "<change-1-announced@syn.example>": (SYN,)}
        await office.round(timedelta(hours=1))
        assert len(server.taken) == 2


def replace_id(announcement: Announcement, name: str, *, to: tuple[Party, ...]) -> Announcement:
    return announcement.model_copy(update={"id": name, "to": to})


async def test_the_months_test_asks_each_contact_and_shows_who_answered_late(tmp_path: Path, clock: HeldClock) -> None:
    # N13: once a month, by itself; late answers shown
    for folder in ("new", "cur", "tmp"):
        (tmp_path / "maildir" / folder).mkdir(parents=True)
    gone = Contact("Ancien", Party.PP, ContactRole.ESCALATION, "ancien@pp.example", date(2025, 1, 1), level=1)
    directory = Directory((*DIRECTORY.contacts, replace(gone, valid_to=date(2026, 1, 1))))
    async with mail_server() as server:
        maildir = Maildir(tmp_path / "maildir")
        office = office_of(tmp_path, clock, server.route(), directory=directory, checkpoint=None, maildir=maildir)
        await office.round()  # installed on 21 November: nothing is owed of that month
        assert server.taken == []
        clock.advance(datetime(2026, 12, 1, 8, 59, tzinfo=UTC) - clock.now())
        await office.round()
        assert server.taken == []
        await office.round(timedelta(minutes=2))
        asked = office.books.read("test-2026-12")
        assert {recipients[0] for recipients, _ in server.taken} == {one.email for one in DIRECTORY.contacts}
        assert len(asked.notices) == 4
        assert not asked.owed

        await office.round(timedelta(days=8))
        first = next(notice for notice in asked.notices if notice.first_recipients[0] == MAILBOX.email)
        mail = (
            f"From: agent@pp.example\nSubject: Re: x\nIn-Reply-To: {first.message_id}\n\nVu.\n",
            f"From: x@elsewhere.example\nSubject: Re: x\nIn-Reply-To: {first.message_id}\n\nVu.\n",
        )
        for n, content in enumerate(mail):
            (tmp_path / "maildir" / "new" / f"{n}").write_text(content)
        await office.round()
        found = office.books.read("test-2026-12")
        answers = {
            known.address: answer(found, notice, known, clock.now())
            for notice in found.notices
            for known in notice.recipients
            if known.address not in notice.in_copy
        }
        assert answers[MAILBOX.email] is Answer.LATE
        assert {each for address, each in answers.items() if address != MAILBOX.email} == {Answer.OVERDUE}
        assert sum(isinstance(event.said, CorrespondenceNoted) for event in found.timeline) == 1
        assert len(server.taken) == 4


async def test_each_day_has_its_checkpoint_once_it_is_seven(tmp_path: Path, clock: HeldClock) -> None:
    # T04
    async with mail_server() as server:
        office = office_of(tmp_path, clock, server.route())
        await office.round()
        assert server.taken == []  # begun at 11 h 15: the day's has passed
        for _ in range(72):
            await office.round(timedelta(hours=1))
        assert [notice.id for notice in office.only("ancrage-2026-11-node-1").notices] == [
            "2026-11-22",
            "2026-11-23",
            "2026-11-24",
        ]
        assert len(server.mails_of(PP)) == 3


async def test_an_alarm_is_one_mail_to_syn_alone_however_often_it_comes(tmp_path: Path, clock: HeldClock) -> None:
    # S02, S06, C16
    async with mail_server() as server:
        office, shown = office_of(tmp_path, clock, server.route()), Conditions(tmp_path / "conditions")
        for _ in range(5):
            shown.show({Condition.SIEM_LAGGING})
            await office.round(timedelta(minutes=1))
            shown.show(set())
            await office.round(timedelta(minutes=1))
        ((recipients, content),) = server.taken
        assert recipients == (SYN,)
        assert message_from_bytes(content)["Message-ID"].startswith("<alarme-")


async def test_an_alarm_that_finds_no_room_is_shouted(
    tmp_path: Path, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T01: the full disk that keeps the trace from being written keeps the book from it too
    async with mail_server() as server:
        office = office_of(tmp_path, clock, server.route())
        Conditions(tmp_path / "conditions").show({Condition.TRACE_UNWRITABLE})

        def full(*_: object) -> None:
            raise BookError("No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(office.books, "update", full)
            await office.round()
            (alarm,) = office.clerk.alarms()
            assert alarm.kind is AlarmKind.NOT_WRITTEN
            assert "trace-unwritable" in alarm.text
        await office.round()
        assert office.clerk.alarms() == []
        assert len(server.taken) == 1


async def test_a_sealed_credential_is_told_once_to_pp_and_the_officer(tmp_path: Path, clock: HeldClock) -> None:
    # C21
    officer = Contact("RSSI", Party.SYN, ContactRole.SECURITY_OFFICER, "rssi@syn.example", date(2025, 10, 21))
    used = Draft(kind=Kind.BREAK_GLASS_USED, detail={"number": 3, "until": "2026-11-21T11:15:00Z"})
    async with mail_server() as server:
        office = office_of(tmp_path, clock, server.route(), directory=Directory((*DIRECTORY.contacts, officer)))
        await traced(tmp_path, clock, used, used)
        await office.round()
        ((recipients, _),) = server.taken
        assert recipients == (PP, SYN, "rssi@syn.example")
        office.only("bris-de-glace-3")


@dataclass(frozen=True)
class Hanging:
    """A way on which an incident's mails go through, and no others."""

    taking: Route
    over: asyncio.Event
    name: str = "hanging"

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        if b"<i1." not in letter.content:
            await self.over.wait()
        return await self.taking.converse(letter, limit_s=limit_s)


async def test_letters_that_hang_hold_up_no_incident(tmp_path: Path, clock: HeldClock) -> None:
    over = asyncio.Event()
    async with mail_server() as server:
        office = office_of(tmp_path, clock, Hanging(server.route(), over))
        measures = (Draft(kind=Kind.BLOCK_SET, account="rssi", detail={**LIFTED, "block": f"b-{n}"}) for n in range(12))
        await traced(tmp_path, clock, *measures)
        await office.notifier.once()
        incidents = IncidentBooks(tmp_path / "incidents", clock=clock)
        incidents.update("i1", "ops", lambda _: [opened(clock.now())])
        async with asyncio.timeout(60):
            while incidents.read("i1").informed_at is None:
                await office.notifier.once()
                await asyncio.sleep(0.01)
        (content,) = {content for _, content in server.taken}
        assert b"<i1.cut-1@" in content
        over.set()
        await office.notifier.close()


async def test_what_pp_reports_is_answered_with_its_reference_once(tmp_path: Path, clock: HeldClock) -> None:
    # C13
    async with mail_server() as server:
        office = office_of(tmp_path, clock, server.route())
        books = IncidentBooks(tmp_path / "incidents", clock=clock)
        reported = IncidentDesk(books, clock).report("machine", reported_by="salle", reason="image figée")
        for _ in range(3):
            await office.round(timedelta(minutes=10))
        (notice,) = books.read(reported.id).notices
        assert (notice.id, notice.tells) == ("received-1", NoticeKind.RECEIVED)
        assert len(server.taken) == 1
        assert books.read(reported.id).informed_at is None  # an answer tells of no stop


async def test_the_trace_follows_letters_and_pps_auditor_sees_none_of_syns_own(
    tmp_path: Path, clock: HeldClock
) -> None:
    # T02, T11, C16
    async with mail_server() as server:
        office = office_of(tmp_path, clock, server.route())
        Conditions(tmp_path / "conditions").show({Condition.SIEM_LAGGING})
        await traced(tmp_path, clock, Draft(kind=Kind.BLOCK_SET, account="rssi", detail=LIFTED))
        await office.round()
        told: list[Draft] = []

        async def record(draft: Draft) -> None:
            told.append(draft)

        follower = BookEntries("correspondence", office.books, record)
        await follower.follow()
        await follower.follow()
        kinds = [entry.kind for entry in told]
        assert kinds.count(Kind.CORRESPONDENCE_OPENED) == kinds.count(Kind.NOTICE_QUEUED) == 2
        shown = [
            seen(Entry(**vars_of(draft), node=NODE, n=n, at=clock.now()), Scope.PP) for n, draft in enumerate(told)
        ]
        about = {entry.detail["correspondence"] for entry in shown if entry is not None}
        assert about == {"mesure-b-1-blocked"}
        assert any(draft.detail.get("internal") for draft in told)


def vars_of(draft: Draft) -> dict[str, Any]:
    return {each.name: getattr(draft, each.name) for each in fields(draft)}


async def test_an_alarm_that_would_reach_pp_is_not_mailed(tmp_path: Path, clock: HeldClock) -> None:
    # C14
    async with mail_server() as server:
        voice = MailVoice((server.route(),), "dpp@syn.example", (PP,), "syn.example", lambda: DIRECTORY.known((PP,)))
        with pytest.raises(CallFailed, match="interne"):
            await voice.call(Alarm(AlarmKind.TELEPHONE, "i1", "à joindre"), clock.now())
        assert server.taken == []


async def test_what_the_first_node_sent_the_second_leaves(tmp_path: Path, clock: HeldClock) -> None:
    # N01: the month's test is every node's
    async with mail_server() as server:
        first = office_of(tmp_path / "a", clock, server.route(), checkpoint=None)

        def heard(name: str) -> list[NoticeQueued | NoticeSubmitted]:
            told = [event.said for event in first.books.read(name).timeline] if name in first.books.ids() else []
            return [one for one in told if isinstance(one, NoticeQueued | NoticeSubmitted)]

        waits = StandIn(timedelta(minutes=10), heard)
        second = office_of(tmp_path / "b", clock, server.route(), checkpoint=None, stand_in=waits)
        for office in (first, second):
            await office.round()
        clock.advance(datetime(2026, 12, 1, 9, tzinfo=UTC) - clock.now())
        await first.round()
        for _ in range(4):
            await second.round(timedelta(minutes=5))
        assert len(server.taken) == 4
        assert not second.books.read("test-2026-12").owed


async def test_killed_at_any_step_a_word_is_one_word(tmp_path: Path) -> None:
    # N01: same Message-ID, same bytes; only a death between the server's answer and the book's line sends it twice
    async with mail_server() as server:
        helper = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.sending.killed_clerk", str(server.port), str(tmp_path),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await helper.communicate()
        deaths = json.loads(out)
        assert len(deaths) >= 10  # before and after the opening, the cursor, the bytes, each event, the conversation
        assert {death["events_at_death"] for death in deaths} >= {0, 1, 2}
        twice = 0
        for death in deaths:
            assert (death["queued"], death["owed"]) == (1, False), death
            mails = [content for content in server.mails_of(PP) if f"<{death['block']}.blocked@".encode() in content]
            assert len(set(mails)) == 1
            twice += len(mails) - 1
        assert 1 <= twice <= 3
