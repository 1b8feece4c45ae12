"""The acceptance record: whole, by both parties, with what the node saw itself (C23); and the announcements' files."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.acceptance import CHECKS, AcceptanceRecord, Result, Signatory, completed
from ops.announcements import Announcement, Announcements
from ops.errors import AcceptanceRefused, AnnouncementError
from ops.parties import Party

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
SEEN = tuple(Result(check.id, True, "répond") for check in CHECKS if check.automatic)
ANSWERS = tuple(Result(check.id, True, "vu") for check in CHECKS if not check.automatic)
BOTH = (Signatory(Party.PP, "A. B.", "chef de projet"), Signatory(Party.SYN, "C. D.", "RSSI"))


def record(results: tuple[Result, ...], signatories: tuple[Signatory, ...] = BOTH) -> AcceptanceRecord:
    return AcceptanceRecord(
        convention="c",
        node="n",
        held_at=NOW,
        place="Versailles",
        reference="PV-1",
        results=results,
        signatories=signatories,
    )


def test_a_whole_run_is_accepted_and_says_the_same_in_the_same_bytes() -> None:
    whole = record(completed(ANSWERS, SEEN))
    assert whole.accepted
    assert whole.to_bytes() == record(completed(ANSWERS[::-1], SEEN)).to_bytes()


def test_one_failed_check_is_kept_and_opens_nothing() -> None:
    failed = (replace(SEEN[0], passed=False), *SEEN[1:])
    assert not record(completed(ANSWERS, failed)).accepted


def test_nobody_answers_for_the_node_nor_twice_nor_leaves_a_check_out() -> None:
    for answers, seen in (
        ((*ANSWERS, SEEN[0]), SEEN),
        ((*ANSWERS, ANSWERS[0]), SEEN),
        (ANSWERS[1:], SEEN),
        (ANSWERS, SEEN[1:]),
        ((*ANSWERS, Result("unknown", True, "x")), SEEN),
    ):
        with pytest.raises(AcceptanceRefused):
            completed(answers, seen)


@pytest.mark.parametrize("signatories", [(), BOTH[:1], BOTH[1:], BOTH * 7])
def test_both_parties_sign(signatories: tuple[Signatory, ...]) -> None:
    with pytest.raises(AcceptanceRefused):
        record(completed(ANSWERS, SEEN), signatories)
    with pytest.raises(AcceptanceRefused):
        record(SEEN)


def announcement(name: str, at: datetime = NOW) -> Announcement:
    return Announcement(id=name, made_at=at, to=(Party.PP,), subject="Interruption", text="du … au …")


def test_an_announcement_is_durable_once_and_waits_until_it_was_sent(tmp_path: Path) -> None:
    # P07: the seam towards the notifier
    synced: list[int] = []
    box = Announcements(tmp_path / "announcements", fsync=synced.append)
    box.put(announcement("window-2-planned", NOW.replace(hour=11)))
    box.put(announcement("window-1-planned"))
    assert len(synced) == 5  # the folder's name; each file and its name
    box.put(announcement("window-1-planned", NOW.replace(hour=12)))
    assert [(each.id, each.made_at.hour) for each in box.pending()] == [
        ("window-1-planned", 10),
        ("window-2-planned", 11),
    ]
    box.sent("window-1-planned", b"250 queued as 7")
    assert [each.id for each in box.pending()] == ["window-2-planned"]


def test_a_disk_that_fails_is_told(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "announcements").mkdir()
    box = Announcements(tmp_path / "announcements", fsync=fail)
    with pytest.raises(AnnouncementError):
        box.put(announcement("window-1-planned"))
    with pytest.raises(AnnouncementError):
        box.sent("window-1-planned", b"")
    (tmp_path / "announcements" / "x.json").write_text("{}")
    with pytest.raises(AnnouncementError):
        box.pending()
