"""The books of incidents: one folder each, below the node's data, that needs nothing else to be read or written.

A book is the fsynced source of its incident (N01): the node, the command line, the notifier and the watchdog write it
under one lock, and the trace's entries follow it. Correspondences have books of the same make
(:mod:`ops.correspondence.correspondence`). In the folder of an incident lie

==============  ====================================================================================================
``events``      one line an event: ``<SHA-256 of the digest before and the rest> <event as canonical JSON>``
``<hash>.eml``  the exact bytes of a notice, durable before the event that names their SHA-256
``traced``      how many of its events the trace tells; lost, they are told again
==============  ====================================================================================================

A line that was torn by a crash was never acknowledged: the next event takes its place. A line that is not as it was
written ends what is believed; the incident is then ``damaged``, stays open, and takes no event but in a book begun
anew beside it: nobody is told less because a disk failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import ValidationError

from camera_registry.clock import Clock, rfc3339
from ops.appended import Fsync, locked, place_durably, sync_folder, write_all
from ops.errors import BookError, DamagedBook, LockHeld, UnknownIncident
from ops.incidents.events import EVENTS, Event, Opened, Said
from ops.incidents.incident import Incident, Notice, incident_of

MAX_EVENTS = 5_000
"""Events of one incident: months of attempts. When full nothing more is written, and whoever wanted to is told."""

MAX_EVENT_BYTES = 64 * 1024
"""Bytes of one event as JSON: the longest text and fifty addresses fit. A longer one is refused."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DIGEST_CHARS = 64
_NO_DIGEST = "0" * _DIGEST_CHARS


class Told(Protocol):
    """What a book tells, as of its newest event."""

    @property
    def id(self) -> str: ...

    @property
    def notices(self) -> tuple[Notice, ...]: ...

    @property
    def timeline(self) -> tuple[Event, ...]: ...

    @property
    def damaged(self) -> bool: ...


Subject = TypeVar("Subject", bound=Told)


@dataclass(frozen=True, slots=True)
class _Pages:
    """What a book says: its whole lines' events, the last digest, and where the whole lines end."""

    events: tuple[Event, ...]
    digest: str
    whole_bytes: int
    damaged: bool


