"""What a node's notifier and watchdog are made of, from the configuration and the data folder alone.

Neither needs SQL, Valkey or the node (N01). Contacts that change in the file count from then on, of whom is written to,
telephoned and called; so does the heartbeats' period. The rest is read once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from auth.trace import Entry, Kind, TraceDamaged, TraceUnavailable
from auth.trace.layout import CHECKPOINTS, origin
from auth.trace.notes import last_notes
from auth.trace.reader import TraceFilter, TraceReader
from camera_registry.clock import Clock
from halfgateway.config import Configuration, ConfigurationError, read_configuration
from halfgateway.config_ops import ImapSection, MailSection, RouteSection, directory_of
from halfgateway.control.heartbeat import last_period_s, last_proven_good, proves_service
from halfgateway.control.neighbours import SharedNotices, all_of
from halfgateway.control.store import StateStore
from halfgateway.folder import DataFolder
from halfgateway.net.valkey import connect
from ops.announcements import Announcements
from ops.conditions import Conditions
from ops.contacts import Contact, ContactRole, Directory
from ops.correspondence.clerk import Clerk
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.correspondence.journal import JournalSource
from ops.correspondence.matters import is_shared
from ops.correspondence.owed import Writing
from ops.correspondence.sources import AnnouncementSource, CalendarSource, ConditionSource, Source
from ops.errors import NoContact
from ops.incidents.book import IncidentBooks
from ops.local_record import LocalRecord
from ops.notices.conversation import Route
from ops.notices.dispatch import Post
from ops.notices.escalation import EscalationPlan, Step
from ops.notices.folder_route import FolderRoute
from ops.notices.mailboxes import ImapMailbox, Maildir
from ops.notices.message import Composer
from ops.notices.notifier import Neighbours, Notifier, OnCall, alone
from ops.notices.queueing import Queue, StandIn
from ops.notices.returns import Mailbox
from ops.notices.shouting import Alarms, MailVoice, MetricsFile, Pulse, StderrVoice, Voice, WebhookVoice
from ops.notices.smtp import Login, Security, SmtpRoute
from ops.notices.watchdog import Gateway, Signs, Watchdog
from ops.parties import Party

log = logging.getLogger(__name__)

NOTIFIER: Final = "notifier"
WATCHDOG: Final = "watchdog"
RECORDER: Final = "recorder"

_LIFE: Final = frozenset({Kind.HEARTBEAT, Kind.STREAM_GRANTED, Kind.NODE_STARTED, Kind.NODE_STOPPED})

_SECURITY: Final[dict[str, Security]] = {"starttls": "starttls", "tls": "tls", "none-loopback-only": "none"}


def notifier_of(
    configuration: Configuration,
    folder: DataFolder,
    clock: Clock,
    *,
    file: Path | None = None,
) -> Notifier:
    """Return the notifier of a node that has ``[mail]``; contacts are read again from ``file`` when it changes.

    Raises OSError for a secret that cannot be read, SigningError.
    """
    mail = _mail_of(configuration)
    contacts, rules = CurrentFile(configuration, file), configuration.incidents.rules()
    books = IncidentBooks(folder.incidents, clock=clock)
    composer = Composer(
        mail.writer(),
        contacts.directory,
        contacts.cap,
        signer=None if mail.smime is None else mail.smime.signer(),
        checkpoint=lambda: newest_checkpoint(folder, configuration.node.id),
    )
    letters = CorrespondenceBooks(folder.correspondence, clock=clock)
    after = timedelta(seconds=mail.stand_in_after_s)
    stand_in, stand_in_for_letters, share = _neighbourhood(configuration, books, letters, after, clock)

    def escalation(at: datetime) -> Sequence[str]:
        return _escalation_addresses(contacts.directory(), at)

    queue = Queue(books, composer.compose, rules=rules, escalation=escalation, stand_in=stand_in)
    post = Post(mail.return_path, routes_of(mail))
    writing = Writing(composer, escalation, post.pace, stand_in_for_letters)
    voices = voices_of(configuration, contacts.directory, clock, first_route_first=True)

    def on_call() -> OnCall:
        spoken = voices()
        called = tuple(voice for voice in spoken if not isinstance(voice, StderrVoice))
        return OnCall(plan_of(contacts.directory(), configuration, clock.now()), called or spoken)

    return Notifier(
        books,
        LocalRecord(folder.interconnection, clock=clock),
        queue,
        post,
        rules=rules,
        clock=clock,
        mailbox=_mailbox_of(mail),
        on_call=on_call,
        neighbours=Neighbours(_pulse(folder, NOTIFIER), _pulse(folder, WATCHDOG), Alarms(voices)),
        clerk=Clerk(letters, _sources(folder, configuration.node.id), writing, post, clock),
        share=share,
    )


def watchdog_of(
    configuration: Configuration, folder: DataFolder, clock: Clock, *, file: Path | None = None
) -> Watchdog:
    """Return the watchdog of a node; what counts of ``file`` when it changes is read again.

    Raises OSError for a secret that cannot be read.
    """
    current, on_call, incidents = CurrentFile(configuration, file), configuration.on_call, configuration.incidents
    node = configuration.node.id
    metrics = None if on_call.metrics_file is None else MetricsFile(on_call.metrics_file)

    def lost_after(signs: Signs) -> timedelta:
        return incidents.gateway_lost_after(current.heartbeat_s(), signs.period_s)

    return Watchdog(
        IncidentBooks(folder.incidents, clock=clock),
        LocalRecord(folder.interconnection, clock=clock),
        Alarms(voices_of(configuration, current.directory, clock, first_route_first=False), metrics),
        rules=incidents.rules(),
        clock=clock,
        plan=lambda: plan_of(current.directory(), configuration, clock.now()),
        notifier=_pulse(folder, NOTIFIER) if configuration.mail is not None else None,
        pulse=_pulse(folder, WATCHDOG),
        gateway=Gateway(node, lambda: last_signs(folder, node), lost_after),
    )


def last_signs(folder: DataFolder, node: str) -> Signs | None:
    """Return what a node's trace proves of its life; None where it has none, or stopped in good order.

    For a thread without an event loop. A trace that cannot be read proves nothing either way: the node finds that.
    """
    try:
        return asyncio.run(_signs(TraceReader.of(folder.trace, node)))
    except (TraceUnavailable, TraceDamaged, OSError) as error:
        log.warning("watchdog.no_signs error=%s", error)
        return None


async def signs_before_start(reader: TraceReader) -> Signs | None:
    """Return what a node's trace proves of its life before it was last started; None as for :func:`last_signs`.

    By the order of the entries, not by their times: the clock may have been set meanwhile.
    Raises auth.trace.TraceUnavailable, TraceDamaged.
    """
    alive: datetime | None = None
    good: datetime | None = None
    async for entry in _life_before_start(reader):
        if alive is None and entry.kind is Kind.NODE_STOPPED:
            return None
        alive = alive or entry.at
        if proves_service(entry):
            good = entry.at
            break
    return None if alive is None else Signs(alive, min(alive, good or alive), await last_period_s(reader))


async def _life_before_start(reader: TraceReader) -> AsyncIterator[Entry]:
    """Yield what tells of the node's life before its newest start, newest first."""
    cursor, started = None, False
    while True:
        page = await reader.entries(TraceFilter(kinds=_LIFE), cursor=cursor)
        for entry in page.items:
            if started:
                yield entry
            started = started or entry.kind is Kind.NODE_STARTED
        if page.next is None:
            return
        cursor = page.next


