"""A notice as the bytes of a mail: headers, text and HTML, signature. Each resend has the same Message-ID (N01).

What a mail says of an incident comes from its book alone, so whoever composes it again composes the same; only an
S/MIME signature differs each time, and the book keeps the bytes that were sent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final

from camera_registry.paris import PARIS, day_of
from ops.contacts import Addressed, Contact, Directory, Sender, check_copying
from ops.correspondence.matters import AlarmRaised, Anchoring, Announced, BreakGlass, Measure, correspondence_id
from ops.incidents.duties import Duty
from ops.incidents.events import NoticeKind
from ops.incidents.incident import TELL_OF_THE_STOP, Incident, Notice
from ops.notices import letters
from ops.notices.rendering import Wording
from ops.notices.smime import SmimeSigner
from ops.notices.wording import Terms, wording_of
from ops.parties import Party

MAX_ENVELOPE_ID_CHARS: Final = 100
"""Characters of an ENVID (RFC 3461 section 4.4). A longer Message-ID is known by its hash."""

CHECKPOINT_FILE: Final = "point-de-controle.txt"
"""The attachment that PP keeps: what ``halfgateway-verify --anchor`` is given (T04)."""

HEADER_PROTECTION: Final = "clear"
"""What is signed carries the headers too (RFC 9788): who wrote to whom, when, and on what."""

_VERSION = b"MIME-Version: 1.0\r\n"
_NTH = re.compile(r"-([1-9][0-9]{0,3})$")


@dataclass(frozen=True, slots=True)
class Composed:
    """One mail: its exact bytes, its Message-ID in angle brackets, and whom its envelope names.

    ``in_copy`` are those of the recipients who only have a copy: of a notice, ours.
    """

    content: bytes
    message_id: str
    recipients: tuple[str, ...]
    in_copy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composer:
    """Composes every mail. ``directory`` and ``cap`` are asked each time, for both may change while it runs.

    ``checkpoint`` gives the trace's newest signed checkpoint, or None. Its methods raise NoContact, CopyingRefused
    (C14), WordingError and SigningError.
    """

    sender: Sender
    directory: Callable[[], Directory]
    cap: Callable[[], int]
    signer: SmimeSigner | None = None
    checkpoint: Callable[[], str | None] = lambda: None

    def compose(self, incident: Incident, duty: Duty, notice_id: str, now: datetime) -> Composed:
        """Return the notice that an incident's duty asks for; ``update-2`` tells the second point d'étape."""
        if duty.tells is NoticeKind.RECEIVED:
            return self.report_received(incident, now)
        terms = self._terms(now)
        first = first_notice(incident, notice_id)
        words = wording_of(incident, duty.tells, terms, now, nth=_nth(notice_id), answers=first is not None)
        thread = first.message_id if first is not None else None
        addressed = self.directory().of_a_notice(now)
        return self._mail(f"{incident.id}.{notice_id}", words, addressed, terms, now, thread=thread)

    def report_received(self, incident: Incident, now: datetime, *, answers: str | None = None) -> Composed:
        """Return the answer to what PP reported; ``answers`` is the Message-ID of PP's mail, where it was one (C13)."""
        terms, addressed = self._terms(now), self.directory().of_a_report(now)
        words = letters.of_report(incident, terms, now)
        return self._mail(f"{incident.id}.received-1", words, addressed, terms, now, thread=answers)

    def contact_test(self, contact: Contact, now: datetime) -> Composed:
        """Return the month's test of one contact (N13); PP's contractor has it with PP in copy (C14)."""
        terms = self._terms(now)
        copied = self.directory().of_a_word(now).to if contact.is_contractor and contact.side is Party.PP else ()
        words = letters.of_contact_test(contact, terms, now)
        local_part = f"test-{now.astimezone(PARIS):%Y-%m}.{contact_mark(contact)}"
        internal = contact.side is Party.SYN
        return self._mail(local_part, words, Addressed((contact,), copied), terms, now, internal=internal)

    def measure(self, measure: Measure, now: datetime) -> Composed:
        """Return the word to PP of a measure that is narrower than a cut."""
        terms, addressed = self._terms(now), self.directory().of_a_word(now)
        words = letters.of_measure(measure, terms, now)
        return self._mail(f"{measure.reference}.{measure.act}", words, addressed, terms, now)

    def announcement(self, announced: Announced, now: datetime) -> Composed:
        """Return an announcement: to PP with SYN in copy, or to SYN alone where it is for nobody else (P07, C15)."""
        terms, directory = self._terms(now), self.directory()
        internal = Party.PP not in announced.to
        addressed = directory.of_an_alarm(now) if internal else directory.of_a_word(now)
        thread = None if announced.answers is None else self._message_id(announced.answers)
        words = letters.of_announcement(announced, terms, now)
        return self._mail(announced.reference, words, addressed, terms, now, thread=thread, internal=internal)

    def anchoring(self, matter: Anchoring, now: datetime) -> Composed:
        """Return the day's mail with the trace's checkpoint (T04). Raises WordingError while there is none."""
        terms, addressed = self._terms(now), self.directory().of_a_word(now)
        words = letters.of_anchoring(matter, terms, now)
        return self._mail(f"ancrage-{day_of(now)}.{matter.node}", words, addressed, terms, now)

    def alarm(self, alarm: AlarmRaised, now: datetime) -> Composed:
        """Return what SYN's own are told of a node that is not well."""
        terms, addressed = self._terms(now), self.directory().of_an_alarm(now)
        words = letters.of_alarm(alarm, terms, now)
        return self._mail(correspondence_id(alarm), words, addressed, terms, now, internal=True)

    def break_glass(self, used: BreakGlass, now: datetime) -> Composed:
        """Return the word that a sealed credential was opened (C21)."""
        terms, addressed = self._terms(now), self.directory().of_break_glass(now)
        words = letters.of_break_glass(used, terms, now)
        return self._mail(correspondence_id(used), words, addressed, terms, now)

    def _terms(self, now: datetime) -> Terms:
        return Terms(self.directory().single_point(now), self.cap(), self.checkpoint())

    def _message_id(self, local_part: str) -> str:
        return f"<{local_part}@{self.sender.domain}>"

    def _mail(
        self,
        local_part: str,
        words: Wording,
        addressed: Addressed,
        terms: Terms,
        now: datetime,
        *,
        thread: str | None = None,
        internal: bool = False,
    ) -> Composed:
        check_copying(Party.SYN, addressed.everyone, internal=internal)
        message_id = self._message_id(local_part)
        headers = _headers(self.sender, words.subject, addressed, now) + _thread(message_id, thread)
        recipients = tuple(dict.fromkeys(addressed.addresses))
        in_copy = tuple(contact.email for contact in addressed.cc)
        entity = _entity(words, terms.checkpoint, message_id)
        if self.signer is None:
            return Composed(headers + _VERSION + entity.as_bytes(), message_id, recipients, in_copy)
        entity.set_param("hp", HEADER_PROTECTION)
        content_type, body = self.signer.signed(headers + entity.as_bytes())
        outer = f"Content-Type: {content_type}\r\n\r\n".encode("ascii")
        return Composed(headers + _VERSION + outer + body, message_id, recipients, in_copy)


