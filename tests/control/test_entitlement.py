"""A stream ends once it could not be granted any more, and not before."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth.principals import Role
from halfgateway.control.entitlement import Entitlement
from tests.control.doors import BY_MACHINE, MACHINE, Machines, Place, open_place, wish
from tests.control.test_enforcement import causes
from tests.control.valkeys import Nodes

PAST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def entitlement(place: Place, machines: Machines) -> Entitlement:
    return Entitlement(table=place.table, admission=place.admission, machines=machines, now=time.monotonic)


async def three_streams(place: Place) -> None:
    """An operator's and a machine's, each by ticket, and the machine's own over plain RTSP."""
    await place.desk.open(wish())
    await place.desk.open(wish(Role.MACHINE))
    await place.sit(replace(BY_MACHINE, secure=False, certificate=None))
    assert len(place.table) == 3


async def test_what_is_allowed_goes_on_however_low_the_cap(place: Place, entitlement: Entitlement) -> None:
    # C01
    await three_streams(place)
    place.house.terms.convention = replace(place.house.terms.convention, cap=1, retention_days=1)
    entitlement.sweep()
    assert len(place.table) == 3


def end_the_convention(place: Place, machines: Machines) -> None:
    place.house.terms.convention = replace(place.house.terms.convention, ended_at=PAST)


def end_the_agreement(place: Place, machines: Machines) -> None:
    place.house.terms.convention = replace(place.house.terms.convention, machine_only_agreement=None)


def ask_for_tls(place: Place, machines: Machines) -> None:
    machines.account = replace(machines.account, over_plain_rtsp=False)


def withdraw_the_camera(place: Place, machines: Machines) -> None:
    place.cameras.camera = replace(place.cameras.camera, id="another")


@pytest.mark.parametrize(
    ("change", "cause", "ended"),
    [
        (end_the_convention, "convention-not-in-force", 3),  # C18
        (end_the_agreement, "not-habilitated", 2),  # C08
        (ask_for_tls, "not-habilitated", 1),
        (withdraw_the_camera, "camera-withdrawn", 3),
    ],
)
async def test_each_change_ends_what_it_forbids_and_nothing_else(
    place: Place,
    machines: Machines,
    entitlement: Entitlement,
    change: Callable[[Place, Machines], None],
    cause: str,
    ended: int,
) -> None:
    await three_streams(place)
    change(place, machines)
    entitlement.sweep()
    entitlement.sweep()
    place.closer.end_what_is_over()
    assert list((await causes(place)).values()) == [cause] * ended
    assert len(place.table) == 3 - ended


async def test_a_machine_without_an_agreed_use_keeps_what_it_has_by_ticket(
    place: Place, entitlement: Entitlement, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C08: a use is agreed for who comes without
    await three_streams(place)
    monkeypatch.setattr(machines, "find", lambda username: None)
    entitlement.sweep()
    place.closer.end_what_is_over()
    assert list((await causes(place)).values()) == ["not-habilitated"]
    assert {stream.request.principal.account for stream in place.table} == {MACHINE, Role.OPERATOR.value}
