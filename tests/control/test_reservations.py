"""Slots that PP reserves for a service: had by nobody else, whatever node is asked and whatever the store suffers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth.principals import Role
from auth.rights import Reservation, Rights
from camera_registry.clock import SystemClock
from halfgateway.control.holders import HolderInfo, SlotsTaken
from halfgateway.control.lease_script import Limits
from halfgateway.control.rights_view import ReservationCalendar, RightsView
from halfgateway.control.slots import Lease, SlotTable
from halfgateway.database import Database
from halfgateway.errors import CapReached, StateStoreUnavailable
from tests.auth.test_reservations import SUPERVISOR, reservations_of
from tests.control.doors import BY_MACHINE, open_place
from tests.control.valkeys import LEASE_S, LONG_S, Nodes, until
from tests.held_clock import HeldClock
from tests.rights import SERVICE

LATER = datetime.now(UTC) + timedelta(hours=1)


def of(service: str) -> HolderInfo:
    return {"mode": "live", "service": service}


def kept(slots: int, service: str, ends: datetime = LATER) -> Reservation:
    return Reservation(
        id=f"r-{service}", service=service, slots=slots, until=ends, made_at=datetime.now(UTC), made_by="supervisor"
    )


class Node:
    """A node's hand on the slots, with what it has read of the reservations."""

    def __init__(self, nodes: Nodes, name: str, *reserved: Reservation, cap: int = 4, lease_s: float = LONG_S) -> None:
        self.known = Rights(reservations=reserved, revision=1)
        self.slots = SlotTable(
            nodes.store(),
            node=name,
            limits=lambda: Limits(cap, rights=self.known),
            clock=SystemClock(),
            lease_s=lease_s,
        )

    def reads(self, *reserved: Reservation) -> None:
        """The records have changed, and it has seen so."""
        self.known = Rights(reservations=reserved, revision=self.known.revision + 1)

    async def has(self, *services: str) -> int:
        """How many of these requests, one after the other, get a slot."""
        granted = 0
        for service in services:
            try:
                await self.slots.acquire(f"{service}-{granted}-{id(service)}-{len(self.slots._held)}", of(service))
                granted += 1
            except SlotsTaken:
                continue
        return granted


async def test_what_is_reserved_is_had_by_its_service_alone(nodes: Nodes) -> None:
    # S16, C01
    node = Node(nodes, "a", kept(2, "DRPJ"))
    await node.slots.open_epoch()
    assert await node.has("DOPC", "DOPC") == 2
    with pytest.raises(SlotsTaken) as refused:
        await node.slots.acquire("third", of("DOPC"))
    assert (refused.value.used, refused.value.cap, refused.value.withheld) == (2, 4, {"DRPJ": 2})
    assert await node.has("", "DRPJ", "DRPJ", "DRPJ") == 2
    assert await node.slots.usage() == (4, 4)


async def test_a_service_may_have_more_than_is_reserved_for_it(nodes: Nodes) -> None:
    # S16
    node = Node(nodes, "a", kept(1, "DRPJ"))
    await node.slots.open_epoch()
    assert await node.has(*["DRPJ"] * 5) == 4


async def test_two_services_whose_slots_are_all_taken_share_what_comes_free(nodes: Nodes) -> None:
    # S16: reserved while streams run, which are not touched; neither waits for the other
    node = Node(nodes, "a")
    await node.slots.open_epoch()
    await asyncio.gather(*(node.slots.acquire(f"s{n}", of("DOPC")) for n in range(4)))
    node.reads(kept(2, "DRPJ"), kept(2, "BRI"))
    await node.slots.release("s0")
    assert await node.has("DOPC") == 0
    assert await node.has("BRI", "DRPJ") == 1
    await node.slots.release("s1")
    assert await node.has("DOPC", "DRPJ") == 1


async def test_what_one_node_has_read_holds_on_all_at_once(nodes: Nodes) -> None:
    # S16: the newest that a live node has read
    a, b = Node(nodes, "a"), Node(nodes, "b")
    await a.slots.open_epoch()
    a.reads(kept(4, "DRPJ"))
    await a.slots.usage()
    assert await b.has("DOPC") == 0
    assert await b.has("DRPJ") == 1
    a.reads()
    await a.slots.usage()
    assert await b.has("DOPC") == 1


async def test_the_records_outlive_the_node_that_read_them_first(nodes: Nodes) -> None:
    # S16: a dead node's newer view lapses with it; by then the others have read the records themselves
    a, b = Node(nodes, "a", lease_s=LEASE_S), Node(nodes, "b", lease_s=LEASE_S)
    await a.slots.open_epoch()
    a.reads(kept(4, "DRPJ"))
    await a.slots.usage()
    assert await b.has("DOPC") == 0
    async with asyncio.timeout(20 * LEASE_S):
        while not await b.has("DOPC"):
            await asyncio.sleep(0.05)


