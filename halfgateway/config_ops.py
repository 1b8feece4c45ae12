"""The configuration of what runs the interconnection: mail and its contacts. Read as part of :mod:`halfgateway.config`.

Secrets are in files. What is whole in itself is checked here; what depends on the day, by :func:`faults_at_start`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from halfgateway.sections import Section
from ops.contacts import MAILBOX, MAX_FUNCTION_CHARS, Contact, ContactRole, Directory, Sender, check_copying
from ops.errors import CopyingRefused, SigningError
from ops.incidents.events import MAX_RECIPIENTS
from ops.notices.smime import SmimeSigner
from ops.parties import Party

CERTIFICATE_WARNING = timedelta(days=30)
"""How long before its end ``check`` calls the signing certificate to mind: as long as a new one may take to come."""


MAX_CONTACTS = MAX_RECIPIENTS
"""Contacts of both annexes: all may be told at once. A file with more is refused; who has left may be left out."""


def _require_mailbox(text: str) -> str:
    if not MAILBOX.fullmatch(text):
        raise ValueError("an address like dpp@syn.example is wanted")
    return text


Mailbox = Annotated[str, AfterValidator(_require_mailbox)]
Seconds = Annotated[float, Field(ge=1, le=300)]
Domain = Annotated[str, Field(max_length=120, pattern=r"^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$")]


class _MailServerSection(Section):
    """A mail server. ``tls``: by STARTTLS, from the first byte, or not at all, which only a loopback address may do.

    ``ca`` is the authority of its certificate, where that is not one of the system's (PEM). The password is the one
    line of ``password_file``.
    """

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: Literal["starttls", "tls", "none-loopback-only"]
    username: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    password_file: Path | None = None
    ca: Path | None = None

    @model_validator(mode="after")
    def _is_safe(self) -> _MailServerSection:
        if self.tls == "none-loopback-only" and not _is_loopback(self.host):
            raise ValueError("mail leaves this machine by TLS alone: tls is none and host no loopback address")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        return self

    def password(self) -> str | None:
        """Return the password, never to be shown. Raises OSError where its file cannot be read."""
        return None if self.password_file is None else self.password_file.read_text(encoding="utf-8").strip()


class RouteSection(_MailServerSection):
    """A server that takes our mail (SMTP)."""

    tls: Literal["starttls", "tls", "none-loopback-only"] = "starttls"
    port: Annotated[int, Field(ge=1, le=65535)] = 587


class ImapSection(_MailServerSection):
    """A mailbox in which delivery reports and replies arrive (IMAP4)."""

    tls: Literal["starttls", "tls", "none-loopback-only"] = "tls"
    port: Annotated[int, Field(ge=1, le=65535)] = 993
    folder: Annotated[str, Field(min_length=1, max_length=200)] = "INBOX"


class ReturnsSection(Section):
    """Where delivery reports and replies are read: a maildir, or a mailbox by IMAP (N06, N08)."""

    maildir: Path | None = None
    imap: ImapSection | None = None

    @model_validator(mode="after")
    def _is_one(self) -> ReturnsSection:
        if (self.maildir is None) == (self.imap is None):
            raise ValueError("either maildir or imap is wanted")
        return self


class SmimeSection(Section):
    """What signs: a certificate with emailProtection (its chain after it) and its key, in PEM."""

    certificate: Path
    key: Path

    def signer(self) -> SmimeSigner:
        """Return the signer. Raises SigningError."""
        return SmimeSigner.read(self.certificate, self.key)


class MailSection(Section):
    """How notices leave. ``sender`` is SYN's functional mailbox, ``domain`` that of Message-IDs.

    ``bounces`` is the envelope's sender, where reports shall not come to ``sender``. ``mailbox`` is a folder that gets
    each mail as a file and stands for a server: the demo's, and nobody is told by it.
    ``stand_in_after_s`` is how long this node leaves each notice to the convention's other nodes: 0 for the first one.
    """

    sender: Mailbox
    display: Annotated[str, Field(min_length=1, max_length=MAX_FUNCTION_CHARS)] = "Seine-et-Yvelines Numérique"
    domain: Domain
    bounces: Mailbox | None = None
    primary: RouteSection | None = None
    secondary: RouteSection | None = None
    mailbox: Path | None = None
    smime: SmimeSection | None = None
    returns: ReturnsSection | None = None
    connect_timeout_s: Seconds = 20.0
    reply_timeout_s: Seconds = 60.0
    stand_in_after_s: Annotated[float, Field(ge=0, le=3600)] = 0.0

    @model_validator(mode="after")
    def _has_a_way_out(self) -> MailSection:
        if (self.primary is None) == (self.mailbox is None):
            raise ValueError("either primary, a server, or mailbox, a folder for trials, is wanted")
        if self.secondary is not None and self.primary is None:
            raise ValueError("secondary is the way out when primary fails: there is no primary")
        if not self.display.isprintable():
            raise ValueError("display has printable characters alone")
        return self

    @property
    def return_path(self) -> str:
        """The sender that the envelope names: where delivery reports go."""
        return self.bounces or self.sender

    def writer(self) -> Sender:
        """Who writes, as the composer reads it."""
        return Sender(self.sender, self.display, self.domain)


class ContactSection(Section):
    """One line of annex 2 (PP) or 3 (SYN): a function, never a name. Days are Europe/Paris's, both included."""

    function: str
    party: Party
    role: ContactRole
    email: str
    valid_from: date
    valid_to: date | None = None
    level: int | None = None
    phone: str | None = None
    employer_party: Party | None = None

    @model_validator(mode="after")
    def _is_a_contact(self) -> ContactSection:
        self.record()
        return self

    def record(self) -> Contact:
        """The contact as the notices read it."""
        return Contact(**self.model_dump())


