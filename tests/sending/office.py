"""One node's folder, and the notifier that attends it with its clerk, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.trace import Draft, Journal
from ops.announcements import Announcements
from ops.conditions import Conditions
from ops.contacts import Directory
from ops.correspondence.clerk import Clerk
from ops.correspondence.correspondence import Correspondence, CorrespondenceBooks
from ops.correspondence.journal import JournalSource
from ops.correspondence.owed import Writing
from ops.correspondence.sources import AnnouncementSource, CalendarSource, ConditionSource, Source
from ops.incidents.book import IncidentBooks
from ops.notices.conversation import Route
from ops.notices.dispatch import Post
from ops.notices.mailboxes import Maildir
from ops.notices.message import Composer
from ops.notices.notifier import Notifier
from ops.notices.queueing import Queue, StandIn
from tests.held_clock import HeldClock
from tests.ops.told import CHECKPOINT, DIRECTORY, SENDER
from tests.sending.stage import QUICK, RULES, compose

NODE = "node-1"


@dataclass
class Office:
    """One node's folder, and the notifier that attends it."""

    folder: Path
    clock: HeldClock
    books: CorrespondenceBooks
    clerk: Clerk
    notifier: Notifier

    async def round(self, passes: timedelta = timedelta(0)) -> None:
        self.clock.advance(passes)
        await self.notifier.once()
        await self.notifier.settle()

    def only(self, name: str) -> Correspondence:
        assert self.books.ids() == (name,)
        return self.books.read(name)


def office_of(
    folder: Path,
    clock: HeldClock,
    *routes: Route,
    directory: Directory = DIRECTORY,
    stand_in: StandIn | None = None,
    checkpoint: str | None = CHECKPOINT,
    maildir: Maildir | None = None,
) -> Office:
    books = CorrespondenceBooks(folder / "correspondence", clock=clock)
    incidents = IncidentBooks(folder / "incidents", clock=clock)
    post, waits = Post("dpp@syn.example", tuple(routes), QUICK), stand_in or StandIn()
    sources: tuple[Source, ...] = (
        JournalSource(folder / "trace", NODE, folder / "correspondence" / "followed"),
        AnnouncementSource(Announcements(folder / "announcements")),
        ConditionSource(Conditions(folder / "conditions"), NODE),
        CalendarSource(folder / "correspondence" / "since", NODE),
    )

    def escalation(_at: datetime) -> Sequence[str]:
        return ("direction@pp.example",)

    composer = Composer(SENDER, lambda: directory, lambda: 10, checkpoint=lambda: checkpoint)
    clerk = Clerk(books, sources, Writing(composer, escalation, QUICK, waits), post, clock)
    queue = Queue(incidents, compose, rules=RULES, escalation=escalation, stand_in=waits)
    notifier = Notifier(incidents, None, queue, post, rules=RULES, clock=clock, mailbox=maildir, clerk=clerk)
    return Office(folder, clock, books, clerk, notifier)


async def traced(folder: Path, clock: HeldClock, *drafts: Draft) -> None:
    """What a node has traced before it was killed."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    async with await Journal.open(folder / "trace", node=NODE, key=key, clock=clock) as journal:
        for draft in drafts:
            await journal.record(draft)
