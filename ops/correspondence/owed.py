"""What a correspondence owes now, and what is written into its book: each notice once, whoever crashes in between.

As for an incident (:mod:`ops.notices.queueing`): the bytes are durable before the event that names them, and that is
written under the book's lock, after looking again. The ids of notices are the same on every node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, assert_never

from camera_registry.paris import PARIS
from ops.correspondence.correspondence import Correspondence, CorrespondenceBooks
from ops.correspondence.matters import (
    AlarmRaised,
    Anchoring,
    Announced,
    BreakGlass,
    ContactTest,
    Measure,
    is_shared,
)
from ops.incidents.events import NoticeKind, NoticeQueued, Said
from ops.notices.message import Composed, Composer, contact_mark
from ops.notices.queueing import WHO, StandIn, hear, made_good
from ops.notices.sending import Pace
from ops.parties import Party

LETTER: Final = "letter-1"
"""The one notice of a correspondence that tells one thing."""

ANCHOR_HOUR: Final = 7
"""Paris's hour from which the day's checkpoint is mailed: before the day shift reads its mail."""

TEST_DAY, TEST_HOUR = 1, 10
"""Paris's day of the month and hour from which the contacts are tested."""

_Write = Callable[[], Composed]


@dataclass(frozen=True, slots=True)
class Writing:
    """How correspondences are written: by whom, how patiently, and to whom where PP's address fails for good (N04)."""

    composer: Composer
    escalation: Callable[[datetime], Sequence[str]]
    pace: Pace
    stand_in: StandIn


class CorrespondenceQueue:
    """Keeps the books of correspondences up with what is owed. The methods block on the disk."""

    def __init__(self, books: CorrespondenceBooks, writing: Writing) -> None:
        self._books = books
        self._writing = writing

    def keep_up(self, correspondence: Correspondence, now: datetime, under_way: Collection[str]) -> Correspondence:
        """Write what a correspondence owes now; return it then. ``under_way`` are its notices that are being sent.

        Raises OpsError: what was written stays, and the next call goes on.
        """
        stand_in = self._writing.stand_in
        correspondence = hear(self._books, correspondence, stand_in)
        wait = stand_in.after if is_shared(correspondence.matter) else timedelta(0)
        if correspondence.opened_at + wait <= now:
            queued = {notice.id for notice in correspondence.notices}
            for notice, write in self._owed(correspondence, now):
                if notice not in queued:
                    correspondence = self._queue(correspondence, notice, write)
        if not under_way:
            correspondence = self._make_good(correspondence, now)
        return correspondence

    def _owed(self, correspondence: Correspondence, now: datetime) -> Iterator[tuple[str, _Write]]:
        """Every notice that is due by now, with how it is written; those queued already too."""
        composer, matter = self._writing.composer, correspondence.matter
        match matter:
            case Measure():
                yield LETTER, partial(composer.measure, matter, now)
            case Announced():
                yield LETTER, partial(composer.announcement, matter, now)
            case AlarmRaised():
                yield LETTER, partial(composer.alarm, matter, now)
            case BreakGlass():
                yield LETTER, partial(composer.break_glass, matter, now)
            case ContactTest():
                if matter.month == month_of(now):
                    for contact in composer.directory().valid(now):
                        yield contact_mark(contact), partial(composer.contact_test, contact, now)
            case Anchoring():
                if matter.month == month_of(now) and now >= anchored_from(now):
                    yield f"{now.astimezone(PARIS):%Y-%m-%d}", partial(composer.anchoring, matter, now)
            case _:
                assert_never(matter)

    def _queue(self, correspondence: Correspondence, notice: str, write: _Write) -> Correspondence:
        composed = write()
        queued = NoticeQueued(
            notice=notice,
            tells=NoticeKind.LETTER,
            message_id=composed.message_id,
            sha256=self._books.keep_message(correspondence.id, composed.content),
            recipients=composed.recipients,
            in_copy=composed.in_copy,
        )

        def still_owed(current: Correspondence | None) -> Sequence[Said]:
            known = set() if current is None else {one.id for one in current.notices}
            return () if notice in known else (queued,)

        return self._books.update(correspondence.id, WHO, still_owed)

    def _make_good(self, correspondence: Correspondence, now: datetime) -> Correspondence:
        """What is given up; and the next of PP's contacts, where its mailbox fails and it was to be told something."""
        told = isinstance(correspondence.matter, Measure | BreakGlass) or _tells_pp(correspondence)
        escalation = self._writing.escalation(now) if told else ()

        def change(current: Correspondence | None) -> Sequence[Said]:
            return () if current is None else made_good(current.notices, self._writing.pace, escalation, now)

        return self._books.update(correspondence.id, WHO, change) if change(correspondence) else correspondence


def month_of(instant: datetime) -> str:
    """Return Paris's month, as ``2026-11``."""
    return f"{instant.astimezone(PARIS):%Y-%m}"


def anchored_from(instant: datetime) -> datetime:
    """Return from when on the day's checkpoint is mailed, in the day of ``instant`` in Paris."""
    return instant.astimezone(PARIS).replace(hour=ANCHOR_HOUR, minute=0, second=0, microsecond=0)


def tested_from(instant: datetime) -> datetime:
    """Return from when on the contacts are tested, in the month of ``instant`` in Paris."""
    return instant.astimezone(PARIS).replace(day=TEST_DAY, hour=TEST_HOUR, minute=0, second=0, microsecond=0)


def _tells_pp(correspondence: Correspondence) -> bool:
    return isinstance(correspondence.matter, Announced) and Party.PP in correspondence.matter.to
