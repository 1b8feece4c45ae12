"""What comes back: reports, replies, and whatever else anybody sends to that address (N06, N07, N08)."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from pathlib import Path

import pytest

from ops.errors import BookError
from ops.incidents.book import IncidentBooks
from ops.incidents.events import (
    Acknowledged,
    Level,
    Noted,
    NoticeAcknowledged,
    NoticeQueued,
    NoticeSubmitted,
)
from ops.incidents.incident import Incident, State
from ops.notices.mailboxes import Maildir
from ops.notices.message import envelope_id
from ops.notices.reports import UnreadableMail, read_mail
from ops.notices.returns import MAX_NOTED, Sent, take_in
from tests.held_clock import HeldClock
from tests.sending.stage import OURS, PP, mail_server, opened, stage_of

MESSAGE_ID = "<i1.cut-1@syn.example>"


def report(
    action: str,
    recipient: str = PP[0],
    *,
    envelope: str | None = envelope_id(MESSAGE_ID),
    message_id: str | None = MESSAGE_ID,
    original: bool = True,
) -> bytes:
    """A report as Postfix writes it (RFC 3464)."""
    lines = ["Reporting-MTA: dns; mx.test"]
    lines += [f"Original-Envelope-Id: {envelope}"] if envelope is not None else []
    lines += ["", f"Final-Recipient: rfc822; {recipient}"]
    lines += [f"Original-Recipient: rfc822;{recipient.replace('+', '+2B')}"] if original else []
    lines += [f"Action: {action}", "Status: 2.0.0", "Diagnostic-Code: smtp; 250 2.1.5 done", ""]
    returned = f"Message-ID: {message_id}\nSubject: x\n" if message_id is not None else "Subject: x\n"
    text = (
        "From: MAILER-DAEMON@mx.test\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\n\nwords\n--b\n'
        "Content-Type: message/delivery-status\n\n" + "\n".join(lines) + "\n--b\n"
        f"Content-Type: text/rfc822-headers\n\n{returned}\n--b--\n"
    )
    return text.encode()


def reply(
    sender: str = PP[0], *headers: str, answers: str = f"In-Reply-To: {MESSAGE_ID}", subject: str = "Re: x"
) -> bytes:
    return "\n".join([f"From: {sender}", f"Subject: {subject}", answers, *headers, "", "Bien reçu."]).encode()


@pytest.fixture
def books(tmp_path: Path, clock: HeldClock) -> IncidentBooks:
    found = IncidentBooks(tmp_path / "incidents", clock=clock)
    written = NoticeQueued(
        notice="cut-1",
        tells="cut",
        message_id=MESSAGE_ID,
        sha256="0" * 64,
        recipients=(*PP, OURS),
        in_copy=(OURS,),
    )
    taken = [NoticeSubmitted(notice="cut-1", recipient=one, evidence="250 queued as 1") for one in (*PP, OURS)]
    found.update("i1", "notifier", lambda _: [opened(clock.now()), written, *taken])
    return found


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    for part in ("new", "cur", "tmp"):
        (tmp_path / "returns" / part).mkdir(parents=True)
    return Maildir(tmp_path / "returns")


def take(books: IncidentBooks, maildir: Maildir, *mails: bytes) -> Incident:
    for place, mail in enumerate(mails):
        (maildir.folder / "new" / f"{place:04}.{random.getrandbits(32):x}").write_bytes(mail)
    while take_in(maildir, Sent(books, tuple(books.all()))):
        pass
    return books.read("i1")


def level(incident: Incident, address: str = PP[0]) -> Level:
    return next(one.level for one in incident.notices[0].recipients if one.address == address)


@pytest.mark.parametrize(
    ("action", "reached"),
    [
        ("relayed", Level.RELAYED),
        ("expanded (to a list)", Level.RELAYED),
        ("delivered", Level.DELIVERED),
        ("failed", Level.FAILED),
        ("delayed", Level.SUBMITTED),
    ],
)
def test_a_report_says_how_far_it_came(books: IncidentBooks, maildir: Maildir, action: str, reached: Level) -> None:
    incident = take(books, maildir, report(action))
    assert level(incident) is reached
    assert level(incident, PP[1]) is Level.SUBMITTED
    assert incident.acknowledged_at is None
    assert len(os.listdir(maildir.folder / "cur")) == 1
    assert os.listdir(maildir.folder / "new") == []


@pytest.mark.parametrize(
    "ids", [{"envelope": None}, {"message_id": None}, {"original": False}], ids=["no envid", "no headers", "final only"]
)
def test_one_id_that_is_ours_is_enough(books: IncidentBooks, maildir: Maildir, ids: dict[str, None]) -> None:
    assert level(take(books, maildir, report("delivered", **ids))) is Level.DELIVERED  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "forged",
    [
        report("failed", envelope="f" * 32, message_id=None),
        report("failed", envelope="f" * 32),
        report("delivered", message_id="<i1.cut-9@syn.example>"),
        report("failed", envelope=None, message_id=None),
        report("delivered", "stranger@elsewhere.example"),
        report("vanished"),
    ],
    ids=["unknown envid", "two ids that differ", "unknown message", "no id", "unknown recipient", "unknown action"],
)
def test_a_forged_report_changes_nothing(books: IncidentBooks, maildir: Maildir, forged: bytes) -> None:
    before = books.read("i1").notices
    assert take(books, maildir, forged).notices == before
    assert os.listdir(maildir.folder / "new") == []


def test_a_reply_acknowledges_for_whoever_wrote_it(books: IncidentBooks, maildir: Maildir) -> None:
    # N08
    incident = take(books, maildir, reply(f"Permanence <{PP[0].upper()}>"))
    assert incident.state is State.ACKNOWLEDGED
    assert (level(incident), level(incident, PP[1])) == (Level.ACKNOWLEDGED, Level.SUBMITTED)
    colleague = take(books, maildir, reply("quart@pp.example", answers=f"References: <a@b> {MESSAGE_ID}"))
    assert [level(colleague, one) for one in PP[1:]] == [Level.SUBMITTED] * 2
    assert "Permanence" not in colleague.timeline[-1].model_dump_json()


@pytest.mark.parametrize(
    "mail",
    [
        reply(PP[0], "Auto-Submitted: auto-replied"),
        reply(PP[0], "X-Autoreply: yes"),
        reply(PP[0], "Precedence: bulk"),
        reply(PP[0], "Return-Path: <>"),
        reply(PP[0], subject="Réponse automatique : absente"),
        reply(PP[0], subject="=?utf-8?q?R=C3=A9ponse_automatique?= : x"),
        reply(PP[0], subject="Out of Office: x"),
        reply("x@elsewhere.example"),
        reply(OURS),
        reply(PP[0], answers="In-Reply-To: <other@syn.example>"),
        reply(PP[0], answers="X: y"),
    ],
)
def test_what_no_person_of_theirs_wrote_does_not_acknowledge(
    books: IncidentBooks, maildir: Maildir, mail: bytes
) -> None:
    # N08
    incident = take(books, maildir, mail)
    assert incident.state is State.OPEN
    assert {one.level for one in incident.notices[0].recipients} == {Level.SUBMITTED}


def test_a_mail_counts_once_though_a_crash_comes_before_it_is_put_away(books: IncidentBooks, maildir: Maildir) -> None:
    class Dying(Maildir):
        def put_away(self, key: str) -> None:
            raise KeyboardInterrupt(key)

    with pytest.raises(KeyboardInterrupt):
        take(books, Dying(maildir.folder), reply())
    after = take(books, maildir)
    assert sum(isinstance(event.said, Acknowledged) for event in after.timeline) == 1
    assert sum(isinstance(event.said, NoticeAcknowledged) for event in after.timeline) == 1


def test_a_mail_waits_while_the_book_cannot_be_written(
    books: IncidentBooks, maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Incident:
        raise BookError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(books, "update", full)
        with pytest.raises(BookError):
            take(books, maildir, reply())
    assert take(books, maildir).state is State.ACKNOWLEDGED


def test_thousands_of_strange_mails_do_not_fill_the_book(books: IncidentBooks, maildir: Maildir) -> None:
    mails = [report("failed", f"n{place}@elsewhere.example") for place in range(MAX_NOTED + 30)]
    incident = take(books, maildir, *mails)
    assert sum(isinstance(event.said, Noted) for event in incident.timeline) == MAX_NOTED


def test_hostile_mails_are_read_to_their_end() -> None:
    """Seeds mutated, and MIME nested, cut and lied about: only the declared error, whatever the bytes."""
    chance = random.Random(6)
    nested = b"".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n'.encode() for n in range(900))
    odd = [
        nested,
        b"",
        b"\x00" * 4096,
        b"Content-Type: multipart/report; report-type=delivery-status\n\nno boundary",
        b"Content-Type: multipart/report; report-type*0*=utf-8''%ff; boundary=b\n\n--b\n--b--",
        b"In-Reply-To: " + b"<" * 50_000,
        b"From: " + b"(" * 20_000 + b"a@b\nIn-Reply-To: <i1@x>\n\n",
        b"Subject: " + b"=?a?q?b?= " * 50_000,
        b"Subject: =?bogus?b?////?=\nFrom: =?utf-8?q?=ff?= <a@b>\n\n",
        report("delivered").replace(b"message/delivery-status", b"message/rfc822"),
        report("delivered").replace(b"text/rfc822-headers", b"message/delivery-status"),
    ]
    seeds = [report("failed"), reply(), *odd[3:]]
    for _ in range(250):
        mail = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 12)):
            at = chance.randrange(len(mail) + 1)
            mail[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4)) or mail[:at][-20:]
        odd.append(bytes(mail))
    for mail in odd:
        try:
            read_mail(mail)
        except UnreadableMail:
            continue


async def test_a_failure_that_is_reported_calls_the_next_contact(
    tmp_path: Path, clock: HeldClock, maildir: Maildir
) -> None:
    # N04, N06: the notifier's own loop
    async with mail_server() as server:
        stage = stage_of(tmp_path / "own", clock, server.route(), mailbox=maildir, escalation=("chef@pp.example",))
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.round()
        (maildir.folder / "new" / "1").write_bytes(report("failed"))
        (maildir.folder / "new" / "2").write_bytes(b"\xff" * 100)
        await stage.pass_time(timedelta(seconds=3), step=timedelta(seconds=1))
        assert len(server.mails_of("chef@pp.example")) == 1
        assert os.listdir(maildir.folder / "new") == []
