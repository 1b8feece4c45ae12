"""Annexes 2 (PP) and 3 (SYN): who is told what, and who may be in copy of whom (C13, C14, N13). Pure.

Two rules:

1. Contractors are in touch across the border only with both parties in copy; what is internal to SYN never carries PP.
2. Nobody is told less because an annex has lapsed: where no contact of a role is valid any more, the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from camera_registry.paris import day_of
from ops.errors import CopyingRefused, NoContact
from ops.parties import Party

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
MAILBOX = re.compile(rf"(?=.{{1,64}}@.{{1,190}}\Z){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
"""An address as RFC 5321 section 4.1.2 has it, unquoted and in ASCII: what every server on the way takes."""

_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{2,28}[0-9]")

MAX_FUNCTION_CHARS = 100
"""Characters of what a contact is called: it stands in a header of a mail, and in its text."""


class ContactRole(StrEnum):
    """What a contact is for."""

    SINGLE_POINT = "single-point-of-contact"
    FUNCTIONAL_MAILBOX = "functional-mailbox"
    ESCALATION = "escalation"
    CONTRACTOR = "contractor"
    KEY_CUSTODIAN = "key-custodian"
    SECURITY_OFFICER = "security-officer"


@dataclass(frozen=True, slots=True)
class Contact:
    """One line of annex 2 or 3: a function, never a name (C17).

    ``level`` is that of an escalation, from 1. ``employer_party`` is the party that a contractor works for.
    ``valid_from`` and ``valid_to`` are days in Europe/Paris, both included; None is no end.

    Raises ValueError for a contact that cannot be.
    """

    function: str
    party: Party
    role: ContactRole
    email: str
    valid_from: date
    level: int | None = None
    phone: str | None = None
    employer_party: Party | None = None
    valid_to: date | None = None

    def __post_init__(self) -> None:
        if not (1 <= len(self.function) <= MAX_FUNCTION_CHARS and self.function.isprintable()):
            raise ValueError(f"a function has 1 to {MAX_FUNCTION_CHARS} printable characters")
        if not MAILBOX.fullmatch(self.email):
            raise ValueError(f"{self.email!r} is no address of a mailbox")
        if self.phone is not None and not _PHONE.fullmatch(self.phone):
            raise ValueError(f"{self.phone!r} is no telephone number")
        is_escalation = self.role is ContactRole.ESCALATION
        if (self.level is not None) != is_escalation or (self.level is not None and self.level < 1):
            raise ValueError("an escalation has its level, from 1, and no other role has one")
        if (self.employer_party is not None) != (self.role is ContactRole.CONTRACTOR):
            raise ValueError("a contractor names its employer_party, and no other role does")
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError("valid_to is before valid_from")

    @property
    def side(self) -> Party:
        """For whom it acts: a contractor for its employer."""
        return self.employer_party or self.party

    @property
    def is_contractor(self) -> bool:
        """Whether it is not the party itself."""
        return self.role is ContactRole.CONTRACTOR

    def valid_on(self, day: date) -> bool:
        """Whether it counts on that day in Europe/Paris."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: SYN's functional mailbox, what it is called, and the domain of Message-IDs."""

    address: str
    display: str
    domain: str


@dataclass(frozen=True, slots=True)
class Addressed:
    """Whom a message goes to, and who is in copy; each address once."""

    to: tuple[Contact, ...]
    cc: tuple[Contact, ...] = ()

    @property
    def everyone(self) -> tuple[Contact, ...]:
        """All of them, those in copy last."""
        return (*self.to, *self.cc)

    @property
    def addresses(self) -> tuple[str, ...]:
        """What the envelope names."""
        return tuple(contact.email for contact in self.everyone)


