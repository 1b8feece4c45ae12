"""The books of incidents and of correspondences, followed by the trace: each event becomes an entry, at least once and
in order (T02).

Whoever writes a book, the command line, the notifier or the watchdog, does so without the node. The node looks whether
one has grown, opens a book for each cut that the record tells of, and writes what the trace does not tell yet.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, NoReturn, Protocol

from auth.trace import Draft, Kind
from halfgateway.errors import TraceUnavailable
from ops.correspondence.correspondence import Correspondence
from ops.errors import DamagedBook, OpsError
from ops.incidents.book import Books, IncidentBooks, Subject
from ops.incidents.detecting import DETECTOR
from ops.incidents.events import Event
from ops.incidents.following import FOLLOWER, follow_record
from ops.incidents.incident import Incident
from ops.interconnection import InterconnectionState
from ops.notices.queueing import NEIGHBOUR

LOOK_S = 1.0
"""How often the books are looked at: a file's size each."""

LONG_CHARS = 600
"""Characters of a text that an entry repeats. A longer one is in the book; the entry has its SHA-256."""

OUR_PARTS = frozenset({FOLLOWER, DETECTOR, NEIGHBOUR, "notifier", "watchdog", "node"})
"""Who writes books and is no account: an entry of theirs names no person."""

log = logging.getLogger(__name__)


class History(Protocol):
    """The node's own record of the interconnection."""

    def history(self) -> list[InterconnectionState]:
        """Every state that it still holds, the oldest first."""


class BookEntries(Generic[Subject]):
    """Follows one sort of books, each ``of`` an incident or a correspondence.

    ``record`` writes one entry durably, and raises TraceUnavailable.
    """

    def __init__(self, of: str, books: Books[Subject], record: Callable[[Draft], Awaitable[object]]) -> None:
        self._of = of
        self._books = books
        self._record = record
        self._seen_bytes: dict[str, int] = {}

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        while True:
            try:
                await self.follow()
            except (OpsError, TraceUnavailable) as error:
                log.error("books.not_followed of=%s error=%s: tried again", self._of, error)
            await asyncio.sleep(LOOK_S)

    async def follow(self) -> None:
        """Bring the trace up to what there is. Raises OpsError, TraceUnavailable: the next call goes on."""
        for name in await asyncio.to_thread(self._grown_books):
            size = self._books.size_bytes(name)
            try:
                await self._tell(name)
            except DamagedBook:
                log.critical("%s.unreadable %s=%s: its book is not as it was written", self._of, self._of, name)
            self._seen_bytes[name] = size

    def _grown_books(self) -> list[str]:
        return [name for name in self._books.ids() if self._books.size_bytes(name) != self._seen_bytes.get(name)]

    async def _tell(self, name: str) -> None:
        subject = await asyncio.to_thread(self._books.read, name)
        about = {self._of: name} | (
            {"internal": True} if isinstance(subject, Correspondence) and subject.internal else {}
        )
        told = self._books.told(name)
        for event in subject.timeline[told:]:
            await self._record(entry_of(about, event))
            told = event.n + 1
            await asyncio.to_thread(self._books.has_told, name, told)
        if subject.damaged:
            log.critical("%s.damaged %s=%s: its book is not as it was written", self._of, self._of, name)


class IncidentEntries(BookEntries[Incident]):
    """Follows the books of incidents, once each cut of the node's own record has its book."""

    def __init__(self, books: IncidentBooks, history: History, record: Callable[[Draft], Awaitable[object]]) -> None:
        super().__init__("incident", books, record)
        self._incidents = books
        self._history = history
        self._last: InterconnectionState | None = None

    def _grown_books(self) -> list[str]:
        history = self._history.history()
        if history[-1] != self._last:
            follow_record(self._incidents, history)
            self._last = history[-1]
        return super()._grown_books()


def entry_of(about: Mapping[str, object], event: Event) -> Draft:
    """The trace's entry of an event: what it says, and where it stands in its book."""
    said = event.said.model_dump(mode="json", exclude_none=True)
    kind = Kind(said.pop("kind"))
    detail = _shortened(said)
    account = None if event.who in OUR_PARTS else event.who
    return Draft(kind=kind, account=account, detail={**detail, **about, "event": event.n, "who": event.who})


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(one) for name, one in value.items()}
    if isinstance(value, str) and len(value) > LONG_CHARS:
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value
