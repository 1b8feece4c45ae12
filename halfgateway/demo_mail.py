"""The demo's annexes 2 and 3, and its mail, which goes to a folder, signed as it would be in use."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from auth.demo_authority import DemoAuthority
from halfgateway.config_ops import ContactSection, MailSection, SmimeSection
from ops.contacts import ContactRole
from ops.parties import Party

MAILBOX = "dpp@syn.example"
"""From which the demo writes, and to which it is answered: a domain that nobody has (RFC 2606)."""

CONTACTS = (
    (Party.PP, ContactRole.FUNCTIONAL_MAILBOX, "Permanence du PVPP", "pvpp@pp.example", None, None),
    (Party.PP, ContactRole.SINGLE_POINT, "Point de contact PVPP", "contact-pvpp@pp.example", "01 00 00 00 01", None),
    (Party.PP, ContactRole.ESCALATION, "Responsable PVPP", "responsable-pvpp@pp.example", "01 00 00 00 02", 1),
    (Party.SYN, ContactRole.FUNCTIONAL_MAILBOX, "Service d'exploitation", MAILBOX, None, None),
    (Party.SYN, ContactRole.SINGLE_POINT, "Astreinte SYN", "astreinte@syn.example", "01 00 00 00 03", None),
    (Party.SYN, ContactRole.ESCALATION, "Responsable d'exploitation", "exploitation@syn.example", "01 00 00 00 04", 1),
)
"""The demo's annexes 2 and 3."""

SINCE = date(2025, 10, 21)
"""The demo's convention's first day."""


def mail_section(mailbox: Path, authority: DemoAuthority, now: datetime) -> MailSection:
    """Return how the demo's mail leaves: each as a file in ``mailbox``."""
    signing = authority.mail(MAILBOX, now)
    return MailSection(
        sender=MAILBOX,
        domain=MAILBOX.partition("@")[2],
        mailbox=mailbox,
        smime=SmimeSection(certificate=signing.certificate_path, key=signing.key_path),
    )


def contact_sections() -> tuple[ContactSection, ...]:
    """Return both annexes."""
    return tuple(
        ContactSection(
            function=function, party=party, role=role, email=email, phone=phone, level=level, valid_from=SINCE
        )
        for party, role, function, email, phone, level in CONTACTS
    )
