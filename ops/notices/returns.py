"""What comes back, written into the books: how far a notice came, and who has acknowledged it (N06, N07, N08).

A mail is matched on ids that only those who had ours can know: the envelope's id and Message-ID of a report, the
``In-Reply-To`` of a reply. One that names another recipient, or an id of nobody's, changes nothing, and is noted where
there is a book to note it in. Each mail counts once, however often it is read: its hash stands in what it led to, and
only then is it put away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from ops.incidents.book import IncidentBooks
from ops.incidents.events import (
    Acknowledged,
    Noted,
    NoticeAcknowledged,
    NoticeDelivered,
    NoticeFailed,
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


class _Sent:
    """One notice, by whatever a mail may name it."""

    def __init__(self, incident: str, notice: Notice) -> None:
        self.incident = incident
        self.notice = notice


def take_in(mailbox: Mailbox, books: IncidentBooks, incidents: Iterable[Incident]) -> int:
    """Read what waits, write what it says into the books, put it away; return how many mails that were.

    ``incidents`` are those that have notices. What is matched with none of them is only logged. Raises
    ReturnsUnavailable, and BookError: the mail then still waits, and is read again.
    """
    known = tuple(incidents)
    by_message = {notice.message_id: _Sent(one.id, notice) for one in known for notice in one.notices}
    by_envelope = {named: sent for one, sent in by_message.items() for named in (envelope_id(one), one.strip("<>"))}
    mails = mailbox.waiting()
    for key, content in mails:
        try:
            _write(books, by_message, by_envelope, read_mail(content))
        except UnreadableMail as error:
            log.warning("returns.unreadable key=%s error=%s", key, error)
        mailbox.put_away(key)
    return len(mails)


def _write(
    books: IncidentBooks,
    by_message: dict[str, _Sent],
    by_envelope: dict[str, _Sent],
    mail: DeliveryReport | Reply,
) -> None:
    if isinstance(mail, DeliveryReport):
        sent = _reported(mail, by_message, by_envelope)
        said = () if sent is None else tuple(_of_report(sent.notice, mail))
    else:
        sent = next((by_message[one] for one in mail.answers if one in by_message), None)
        said = () if sent is None else tuple(_of_reply(sent.notice, mail))
    if sent is None:
        log.info("returns.of_nothing_ours sha256=%s", mail.digest)
        return
    books.update(sent.incident, WHO, partial(_unsaid, said))


def _reported(mail: DeliveryReport, by_message: dict[str, _Sent], by_envelope: dict[str, _Sent]) -> _Sent | None:
    """The notice that a report is about: every id that it gives must be that notice's."""
    found = {by_envelope.get(mail.envelope_id)} if mail.envelope_id is not None else set()
    found |= {by_message.get(mail.message_id)} if mail.message_id is not None else set()
    return found.pop() if len(found) == 1 else None


def _of_report(notice: Notice, mail: DeliveryReport) -> Iterable[Said]:
    for report in mail.recipients:
        recipient = _meant(notice, report)
        evidence = f"{report.evidence} (sha256:{mail.digest})"
        if recipient is None:
            yield Noted(
                about="timeline",
                text=f"Rapport de remise écarté : destinataire étranger au courriel {notice.id} (sha256:{mail.digest})",
            )
        elif report.action is Action.DELAYED:
            yield Noted(about="timeline", text=f"Remise de {notice.id} à {recipient} retardée : {evidence}")
        else:
            yield _LEVEL_OF[report.action](notice=notice.id, recipient=recipient, evidence=evidence)


def _meant(notice: Notice, report: RecipientReport) -> str | None:
    """The notice's recipient that a report names, as we named it."""
    named = [recipient.address for recipient in notice.recipients if recipient.address.lower() in report.addresses]
    return named[0] if named else None


def _of_reply(notice: Notice, mail: Reply) -> Iterable[Said]:
    """What a reply amounts to: a recipient's own acknowledges, and so does a colleague's of the same domain.

    Ours, who were in copy, do not acknowledge for PP.
    """
    if mail.automatic:
        yield Noted(about="timeline", text=f"Réponse automatique à {notice.id}, sans effet (sha256:{mail.digest})")
        return
    told = [recipient.address for recipient in notice.recipients if recipient.address not in notice.in_copy]
    itself = [address for address in told if address.lower() == mail.sender]
    domains = {address.lower().rpartition("@")[2] for address in told}
    if not itself and mail.sender.rpartition("@")[2] not in domains:
        yield Noted(
            about="timeline", text=f"Réponse à {notice.id} d'un expéditeur étranger, sans effet (sha256:{mail.digest})"
        )
        return
    for address in itself:
        yield NoticeAcknowledged(notice=notice.id, recipient=address, evidence=f"réponse (sha256:{mail.digest})")
    yield Acknowledged(means="reply", contact=f"sha256:{mail.digest}")


def _unsaid(said: Sequence[Said], incident: Incident | None) -> Sequence[Said]:
    """What a mail says, but for what was said before a crash, and for notes where there are too many already."""
    told = [] if incident is None else [event.said for event in incident.timeline if event.who == WHO]
    noted = sum(isinstance(one, Noted) for one in told)
    return [one for one in said if one not in told and not (isinstance(one, Noted) and noted >= MAX_NOTED)]
