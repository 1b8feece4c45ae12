"""What comes back, written into the books: how far a notice came, and who has acknowledged it (N06, N07, N08).

A mail is matched on ids that only those who had ours can know: the envelope's id and Message-ID of a report, the
``In-Reply-To`` of a reply. One that names another recipient, or an id of nobody's, changes nothing, and is noted where
there is a book to note it in. Each mail counts once, however often it is read: its hash stands in what it led to, and
only then is it put away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol

from ops.incidents.book import Books, Subject, Told
from ops.incidents.events import (
    Acknowledged,
    CorrespondenceNoted,
    Noted,
    NoticeAcknowledged,
    NoticeDelivered,
    NoticeFailed,
    NoticeKind,
    NoticeRelayed,
    Said,
)
from ops.incidents.incident import Incident, Notice
from ops.notices.message import envelope_id
from ops.notices.reports import Action, DeliveryReport, RecipientReport, Reply, UnreadableMail, read_mail

log = logging.getLogger(__name__)

WHO = "notifier"

MAX_NOTED = 50
"""Mails that change nothing and are noted in one incident. Past it they are only logged: whoever sends thousands
must not fill the book."""

_NOTES = (Noted, CorrespondenceNoted)
_LEVEL_OF = {
    Action.FAILED: NoticeFailed,
    Action.DELIVERED: NoticeDelivered,
    Action.RELAYED: NoticeRelayed,
    Action.EXPANDED: NoticeRelayed,
}


class Mailbox(Protocol):
    """Where what comes back lies. The methods block; they raise ReturnsUnavailable."""

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        """Some of the mails that nobody has put away, each by a key of its own; at most as many bytes as are read."""

    def put_away(self, key: str) -> None:
        """Mark a mail as dealt with, durably; one that is put away already stays so."""


@dataclass(frozen=True, slots=True)
class Sent(Generic[Subject]):
    """What was sent from one sort of books: the books, and what they told when they were last looked at."""

    books: Books[Subject]
    subjects: Iterable[Subject]


@dataclass(frozen=True, slots=True)
class _Known:
    """One notice that a mail may name, and the book in which it stands."""

    books: Books[Any]
    subject: str
    notice: Notice
    of_an_incident: bool


def take_in(mailbox: Mailbox, *sent: Sent[Any]) -> int:
    """Read what waits, write what it says into the books, put it away; return how many mails that were.

    What is matched with no notice of what was sent is only logged. Raises ReturnsUnavailable, and BookError: the mail
    then still waits, and is read again.
    """
    by_message = {
        notice.message_id: _Known(each.books, one.id, notice, isinstance(one, Incident))
        for each in sent
        for one in each.subjects
        for notice in one.notices
    }
    by_envelope = {named: known for one, known in by_message.items() for named in (envelope_id(one), one.strip("<>"))}
    mails = mailbox.waiting()
    for key, content in mails:
        try:
            _write(by_message, by_envelope, read_mail(content))
        except UnreadableMail as error:
            log.warning("returns.unreadable key=%s error=%s", key, error)
        mailbox.put_away(key)
    return len(mails)


def _write(by_message: dict[str, _Known], by_envelope: dict[str, _Known], mail: DeliveryReport | Reply) -> None:
    if isinstance(mail, DeliveryReport):
        known = _reported(mail, by_message, by_envelope)
        said = () if known is None else tuple(_of_report(known, mail))
    else:
        known = next((by_message[one] for one in mail.answers if one in by_message), None)
        said = () if known is None else tuple(_of_reply(known, mail))
    if known is None:
        log.info("returns.of_nothing_ours sha256=%s", mail.digest)
        return
    known.books.update(known.subject, WHO, partial(_unsaid, said))


def _reported(mail: DeliveryReport, by_message: dict[str, _Known], by_envelope: dict[str, _Known]) -> _Known | None:
    """The notice that a report is about: every id that it gives must be that notice's."""
    found = {by_envelope.get(mail.envelope_id)} if mail.envelope_id is not None else set()
    found |= {by_message.get(mail.message_id)} if mail.message_id is not None else set()
    return found.pop() if len(found) == 1 else None


def _of_report(known: _Known, mail: DeliveryReport) -> Iterable[Said]:
    notice = known.notice
    for report in mail.recipients:
        recipient = _meant(notice, report)
        evidence = f"{report.evidence} (sha256:{mail.digest})"
        if recipient is None:
            text = f"Rapport de remise écarté : destinataire étranger au courriel {notice.id} (sha256:{mail.digest})"
            yield _noted(known, text)
        elif report.action is Action.DELAYED:
            yield _noted(known, f"Remise de {notice.id} à {recipient} retardée : {evidence}")
        else:
            yield _LEVEL_OF[report.action](notice=notice.id, recipient=recipient, evidence=evidence)


def _meant(notice: Notice, report: RecipientReport) -> str | None:
    """The notice's recipient that a report names, as we named it."""
    named = [recipient.address for recipient in notice.recipients if recipient.address.lower() in report.addresses]
    return named[0] if named else None


def _of_reply(known: _Known, mail: Reply) -> Iterable[Said]:
    """What a reply amounts to: a recipient's own acknowledges, and so does a colleague's of the same domain.

    Ours, who were in copy, do not acknowledge for PP. Of a correspondence a colleague answers for the first recipient
    of that domain: a mailbox is read by persons who write from their own.
    """
    notice = known.notice
    if mail.automatic:
        yield _noted(known, f"Réponse automatique à {notice.id}, sans effet (sha256:{mail.digest})")
        return
    told = [recipient.address for recipient in notice.recipients if recipient.address not in notice.in_copy]
    itself = [address for address in told if address.lower() == mail.sender]
    colleagues = [address for address in told if _domain(address) == _domain(mail.sender)]
    if not itself and not colleagues:
        yield _noted(known, f"Réponse à {notice.id} d'un expéditeur étranger, sans effet (sha256:{mail.digest})")
        return
    for address in itself if known.of_an_incident else itself or colleagues[:1]:
        yield NoticeAcknowledged(notice=notice.id, recipient=address, evidence=f"réponse (sha256:{mail.digest})")
    if known.of_an_incident and notice.tells is not NoticeKind.RECEIVED:
        yield Acknowledged(means="reply", contact=f"sha256:{mail.digest}")


def _domain(address: str) -> str:
    return address.lower().rpartition("@")[2]


def _noted(known: _Known, text: str) -> Said:
    return Noted(about="timeline", text=text) if known.of_an_incident else CorrespondenceNoted(text=text)


def _unsaid(said: Sequence[Said], subject: Told | None) -> Sequence[Said]:
    """What a mail says, but for what was said before a crash, and for notes where there are too many already."""
    told = [] if subject is None else [event.said for event in subject.timeline if event.who == WHO]
    noted = sum(isinstance(one, _NOTES) for one in told)
    return [one for one in said if one not in told and not (isinstance(one, _NOTES) and noted >= MAX_NOTED)]
