"""What the recorder takes from its configuration and from the node's records (C04, L02, L07)."""

from __future__ import annotations

import os
import tomllib
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auth.sealing import Sealing
from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.connections import CameraRecord, Connection, Credentials
from camera_registry.errors import StoreUnavailable
from camera_registry.hold_store import HoldStore
from camera_registry.order_store import OrderStore
from camera_registry.orders import Order, Perimeter
from camera_registry.store import CameraStore
from halfgateway.config import ConfigurationError, parse_configuration
from halfgateway.database import Database
from halfgateway.recorder.recorder import BEST_PROFILE
from halfgateway.recorder.retention import Hold, Rule
from halfgateway.recording import Records, rule_of
from halfgateway.relay.source import SourceKey
from halfgateway.upstream.client import Target
from tests.contacts import CONTACTS
from tests.held_clock import HeldClock
from tests.rights import order

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway.toml"
PROFILES = (
    Profile(id="main", codec="H264", width=1920, height=1080, fps=25.0),
    Profile(id="sub", codec="H264", width=640, height=360, fps=12.5),
)
OF_THE_SITE = Perimeter(sites=frozenset({"Mairie"}))
CAMERA = Camera(
    id="cam", name="Essai", site="Mairie", commune="Trappes", latitude=48.8, longitude=2.1,
    state=CameraState.AVAILABLE, cause=None, profiles=PROFILES, recorded=True,
)  # fmt: skip


def kept(least: int, longest: int, **changes: Any) -> Order:
    return order(["cam"], retention_min_days=least, retention_max_days=longest, **changes)


@pytest.mark.parametrize(
    ("orders", "rule"),
    [
        ([], None),
        ([order(["other"])], None),
        ([kept(5, 20)], Rule(5, 20)),
        ([kept(5, 20), kept(12, 30)], Rule(12, 20)),
        ([kept(25, 30), kept(5, 20)], Rule(20, 20)),
        ([kept(5, 20, last_day=date(2026, 1, 1)), kept(0, 30)], Rule(0, 30)),
        ([kept(5, 20, last_day=date(2026, 1, 1))], Rule(5, 20)),
        (
            [order(perimeter=Perimeter(sites=frozenset({"Mairie"})), retention_min_days=1, retention_max_days=9)],
            Rule(1, 9),
        ),
    ],
)
def test_the_shortest_maximum_of_the_orders_in_force_prevails(
    orders: list[Order], rule: Rule | None, clock: HeldClock
) -> None:
    # L02
    assert rule_of(CAMERA, orders, clock.now()) == rule


async def test_rules_and_addresses_are_those_on_record(database: Database, clock: HeldClock, tmp_path: Path) -> None:
    async def traced() -> None:
        """The trace has taken the entry."""

    async def noted(hold: object) -> None:
        """So has it that of the hold."""

    def store(key: bytes) -> CameraStore:
        return CameraStore(database.sessions, Sealing(key, random_bytes=os.urandom), clock=clock)

    cameras = store(bytes(32))
    connection = Connection(
        onvif_url="http://192.0.2.10/onvif/device_service",
        credentials=Credentials(username="gateway", password="secret"),
        streams={"main": "rtsp://192.0.2.10/main", "sub": "rtsp://192.0.2.10/sub"},
    )
    await cameras.upsert(CameraRecord(CAMERA, connection))
    await OrderStore(database.sessions, clock).add([kept(3, 21)], by="officer", witness=traced)
    records = Records(
        database, CameraStore(database.sessions, Sealing(bytes(32), random_bytes=os.urandom), clock=clock), clock
    )
    key = SourceKey("cam", BEST_PROFILE)
    assert records.target(key) is None
    assert await records.rules() == {"cam": Rule(3, 21)}
    assert records.target(key) == Target("rtsp://192.0.2.10/main", "gateway", "secret")

    now = clock.now()
    held: dict[str, Any] = {
        "camera": "cam",
        "start": now - timedelta(hours=2),
        "end": now - timedelta(hours=1),
        "reference": "TJ78-1",
    }
    place = partial(HoldStore(database.sessions, clock).place, by="officer", traced=noted, **held)
    await place(until=now + timedelta(days=1))
    assert await records.holds() == [Hold("cam", held["start"], held["end"])]  # L26
    clock.advance(timedelta(days=1))
    assert await records.holds() == []

    with pytest.raises(StoreUnavailable, match="credentials"):
        await Records(database, store(bytes([1]) * 32), clock).rules()
    for ask in (Records.rules, Records.holds):
        with pytest.raises(StoreUnavailable, match="no records"):
            await ask(Records(database, cameras, clock, tmp_path / "none.sqlite"))
    assert not (tmp_path / "none.sqlite").exists()


def configured(**recorder: Any) -> dict[str, Any]:
    return {
        "node": {"data": "/nowhere"},
        "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
        "listen": {"https_port": "off", "rtsps_port": "off"},
        "contacts": CONTACTS,
        "recorder": {"folder": "/footage", "cameras": ["cam"], **recorder},
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep_days": 9},  # C04: never less than the convention's ten days
        {"keep_days": 32},  # L02
        {"cameras": []},
        {"cameras": ["cam", "cam"]},
        {"cameras": ["../cam"]},
        {"segment_s": 1},
        {"min_free_percent": 51},
        {"min_free_bytes": -1},
        {"unknown": 1},
    ],
)
def test_what_would_keep_too_little_or_too_long_is_refused(wrong: dict[str, Any]) -> None:
    assert parse_configuration(configured()).recorder is not None
    with pytest.raises(ConfigurationError, match="recorder"):
        parse_configuration(configured(**wrong))


def test_the_example_shows_what_counts_where_nothing_is_said() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("# [recorder]"))
    end = lines.index("", begin)
    shown = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines[begin:end]))["recorder"]
    usual = parse_configuration(configured()).recorder
    whole = parse_configuration(configured(**shown)).recorder
    assert usual is not None
    assert whole is not None
    assert set(shown) == set(type(whole).model_fields)
    same = set(shown) - {"folder", "cameras", "metrics_file"}
    assert {name: getattr(whole, name) for name in same} == {name: getattr(usual, name) for name in same}