async def test_an_emptied_store_forgets_no_reservation(nodes: Nodes) -> None:
    # S16: failure table, Valkey restarted empty; nothing is granted for one lease, in which the nodes have told again
    node = Node(nodes, "a", kept(4, "DRPJ"), lease_s=LEASE_S)
    await node.slots.open_epoch()
    await nodes.clients[0].flushall()
    answered = list[type]()
    async with asyncio.timeout(20 * LEASE_S):
        while SlotsTaken not in answered:
            try:
                answered.append(type(await node.slots.acquire("s", of("DOPC"))))
            except (SlotsTaken, StateStoreUnavailable) as refused:
                answered.append(type(refused))
                await asyncio.sleep(0.05)
    assert Lease not in answered
    assert isinstance(await node.slots.acquire("s", of("DRPJ")), Lease)


async def test_a_reservation_ends_by_the_servers_clock(nodes: Nodes) -> None:
    # S16
    node = Node(nodes, "a", kept(4, "DRPJ", datetime.now(UTC) + timedelta(seconds=0.3)))
    await node.slots.open_epoch()
    assert await node.has("DOPC") == 0
    async with asyncio.timeout(10):
        while not await node.has("DOPC"):
            await asyncio.sleep(0.05)


async def test_a_rush_on_two_nodes_leaves_what_is_reserved(nodes: Nodes) -> None:
    # S16, C01
    a, b = Node(nodes, "a", kept(3, "DRPJ"), cap=10), Node(nodes, "b", kept(3, "DRPJ"), cap=10)
    await a.slots.open_epoch()
    asked = [(a, b)[n % 2].slots.acquire(f"s{n}", of("DOPC")) for n in range(60)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Lease) for answer in answers) == 7
    asked = [(a, b)[n % 2].slots.acquire(f"t{n}", of("DRPJ")) for n in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Lease) for answer in answers) == 3


async def test_the_door_tells_how_many_are_reserved_and_for_whom(nodes: Nodes, tmp_path: Path) -> None:
    # S16, C05: a machine by itself counts to its account's service
    node = Node(nodes, "a", kept(1, SERVICE), kept(3, "DRPJ"), lease_s=10)
    await node.slots.open_epoch()
    async with open_place(nodes, tmp_path, slots=node.slots) as place:
        await place.sit(BY_MACHINE)
        with pytest.raises(CapReached) as refused:
            await place.open()
        assert refused.value.detail.startswith(
            "Places réservées (3 sur 4). Votre demande ne peut être satisfaite ; Flux déjà ouverts : 1 (1 en Temps "
            f"réel, 0 en Temps différé, 1 inactif ; services : {SERVICE}), et les 3 places restantes sont réservées "
            "par la Préfecture de police à d'autres services (DRPJ : 3) (article 4 de la convention). Adressez-vous à "
            "votre responsable de salle. La demande a été enregistrée sous le n° "
        )
        (stream,) = place.table
        assert stream.request.principal.role is Role.MACHINE


async def test_what_has_lapsed_is_recorded_once(database: Database, clock: HeldClock) -> None:
    # S16
    reservations, told = reservations_of(database, clock)
    ends = clock.now() + timedelta(minutes=1)
    made = await reservations.make(service="DRPJ", slots=2, until=ends, reason=None, cap=10, by=SUPERVISOR)
    view = RightsView(database.sessions, clock, sites=frozenset)
    calendar = ReservationCalendar(view=view, reservations=reservations, clock=clock)
    await view.refresh()
    known = view.current()
    assert known is not None
    assert known.reservations == (made,)
    await calendar.close_lapsed()
    clock.advance(timedelta(minutes=1))
    await calendar.close_lapsed()
    await calendar.close_lapsed()
    assert [(draft.kind.value, draft.account) for draft in told] == [
        ("reservation.made", "supervisor"),
        ("reservation.ended", "calendar"),
    ]
    await until(lambda: view.current() != known)


async def test_an_idle_stream_within_its_reservation_gives_way_to_its_own_service_alone(nodes: Nodes) -> None:
    # S16: PP's rule does not give away what PP keeps
    node = Node(nodes, "a", kept(2, "DRPJ"))
    await node.slots.open_epoch()
    for service in ("DRPJ", "DOPC"):
        for n in range(2):
            await node.slots.acquire(f"{service}{n}", of(service))
    for service, may_go in (("BRI", {"DOPC"}), ("DRPJ", {"DOPC", "DRPJ"})):
        with pytest.raises(SlotsTaken) as refused:
            await node.slots.acquire("one-more", of(service), idle_after_s=0)
        assert {idle.slot_id[:4] for idle in refused.value.idle} == may_go