async def _signs(reader: TraceReader) -> Signs | None:
    newest = (await reader.entries(TraceFilter(kinds=_LIFE), limit=1)).items
    if not newest or newest[0].kind is Kind.NODE_STOPPED:
        return None
    alive = newest[0].at
    good = await last_proven_good(reader)
    return Signs(alive, alive if good is None else min(alive, good), await last_period_s(reader))


def paths_that_change(folder: DataFolder) -> tuple[Path, ...]:
    """What the notifier does not wait a second for: a cut, and a new incident."""
    return folder.interconnection, folder.incidents


def routes_of(mail: MailSection) -> tuple[Route, ...]:
    """Return the ways that mail leaves by, the preferred one first. Raises OSError."""
    if mail.mailbox is not None:
        return (FolderRoute("mailbox", mail.mailbox),)
    named = (("primary", mail.primary), ("secondary", mail.secondary))
    return tuple(_route(name, section, mail) for name, section in named if section is not None)


def plan_of(directory: Directory, configuration: Configuration, at: datetime) -> EscalationPlan:
    """Return who is called in turn (P01): PP's next levels by mail, PP by telephone, SYN's own levels."""
    after = timedelta(minutes=configuration.on_call.escalate_after_min)
    pp = _contacts_of(directory, Party.PP, ContactRole.ESCALATION, at)
    reachable = (*_contacts_of(directory, Party.PP, ContactRole.SINGLE_POINT, at), *pp)
    steps = [Step("mail", contact.function, after) for contact in pp]
    steps += [Step("phone", f"{one.function} ({one.phone})", after) for one in reachable if one.phone is not None]
    ours = _contacts_of(directory, Party.SYN, ContactRole.ESCALATION, at)
    steps += [Step("on-call", f"{one.function} ({one.phone})", after) for one in ours if one.phone is not None]
    incidents = configuration.incidents
    red_before, red_wait = timedelta(minutes=incidents.red_before_min), timedelta(minutes=incidents.red_wait_min)
    return EscalationPlan(tuple(steps), red_before, red_wait)


