"""The notifier and the watchdog go by the course that ``[incidents]`` agrees, as the processes build them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from halfgateway.attending import notifier_of, watchdog_of
from halfgateway.config import Configuration, parse_configuration
from halfgateway.folder import DataFolder
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Opened, Source
from ops.interconnection import Author
from tests.contacts import CONTACTS
from tests.held_clock import HeldClock

MINUTE = timedelta(minutes=1)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path)
    folder.make()
    return folder


def configured(folder: DataFolder, incidents: dict[str, Any]) -> Configuration:
    return parse_configuration(
        {
            "node": {"data": str(folder.root)},
            "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
            "listen": {"https_port": "off", "rtsps_port": "off"},
            "contacts": CONTACTS,
            "mail": {"sender": "dpp@syn.example", "domain": "syn.example", "mailbox": str(folder.root / "mail")},
            "on_call": {"metrics_file": str(folder.root / "alarms.prom")},
            "incidents": incidents,
        }
    )


def stopped(folder: DataFolder, clock: HeldClock) -> IncidentBooks:
    """An automatic stop that began ten minutes ago, and goes on."""
    began = clock.now() - 10 * MINUTE
    source, author = Source.HEARTBEAT, Author.DETECTION
    opened = Opened(t0=began, t0_source=source, critical=True, by=author, reason="panne", interrupted_at=began)
    books = IncidentBooks(folder.incidents, clock=clock)
    books.update("stop-1", "detection", lambda _: (opened,))
    return books


@pytest.mark.parametrize(("critical_after_min", "told"), [(5, True), (30, False)])
async def test_the_notifier_tells_after_what_was_agreed(
    folder: DataFolder, clock: HeldClock, critical_after_min: int, told: bool
) -> None:
    # N03
    books = stopped(folder, clock)
    notifier = notifier_of(configured(folder, {"critical_after_min": critical_after_min}), folder, clock)
    try:
        await notifier.once()
        await notifier.settle()
    finally:
        await notifier.close()
    assert bool(books.read("stop-1").notices) is told


@pytest.mark.parametrize(("shout_after_min", "shouted"), [(9, True), (120, False)])
async def test_the_watchdog_shouts_after_what_was_agreed(
    folder: DataFolder, clock: HeldClock, shout_after_min: int, shouted: bool
) -> None:
    # N09
    stopped(folder, clock)
    await watchdog_of(configured(folder, {"shout_after_min": shout_after_min}), folder, clock).once()
    assert ('about="stop-1"' in (folder.root / "alarms.prom").read_text()) is shouted
