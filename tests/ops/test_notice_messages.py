"""A notice as a mail: its headers and thread, its signature, the same bytes from the same book (N01, N05, C12, C14)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from auth.demo_authority import DemoAuthority
from ops.announcement_texts import window_planned, window_withdrawn
from ops.contacts import Addressed, Contact, ContactRole, Directory
from ops.correspondence.matters import Act, AlarmRaised, Anchoring, BreakGlass, Condition, Narrowed
from ops.errors import CopyingRefused, NoContact, SigningError, WordingError
from ops.incidents.duties import Duty
from ops.incidents.events import NoticeKind, NoticeWithdrawn, Said
from ops.interconnection import Author, Ground
from ops.notices.message import CHECKPOINT_FILE, Composed, Composer, envelope_id
from ops.notices.smime import SmimeSigner
from ops.notices.wording import wording_of
from ops.parties import Party
from tests.ops.told import (
    BACK,
    CHECKPOINT,
    CONTRACTOR,
    DIRECTORY,
    MAILBOX,
    NOTICES,
    OPERATIONS,
    POINT,
    REF,
    SENDER,
    SINCE,
    SOON,
    STEP,
    T0,
    TERMS,
    announced,
    composer,
    incident,
    measure,
    opened,
    planned_window,
    queued,
)

NOW = datetime.now(UTC)
"""openssl asks whether the certificate is valid today."""


def duty(tells: NoticeKind) -> Duty:
    return Duty(tells, T0, None)


def composed(
    *said: Said, tells: NoticeKind = NoticeKind.CUT, notice: str = "cut-1", by: Composer | None = None
) -> Composed:
    return (by or composer()).compose(incident(*said), duty(tells), notice, SOON)


def parsed(mail: Composed) -> EmailMessage:
    message = message_from_bytes(mail.content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> DemoAuthority:
    return DemoAuthority.open(tmp_path_factory.mktemp("ca"), NOW)


@pytest.fixture(scope="module")
def signer(authority: DemoAuthority) -> SmimeSigner:
    issued = authority.mail("dpp@syn.example", NOW)
    return SmimeSigner.read(issued.certificate_path, issued.key_path)


def test_a_notice_says_who_writes_to_whom_and_when() -> None:
    # C11: annex 2, SYN's in copy; N01: an id that every resend and every node has
    mail = composed(opened())
    message = parsed(mail)
    assert mail.message_id == message["Message-ID"] == f"<{REF}.cut-1@syn.example>"
    assert str(message["From"]) == "Seine-et-Yvelines Numérique <dpp@syn.example>"
    assert str(message["To"]) == "Permanence du PVPP <pvpp@pp.example>"
    assert str(message["Cc"]) == "Service d'exploitation <dpp@syn.example>, Astreinte SYN <astreinte@syn.example>"
    assert mail.recipients == ("pvpp@pp.example", "dpp@syn.example", "astreinte@syn.example")
    assert message["Date"] == "Sat, 21 Nov 2026 03:17:00 +0100"
    assert message["Subject"] == wording_of(incident(opened()), NoticeKind.CUT, TERMS, SOON).subject
    assert (message["Auto-Submitted"], message["Content-Language"]) == ("auto-generated", "fr")
    assert message["In-Reply-To"] is None


def test_text_and_html_are_alternatives_and_say_what_was_worded() -> None:
    message = parsed(composed(opened()))
    words = wording_of(incident(opened()), NoticeKind.CUT, TERMS, SOON)
    assert message.get_content_type() == "multipart/alternative"
    plain, page = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert plain.get_content().splitlines() == words.text.splitlines()
    assert page.get_content().splitlines() == words.html.splitlines()


@pytest.mark.parametrize("signed", [False, True])
def test_every_line_ends_as_smtp_wants_and_is_short_and_plain(signed: bool, signer: SmimeSigner) -> None:
    content = composed(opened(), by=composer(signer if signed else None, CHECKPOINT)).content
    assert content.endswith(b"\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    assert content.isascii()


def test_the_same_book_gives_the_same_bytes() -> None:
    # N01
    assert composed(opened()) == composed(opened())


@pytest.mark.parametrize(
    ("tells", "notice"),
    [(NoticeKind.RESTORED, "restored-1"), (NoticeKind.UPDATE, "update-1"), (NoticeKind.CUT_AND_RESTORED, "both-1")],
)
def test_what_follows_answers_the_first_notice(tells: NoticeKind, notice: str) -> None:
    # C12
    message = parsed(composed(opened(), queued("cut-1"), STEP, BACK, tells=tells, notice=notice))
    assert message["In-Reply-To"] == message["References"] == f"<{REF}.cut-1@syn.example>"


def test_what_replaces_the_first_notice_answers_nothing() -> None:
    # C12: restored before the first left
    gone = NoticeWithdrawn(notice="cut-1", reason="rétabli avant l'envoi")
    both = composed(opened(), queued("cut-1"), BACK, gone, tells=NoticeKind.CUT_AND_RESTORED, notice="both-1")
    assert parsed(both)["In-Reply-To"] is None
    again = composed(opened(), queued("cut-1"))
    assert parsed(again)["In-Reply-To"] is None  # a notice does not answer itself


def test_an_update_tells_the_point_that_its_number_names() -> None:
    second = STEP.model_copy(update={"text": "Second point."})
    for n, words in ((1, "en cours de remplacement"), (2, "Second point.")):
        mail = composed(opened(), queued("cut-1"), STEP, second, tells=NoticeKind.UPDATE, notice=f"update-{n}")
        body = parsed(mail).get_body(("plain",))
        assert body is not None
        assert words in body.get_content()


def test_a_checkpoint_is_attached_to_the_byte() -> None:
    # T04: what halfgateway-verify --anchor is given
    (attached,) = parsed(composed(opened(), by=composer(checkpoint=CHECKPOINT))).iter_attachments()
    assert attached.get_filename() == CHECKPOINT_FILE
    assert attached.get_content() == CHECKPOINT.encode()


def test_a_drill_is_marked_in_every_mail() -> None:
    # N14
    said = (opened(Ground.DRILL), queued("cut-1"), STEP, BACK)
    for tells in NOTICES:
        assert str(parsed(composed(*said, tells=tells, notice=f"{tells}-1"))["Subject"]).startswith("[EXERCICE] ")


def test_a_report_is_acknowledged_in_its_thread_with_its_reference() -> None:
    # C13
    mail = composer().report_received(incident(opened(None)), SOON, answers="<signalement@pp.example>")
    message = parsed(mail)
    assert message["In-Reply-To"] == "<signalement@pp.example>"
    assert REF in message["Subject"]
    assert mail.recipients == ("pvpp@pp.example", "dpp@syn.example", "astreinte@syn.example")


def test_each_contact_is_tested_by_itself_once_a_month_and_contractors_with_their_party_in_copy() -> None:
    # N13, C14
    mails = {each.email: composer().contact_test(each, T0) for each in (MAILBOX, CONTRACTOR, POINT)}
    assert mails[MAILBOX.email].recipients == (MAILBOX.email,)
    assert mails[CONTRACTOR.email].recipients == (CONTRACTOR.email, MAILBOX.email)
    assert len({mail.message_id for mail in mails.values()}) == 3
    assert all(mail.message_id.startswith("<test-2026-11.") for mail in mails.values())
    assert composer().contact_test(POINT, T0 + timedelta(days=1)).message_id == mails[POINT.email].message_id
    assert composer().contact_test(POINT, T0 + timedelta(days=12)).message_id != mails[POINT.email].message_id


def test_measures_and_announcements_go_to_pp_with_syn_in_copy() -> None:
    # P07
    both = ("pvpp@pp.example", "dpp@syn.example")
    block = measure(Act.BLOCKED, Narrowed.SITE, "PP-CITE", "essai", by=Author.OFFICER)
    assert composer().measure(block, T0).recipients == both
    window = planned_window()
    planned = composer().announcement(announced(window_planned(window)), T0)
    withdrawn = announced(window_withdrawn(replace(window, withdrawal="report"), T0))
    called_off = composer().announcement(withdrawn, T0)
    assert (planned.recipients, planned.message_id) == (both, "<window-1-planned@syn.example>")
    assert parsed(called_off)["In-Reply-To"] == planned.message_id


def test_what_is_syns_own_goes_to_nobody_else() -> None:
    # C14, C16: also where whoever chose the recipients was careless
    alarm = AlarmRaised(condition=Condition.SIEM_LAGGING, node="node-1", since=T0)
    assert composer().alarm(alarm, T0).recipients == (OPERATIONS.email,)
    officer = Contact("RSSI", Party.SYN, ContactRole.SECURITY_OFFICER, "rssi@syn.example", SINCE)
    with_officer = Composer(SENDER, lambda: Directory((*DIRECTORY.contacts, officer)), lambda: 10)
    assert with_officer.alarm(alarm, T0).recipients == (OPERATIONS.email, officer.email)
    used = BreakGlass(number=3, at=T0, until=T0 + timedelta(hours=1))
    told = with_officer.break_glass(used, T0)
    assert (told.recipients, told.in_copy) == (
        (MAILBOX.email, OPERATIONS.email, officer.email),
        (OPERATIONS.email, officer.email),
    )

    class Careless(Directory):
        def of_an_alarm(self, at: datetime) -> Addressed:
            return Addressed((OPERATIONS, MAILBOX))

    with pytest.raises(CopyingRefused, match="interne"):
        Composer(SENDER, lambda: Careless(DIRECTORY.contacts), lambda: 10).alarm(alarm, T0)


def test_a_day_has_one_checkpoint_of_each_node() -> None:
    # T04
    matter = Anchoring(month="2026-11", node="node-1")
    mail = composer(checkpoint=CHECKPOINT).anchoring(matter, T0)
    assert mail.message_id == "<ancrage-2026-11-21.node-1@syn.example>"
    (attached,) = parsed(mail).iter_attachments()
    assert attached.get_content() == CHECKPOINT.encode()
    with pytest.raises(WordingError):
        composer().anchoring(matter, T0)


class _Careless(Directory):
    def of_a_notice(self, at: datetime) -> Addressed:
        return Addressed((CONTRACTOR,))


def test_the_builder_refuses_a_contractor_without_its_party() -> None:
    # C14: whoever chose the recipients
    careless = Composer(SENDER, lambda: _Careless(DIRECTORY.contacts), lambda: 10)
    with pytest.raises(CopyingRefused, match="PP"):
        composed(opened(), by=careless)
    alone = Composer(SENDER, lambda: Directory((CONTRACTOR, OPERATIONS, POINT)), lambda: 10)
    with pytest.raises(NoContact):
        alone.contact_test(CONTRACTOR, T0)


@pytest.mark.parametrize("checker", [["smime", "-verify"], ["cms", "-verify"]])
@pytest.mark.parametrize("checkpoint", [None, CHECKPOINT])
def test_openssl_holds_the_signature_and_finds_every_change(
    checker: list[str], checkpoint: str | None, signer: SmimeSigner, authority: DemoAuthority, tmp_path: Path
) -> None:
    # N05
    mail = composed(opened(), by=composer(signer, checkpoint))
    code, said = _verified(checker, mail.content, authority, tmp_path)
    assert code == 0
    inner = message_from_bytes(said, policy=default)
    assert isinstance(inner, EmailMessage)
    body = inner.get_body(("plain",))
    assert body is not None
    terms = replace(TERMS, checkpoint=checkpoint)
    words = wording_of(incident(opened()), NoticeKind.CUT, terms, SOON)
    assert body.get_content().splitlines() == words.text.splitlines()
    for changed in _tampered(mail.content):
        assert _verified(checker, changed, authority, tmp_path)[0] != 0


def _tampered(content: bytes) -> Sequence[bytes]:
    """One byte of the text, of a protected header, of the signature; and a line more."""
    start = content.index(b"\r\n\r\n") + 4
    hour = content.index(b"03 h 12", start)
    subject = content.index(b"Subject:", start)
    signature = content.index(b"smime.p7s", start) + 600
    return (
        content[:hour] + b"03 h 13" + content[hour + 7 :],
        content[: subject + 9] + b"x" + content[subject + 9 :],
        content[:signature] + bytes([content[signature] ^ 1]) + content[signature + 1 :],
        content.replace(b"Madame, Monsieur,", b"Madame, Monsieur,\r\nrien", 1),
    )


def _verified(checker: list[str], content: bytes, authority: DemoAuthority, folder: Path) -> tuple[int, bytes]:
    mail, out = folder / "mail.eml", folder / "said"
    mail.write_bytes(content)
    command = ["openssl", *checker, "-in", str(mail), "-CAfile", str(authority.certificate_path), "-out", str(out)]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode, out.read_bytes() if done.returncode == 0 else b""


def test_what_is_signed_carries_the_headers(signer: SmimeSigner) -> None:
    # N05, RFC 9788: who wrote to whom, when, and on what
    message = parsed(composed(opened(), by=composer(signer)))
    assert message.get_content_type() == "multipart/signed"
    assert message["Content-Type"].params["micalg"] == "sha-256"
    inner, signature = message.iter_parts()
    assert signature.get_content_type() == "application/pkcs7-signature"
    assert inner["Content-Type"].params["hp"] == "clear"
    for name in ("From", "To", "Cc", "Subject", "Date", "Message-ID"):
        assert str(inner[name]) == str(message[name])


def test_a_chain_goes_with_the_signature(authority: DemoAuthority, tmp_path: Path) -> None:
    issued = authority.mail("dpp@syn.example", NOW)
    both = tmp_path / "both.pem"
    both.write_bytes(issued.certificate_path.read_bytes() + authority.certificate_path.read_bytes())
    signing = SmimeSigner.read(both, issued.key_path)
    assert signing.chain == (authority.certificate,)
    mail = tmp_path / "mail.eml"
    mail.write_bytes(composed(opened(), by=composer(signing)).content)
    command = ["openssl", "cms", "-verify", "-in", str(mail), "-CAfile", str(authority.certificate_path)]
    command += ["-certsout", str(tmp_path / "certs.pem"), "-out", str(tmp_path / "said")]
    subprocess.run(command, check=True, capture_output=True)
    assert len(x509.load_pem_x509_certificates((tmp_path / "certs.pem").read_bytes())) == 2


def test_an_rsa_key_signs_as_well(tmp_path: Path) -> None:
    # N05: what most authorities certify
    files = ["-keyout", str(tmp_path / "k.pem"), "-out", str(tmp_path / "c.pem")]
    options = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=dpp", "-addext", "extendedKeyUsage=emailProtection"]
    subprocess.run(["openssl", "req", "-x509", *options, *files], check=True, capture_output=True)
    signing = SmimeSigner.read(tmp_path / "c.pem", tmp_path / "k.pem")
    assert signing.valid_at(datetime.now(UTC) + timedelta(minutes=1))
    (tmp_path / "mail.eml").write_bytes(composed(opened(), by=composer(signing)).content)
    command = ["openssl", "smime", "-verify", "-in", str(tmp_path / "mail.eml"), "-CAfile", str(tmp_path / "c.pem")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_key_behind_a_passphrase_is_refused(authority: DemoAuthority, tmp_path: Path) -> None:
    issued = authority.mail("dpp@syn.example", NOW)
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(issued.key_path), "-out", str(locked), "-passout", "pass:x"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(SigningError):
        SmimeSigner.read(issued.certificate_path, locked)


@given(
    local=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<>"), min_size=1, max_size=200)
)
def test_an_envelope_id_is_xtext_and_comes_back_as_the_message_id(local: str) -> None:
    # N06, RFC 3461 section 4: at most 100 characters
    written = envelope_id(f"<{local}@syn.example>")
    assert len(written) <= 100
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+", written)
    if not re.fullmatch(r"[0-9a-f]{64}", written):
        back = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), written)
        assert back == f"{local}@syn.example"


def test_python_reads_its_own_mail_without_a_defect(signer: SmimeSigner) -> None:
    message = message_from_bytes(composed(opened(), by=composer(signer, CHECKPOINT)).content, policy=SMTP)
    assert [part.defects for part in message.walk() if part.defects] == []
