"""The dossier of an incident: complete, checked by the commands that it gives, and the example in the docs is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from auth.trace import Entry, InclusionProof, SignedCheckpoint
from auth.trace.checkpoint import parse_checkpoint
from auth.trace.dossier import ENTRY, INCLUSION, LEAF_RECORD, SALT, VERIFIER
from auth.trace.notes import read_keys
from auth.trace.proofs import InclusionFile
from auth.trace.reader import Opening
from docs.make_dossier import CAP, DIRECTORY, INCIDENT, NODE, TARGET
from halfgateway.dossiers import incident_words
from halfgateway.dossiers.incident import (
    BOOK,
    MAILS,
    PAPER,
    PROOFS,
    IncidentDossier,
    incident_document,
    incident_files,
    write_incident_dossier,
)
from halfgateway.dossiers.proof import EntryDossier
from ops.errors import UnknownIncident
from ops.incidents.book import IncidentBooks
from ops.incidents.events import ClockStarted, Noted, NoticeQueued, Revised, Said
from ops.incidents.incident import incident_of
from ops.notices.message import CHECKPOINT_FILE
from ops.notices.wording import Terms, wording_of
from tests.held_clock import HeldClock
from tests.ops.told import REF, T0, opened, queued

UNANCHORED = 6


@pytest.fixture
def books(tmp_path: Path, clock: HeldClock) -> IncidentBooks:
    return IncidentBooks(tmp_path / "incidents", clock=clock)


@pytest.fixture
def example(tmp_path: Path, books: IncidentBooks) -> IncidentDossier:
    """The example, read back from its files as a node reads its books and its trace."""
    folder = tmp_path / "incidents" / INCIDENT
    folder.mkdir(parents=True)
    shutil.copy(TARGET / BOOK, folder)
    for mail in (TARGET / MAILS).iterdir():
        shutil.copy(mail, folder)
    proofs = sorted((_proof(each) for each in (TARGET / PROOFS).iterdir()), key=lambda proof: proof.entry.n)
    authority = (TARGET / "autorite.pem").read_bytes()
    return IncidentDossier.of(books.read(INCIDENT), books, proofs=proofs, authority=authority)


def _proof(folder: Path) -> EntryDossier:
    record, salt = (folder / LEAF_RECORD).read_bytes(), (folder / SALT).read_bytes()
    payload = (folder / ENTRY).read_bytes()
    inclusion = InclusionFile.parse((folder / INCLUSION).read_bytes())
    head = SignedCheckpoint(NODE, parse_checkpoint(inclusion.note.text), str(inclusion.note))
    return EntryDossier(
        entry=Entry.from_payload(payload),
        opening=Opening(record, salt, payload),
        inclusion=InclusionProof(NODE, inclusion.n, head.checkpoint.size, record, inclusion.path),
        head=head,
        keys=tuple(read_keys(folder / f"{NODE}.pem")),
    )


def test_the_example_is_what_its_book_its_mails_and_its_proofs_make(example: IncidentDossier) -> None:
    # python -m docs.make_dossier makes it anew; the verifier in it is that of its day
    on_disk = {str(path.relative_to(TARGET)): path.read_bytes() for path in TARGET.rglob("*") if path.is_file()}
    made = incident_files(example)
    assert made.keys() == on_disk.keys()
    assert {name for name in made if made[name] != on_disk[name]} <= {VERIFIER}
    assert sum(map(len, on_disk.values())) < 200_000
    assert made[PAPER].startswith(b"%PDF-")


def test_the_examples_mails_say_what_the_texts_say_today(example: IncidentDossier) -> None:
    # N12, N14
    events = example.incident.timeline
    told = [event for event in events if isinstance(event.said, NoticeQueued)]
    assert [event.said.notice for event in told if isinstance(event.said, NoticeQueued)] == [
        "cut-1", "update-1", "restored-1",
    ]  # fmt: skip
    for event in told:
        assert isinstance(event.said, NoticeQueued)
        known = incident_of(INCIDENT, events[: event.n])
        assert known is not None
        message = message_from_bytes(example.mails[event.said.sha256], EmailMessage, policy=default)
        body, (checkpoint, *_) = message.get_body(("plain",)), _checkpoints(message)
        sent = message["Date"].datetime.astimezone(UTC)
        terms = Terms(DIRECTORY.single_point(sent), CAP, checkpoint)
        words = wording_of(known, event.said.tells, terms, sent, answers=event.said.notice != "cut-1")
        assert body is not None
        assert body.get_content().splitlines() == words.text.splitlines()
        assert words.subject == message["Subject"]


def _checkpoints(message: EmailMessage) -> list[str]:
    return [
        part.get_content().decode()
        for part in message.walk()
        if isinstance(part, EmailMessage) and part.get_filename() == CHECKPOINT_FILE
    ]


def commands(folder: Path) -> Iterator[str]:
    """The commands of a dossier's LISEZMOI: each indented block after the heading, halfgateway-verify's one by one."""
    checks = (folder / "LISEZMOI.txt").read_text(encoding="utf-8").partition("VÉRIFIER")[2]
    for block in re.findall(r"(?:^    .*\n)+", checks, re.MULTILINE):
        script = re.sub(r"^    ", "", block, flags=re.MULTILINE)
        yield from script.splitlines() if script.startswith("python3") else [script]


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def handed_over(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TARGET, tmp_path / "handed-over"))


def test_every_command_of_the_example_holds(handed_over: Path) -> None:
    # N05, T06: openssl and halfgateway-verify, as LISEZMOI.txt has them
    ran = []
    for command in commands(handed_over):
        done = run(handed_over, command)
        ran.append(command.split()[0])
        assert done.returncode == (UNANCHORED if ran[-1] == "python3" else 0), (command, done)
        if ran[-1].startswith("p="):
            assert done.stdout.strip() in (handed_over / "LISEZMOI.txt").read_text(encoding="utf-8")
    assert {name: ran.count(name) for name in ran} == {"cd": 1, "openssl": 3, "p=$(printf": 1, "python3": 4}


@pytest.mark.parametrize("name", ["mail", "book", "proof"])
def test_every_change_is_found_by_one_of_the_commands(handed_over: Path, name: str) -> None:
    # N05
    target = {
        "mail": next(path for path in (handed_over / MAILS).iterdir()),
        "book": handed_over / BOOK,
        "proof": next(path for path in (handed_over / PROOFS).rglob(ENTRY)),
    }[name]
    target.write_bytes(target.read_bytes().replace(b"2026", b"2025", 1))
    assert any(run(handed_over, command).returncode not in {0, UNANCHORED} for command in commands(handed_over))


def test_the_dossier_tells_the_whole_proof(example: IncidentDossier) -> None:
    # N05, N07: T0, deadline, each attempt, bytes and hash, TLS peer, queue id, the trace's checkpoint
    document = incident_document(example)
    first, *_ = example.incident.notices
    told = "\n".join([*document.introduction, *(line for _, lines in document.annexes for line in lines)])
    for fact in (
        "21/11/2026 03:12:00 (02:12:00 UTC)",  # T0
        "21/11/2026 11:12:00 (10:12:00 UTC)",  # the deadline
        "Tentative 1 : 21/11/2026 03:12:02 (02:12:02 UTC) - différé",
        "451 4.7.1 Greylisted",
        "Tentative 2 : 21/11/2026 03:13:03 (02:13:03 UTC) - pris en charge",
        "250 2.0.0 Ok: queued as",
        "TLSv1.3, TLS_AES_256_GCM_SHA384, CN=smtp.syn.example",
        first.sha256,
        first.message_id,
        "pvpp@pp.example - accusé de réception",
        "dpp@syn.example - remis au serveur",
        "Subject: [EXERCICE] [PVPP – SYN] Incident critique",
        *example.proofs[0].head.note.splitlines(),
    ):
        assert fact in told
    assert document.title.startswith("[EXERCICE] ")
    assert len(document.rows) == len(example.incident.timeline)
    assert example.lost == ()


def test_revisions_clocks_and_what_is_not_known_are_told(books: IncidentBooks) -> None:
    # N02, L22
    books.update(
        REF,
        "syn-ops-01",
        lambda _: [
            opened(),
            Revised(t0=T0 - timedelta(hours=1), reason="journal du commutateur 10.78.1.2"),
            ClockStarted(clock="cnil", start=T0, deadline=T0 + timedelta(hours=72)),
            Noted(about="lessons", text="redonder http://10.78.1.3/"),
        ],
    )
    document = incident_document(IncidentDossier.of(books.read(REF), books))
    told = "\n".join([*document.introduction, *(cell for row in document.rows for cell in row)])
    assert "Survenance (T0) retenue : 21/11/2026 02:12:00 (01:12:00 UTC)" in told
    assert "– révisée le 21/11/2026 11:15:00 (10:15:00 UTC) par syn-ops-01" in told
    assert "pris en charge par un serveur : néant" in told
    assert "Délai « cnil »" in told
    assert "10.78.1" not in told  # C16


def test_a_mail_that_the_disk_lost_is_told_and_hides_nothing_else(books: IncidentBooks, tmp_path: Path) -> None:
    books.update(REF, "syn-ops-01", lambda _: [opened()])
    kept = books.keep_message(REF, b"From: dpp@syn.example\r\nSubject: x\r\n\r\ntexte\r\n")
    books.say(REF, "notifier", queued("cut-1"), queued("update-1").model_copy(update={"sha256": kept}))
    target = tmp_path / "dossier.zip"
    write_incident_dossier(books.read(REF), books, target)
    with zipfile.ZipFile(target) as archive:
        names = {name.removeprefix("dossier/") for name in archive.namelist()}
        readme = archive.read("dossier/LISEZMOI.txt").decode()
    assert names == {"LISEZMOI.txt", PAPER, BOOK, f"{MAILS}/{kept}.eml"}
    assert f"Le courriel {kept[:12]}… n'est pas signé." in readme
    assert VERIFIER not in readme
    dossier = IncidentDossier.of(books.read(REF), books)
    assert dossier.lost == ("0" * 64,)
    assert any("absents ou altérés" in line for line in incident_document(dossier).introduction)
    with pytest.raises(FileExistsError):
        write_incident_dossier(books.read(REF), books, target)


def test_a_damaged_book_says_so_and_a_missing_one_makes_none(books: IncidentBooks) -> None:
    books.update(REF, "syn-ops-01", lambda _: [opened()])
    whole = IncidentDossier.of(books.read(REF), books)
    damaged = replace(whole, incident=replace(whole.incident, damaged=True))
    assert any("n'est plus telle" in line for line in incident_document(damaged).introduction)
    assert "Aucun courriel n'a été rédigé" in incident_files(whole)["LISEZMOI.txt"].decode()
    with pytest.raises(UnknownIncident):
        IncidentDossier.of(replace(whole.incident, id="other"), books)


OF_INCIDENTS = [
    kind for kind in get_args(Said) if kind.model_fields["kind"].default.partition(".")[0] != "correspondence"
]


@pytest.mark.parametrize("kind", OF_INCIDENTS, ids=lambda kind: str(kind.__name__))
def test_every_event_has_its_words(kind: Any) -> None:
    name = kind.model_fields["kind"].default
    assert name in incident_words.KINDS
    for field, described in kind.model_fields.items():
        if field == "kind":
            continue
        assert field in incident_words._FIELDS
        if field in incident_words._CODED:
            for value in _values(described.annotation):
                assert incident_words.word(value)


def _values(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (each.value for each in annotation)
    else:
        for inside in get_args(annotation):
            yield from _values(inside)


def test_the_book_in_the_dossier_is_read_by_machines(example: IncidentDossier) -> None:
    lines = [json.loads(line.partition(b" ")[2]) for line in example.book.splitlines()]
    assert [line["said"]["kind"] for line in lines] == [event.said.kind for event in example.incident.timeline]
