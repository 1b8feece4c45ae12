"""A stream handed over to the relief: whose it is changes, and nothing of the picture (S15)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from auth.principals import Attribution, Principal, Role
from auth.trace import Kind
from halfgateway.control.endings import Teardown
from halfgateway.control.entitlement import Entitlement
from halfgateway.control.relief import Newcomer
from halfgateway.control.streams import Stream
from halfgateway.downstream.door import Caller
from halfgateway.errors import (
    InterconnectionCut,
    InvalidRequest,
    NotHabilitated,
    Refusal,
    StateStoreUnavailable,
    TraceUnavailable,
)
from tests.control.doors import (
    AGENT,
    BY_MACHINE,
    CAMERA,
    LEASE_S,
    RESPONSIBLE,
    SOURCE,
    Machines,
    Place,
    Player,
    open_place,
    principal,
    wish,
)
from tests.control.valkeys import Nodes
from tests.rights import LONG_AGO, designation, rights

RELIEF = "agent-7"
PEOPLE = {AGENT: Role.OPERATOR, RESPONSIBLE: Role.MACHINE, RELIEF: Role.OPERATOR}


def relief(**changes: object) -> Newcomer:
    """The relief, who has logged in at our own door."""
    theirs = {"account": "operator-7", "agent": RELIEF, **changes}
    return Newcomer(replace(principal(Role.OPERATOR), **theirs), None, None, SOURCE)


def asserted(agent: str, **changes: object) -> Principal:
    """An agent for whom the machine asks."""
    theirs = {"agent": agent, "attribution": Attribution.AGENT_ASSERTED, "assertion_key": "k1", **changes}
    return replace(principal(Role.MACHINE), **theirs)


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        place.who_may.rights = rights(PEOPLE, [CAMERA])
        yield place


def sweep(place: Place) -> None:
    Entitlement(
        table=place.table,
        admission=place.admission,
        machines=Machines(),
        now=time.monotonic,
    ).sweep()
    place.closer.end_what_is_over()


def without(place: Place, agent: str) -> None:
    known = place.who_may.rights
    assert known is not None
    ended = designation(agent, ended_at=LONG_AGO + timedelta(days=1))
    place.who_may.rights = replace(known, designations={**known.designations, agent: ended})


async def playing(place: Place) -> tuple[Stream, Caller, Player]:
    stream, holder = await place.open()
    player = Player()
    await place.play(await place.sit(holder, player))
    return stream, holder, player


async def test_the_relief_has_the_stream_and_the_picture_goes_on(place: Place) -> None:
    # S15, C08, C09
    stream, holder, player = await playing(place)
    (seat,) = stream.seats
    assert await place.relief.take_over(stream, relief())
    assert (stream.seats, player.ended_by, player.gave_way_to) == ([seat], None, None)
    assert seat.playing
    told = (await place.told(stream.id))[-1]
    assert (told.kind, told.agent, told.account) == (Kind.STREAM_HANDED_OVER, RELIEF, "operator-7")
    assert told.detail["from_agent"] == AGENT
    ticket = await place.tickets.get(holder.username)
    assert ticket is not None
    assert (ticket.agent, ticket.account, ticket.stream) == (RELIEF, "operator-7", stream.id)
    await place.renew()
    (slot,) = await place.slots.holders()
    assert (slot.slot_id, slot.info["agent"]) == (stream.id, RELIEF)


async def test_the_rights_of_the_relief_count_from_then_on_and_the_formers_no_more(place: Place) -> None:
    # S15, S12
    stream, _, player = await playing(place)
    await place.relief.take_over(stream, relief())
    without(place, AGENT)
    sweep(place)
    assert player.ended_by is None
    without(place, RELIEF)
    sweep(place)
    assert player.ended_by is not None
    await place.settle()
    stopped = (await place.told(stream.id))[-1]
    assert (stopped.agent, stopped.detail["reason"]) == (RELIEF, "designation-ended")


async def test_a_player_that_comes_back_comes_for_the_relief(place: Place) -> None:
    # S15: the same ticket
    stream, holder, _ = await playing(place)
    await place.relief.take_over(stream, relief())
    await place.play(await place.sit(holder))
    started = [entry for entry in await place.told(stream.id) if entry.kind is Kind.STREAM_STARTED]
    assert [entry.agent for entry in started] == [AGENT, RELIEF]


async def test_a_machine_hands_over_between_agents_it_asserts(place: Place) -> None:
    # S15, C08
    stream, _, _ = await place.desk.open(replace(wish(Role.MACHINE), principal=asserted(AGENT), reference="PP-1"))
    newcomer = Newcomer(asserted(RELIEF, assertion_key="k2"), "PP-2", "a/12", SOURCE)
    assert await place.relief.take_over(stream, newcomer)
    told = (await place.told(stream.id))[-1]
    assert (told.agent, told.detail["reference"], told.detail["assertion"]) == (RELIEF, "PP-2", "a/12")
    known = place.who_may.rights
    assert known is not None
    place.who_may.rights = replace(known, revoked_assertion_keys=frozenset({"k1"}))
    sweep(place)
    assert stream in place.table
    place.who_may.rights = replace(known, revoked_assertion_keys=frozenset({"k2"}))
    sweep(place)
    assert stream not in place.table


def not_designated(place: Place) -> None:
    without(place, RELIEF)


def cut(place: Place) -> None:
    place.state.closed_by = InterconnectionCut()


def unknown(place: Place) -> None:
    place.who_may.rights = None


def stale(place: Place) -> None:
    place.rights._seen_at_s = None


@pytest.mark.parametrize(
    ("change", "newcomer", "refused"),
    [
        (not_designated, relief(), NotHabilitated),
        (cut, relief(), InterconnectionCut),
        (unknown, relief(), StateStoreUnavailable),
        (stale, relief(), StateStoreUnavailable),
        (None, relief(agent=AGENT), InvalidRequest),
        (None, relief(agent=None), InvalidRequest),
        (None, relief(site="PP-AUTRE"), NotHabilitated),
        (None, Newcomer(asserted(RELIEF), None, "a/1", SOURCE), NotHabilitated),
    ],
)
async def test_a_relief_that_may_not_changes_nothing_and_is_traced(
    place: Place, change: Callable[[Place], None] | None, newcomer: Newcomer, refused: type[Refusal]
) -> None:
    # S15, C09: decided anew, as for a new request; at the same place and by the same way
    stream, _, player = await playing(place)
    if change is not None:
        change(place)
    with pytest.raises(refused):
        await place.relief.take_over(stream, newcomer)
    assert (stream.request.principal.agent, player.ended_by) == (AGENT, None)
    await place.settle()
    assert (await place.kinds(stream.id))[-1] is Kind.STREAM_REFUSED


async def test_what_a_machine_opened_without_a_ticket_is_not_handed_over(place: Place) -> None:
    # S15: its next session would be anybody's
    await place.sit(BY_MACHINE)
    (stream,) = place.table
    with pytest.raises(InvalidRequest):
        await place.relief.take_over(stream, Newcomer(asserted(RELIEF), None, "a/1", SOURCE))


async def test_what_cannot_be_traced_is_not_handed_over(place: Place) -> None:
    # T01
    stream, _, player = await playing(place)
    await place.settle()
    await place.journal.close()
    with pytest.raises(TraceUnavailable):
        await place.relief.take_over(stream, relief())
    assert (stream.request.principal.agent, player.ended_by) == (AGENT, None)


async def test_a_stream_that_ends_meanwhile_is_nobodys(place: Place) -> None:
    # S15
    stream, _, _ = await playing(place)
    taking = asyncio.create_task(place.relief.take_over(stream, relief()))
    await asyncio.sleep(0)
    place.closer.end(stream, Teardown())
    assert await taking is False
    assert stream.request.principal.agent == AGENT


async def test_a_ticket_that_cannot_be_told_now_is_with_the_next_renewal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # failure table, Valkey down: it has happened, and is in the trace
    stream, _, _ = await playing(place)

    async def fail(*_: object) -> None:
        raise StateStoreUnavailable

    monkeypatch.setattr(place.tickets, "put", fail)
    assert await place.relief.take_over(stream, relief())
    assert stream.ticket_changed


async def test_two_reliefs_at_once_follow_one_another(place: Place) -> None:
    # S15: the trace tells from whom each had it
    place.who_may.rights = rights({**PEOPLE, "agent-8": Role.OPERATOR}, [CAMERA])
    stream, _, _ = await playing(place)
    second = relief(account="operator-8", agent="agent-8")
    await asyncio.gather(place.relief.take_over(stream, relief()), place.relief.take_over(stream, second))
    told = [entry for entry in await place.told(stream.id) if entry.kind is Kind.STREAM_HANDED_OVER]
    assert [(entry.detail["from_agent"], entry.agent) for entry in told] == [(AGENT, RELIEF), (RELIEF, "agent-8")]
    assert stream.request.principal.agent == "agent-8"


@pytest.fixture
async def there(nodes: Nodes, tmp_path: Path, place: Place) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path, "b", slots=nodes.table("b", lease_s=LEASE_S)) as other:
        following = asyncio.create_task(place.handover.follow(place.renew))
        yield other
        following.cancel()
        await asyncio.wait([following])


async def test_any_node_shows_closes_and_hands_over_what_another_serves(place: Place, there: Place) -> None:
    # S16, S15
    stream, _, player = await playing(place)
    await place.renew()
    (seen,) = await there.open_streams.list_all()
    (own,) = await place.open_streams.list_all()
    assert (seen.id, seen.node, seen.agent, seen.state, seen.slot) == (stream.id, "a", AGENT, "playing", "1/10")
    assert replace(seen, since=own.since) == own
    assert await there.open_streams.hand_over(seen, relief())
    assert (stream.request.principal.agent, player.ended_by) == (RELIEF, None)
    with pytest.raises(NotHabilitated, match="site"):
        await there.open_streams.hand_over(seen, relief(agent=AGENT, account="operator", site="PP-AUTRE"))
    supervisor = replace(principal(Role.SUPERVISOR), account="supervisor")
    await there.open_streams.close(seen, by=supervisor, reason="fin")
    assert player.ended_by is not None
    await there.open_streams.close(seen, by=supervisor, reason="encore")
    assert await there.open_streams.hand_over(seen, relief()) is False
    await place.settle()
    assert await there.open_streams.list_all() == []
    assert await there.open_streams.find(stream.id) is None


async def test_a_node_that_does_not_answer_is_named(nodes: Nodes, tmp_path: Path, place: Place) -> None:
    # S16: failure table, node frozen
    stream, _, player = await playing(place)
    await place.renew()
    async with open_place(nodes, tmp_path, "b", slots=nodes.table("b", lease_s=LEASE_S)) as other:
        seen = await other.open_streams.find(stream.id)
        assert seen is not None
        with pytest.raises(StateStoreUnavailable, match="Le nœud a"):
            await other.open_streams.close(seen, by=principal(Role.OPERATOR), reason=None)
    assert player.ended_by is None


async def test_without_the_store_a_node_shows_its_own(place: Place, nodes: Nodes) -> None:
    # S16: failure table, Valkey down
    stream, _, _ = await playing(place)
    await nodes.killed()
    assert [seen.id for seen in await place.open_streams.list_all()] == [stream.id]