def last_sign_of(folder: DataFolder, name: str) -> datetime | None:
    """When this attendant of a node last went round; None where it never has, or that cannot be read."""
    return _pulse(folder, name).last()


def newest_checkpoint(folder: DataFolder, node: str) -> str | None:
    """Return the newest signed checkpoint of a node's trace (T04), None where there is none that can be read."""
    try:
        with (folder.trace / CHECKPOINTS).open("rb") as file:
            notes = last_notes(file, file.seek(0, os.SEEK_END), origin(node))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("notifier.no_checkpoint error=%s", error)
        return None
    return notes[-1][1].decode("utf-8", errors="replace") if notes else None


def _sources(folder: DataFolder, node: str) -> tuple[Source, ...]:
    """Where the mails come from that are no incident's notices."""
    return (
        JournalSource(folder.trace, node, folder.correspondence / "followed"),
        AnnouncementSource(Announcements(folder.announcements)),
        ConditionSource(Conditions(folder.conditions), node),
        CalendarSource(folder.correspondence / "since", node),
    )


def _shared_store(configuration: Configuration) -> StateStore | None:
    """The Valkey that the nodes share; None where it is this node's own. Raises OSError, ValueError."""
    if configuration.state_store.is_of_this_node:
        return None
    return StateStore(connect(configuration.state_store.address()), configuration.convention.id)


def _neighbourhood(
    configuration: Configuration,
    books: IncidentBooks,
    letters: CorrespondenceBooks,
    after: timedelta,
    clock: Clock,
) -> tuple[StandIn, StandIn, Callable[[], Awaitable[None]]]:
    """How other nodes' notices are heard of: by the Valkey that they share, where they share one."""
    try:
        store = _shared_store(configuration)
    except (OSError, ValueError) as error:
        log.error("notifier.no_neighbours error=%s: what this node owes it sends", error)
        store = None
    if store is None:
        return StandIn(after), StandIn(after), alone
    node = configuration.node.id
    of_incidents = SharedNotices("incident", books, store, node, clock)
    of_letters = SharedNotices("correspondence", letters, store, node, clock, shared=lambda one: is_shared(one.matter))
    share = all_of(of_incidents.exchange, of_letters.exchange)
    return StandIn(after, of_incidents.heard), StandIn(after, of_letters.heard), share


