"""A correspondence as its book tells it: what it is about, and how far each of its notices came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from ops.correspondence.matters import INTERNAL, ContactTest, Matter
from ops.incidents.book import Books
from ops.incidents.events import CorrespondenceOpened, Event, Level
from ops.incidents.incident import Notice, Recipient, notices_after

ANSWER_WITHIN: Final = timedelta(days=7)
"""How long a tested contact has to answer before it is shown as late (N13)."""


class Answer(StrEnum):
    """Whether a tested contact has answered."""

    AWAITED = "awaited"
    OVERDUE = "overdue"
    IN_TIME = "in-time"
    LATE = "late"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Correspondence:
    """One correspondence, as of its newest event; ``damaged``: what follows some line of its book is not told here."""

    id: str
    matter: Matter
    opened_at: datetime
    notices: tuple[Notice, ...] = ()
    timeline: tuple[Event, ...] = ()
    damaged: bool = False

    @property
    def internal(self) -> bool:
        """Whether it is SYN's own affair (C16)."""
        return isinstance(self.matter, INTERNAL)

    @property
    def owed(self) -> bool:
        """Whether anything of it has yet to leave."""
        return not self.notices or any(notice.unsent for notice in self.notices)


class CorrespondenceBooks(Books[Correspondence]):
    """The books of correspondences, of the same make as those of incidents."""

    opening = CorrespondenceOpened

    @staticmethod
    def fold(name: str, events: Sequence[Event], *, damaged: bool) -> Correspondence | None:
        """See :func:`correspondence_of`."""
        return correspondence_of(name, events, damaged=damaged)


def correspondence_of(name: str, events: Iterable[Event], *, damaged: bool = False) -> Correspondence | None:
    """Return what the events say, in their order; None where the first does not open a correspondence."""
    told = tuple(events)
    if not told or not isinstance(told[0].said, CorrespondenceOpened):
        return None
    notices: tuple[Notice, ...] = ()
    for event in told[1:]:
        notices = notices_after(notices, event.at, event.said)
    return Correspondence(name, told[0].said.matter, told[0].at, notices, told, damaged)


def answer(correspondence: Correspondence, notice: Notice, recipient: Recipient, now: datetime) -> Answer | None:
    """Return whether a recipient of a contact test has answered; None of any other correspondence, and of a copy."""
    if not isinstance(correspondence.matter, ContactTest) or recipient.address in notice.in_copy:
        return None
    due = notice.queued_at + ANSWER_WITHIN
    if recipient.level is Level.ACKNOWLEDGED:
        return Answer.IN_TIME if recipient.at <= due else Answer.LATE
    if recipient.level is Level.FAILED:
        return Answer.UNREACHABLE
    return Answer.AWAITED if now <= due else Answer.OVERDUE
