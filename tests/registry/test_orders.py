"""Prefectoral orders on record (L06), and what is said of them ahead of time (C04)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from camera_registry.errors import OrderConflict, StoreUnavailable, UnknownOrder
from camera_registry.order_store import OrderStore
from camera_registry.orders import Perimeter, warnings_of
from camera_registry.paris import PARIS, days_before, end_of_day, start_of_day
from halfgateway.database import Database
from tests.held_clock import HeldClock
from tests.rights import order


@pytest.fixture
def records(database: Database) -> Database:
    """A migrated database, once of each kind."""
    return database


@pytest.fixture
def orders(records: Database, clock: HeldClock) -> OrderStore:
    return OrderStore(records.sessions, clock)


async def traced() -> None:
    """The trace has taken the entry."""


async def test_an_order_comes_back_as_it_was_recorded(orders: OrderStore, clock: HeldClock) -> None:
    # L06
    stored = order(
        ["cam-1", "cam-2"], perimeter=Perimeter(sites=frozenset({"Mairie"}), communes=frozenset({"Élancourt"}))
    )
    await orders.add([stored], by="officer", witness=traced)
    (found,) = await orders.list_all()
    assert (found.order, found.recorded_by, found.recorded_at) == (stored, "officer", clock.now())


async def test_a_reference_is_recorded_once_until_it_is_withdrawn(orders: OrderStore, clock: HeldClock) -> None:
    await orders.add([order(reference="a")], by="officer", witness=traced)
    with pytest.raises(OrderConflict):
        await orders.add([order(reference="b"), order(reference="a")], by="officer", witness=traced)
    assert [each.order.reference for each in await orders.list_all()] == ["a"]  # all or none
    await orders.withdraw("a", reason="abrogé", by="officer", witness=traced)
    clock.advance(timedelta(seconds=1))
    await orders.add([order(reference="a")], by="officer", witness=traced)
    assert [each.order.withdrawn_at is None for each in await orders.list_all()] == [True, False]
    with pytest.raises(UnknownOrder):
        await orders.withdraw("none", reason="r", by="officer", witness=traced)


async def test_a_suspension_begins_and_ends_once(orders: OrderStore, clock: HeldClock) -> None:
    # L06
    await orders.add([order(reference="a")], by="officer", witness=traced)
    with pytest.raises(OrderConflict):
        await orders.resume("a", by="officer", witness=traced)
    await orders.suspend("a", reason="recours", by="officer", witness=traced)
    (found,) = await orders.list_all()
    assert (found.order.suspended_since, found.suspension) == (clock.now(), "recours")
    assert found.order.state(clock.now()) == "suspended"
    with pytest.raises(OrderConflict):
        await orders.suspend("a", reason="encore", by="officer", witness=traced)
    await orders.resume("a", by="officer", witness=traced)
    await orders.suspend("a", reason="second recours", by="officer", witness=traced)
    (found,) = await orders.list_all()
    assert found.suspension == "second recours"


async def test_what_cannot_be_traced_does_not_take_effect(orders: OrderStore) -> None:
    # T01
    async def unwritable() -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        await orders.add([order(reference="a")], by="officer", witness=unwritable)
    assert await orders.list_all() == []
    await orders.add([order(reference="a")], by="officer", witness=traced)
    with pytest.raises(RuntimeError):
        await orders.withdraw("a", reason="r", by="officer", witness=unwritable)
    (found,) = await orders.list_all()
    assert found.order.withdrawn_at is None


async def test_a_database_that_is_gone_is_a_declared_error(clock: HeldClock) -> None:
    nowhere = Database("postgresql://gateway@127.0.0.1:1/records")
    with pytest.raises(StoreUnavailable):
        await OrderStore(nowhere.sessions, clock).list_all()
    await nowhere.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"perimeter": Perimeter()},
        {"last_day": date(2025, 10, 20)},
        {"retention_max_days": 32},  # L02
        {"retention_min_days": 31, "retention_max_days": 30},
        {"retention_min_days": -1},
    ],
)
def test_what_no_order_can_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"order|day|retention"):
        order(["cam-1"], **changes)


@pytest.mark.parametrize(
    ("last_day", "end"),
    [
        ("2026-03-28", "2026-03-28T23:00:00"),
        ("2026-03-29", "2026-03-29T22:00:00"),  # a day of 23 hours
        ("2026-10-24", "2026-10-24T22:00:00"),
        ("2026-10-25", "2026-10-25T23:00:00"),  # a day of 25
        ("2026-12-31", "2026-12-31T23:00:00"),
    ],
)
def test_an_order_ends_with_its_last_day_in_paris(last_day: str, end: str) -> None:
    # L06
    expires = order(["cam-1"], last_day=date.fromisoformat(last_day)).expires_at
    assert expires == datetime.fromisoformat(end).replace(tzinfo=UTC)
    assert order(["cam-1"], last_day=date.fromisoformat(last_day)).state(expires) == "expired"


def test_days_of_paris_meet_without_gap_or_overlap() -> None:
    day, last = date(2026, 1, 1), date(2026, 12, 31)
    lengths = []
    while day <= last:
        assert end_of_day(day) == start_of_day(day + timedelta(days=1))
        lengths.append((end_of_day(day) - start_of_day(day)) // timedelta(hours=1))
        day += timedelta(days=1)
    assert sorted(lengths)[0] == 23
    assert sorted(lengths)[-1] == 25
    assert sum(lengths) == 365 * 24


def test_ten_days_before_is_the_same_time_on_the_clock() -> None:
    # C03
    for text in ("2026-04-03T12:00", "2026-10-30T12:00", "2026-06-15T00:30"):
        at = datetime.fromisoformat(text).replace(tzinfo=PARIS)
        before = days_before(at, 10).astimezone(PARIS)
        assert (before.time(), before.date()) == (at.time(), at.date() - timedelta(days=10))


@pytest.mark.parametrize(
    ("left", "said"),
    [(200, None), (180, "180"), (91, "180"), (90, "90"), (30, "30"), (1, "30"), (0, "30"), (-1, "expiré")],
)
def test_an_end_is_called_to_mind_at_180_90_and_30_days(left: int, said: str | None) -> None:
    # L06
    last_day = date(2030, 1, 1)
    warned = warnings_of(order(["cam-1"], last_day=last_day), last_day - timedelta(days=left))
    assert len(warned) == (said is not None)
    assert said is None or said in warned[0]


def test_an_order_that_keeps_less_than_ten_days_is_listed() -> None:
    # C04
    short = order(["cam-1"], retention_min_days=0, retention_max_days=9)
    (warned,) = warnings_of(short, date(2026, 1, 1))
    assert "9 jours" in warned
    assert warnings_of(replace(short, recorded=False), date(2026, 1, 1)) == []