class OnCallSection(Section):
    """How SYN's own on-call is reached, where a notice is late or nobody at PP answers (N08, N09).

    ``emails`` may be of a gateway to SMS; SYN's single point of contact where there is none. ``webhook`` gets each
    alarm as JSON. ``metrics_file`` is for the node exporter's textfile collector. ``escalate_after_min`` is how long
    each step of the escalation waits for PP's acknowledgement.
    """

    emails: Annotated[tuple[Mailbox, ...], Field(max_length=10)] = ()
    webhook: Annotated[str, Field(max_length=500, pattern=r"^https://|^http://(127\.0\.0\.1|\[::1\])[:/]")] | None = (
        None
    )
    webhook_token_file: Path | None = None
    metrics_file: Path | None = None
    escalate_after_min: Annotated[int, Field(ge=5, le=240)] = 30

    def token(self) -> str | None:
        """Return the webhook's token, never to be shown. Raises OSError where its file cannot be read."""
        return None if self.webhook_token_file is None else self.webhook_token_file.read_text(encoding="utf-8").strip()


def directory_of(contacts: tuple[ContactSection, ...]) -> Directory:
    """Return both annexes."""
    return Directory(contact.record() for contact in contacts)


def strangers_on_call(on_call: OnCallSection, contacts: tuple[ContactSection, ...]) -> list[str]:
    """Return why these addresses are not SYN's on-call: an internal alarm never goes to PP's side (C14, C16)."""
    try:
        check_copying(Party.SYN, directory_of(contacts).known(on_call.emails), internal=True)
    except CopyingRefused as error:
        return [f"on_call.emails: {error}"]
    return []


def faults_at_start(mail: MailSection | None, contacts: tuple[ContactSection, ...], now: datetime) -> list[str]:
    """Return why a node must not start today: nobody could be told of an incident, or not as agreed (N13).

    Whoever is asked for this is about to serve streams. A cut and its notices go on without: they are refused nothing.
    """
    faults = contact_faults(contacts, now)
    if mail is not None and mail.smime is not None:
        try:
            mail.smime.signer()
        except SigningError as error:
            faults.append(f"mail.smime: {error}")
    return faults


def contact_faults(contacts: tuple[ContactSection, ...], now: datetime) -> list[str]:
    """Return why nobody could be told of an incident today, or not as agreed (N13); empty where all is well."""
    directory, faults = directory_of(contacts), []
    if directory.annex_is_empty(Party.PP, now):
        faults.append(
            "contacts: l'annexe 2 est vide : aucune boîte fonctionnelle ni point de contact unique de la Préfecture de"
            " police n'est valide à ce jour (N13)"
        )
    points = [each for each in directory.valid(now) if (each.party, each.role) == (Party.SYN, ContactRole.SINGLE_POINT)]
    if not any(point.phone for point in points):
        faults.append("contacts: l'annexe 3 n'a aucun point de contact unique valide à ce jour qui ait un téléphone")
    return faults


def mail_questions(mail: MailSection | None, now: datetime) -> list[str]:
    """Return what ``check`` asks of the way out for notices, and is no fault."""
    if mail is None:
        return ["[mail] : aucun serveur de messagerie : aucun courriel d'information (article 8) ne peut partir d'ici"]
    questions = []
    if mail.mailbox is not None:
        questions.append("[mail] mailbox : les courriels restent dans un dossier, personne n'est informé")
    elif mail.secondary is None:
        questions.append("[mail.secondary] : aucune seconde route si le premier serveur ne répond pas")
    if mail.smime is None:
        questions.append("[mail.smime] : les courriels ne sont pas signés")
    elif not mail.smime.signer().valid_at(now + CERTIFICATE_WARNING):
        questions.append("[mail.smime] : le certificat de signature expire sous 30 jours, ou n'est plus valide")
    return questions


def mail_files(mail: MailSection | None) -> list[tuple[str, Path]]:
    """Return the files that the section names, by their keys."""
    if mail is None:
        return []
    servers: dict[str, _MailServerSection | None] = {"primary": mail.primary, "secondary": mail.secondary}
    if mail.returns is not None:
        servers["returns.imap"] = mail.returns.imap
    files = [
        (f"mail.{name}.{what}", path)
        for name, server in servers.items()
        if server is not None
        for what, path in (("password_file", server.password_file), ("ca", server.ca))
        if path is not None
    ]
    if mail.smime is not None:
        files += [("mail.smime.certificate", mail.smime.certificate), ("mail.smime.key", mail.smime.key)]
    return files


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