def contact_mark(contact: Contact) -> str:
    """Return what a contact's tests are known by: the same for as long as its line in the annex is."""
    return hashlib.sha256(f"{contact.role}:{contact.function}:{contact.email}".encode()).hexdigest()[:12]


def first_notice(incident: Incident, notice_id: str) -> Notice | None:
    """Return the notice that another one answers: the first that tells of the stop and was not withdrawn (C12)."""
    for notice in incident.notices:
        if notice.tells in TELL_OF_THE_STOP and not notice.withdrawn and notice.id != notice_id:
            return notice
    return None


def envelope_id(message_id: str) -> str:
    """Return the ENVID by which a delivery report names this message, as xtext (RFC 3461 section 4)."""
    plain = message_id.strip("<>")
    written = "".join(byte if byte not in "+=" else f"+{ord(byte):02X}" for byte in plain)
    fits = len(written) <= MAX_ENVELOPE_ID_CHARS and all("!" <= byte <= "~" for byte in plain)
    return written if fits else hashlib.sha256(plain.encode()).hexdigest()


def _nth(notice_id: str) -> int:
    found = _NTH.search(notice_id)
    return int(found.group(1)) if found else 1


def _headers(sender: Sender, subject: str, addressed: Addressed, now: datetime) -> bytes:
    fields: list[tuple[str, Any]] = [
        ("From", Address(sender.display, addr_spec=sender.address)),
        ("To", [Address(each.function, addr_spec=each.email) for each in addressed.to]),
        ("Cc", [Address(each.function, addr_spec=each.email) for each in addressed.cc]),
        ("Subject", subject),
        ("Date", now.astimezone(PARIS)),
    ]
    message = EmailMessage(policy=SMTP)
    for name, value in fields:
        if value:
            message[name] = value
    return b"".join(SMTP.fold_binary(name, value) for name, value in message.raw_items())


def _thread(message_id: str, thread: str | None) -> bytes:
    """The headers that machines read, never folded: a Message-ID has to come back as it was sent."""
    lines = [f"Message-ID: {message_id}"]
    if thread is not None:
        lines += [f"In-Reply-To: {thread}", f"References: {thread}"]
    lines += ["Auto-Submitted: auto-generated", "Content-Language: fr"]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _entity(words: Wording, checkpoint: str | None, message_id: str) -> EmailMessage:
    """Text and HTML as alternatives, and the checkpoint attached to the byte where there is one."""
    entity = EmailMessage(policy=SMTP)
    entity.set_content(words.text, cte="quoted-printable")
    entity.add_alternative(words.html, subtype="html", cte="quoted-printable")
    if checkpoint is not None:
        entity.add_attachment(
            checkpoint.encode(), maintype="application", subtype="octet-stream", filename=CHECKPOINT_FILE
        )
    mark = hashlib.sha256(message_id.encode()).hexdigest()[:24]
    for n, part in enumerate(part for part in entity.walk() if part.is_multipart()):
        part.set_boundary(f"part-{n}-{mark}")
    for part in entity.walk():
        del part["MIME-Version"]
    return entity
