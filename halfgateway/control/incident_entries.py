"""The books of incidents, followed by the trace: each event becomes an entry, at least once and in order (T02).

Whoever writes a book, the command line, the notifier or the watchdog, does so without the node. The node looks whether
one has grown, opens a book for each cut that the record tells of, and writes what the trace does not tell yet.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol

from auth.trace import Draft, Kind
from halfgateway.errors import TraceUnavailable
from ops.errors import DamagedBook, OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.detecting import DETECTOR
from ops.incidents.events import Event
from ops.incidents.following import FOLLOWER, follow_record
from ops.interconnection import InterconnectionState

LOOK_S = 1.0
"""How often the books are looked at: a file's size each."""

LONG_CHARS = 600
"""Characters of a text that an entry repeats. A longer one is in the book; the entry has its SHA-256."""

OUR_PARTS = frozenset({FOLLOWER, DETECTOR, "notifier", "watchdog", "node"})
"""Who writes books and is no account: an entry of theirs names no person."""

log = logging.getLogger(__name__)


class History(Protocol):
    """The node's own record of the interconnection."""

    def history(self) -> list[InterconnectionState]:
        """Every state that it still holds, the oldest first."""


class IncidentEntries:
    """Follows the books. ``record`` writes one entry durably, and raises TraceUnavailable."""

    def __init__(self, books: IncidentBooks, history: History, record: Callable[[Draft], Awaitable[object]]) -> None:
        self._books = books
        self._history = history
        self._record = record
        self._seen_bytes: dict[str, int] = {}
        self._last: InterconnectionState | None = None

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        while True:
            try:
                await self.follow()
            except (OpsError, TraceUnavailable) as error:
                log.error("incidents.not_followed error=%s: tried again", error)
            await asyncio.sleep(LOOK_S)

    async def follow(self) -> None:
        """Bring books and trace up to what there is. Raises OpsError, TraceUnavailable: the next call goes on."""
        for incident_id in await asyncio.to_thread(self._grown_books):
            size = self._books.size_bytes(incident_id)
            try:
                await self._tell(incident_id)
            except DamagedBook:
                log.critical("incident.unreadable incident=%s: its book is not as it was written", incident_id)
            self._seen_bytes[incident_id] = size

    def _grown_books(self) -> list[str]:
        history = self._history.history()
        if history[-1] != self._last:
            follow_record(self._books, history)
            self._last = history[-1]
        return [
            incident_id
            for incident_id in self._books.ids()
            if self._books.size_bytes(incident_id) != self._seen_bytes.get(incident_id)
        ]

    async def _tell(self, incident_id: str) -> None:
        incident = await asyncio.to_thread(self._books.read, incident_id)
        told = self._books.told(incident_id)
        for event in incident.timeline[told:]:
            await self._record(entry_of(incident_id, event))
            told = event.n + 1
            await asyncio.to_thread(self._books.has_told, incident_id, told)
        if incident.damaged:
            log.critical("incident.damaged incident=%s: its book is not as it was written", incident_id)


def entry_of(incident_id: str, event: Event) -> Draft:
    """The trace's entry of an event: what it says, and where it stands in its book."""
    said = event.said.model_dump(mode="json", exclude_none=True)
    kind = Kind(said.pop("kind"))
    detail = {name: _shortened(value) for name, value in said.items()}
    account = None if event.who in OUR_PARTS else event.who
    about = {"incident": incident_id, "event": event.n, "who": event.who}
    return Draft(kind=kind, account=account, detail={**detail, **about})


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONG_CHARS:
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value
