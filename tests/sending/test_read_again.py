"""What the notifier and the watchdog read again of the file while they run: contacts, and how often the node beats."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from auth.trace import Draft, Kind
from halfgateway.attending import notifier_of, watchdog_of
from halfgateway.config import read_configuration
from halfgateway.folder import DataFolder
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Escalated, Opened, Source
from ops.interconnection import Author, first_open
from ops.local_record import LocalRecord
from ops.notices.notifier import Notifier
from ops.notices.watchdog import Watchdog
from tests.contacts import CONTACTS
from tests.e2e.nodes import toml_lines
from tests.held_clock import HeldClock
from tests.trace.journals import NODE, open_journal

MINUTE = timedelta(minutes=1)
PVPP = {"function": "PVPP", "party": "PP", "role": "single-point-of-contact", "valid_from": "2025-10-21"}


class Place:
    """A node's folder and file, with an open incident of which PP has been told."""

    def __init__(self, root: Path, clock: HeldClock) -> None:
        self.folder, self.clock, self.file = DataFolder(root / "data"), clock, root / "gateway.toml"
        self.folder.make()
        LocalRecord(self.folder.interconnection, clock=clock).initialise(first_open(clock.now()))
        self.books = IncidentBooks(self.folder.incidents, clock=clock)
        self.say()

    def say(self, *, on_call: str = "astreinte@syn.example", phone: str = "01 00 00 00 01", period_s: int = 60) -> None:
        """Have the file say so, as a whole."""
        pvpp = {**PVPP, "email": "pvpp-24@pp.example", "phone": phone}
        document: dict[str, Any] = {
            "node": {"id": NODE, "data": str(self.folder.root)},
            "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
            "listen": {"https_port": "off", "rtsps_port": "off"},
            "mail": {"sender": "dpp@syn.example", "domain": "syn.example", "mailbox": str(self.folder.root / "mail")},
            "heartbeat": {"period_s": period_s},
            "contacts": [CONTACTS[0], {**CONTACTS[1], "email": on_call}, pvpp],
        }
        beside = self.file.with_suffix(".new")
        beside.write_text("\n".join(toml_lines(document)))
        beside.replace(self.file)

    def opened(self) -> None:
        """A critical incident that began now."""
        now, cause = self.clock.now(), "Arrêt du réseau"
        began = Opened(
            t0=now, t0_source=Source.DECLARED, critical=True, by=Author.OPS, reason=cause, interrupted_at=now
        )
        self.books.update("i1", "ops", lambda _: (began,))

    def notifier(self) -> Notifier:
        return notifier_of(read_configuration(self.file), self.folder, self.clock, file=self.file)

    def watchdog(self) -> Watchdog:
        return watchdog_of(read_configuration(self.file), self.folder, self.clock, file=self.file)

    def alarms(self) -> Iterator[tuple[str, str]]:
        """To whom each internal alarm went, and what it says."""
        for path in sorted((self.folder.root / "mail").glob("alarm.*")):
            mail = message_from_bytes(path.read_bytes(), policy=SMTP)
            yield mail["To"], mail.get_content()  # type: ignore[attr-defined]


@pytest.fixture
def place(tmp_path: Path, clock: HeldClock) -> Place:
    return Place(tmp_path, clock)


async def test_a_corrected_contact_is_telephoned_and_called_without_a_restart(place: Place) -> None:
    # P01, C13, N08: PP's telephone, and SYN's own who is to dial it
    place.opened()
    notifier = place.notifier()
    try:
        for _ in range(2):
            await notifier.once()
            await notifier.settle()
            place.clock.advance(31 * MINUTE)
        place.say(on_call="nuit@syn.example", phone="01 00 00 00 09")
        await notifier.once()
        await notifier.settle()
    finally:
        await notifier.close()
    taken = [event.said for event in place.books.read("i1").timeline if isinstance(event.said, Escalated)]
    assert [step.contact for step in taken] == ["PVPP (01 00 00 00 01)", "PVPP (01 00 00 00 09)"]
    first, second = ((to, "01 00 00 00 09" in text) for to, text in place.alarms() if "téléphone" in text)
    assert {first, second} == {("astreinte@syn.example", False), ("nuit@syn.example", True)}


async def test_the_watchdog_shouts_to_whom_the_file_says_now(place: Place) -> None:
    # N09
    watchdog = place.watchdog()
    place.say(on_call="nuit@syn.example")
    place.opened()
    place.clock.advance(3 * 60 * MINUTE)
    await watchdog.once()
    assert {to for to, _ in place.alarms()} == {"nuit@syn.example"}


async def test_a_node_that_is_to_beat_more_seldom_is_not_taken_for_dead(place: Place) -> None:
    # N02, T07: silent for 300 s as the file has it, by a watchdog that began with 60
    watchdog = place.watchdog()
    async with await open_journal(place.folder.trace, clock=place.clock) as journal:
        await journal.record(Draft(kind=Kind.NODE_STARTED))
        place.say(period_s=300)
        place.clock.advance(5 * MINUTE)
        await watchdog.once()
        assert place.books.ids() == ()
        place.clock.advance(8 * MINUTE)
        await watchdog.once()
        assert len(place.books.ids()) == 1


async def test_a_node_that_beats_as_it_said_it_would_is_not_taken_for_dead(place: Place) -> None:
    # N02, T07: the file has 60 s now; the node has yet to read it, and says 300 itself
    place.say(period_s=300)
    watchdog = place.watchdog()
    async with await open_journal(place.folder.trace, clock=place.clock) as journal:
        await journal.record(Draft(kind=Kind.HEARTBEAT, detail={"serving": True, "period_s": 300.0}))
        place.say(period_s=60)
        place.clock.advance(5 * MINUTE)
        await watchdog.once()
        assert place.books.ids() == ()
        await journal.record(Draft(kind=Kind.HEARTBEAT, detail={"serving": True, "period_s": 60.0}))
        place.clock.advance(3 * MINUTE)
        await watchdog.once()
        assert len(place.books.ids()) == 1
