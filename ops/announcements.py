"""Announcements that are to be mailed to the parties and are no incident's notices: P07, C15, C18, C07.

The seam towards the notifier. The node lays each in a file of its own below ``DIR/announcements``, durable before it
counts as made; the notifier's clerk takes :meth:`Announcements.pending`, opens a correspondence for each, which is sent
under the Message-ID ``<{id}@{domain}>``, the same at every resend and on every node, and lays
:meth:`Announcements.sent` beside it. A window's cut and its restoration are told by that incident's own notices; what
lies here tells of it beforehand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ops.appended import Fsync, place_durably, sync_folder
from ops.errors import AnnouncementError
from ops.parties import Party

_MESSAGE, _SENT = ".json", ".sent"


class Announcement(BaseModel):
    """What is announced, ready to be worded as a mail: ``subject`` and ``text`` are French, without salutation.

    ``to`` are the parties whose functional mailboxes get it (annexes 2 and 3). It holds no secret and no name.
    ``answers`` is the announcement that this one follows: its mail goes on in the same thread.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    made_at: AwareDatetime
    to: Annotated[tuple[Party, ...], Field(min_length=1, max_length=2)]
    subject: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(min_length=1, max_length=4000)]
    answers: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] | None = None


class Announcements:
    """The files of one node. The methods block on the disk for milliseconds: an event loop calls them in a thread."""

    def __init__(self, folder: Path, *, fsync: Fsync = os.fsync) -> None:
        self._folder = folder
        self._fsync = fsync

    def put(self, announcement: Announcement) -> None:
        """Make an announcement durable; one that lies there already stays as it is. Raises AnnouncementError."""
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(self._folder.parent, self._fsync)
            path = self._folder / (announcement.id + _MESSAGE)
            if not path.is_file():
                place_durably(path, announcement.model_dump_json().encode(), self._fsync)
        except OSError as error:
            raise AnnouncementError(f"{announcement.id}: {error.strerror}") from error

    def pending(self) -> list[Announcement]:
        """Those that nobody has taken over, the oldest first. Raises AnnouncementError where one cannot be read."""
        try:
            waiting = [path for path in self._folder.glob("*" + _MESSAGE) if not path.with_suffix(_SENT).exists()]
            found = [Announcement.model_validate_json(path.read_bytes()) for path in waiting]
        except (OSError, ValidationError) as error:
            raise AnnouncementError(f"an announcement cannot be read: {error}") from error
        return sorted(found, key=lambda each: (each.made_at, each.id))

    def sent(self, announcement_id: str, evidence: bytes) -> None:
        """Note durably that one is taken over; ``evidence`` names its correspondence. Raises AnnouncementError."""
        try:
            place_durably(self._folder / (announcement_id + _SENT), evidence, self._fsync)
        except OSError as error:
            raise AnnouncementError(f"{announcement_id}: {error.strerror}") from error
