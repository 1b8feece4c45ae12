"""The books as they stand, each read again only when it has changed: there are years of them, and it is looked daily
thousands of times."""

from __future__ import annotations

from typing import Generic

from ops.errors import BookError, UnknownIncident
from ops.incidents.book import Books, Subject


class Shelf(Generic[Subject]):
    """What was last read of each book. For one thread at a time."""

    def __init__(self, books: Books[Subject]) -> None:
        self._books = books
        self._read: dict[str, tuple[tuple[int, int] | None, Subject | None]] = {}

    def look(self) -> tuple[Subject, ...]:
        """Return every incident whose opening can be read, the oldest id first."""
        ids = self._books.ids()
        self._read = {one: self._current(one) for one in ids}
        return tuple(incident for _, incident in self._read.values() if incident is not None)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The incidents of which, at the last look, not even the opening could be read."""
        return tuple(one for one, (_, incident) in self._read.items() if incident is None)

    def _current(self, incident_id: str) -> tuple[tuple[int, int] | None, Subject | None]:
        stamp = self._books.stamp(incident_id)
        known = self._read.get(incident_id)
        if known is not None and stamp is not None and known[0] == stamp:
            return known
        try:
            return stamp, self._books.read(incident_id)
        except (BookError, UnknownIncident):
            return None, None