class CurrentFile:
    """Annexes, cap and heartbeats as the file says them now; as it last said them where it cannot be used."""

    def __init__(self, configuration: Configuration, file: Path | None) -> None:
        self._configuration = configuration
        self._file = file
        self._stamp = self._stamped()

    def directory(self) -> Directory:
        """Both annexes."""
        return directory_of(self._current().contacts)

    def cap(self) -> int:
        """The streams that PP may have open."""
        return self._current().convention.cap

    def heartbeat_s(self) -> float:
        """Seconds between two heartbeats."""
        return self._current().heartbeat.period_s

    def _current(self) -> Configuration:
        stamp = self._stamped()
        if self._file is not None and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._configuration = read_configuration(self._file)
            except ConfigurationError as error:
                log.error("attending.configuration_not_read error=%s", error)
        return self._configuration

    def _stamped(self) -> int:
        try:
            return 0 if self._file is None else self._file.stat().st_mtime_ns
        except OSError:
            return 0


def _mail_of(configuration: Configuration) -> MailSection:
    if configuration.mail is None:
        raise ConfigurationError(["mail: nothing can be sent without it"])
    return configuration.mail


def _route(name: str, section: RouteSection, mail: MailSection) -> SmtpRoute:
    return SmtpRoute(
        name,
        section.host,
        section.port,
        mail.domain,
        _SECURITY[section.tls],
        _tls(section),
        _login(section),
        mail.connect_timeout_s,
        mail.reply_timeout_s,
    )


def _mailbox_of(mail: MailSection) -> Mailbox | None:
    if mail.returns is None:
        return None
    if mail.returns.maildir is not None:
        return Maildir(mail.returns.maildir)
    imap = mail.returns.imap
    login = None if imap is None else _login(imap)
    if imap is None or login is None:
        raise ConfigurationError(["mail.returns.imap: username and password_file are wanted"])
    return ImapMailbox(imap.host, imap.port, login, _tls(imap), _SECURITY[imap.tls], imap.folder)


def _tls(section: RouteSection | ImapSection) -> ssl.SSLContext | None:
    if section.tls == "none-loopback-only":
        return None
    return ssl.create_default_context(cafile=None if section.ca is None else str(section.ca))


def _login(section: RouteSection | ImapSection) -> Login | None:
    password = section.password()
    return None if section.username is None or password is None else Login(section.username, password)


def voices_of(
    configuration: Configuration, directory: Callable[[], Directory], clock: Clock, *, first_route_first: bool
) -> Callable[[], tuple[Voice, ...]]:
    """How SYN's own are called, by whoever is SYN's single point of contact then where no address is configured.

    The watchdog takes the second way first: the notifier may have lost the other. Raises OSError.
    """
    on_call, mail = configuration.on_call, configuration.mail
    fixed: list[Voice] = [StderrVoice()]
    if on_call.webhook is not None:
        fixed.append(WebhookVoice(on_call.webhook, on_call.token()))
    routes = () if mail is None else routes_of(mail)
    ways = routes if first_route_first else routes[::-1]

    def voices() -> tuple[Voice, ...]:
        known = directory()
        points = _contacts_of(known, Party.SYN, ContactRole.SINGLE_POINT, clock.now())
        recipients = on_call.emails or tuple(contact.email for contact in points)
        if mail is None or not recipients:
            return tuple(fixed)
        return (*fixed, MailVoice(ways, mail.return_path, recipients, mail.domain, lambda: known.known(recipients)))

    return voices


def _escalation_addresses(directory: Directory, at: datetime) -> Sequence[str]:
    return [contact.email for contact in _contacts_of(directory, Party.PP, ContactRole.ESCALATION, at)]


def _contacts_of(directory: Directory, party: Party, role: ContactRole, at: datetime) -> tuple[Contact, ...]:
    try:
        return directory.of_role(party, role, at)
    except NoContact:
        return ()


def _pulse(folder: DataFolder, name: str) -> Pulse:
    return Pulse(folder.run / f"{name}.alive")