class Directory:
    """Both annexes, as they are on a day."""

    def __init__(self, contacts: Iterable[Contact]) -> None:
        self.contacts = tuple(contacts)

    def annex_is_empty(self, party: Party, at: datetime) -> bool:
        """Whether nobody of a party could be told of an incident: no valid mailbox, no valid single point (N13)."""
        return not self._valid(party, (ContactRole.FUNCTIONAL_MAILBOX, ContactRole.SINGLE_POINT), day_of(at))

    def valid(self, at: datetime) -> tuple[Contact, ...]:
        """Every contact that counts on the day of ``at``: those that the monthly test is sent to."""
        day = day_of(at)
        return tuple(contact for contact in self.contacts if contact.valid_on(day))

    def of_role(self, party: Party, role: ContactRole, at: datetime) -> tuple[Contact, ...]:
        """A party's contacts of a role, the lower levels first. Raises NoContact where there has never been one."""
        found = self._valid(party, (role,), day_of(at)) or self._last(party, role, day_of(at))
        if not found:
            raise NoContact(f"annexe {party.annex} : aucun contact « {role} »")
        return tuple(sorted(found, key=lambda contact: contact.level or 0))

    def single_point(self, at: datetime) -> Contact:
        """SYN's single point of contact, whom every text names (article 8, C13). Raises NoContact."""
        return self.of_role(Party.SYN, ContactRole.SINGLE_POINT, at)[0]

    def of_a_notice(self, at: datetime) -> Addressed:
        """Whom article 8's mail goes to: PP's mailboxes and single point (annex 2), SYN's in copy. Raises NoContact."""
        roles = (ContactRole.FUNCTIONAL_MAILBOX, ContactRole.SINGLE_POINT)
        return _addressed(self._of_roles(Party.PP, roles, at), self._of_roles(Party.SYN, roles, at))

    def of_a_word(self, at: datetime) -> Addressed:
        """Whom a narrower measure is told to: PP's functional mailbox, SYN's in copy. Raises NoContact.

        A party that has no such mailbox is told at its single point of contact.
        """
        roles = (ContactRole.FUNCTIONAL_MAILBOX,)
        fallback = (ContactRole.SINGLE_POINT,)
        pp, syn = (self._of_roles(party, roles, at, or_else=fallback) for party in (Party.PP, Party.SYN))
        return _addressed(pp, syn)

    def of_a_report(self, at: datetime) -> Addressed:
        """Whom the answer to PP's report goes to: PP's mailbox, and in copy, as they act on it, SYN's single point of
        contact and its mailbox (C13). Raises NoContact.
        """
        roles = (ContactRole.FUNCTIONAL_MAILBOX, ContactRole.SINGLE_POINT)
        return _addressed(self.of_a_word(at).to, self._of_roles(Party.SYN, roles, at))

    def of_an_alarm(self, at: datetime) -> Addressed:
        """Whom SYN tells of its own gateway's trouble: its security officer and its mailbox. Raises NoContact.

        A party that has neither is told at its single point of contact.
        """
        roles = (ContactRole.SECURITY_OFFICER, ContactRole.FUNCTIONAL_MAILBOX)
        return _addressed(self._of_roles(Party.SYN, roles, at, or_else=(ContactRole.SINGLE_POINT,)), ())

    def of_break_glass(self, at: datetime) -> Addressed:
        """Whom a sealed credential's use is told to: PP's mailbox, SYN's and its security officer in copy (C21)."""
        return _addressed(self.of_a_word(at).to, self.of_an_alarm(at).to)

    def known(self, addresses: Iterable[str]) -> tuple[Contact, ...]:
        """The contacts, of any day, that these addresses belong to; others are nobody's."""
        wanted = {address.lower() for address in addresses}
        return tuple(contact for contact in self.contacts if contact.email.lower() in wanted)

    def _of_roles(
        self, party: Party, roles: Sequence[ContactRole], at: datetime, or_else: Sequence[ContactRole] = ()
    ) -> tuple[Contact, ...]:
        day = day_of(at)
        found = self._valid(party, roles, day) or self._valid(party, or_else, day)
        found = found or tuple(contact for role in (*roles, *or_else) for contact in self._last(party, role, day))
        if not found:
            raise NoContact(f"annexe {party.annex} : aucun contact « {roles[0]} »")
        return found

    def _valid(self, party: Party, roles: Sequence[ContactRole], day: date) -> tuple[Contact, ...]:
        return tuple(
            contact
            for contact in self.contacts
            if contact.party is party and contact.role in roles and contact.valid_on(day)
        )

    def _last(self, party: Party, role: ContactRole, day: date) -> tuple[Contact, ...]:
        """Return those of a role that lapsed last."""
        lapsed = [
            (contact.valid_to, contact)
            for contact in self.contacts
            if contact.party is party and contact.role is role and contact.valid_to is not None
        ]
        ends = [end for end, _ in lapsed if end < day]
        return tuple(contact for end, contact in lapsed if ends and end == max(ends))


def check_copying(sender: Party, recipients: Sequence[Contact], *, internal: bool = False) -> None:
    """Hold a message's recipients against C14, both ways; ``sender`` is the party, or its own service, that writes.

    Raises CopyingRefused.
    """
    if internal:
        strangers = sorted({contact.email for contact in recipients if contact.side is not sender})
        if strangers:
            raise CopyingRefused(f"un message interne n'est adressé à personne d'autre : {', '.join(strangers)}")
        return
    sides = {sender, *(contact.side for contact in recipients)}
    parties = {sender, *(contact.party for contact in recipients if not contact.is_contractor)}
    crossing = [contact.email for contact in recipients if contact.is_contractor] if len(sides) > 1 else []
    if crossing and parties != set(Party):
        missing = ", ".join(sorted(set(Party) - parties))
        raise CopyingRefused(f"{', '.join(crossing)} : prestataire joint sans que {missing} soit en copie (article 8)")


def _addressed(to: Sequence[Contact], cc: Sequence[Contact]) -> Addressed:
    seen: set[str] = set()

    def once(contacts: Sequence[Contact]) -> tuple[Contact, ...]:
        kept = []
        for contact in contacts:
            if contact.email.lower() not in seen:
                seen.add(contact.email.lower())
                kept.append(contact)
        return tuple(kept)

    return Addressed(once(to), once(cc))