class Books(ABC, Generic[Subject]):
    """All the books of one sort below one folder, whatever they tell; see :class:`IncidentBooks`.

    ``lock_limit_s`` bounds the wait for another process that writes. The methods block on the disk for milliseconds:
    an event loop calls them in a thread. UnknownIncident is raised of whatever has no book.
    """

    opening: type[Said]
    """How a book of this sort begins."""

    def __init__(self, folder: Path, *, clock: Clock, lock_limit_s: float = 5.0, fsync: Fsync = os.fsync) -> None:
        self._folder = folder
        self._clock = clock
        self._lock_limit_s = lock_limit_s
        self._fsync = fsync

    @staticmethod
    @abstractmethod
    def fold(name: str, events: Sequence[Event], *, damaged: bool) -> Subject | None:
        """Return what the events say, in their order; None where the first does not open anything."""

    def ids(self) -> tuple[str, ...]:
        """The incidents that have a book, the oldest id first."""
        try:
            found = [entry.name for entry in os.scandir(self._folder) if (Path(entry.path) / "events").is_file()]
        except FileNotFoundError:
            return ()
        return tuple(sorted(found))

    def read(self, incident_id: str) -> Subject:
        """Return one incident. Raises UnknownIncident, DamagedBook where not even its opening can be read."""
        if not _ID.fullmatch(incident_id):
            raise UnknownIncident(incident_id)
        incident = self._incident(incident_id, self._pages(incident_id))
        if incident is None:
            raise UnknownIncident(incident_id)
        return incident

    def stamp(self, incident_id: str) -> tuple[int, int] | None:
        """What changes whenever a book does, to know without reading it; None where there is none."""
        try:
            found = (self._folder / incident_id / "events").stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def all(self) -> Iterator[Subject]:
        """Every incident that can be read, the oldest first; what cannot be is told by :meth:`unreadable`."""
        for incident_id in self.ids():
            try:
                yield self.read(incident_id)
            except (DamagedBook, UnknownIncident):
                continue

    def unreadable(self) -> tuple[str, ...]:
        """The incidents of which not even the opening can be read."""
        return tuple(sorted(set(self.ids()) - {incident.id for incident in self.all()}))

    def size_bytes(self, incident_id: str) -> int:
        """How long a book is: it has grown if anything was said. 0 where there is none."""
        try:
            return (self._folder / incident_id / "events").stat().st_size
        except OSError:
            return 0

    def told(self, incident_id: str) -> int:
        """How many of its events the trace has been told of, at least."""
        try:
            return int((self._folder / incident_id / "traced").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def has_told(self, incident_id: str, events: int) -> None:
        """Remember that the trace was told of so many; a crash before it makes the trace tell them twice."""
        with suppress(OSError):
            (self._folder / incident_id / "traced").write_text(str(events), encoding="ascii")

    def say(self, incident_id: str, who: str, *said: Said) -> Subject:
        """Write events of an incident that there is. Raises UnknownIncident, BookError."""

        def change(incident: Subject | None) -> Sequence[Said]:
            if incident is None:
                raise UnknownIncident(incident_id)
            return said

        return self.update(incident_id, who, change)

    def update(self, incident_id: str, who: str, change: Callable[[Subject | None], Sequence[Said]]) -> Subject:
        """Write what ``change`` says of the incident as it stands, no other process in between; return it then.

        What ``change`` raises is raised, and nothing is written. Nothing said is nothing written. All of it is durable
        before this returns. Where there is no book yet ``change`` is asked twice, so that one which opens none leaves
        no folder. Raises BookError, UnknownIncident where there is no such incident and none is opened.
        """
        folder = self._folder / incident_id
        if not _ID.fullmatch(incident_id) or not (folder.is_dir() or self._opens(change(None))):
            raise UnknownIncident(incident_id)
        with self._writing(folder):
            pages = self._pages(incident_id)
            known = self._incident(incident_id, pages)
            said = change(known)
            if known is not None and known.damaged and said:
                raise DamagedBook(incident_id)
            if known is None and not self._opens(said):
                raise UnknownIncident(incident_id)
            events = self._numbered(pages, who, said)
            self._append(folder, pages, events)
            incident = self.fold(incident_id, (*pages.events, *events), damaged=pages.damaged)
        if incident is None:
            raise UnknownIncident(incident_id)
        return incident

    def keep_message(self, incident_id: str, content: bytes) -> str:
        """Keep a notice's exact bytes, durably; return their SHA-256 in hexadecimal. Raises BookError."""
        digest = hashlib.sha256(content).hexdigest()
        folder = self._folder / incident_id
        with self._writing(folder):
            if not (folder / f"{digest}.eml").is_file():
                place_durably(folder / f"{digest}.eml", content, self._fsync)
        return digest

    def message(self, incident_id: str, sha256: str) -> bytes:
        """The exact bytes of a notice. Raises BookError where they are not there, or not what they were."""
        try:
            content = (self._folder / incident_id / f"{sha256}.eml").read_bytes()
        except OSError as error:
            raise BookError(f"{incident_id}: the message {sha256} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BookError(f"{incident_id}: the message {sha256} is not as it was written")
        return content

    def exact(self, incident_id: str) -> bytes:
        """The book's exact bytes, for whoever checks its chain elsewhere. Raises BookError, UnknownIncident."""
        try:
            return (self._folder / incident_id / "events").read_bytes()
        except FileNotFoundError as error:
            raise UnknownIncident(incident_id) from error
        except OSError as error:
            raise BookError(f"{incident_id}: {error.strerror}") from error

    def _incident(self, incident_id: str, pages: _Pages) -> Subject | None:
        incident = self.fold(incident_id, pages.events, damaged=pages.damaged)
        if incident is None and pages.damaged:
            raise DamagedBook(incident_id)
        return incident

    def _pages(self, incident_id: str) -> _Pages:
        try:
            raw = (self._folder / incident_id / "events").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return _Pages((), _NO_DIGEST, 0, damaged=False)
        except OSError as error:
            raise BookError(f"{incident_id}: {error.strerror}") from error
        events: list[Event] = []
        digest, whole = _NO_DIGEST, 0
        for line in raw.split(b"\n")[:-1]:
            event = _event_of(line, digest, len(events))
            if event is None:
                return _Pages(tuple(events), digest, whole, damaged=True)
            events.append(event)
            digest = line[:_DIGEST_CHARS].decode("ascii")
            whole += len(line) + 1
        return _Pages(tuple(events), digest, whole, damaged=False)

    def _numbered(self, pages: _Pages, who: str, said: Sequence[Said]) -> tuple[Event, ...]:
        first = len(pages.events)
        if first + len(said) > MAX_EVENTS:
            raise BookError(f"an incident has at most {MAX_EVENTS} events")
        at = self._clock.now()
        return tuple(Event(n=first + place, at=at, who=who, said=one) for place, one in enumerate(said))

    def _append(self, folder: Path, pages: _Pages, events: Sequence[Event]) -> None:
        if not events:
            return
        digest, lines = pages.digest, bytearray()
        for event in events:
            text = _canonical(event)
            if len(text) > MAX_EVENT_BYTES:
                raise BookError(f"an event has at most {MAX_EVENT_BYTES} bytes")
            digest = _chained(digest, text)
            lines += digest.encode("ascii") + b" " + text + b"\n"
        path = folder / "events"
        is_new = not path.exists()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, pages.whole_bytes)
            os.lseek(fd, pages.whole_bytes, os.SEEK_SET)
            write_all(fd, bytes(lines))
            self._fsync(fd)
        finally:
            os.close(fd)
        if is_new:
            sync_folder(folder, self._fsync)

    def _opens(self, said: Sequence[Said]) -> bool:
        return bool(said) and isinstance(said[0], self.opening)

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[None]:
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(folder.parent, self._fsync)
            with locked(folder / "events.lock", exclusive=True, limit_s=self._lock_limit_s):
                yield
        except LockHeld as error:
            raise BookError(str(error)) from error
        except OSError as error:
            raise BookError(f"{folder.name}: {error.strerror}") from error


class IncidentBooks(Books[Incident]):
    """The books of incidents."""

    opening = Opened

    @staticmethod
    def fold(name: str, events: Sequence[Event], *, damaged: bool) -> Incident | None:
        """See :func:`~ops.incidents.incident.incident_of`."""
        return incident_of(name, events, damaged=damaged)


def _canonical(event: Event) -> bytes:
    fields = event.model_dump(mode="json", exclude_none=True)
    fields["at"] = rfc3339(event.at)
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


def _chained(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode("ascii") + text).hexdigest()


def _event_of(line: bytes, before: str, n: int) -> Event | None:
    """Return the event that a whole line holds, or None for a line that is not as it was written."""
    digest, text = line[:_DIGEST_CHARS], line[_DIGEST_CHARS + 1 :]
    if line[_DIGEST_CHARS : _DIGEST_CHARS + 1] != b" " or _chained(before, text).encode("ascii") != digest:
        return None
    try:
        event = EVENTS.validate_json(text)
    except ValidationError:
        return None
    return event if event.n == n else None
