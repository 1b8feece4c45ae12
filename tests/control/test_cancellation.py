"""A requester may be gone at every await of admission and session: nothing of it is left behind (C01, T02)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from auth.principals import Role
from halfgateway.control.streams import Stream
from tests.control.doors import BY_MACHINE, Place, open_place, path, wish
from tests.control.stepping import every_await
from tests.control.valkeys import Nodes

Wanted = Coroutine[Any, Any, object]


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.MACHINE])
async def test_admission(place: Place, role: Role) -> None:
    # C01 T02
    async def start() -> Wanted:
        await place.from_the_beginning()
        return place.admission.admit(wish(role))

    async for where in every_await(start):
        await place.holds_only(where)


async def test_a_ticket_that_is_asked_for(place: Place) -> None:
    # C01 T02
    async def start() -> Wanted:
        await place.from_the_beginning()
        return place.desk.open(wish())

    async for where in every_await(start):
        await place.holds_only(where)


async def test_a_machine_that_sets_up(place: Place) -> None:
    # C01 T02
    async def start() -> Wanted:
        await place.from_the_beginning()
        return place.sit(BY_MACHINE)

    async for where in every_await(start):
        await place.holds_only(where)


async def test_a_ticket_that_sets_up_keeps_its_reservation(place: Place) -> None:
    # C01 T02
    async def start() -> Wanted:
        await place.from_the_beginning()
        _, holder = await place.open()
        return place.sit(holder)

    async for where in every_await(start):
        (stream,) = place.table
        await place.holds_only(where, stream)
        assert stream.seats == [], where


async def test_a_ticket_that_comes_back_after_its_goodbye(place: Place) -> None:
    # C01 T02: it takes a free slot again, or none
    async def start() -> Wanted:
        await place.from_the_beginning()
        _, holder = await place.open()
        await (await place.sit(holder)).leave()
        await place.hub.close()
        return place.sit(holder)

    async for where in every_await(start):
        await place.holds_only(where, *place.table)
        assert [stream.seats for stream in place.table] in ([], [[]]), where
        assert all(stream.expires_at_s is not None for stream in place.table), where


async def test_a_ticket_that_comes_from_another_node(place: Place, nodes: Nodes, tmp_path: Path) -> None:
    # C01 T02: the slot is at one of the nodes, or free
    async with open_place(nodes, tmp_path, "b", slots=nodes.table("b", lease_s=10)) as former:

        async def start() -> Wanted:
            await place.from_the_beginning()
            await former.from_the_beginning()
            _, holder = await former.open()
            return place.sit(holder)

        listening = asyncio.create_task(former.handover.follow(former.renew))
        async for where in every_await(start):
            await place.settle()
            await former.renew()
            await former.settle()
            assert len(await place.slots.holders()) == len(place.table) + len(former.table) <= 1, where
            assert place.users() == 0, where
            assert {act.stream for act in await place.open_acts()} == {stream.id for stream in place.table}, where
        listening.cancel()
        await asyncio.wait([listening])


async def lost_while_playing(place: Place, *, by_ticket: bool) -> tuple[Stream, Any]:
    """A stream whose player has vanished, and who may come back for it."""
    await place.from_the_beginning()
    holder = (await place.open())[1] if by_ticket else BY_MACHINE
    seat = await place.sit(holder)
    await place.play(seat)
    seat.lose()
    await place.hub.close()
    (stream,) = place.table
    return stream, holder


@pytest.mark.parametrize("by_ticket", [True, False])
async def test_a_holder_that_comes_back_for_its_stream(place: Place, *, by_ticket: bool) -> None:
    # C01 T02 S15: the stream waits for it as before, or is over
    async def start() -> Wanted:
        _, holder = await lost_while_playing(place, by_ticket=by_ticket)
        return place.sit(holder)

    async for where in every_await(start):
        await place.holds_only(where, *place.table)
        assert all(stream.expires_at_s is not None and not stream.seats for stream in place.table), where


async def test_a_machine_that_shares_its_slot(place: Place) -> None:
    # C01 C02 T02
    async def start() -> Wanted:
        await place.from_the_beginning()
        await place.play(await place.sit(BY_MACHINE, profile="main"))
        return place.sit(BY_MACHINE, profile="sub")

    async for where in every_await(start):
        (stream,) = place.table
        await place.holds_only(where, stream, users=1)
        assert [seat.profile for seat in stream.seats] == ["main"], where


@pytest.mark.parametrize("act", ["start", "pause"])
async def test_a_session_that_starts_or_pauses(place: Place, act: str) -> None:
    # C01 T02: its connection is gone, and the slot is kept for its return
    seats: list[Any] = []

    async def start() -> Wanted:
        await place.from_the_beginning()
        seats[:] = [await place.sit((await place.open())[1])]
        if act == "pause":
            await place.play(seats[0])
        wanted: Wanted = getattr(seats[0], act)()
        return wanted

    async for where in every_await(start):
        (stream,) = place.table
        seats[0].lose()
        await place.holds_only(where, stream)
        assert not seats[0].playing, where
        assert stream.parked, where
        assert stream.expires_at_s is not None, where


async def test_a_goodbye_goes_on_without_its_connection(place: Place) -> None:
    # C01 T02: the slot is free, and the ticket good for its grace alone
    names: list[str] = []

    async def start() -> Wanted:
        await place.from_the_beginning()
        _, holder = await place.open()
        names[:] = [holder.username]
        seat = await place.sit(holder)
        await place.play(seat)
        wanted: Wanted = seat.leave()
        return wanted

    async for where in every_await(start):
        await place.holds_only(where)
        assert 0 < await place.ticket_life_s(names[0]) <= place.house.timings.ticket_grace_s, where


async def test_a_description_holds_nothing(place: Place) -> None:
    # S13
    async def start() -> Wanted:
        await place.from_the_beginning()
        place.door._described.clear()
        return place.door.describe(BY_MACHINE, path("main"))

    async for where in every_await(start):
        await place.holds_only(where)
