"""A notifier on a clock that stands still, and mail servers that do as they are told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from auth.demo_authority import DemoAuthority
from ops.incidents.book import IncidentBooks
from ops.incidents.duties import Duty, Rules
from ops.incidents.events import NoticeQueued, Opened, Source
from ops.incidents.incident import TELL_OF_THE_STOP, Incident
from ops.interconnection import Author, Ground
from ops.notices.conversation import Route
from ops.notices.dispatch import Post
from ops.notices.notifier import Neighbours, Notifier, OnCall, alone
from ops.notices.queueing import Queue, StandIn
from ops.notices.returns import Mailbox
from ops.notices.sending import Pace
from ops.notices.smtp import SmtpRoute
from tests.held_clock import HeldClock

PP = ("permanence@pp.example", "cellule@pp.example", "etat-major@pp.example")
ESCALATION = ("direction@pp.example", "cabinet@pp.example")
OURS = "supervision@syn.example"
SENDER = "notices@syn.example"
DOMAIN = "syn.example"
RULES = Rules()
QUICK = Pace(limit_s=5.0)


@dataclass(frozen=True)
class Written:
    content: bytes
    message_id: str
    recipients: tuple[str, ...]
    in_copy: tuple[str, ...] = ()


def compose(incident: Incident, duty: Duty, notice: str, now: datetime) -> Written:
    """A notice that says little: enough to tell late from in time, and what answers what."""
    message_id = f"<{incident.id}.{notice}@{DOMAIN}>"
    late = duty.deadline is not None and now > duty.deadline
    first = next((one for one in incident.notices if one.tells in TELL_OF_THE_STOP and one.id != notice), None)
    thread = f"In-Reply-To: {first.message_id}\r\n" if first is not None else ""
    text = (
        f"From: {SENDER}\r\nTo: {', '.join(PP)}\r\nMessage-ID: {message_id}\r\n{thread}"
        f"Subject: {duty.tells} {notice}\r\nDate: {format_datetime(now)}\r\n"
        f"\r\n{'HORS DELAI ' if late else ''}{incident.deadline.isoformat()}\r\n"
    )
    return Written(text.encode("ascii"), message_id, (*PP, OURS), (OURS,))


@dataclass
class MailServer:
    """An SMTP server of this test: what it refuses, and what it took. ``refusals`` are answers by recipient."""

    tls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    all_refused: str | None = None
    taken: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None

    async def up(self) -> MailServer:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def mails_of(self, recipient: str) -> list[bytes]:
        return [content for recipients, content in self.taken if recipient in recipients]

    def subjects(self) -> list[str]:
        return [message_from_bytes(content)["Subject"] for _, content in self.taken]

    def _protocol(self) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            hostname="mx.test",
            ident="ready",
            tls_context=self.tls,
            require_starttls=self.tls is not None,
            authenticator=self._authenticate if self.login is not None else None,
            auth_required=self.login is not None,
            enable_SMTPUTF8=False,
        )

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.login, handled=given == self.login)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = self.all_refused or self.refusals.get(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.original_content, bytes)
        self.taken.append((tuple(envelope.rcpt_tos), envelope.original_content))
        return f"250 2.0.0 Ok: queued as 4F{len(self.taken):04X}"

    def route(self, name: str = "first") -> SmtpRoute:
        return SmtpRoute(name, "127.0.0.1", self.port, DOMAIN, security="none")


@asynccontextmanager
async def mail_server(**options: Any) -> AsyncIterator[MailServer]:
    server = await MailServer(**options).up()
    try:
        yield server
    finally:
        await server.down()


@asynccontextmanager
async def black_hole() -> AsyncIterator[SmtpRoute]:
    """A server that takes connections and never says a word."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield SmtpRoute("black hole", "127.0.0.1", server.sockets[0].getsockname()[1], DOMAIN, security="none")
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()
        await server.wait_closed()


def server_context(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS for 127.0.0.1, and a client's that trusts its authority."""
    now = datetime.now(UTC)
    authority = DemoAuthority.open(folder, now)
    issued = authority.server(now)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(issued.certificate_path, issued.key_path)
    return server, ssl.create_default_context(cafile=str(authority.certificate_path))


def opened(at: datetime, *, by: Author = Author.OPS, ground: Ground | None = Ground.CRITICAL_INCIDENT) -> Opened:
    return Opened(
        t0=at,
        t0_source=Source.HEARTBEAT if by is Author.DETECTION else Source.DECLARED,
        critical=True,
        by=by,
        reason="panne",
        ground=None if by is Author.DETECTION else ground,
        interrupted_at=at,
    )


@dataclass
class Stage:
    """One node's books and notifier, whose hours pass when a test says so."""

    books: IncidentBooks
    clock: HeldClock
    notifier: Notifier

    async def round(self) -> None:
        await self.notifier.once()
        await self.notifier.settle()

    async def pass_time(self, duration: timedelta, step: timedelta = timedelta(minutes=5)) -> None:
        """Let hours go by, a round at each step; with a closer look at the last quarter before each deadline."""
        end = self.clock.now() + duration
        while self.clock.now() < end:
            near = any(
                -timedelta(minutes=20) < self.clock.now() - one.deadline < timedelta(minutes=2)
                for one in self.books.all()
            )
            self.clock.advance(min(timedelta(seconds=20) if near else step, end - self.clock.now()))
            await self.round()

    def incident(self, name: str = "i1") -> Incident:
        return self.books.read(name)

    def events(self, kind: type[Any], name: str = "i1") -> list[Any]:
        return [event.said for event in self.incident(name).timeline if isinstance(event.said, kind)]

    def queued(self, name: str = "i1") -> list[NoticeQueued]:
        return self.events(NoticeQueued, name)


def stage_of(
    folder: Path,
    clock: HeldClock,
    *routes: Route,
    pace: Pace = QUICK,
    escalation: Sequence[str] = ESCALATION,
    mailbox: Mailbox | None = None,
    on_call: Callable[[], OnCall] = OnCall,
    stand_in: StandIn | None = None,
    writes: Callable[[Incident, Duty, str, datetime], Written] = compose,
    neighbours: Neighbours | None = None,
    books: IncidentBooks | None = None,
    share: Callable[[], Awaitable[None]] = alone,
) -> Stage:
    books = books or IncidentBooks(folder / "incidents", clock=clock)
    queue = Queue(
        books,
        writes,
        rules=RULES,
        pace=pace,
        escalation=lambda _: escalation,
        stand_in=stand_in or StandIn(),
    )
    post = Post(SENDER, tuple(routes), pace)
    notifier = Notifier(
        books,
        None,
        queue,
        post,
        rules=RULES,
        clock=clock,
        mailbox=mailbox,
        on_call=on_call,
        neighbours=neighbours,
        share=share,
    )
    return Stage(books, clock, notifier)
