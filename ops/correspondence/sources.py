"""Where correspondences come from: files that the node has filed, what is wrong with it, and the calendar.

Each source gives what is due, any number of times: the id of a correspondence comes from its matter alone, so that
what is given again is nothing new. The methods block on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from camera_registry.clock import rfc3339
from ops.announcements import Announcement, Announcements
from ops.appended import place_durably
from ops.conditions import Conditions
from ops.correspondence.matters import AlarmRaised, Anchoring, Announced, ContactTest, Matter, correspondence_id
from ops.correspondence.owed import anchored_from, month_of, tested_from
from ops.errors import SourceUnavailable


class Source(Protocol):
    """One of them. Raises OpsError where it cannot be read now."""

    def due(self, now: datetime) -> Sequence[Matter]:
        """What is to be mailed."""

    def taken(self, matters: Sequence[Matter]) -> None:
        """Each of these has its book, durably."""


class AnnouncementSource:
    """What the node has filed (P07, C15, C18)."""

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements

    def due(self, now: datetime) -> Sequence[Matter]:
        """See :class:`Source`. Raises AnnouncementError."""
        return [_announced(each) for each in self._announcements.pending()]

    def taken(self, matters: Sequence[Matter]) -> None:
        """See :class:`Source`: what has its book is that book's to send. Raises AnnouncementError."""
        for matter in matters:
            if isinstance(matter, Announced):
                self._announcements.sent(matter.reference, correspondence_id(matter).encode())


class ConditionSource:
    """What is wrong with the node."""

    def __init__(self, conditions: Conditions, node: str) -> None:
        self._conditions = conditions
        self._node = node

    def due(self, now: datetime) -> Sequence[Matter]:
        """See :class:`Source`."""
        return [
            AlarmRaised(condition=condition, node=self._node, since=since)
            for condition, since in self._conditions.standing()
        ]

    def taken(self, matters: Sequence[Matter]) -> None:
        """See :class:`Source`: a condition ends when the node says so."""


class CalendarSource:
    """The month's tests and the days' checkpoints (N13, T04), from the first time on that this node's notifier ran.

    So that a node installed on a Friday afternoon writes to nobody of what that week would have asked for.
    """

    def __init__(self, since: Path, node: str) -> None:
        self._path = since
        self._node = node
        self._since: datetime | None = None

    def due(self, now: datetime) -> Sequence[Matter]:
        """See :class:`Source`. Raises SourceUnavailable."""
        since, month = self._began(now), month_of(now)
        found: list[Matter] = []
        if since <= tested_from(now) <= now:
            found.append(ContactTest(month=month))
        if since <= anchored_from(now) <= now:
            found.append(Anchoring(month=month, node=self._node))
        return found

    def taken(self, matters: Sequence[Matter]) -> None:
        """See :class:`Source`: the calendar goes on by itself."""

    def _began(self, now: datetime) -> datetime:
        if self._since is None:
            try:
                self._since = self._read(now)
            except OSError as error:
                raise SourceUnavailable(f"{self._path}: {error.strerror}") from error
        return self._since

    def _read(self, now: datetime) -> datetime:
        try:
            return datetime.fromisoformat(self._path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place_durably(self._path, rfc3339(now).encode("ascii"), os.fsync)
            return now


def _announced(each: Announcement) -> Announced:
    return Announced(reference=each.id, to=each.to, subject=each.subject, text=each.text, answers=each.answers)
