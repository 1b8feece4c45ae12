"""The one door before anything plays: what admission and desk refuse, grant, and keep no longer than promised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auth.principals import Role
from auth.trace import Kind
from halfgateway.control.endings import NotPlayed
from halfgateway.errors import (
    CapReached,
    InterconnectionCut,
    NotHabilitated,
    StateStoreUnavailable,
    TraceUnavailable,
    UnknownCamera,
)
from tests.control.doors import BY_MACHINE, Place, open_place, wish
from tests.control.valkeys import Nodes

AFTER_ALL_S = 10_000.0
"""Later than anything is kept here."""


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


async def refusals(place: Place) -> list[str | None]:
    await place.settle()
    return [entry.refusal for entry in await place.told() if entry.kind is Kind.STREAM_REFUSED]


class AtEachTicket:
    """A store of tickets in which something happens at that moment."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    async def put(self, *_: object) -> None:
        self._happens()


async def test_no_ticket_is_given_for_a_stream_that_was_cut_meanwhile(place: Place) -> None:
    # C10 T02
    tickets = AtEachTicket(lambda: place.closer.end(next(iter(place.table)), InterconnectionCut()))
    place.desk._tickets = tickets  # type: ignore[assignment]
    with pytest.raises(StateStoreUnavailable):
        await place.desk.open(wish())
    await place.holds_only("cut")
    assert Kind.STREAM_GRANTED not in {entry.kind for entry in await place.told()}


async def test_stale_records_of_who_may_grant_nothing(place: Place) -> None:
    # C09: failure table, SQL down
    place.admission._rights = type(place.rights)(now=time.monotonic)
    with pytest.raises(StateStoreUnavailable):
        await place.desk.open(wish())
    assert await refusals(place) == ["state-store-unavailable"]


async def test_a_ticket_that_cannot_be_kept_is_not_given(place: Place) -> None:
    # C01: the store fails between the slot and the ticket
    def fail() -> None:
        raise StateStoreUnavailable("trop tard")

    place.desk._tickets = AtEachTicket(fail)  # type: ignore[assignment]
    with pytest.raises(StateStoreUnavailable):
        await place.desk.open(wish())
    await place.holds_only("no ticket")


async def test_owner_supervisor_and_operations_close_a_stream_and_nobody_else(place: Place) -> None:
    # C10 S16
    stream, _ = await place.open()
    stranger = replace(wish().principal, account="another")
    with pytest.raises(NotHabilitated):
        place.desk.close(stream, by=stranger, reason=None)
    place.desk.close(stream, by=wish().principal, reason="fin de quart")
    await place.holds_only("closed")
    result = (await place.told(stream.id))[-1]
    assert (result.kind, result.detail["cause"]) == (Kind.STREAM_STOPPED, "closed-on-request")
    assert (result.detail["why"], result.detail["by"]) == ("fin de quart", "operator")


@pytest.mark.parametrize(("role", "cause"), [(Role.OPS, "closed-by-syn"), (Role.SUPERVISOR, "closed-on-request")])
async def test_what_syn_closes_says_so_for_pp_is_owed_a_word(place: Place, role: Role, cause: str) -> None:
    stream, _ = await place.open()
    place.desk.close(stream, by=replace(wish().principal, account="another", role=role), reason="réparation")
    await place.holds_only("closed")
    assert (await place.told(stream.id))[-1].detail["cause"] == cause


async def test_a_profile_that_no_one_knows_is_refused_at_the_desk(place: Place) -> None:
    # C05
    for unknown in (wish(profile="no-such"), wish(camera="cam-9")):
        with pytest.raises(UnknownCamera):
            await place.desk.open(unknown)
    (stream, ticket, _) = await place.desk.open(wish(profile=None))
    assert (ticket.profile, stream.request.profile) == ("main", "main")


async def test_a_cut_refuses_and_each_intent_has_its_own_result(place: Place) -> None:
    # C10 T02: also where it comes while intents are being written
    place.state.closed_by = InterconnectionCut()
    with pytest.raises(InterconnectionCut):
        await place.sit(BY_MACHINE)
    place.state.closed_by = None

    class Cutting:
        def __init__(self) -> None:
            self.asked = 0

        mode: str | None = None

        def require_open(self) -> None:
            self.asked += 1
            if self.asked > 5:
                raise InterconnectionCut

    place.admission._state = Cutting()
    outcomes = await asyncio.gather(*(place.admission.admit(wish()) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [InterconnectionCut] * 5
    await place.holds_only("cut")
    told = await place.told()
    asked = {entry.stream for entry in told if entry.kind is Kind.STREAM_REQUESTED}
    assert len(asked) == 5
    assert asked <= {entry.stream for entry in told if entry.kind is Kind.STREAM_REFUSED}


async def test_without_a_trace_there_is_no_slot(place: Place) -> None:
    # T01
    stream, holder = await place.open()
    await place.settle()
    await place.journal.close()
    for ask in (place.desk.open(wish()), place.sit(BY_MACHINE)):
        with pytest.raises(TraceUnavailable):
            await ask
    seat = await place.sit(holder)
    with pytest.raises(TraceUnavailable):
        await seat.start()
    await place.closer.settle()
    assert [holder.slot_id for holder in await place.slots.holders()] == [stream.id]
    assert not seat.playing


async def test_the_eleventh_is_refused_with_who_is_idle(place: Place) -> None:
    # C01 S16
    for number in range(10):
        _, holder = await place.open()
        seat = await place.sit(holder)
        if number < 7:
            await place.play(seat)
    with pytest.raises(CapReached, match=r"10 en Temps réel, 0 en Temps différé, 3 inactifs ; services : DOPC"):
        await place.sit(BY_MACHINE)
    assert await refusals(place) == ["cap-reached"]
    assert len(place.table) == 10


async def test_who_waits_for_no_play_is_over(place: Place) -> None:
    # C01
    stream, _ = await place.open()
    seat = await place.sit(BY_MACHINE)
    await place.play(seat)
    place.table._now = lambda: time.monotonic() + 1
    assert place.table.over() == []
    for each in place.table:
        each.gate.until = AFTER_ALL_S * 10 + time.monotonic()
    place.table._now = lambda: time.monotonic() + AFTER_ALL_S
    assert [(ended, type(cause)) for ended, cause in place.table.over()] == [(stream, NotPlayed)]
