"""What a node looks at before its interconnection is restored, and says of each part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.errors import RecordsUnavailableError
from auth.errors import TraceUnavailable as JournalUnavailable
from camera_registry.cameras import CameraState
from camera_registry.errors import Unreachable
from halfgateway.app import preflight
from halfgateway.app.preflight import NodePreflight
from halfgateway.config import Configuration, parse_configuration
from halfgateway.control.clock_reference import ClockReading
from halfgateway.errors import StateStoreUnavailable
from halfgateway.folder import DataFolder
from ops.notices.shouting import Pulse
from ops.preflight import Outcome, Preflight
from tests.contacts import CONTACTS
from tests.held_clock import HeldClock

PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN
MAIL = {"sender": "dpp@syn.example", "domain": "syn.example", "mailbox": "mail"}


@dataclass(frozen=True)
class Known:
    """What the inventory says of a camera."""

    id: str
    state: CameraState


@dataclass
class Site:
    """A node that is well, but for what a test breaks."""

    folder: DataFolder
    clock: HeldClock
    cameras: dict[str, CameraState] = field(default_factory=lambda: dict.fromkeys("abcd", CameraState.AVAILABLE))
    silent: set[str] = field(default_factory=set)
    probes: dict[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    reading: ClockReading | None = field(default_factory=lambda: ClockReading(True, 400, 100, 1000))
    store_offset_us: int | None = None
    sections: dict[str, Any] = field(default_factory=dict)

    def list(self) -> list[Known]:
        return [Known(name, state) for name, state in self.cameras.items()]

    async def knock(self, url: str) -> None:
        if url.split(".", maxsplit=1)[0].removeprefix("http://") in self.silent:
            raise Unreachable("no connection")

    async def store_clock(self) -> dict[str, Any]:
        return {} if self.store_offset_us is None else {"store_offset_us": self.store_offset_us}

    def configuration(self) -> Configuration:
        document = {
            "node": {"data": str(self.folder.root)},
            "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
            "listen": {"https_port": "off", "rtsps_port": "off"},
            "contacts": CONTACTS,
            "mail": MAIL,
            "cameras": [camera(name) for name in self.cameras],
        }
        return parse_configuration({**document, **self.sections})

    async def look(self) -> Preflight:
        answering: dict[str, Callable[[], Awaitable[object]]] = dict.fromkeys(
            ("trace", "state-store", "records"), answers
        )
        configuration = self.configuration()
        return await NodePreflight(
            probes={**answering, **self.probes},
            cameras=self,  # type: ignore[arg-type]
            knock=self.knock,
            kernel_clock=lambda: self.reading,
            store_clock=self.store_clock,
            current=lambda: configuration,
            folder=self.folder,
            clock=self.clock,
        ).look()

    async def told(self, check: str) -> tuple[Outcome, str]:
        (found,) = [finding for finding in (await self.look()).findings if finding.check == check]
        return found.outcome, found.observation


def camera(name: str) -> dict[str, Any]:
    place = {"site": "s", "commune": "Versailles", "latitude": 48.8, "longitude": 2.1}
    access = {"onvif_url": f"http://{name}.example/onvif", "username": "u", "password_file": "password"}
    return {"id": name, "name": name, **place, **access}


async def answers() -> None:
    """It is well."""


def fails_with(error: Exception) -> Callable[[], Awaitable[object]]:
    async def fail() -> None:
        raise error

    return fail


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(DataFolder(tmp_path), HeldClock())
    for name in ("notifier", "watchdog"):
        Pulse(site.folder.run / f"{name}.alive").beat(site.clock.now())
    return site


async def test_all_is_well(site: Site) -> None:
    found = await site.look()
    assert {finding.outcome for finding in found.findings} == {PASSED}
    assert (await site.told("cameras"))[1] == "4 sur 4"


@pytest.mark.parametrize(
    ("check", "error"),
    [
        ("trace", JournalUnavailable("no space left")),
        ("state-store", StateStoreUnavailable()),
        ("records", RecordsUnavailableError("gone")),
    ],
)
async def test_what_does_not_answer_is_named(site: Site, check: str, error: Exception) -> None:
    site.probes[check] = fails_with(error)
    assert [finding.check for finding in (await site.look()).failed] == [check]


async def test_what_hangs_does_not_hang_the_pre_flight(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "ANSWER_LIMIT_S", 0.02)
    monkeypatch.setattr(preflight, "KNOCK_LIMIT_S", 0.02)
    site.probes["trace"] = asyncio.Event().wait
    never = replace(site)
    never.knock = lambda _url: asyncio.Event().wait()  # type: ignore[assignment, method-assign, return-value]
    failed = [finding.check for finding in (await never.look()).failed]
    assert failed == ["trace", "cameras"]


async def test_unreachable_cameras_are_named_and_fail_below_the_agreed_share(site: Site) -> None:
    # C16: by their names, never by their addresses
    site.cameras["a"], site.silent = CameraState.UNAVAILABLE, {"c"}
    assert await site.told("cameras") == (PASSED, "2 sur 4 ; sans réponse : a, c")
    site.sections["restoration"] = {"cameras_share": 0.75}
    assert (await site.told("cameras"))[0] is FAILED
    site.cameras["d"] = CameraState.PLANNED  # not there yet, and counted nowhere
    assert (await site.told("cameras"))[1] == "1 sur 3 ; sans réponse : a, c"
    site.cameras = {}
    assert (await site.told("cameras"))[0] is UNKNOWN


async def test_of_many_lost_cameras_the_number_is_told(site: Site) -> None:
    site.cameras = {f"c{number:02}": CameraState.UNAVAILABLE for number in range(23)}
    outcome, text = await site.told("cameras")
    assert (outcome, text.startswith("0 sur 23"), text.endswith("c19 et 3 autres")) == (FAILED, True, True)


async def test_contacts_are_those_that_are_valid_today(site: Site) -> None:
    # N13
    site.sections["contacts"] = [{**CONTACTS[0], "valid_to": "2026-01-01"}, CONTACTS[1]]
    outcome, text = await site.told("contacts")
    assert (outcome, "annexe 2 est vide" in text) == (FAILED, True)


@pytest.mark.parametrize(
    ("reading", "store_offset_us", "outcome", "text"),
    [
        (ClockReading(True, -2_500_000, 1, 1), None, FAILED, "écart de -2,500 s"),
        (ClockReading(False, None, None, None), 1_200, PASSED, "écart de 0,001 s"),
        (None, 1_000_001, FAILED, "écart de 1,000 s"),
        (None, None, UNKNOWN, "aucune référence"),
    ],
)
async def test_the_clocks_offset_is_told_where_it_is_known(
    site: Site, reading: ClockReading | None, store_offset_us: int | None, outcome: Outcome, text: str
) -> None:
    # T08
    site.reading, site.store_offset_us = reading, store_offset_us
    found = await site.told("clock")
    assert (found[0], found[1].startswith(text)) == (outcome, True)


async def test_an_attendant_that_has_fallen_silent_is_told(site: Site) -> None:
    # N09
    site.clock.advance(timedelta(minutes=2, seconds=1))
    Pulse(site.folder.run / "watchdog.alive").beat(site.clock.now())
    assert (await site.told("notifier"))[0] is FAILED
    assert (await site.told("watchdog"))[0] is PASSED
    (site.folder.run / "watchdog.alive").unlink()
    assert (await site.told("watchdog"))[0] is UNKNOWN
    site.sections["mail"] = None
    assert (await site.told("notifier"))[0] is UNKNOWN
