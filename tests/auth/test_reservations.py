"""PP's reservations on record: made, passed on, ended by its supervisor, each traced before it takes effect (S16)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from auth.errors import RegisterRuleError, TraceUnavailable, UnknownRecordError
from auth.principals import Attribution, Principal, Role
from auth.reservations import Arbiter, Reservations
from auth.rights import Reservation
from auth.trace import Draft, Kind
from halfgateway.database import Database
from tests.held_clock import HeldClock

SUPERVISOR = Arbiter(
    Principal(
        account="supervisor",
        role=Role.SUPERVISOR,
        agent="agent-9",
        service="DOPC",
        site="PP-CITE",
        attribution=Attribution.AGENT_AUTHENTICATED,
        factors=(),
        scope=None,
    ),
    "198.51.100.7",
)
CAP = 10


def reservations_of(database: Database, clock: HeldClock) -> tuple[Reservations, list[Draft]]:
    """The reservations of a database, and what they tell the trace."""
    told: list[Draft] = []

    async def record(draft: Draft) -> None:
        told.append(draft)

    return Reservations(database.sessions, clock, record=record), told


async def make(reservations: Reservations, clock: HeldClock, slots: int, service: str = "DRPJ") -> Reservation:
    until = clock.now() + timedelta(hours=1)
    return await reservations.make(service=service, slots=slots, until=until, reason="G7", cap=CAP, by=SUPERVISOR)


async def test_it_is_made_passed_on_in_part_and_whole_and_ended(database: Database, clock: HeldClock) -> None:
    # S16
    reservations, told = reservations_of(database, clock)
    first = await make(reservations, clock, 5)
    part = await reservations.pass_on(first.id, service="BRI", slots=2, reason=None, by=SUPERVISOR)
    shares = {each.id: (each.service, each.slots, each.until) for each in await reservations.list_open()}
    assert shares == {first.id: ("DRPJ", 3, first.until), part.id: ("BRI", 2, first.until)}
    whole = await reservations.pass_on(first.id, service="BRI", slots=None, reason=None, by=SUPERVISOR)
    assert (whole.slots, whole.passed_from) == (3, first.id)
    await reservations.end(part.id, reason="fin", by=SUPERVISOR)
    assert [each.id for each in await reservations.list_open()] == [whole.id]
    assert [draft.kind for draft in told] == [
        Kind.RESERVATION_MADE,
        Kind.RESERVATION_PASSED,
        Kind.RESERVATION_PASSED,
        Kind.RESERVATION_ENDED,
    ]
    assert {(draft.account, draft.agent, draft.source) for draft in told} == {
        ("supervisor", "agent-9", "198.51.100.7"),
    }
    assert told[0].detail["motive"] == "G7"
    assert (told[1].detail["from"], told[1].detail["from_service"], told[1].detail["slots"]) == (first.id, "DRPJ", 2)


async def test_no_more_is_reserved_than_there_is_also_by_many_at_once(database: Database, clock: HeldClock) -> None:
    # S16, C01
    reservations, told = reservations_of(database, clock)
    made = await asyncio.gather(*(make(reservations, clock, 3) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(each, Reservation) for each in made) == 3
    assert sum(isinstance(each, RegisterRuleError) for each in made) == 3
    assert len(told) == 3
    with pytest.raises(RegisterRuleError, match="il n'en reste que 1"):
        await make(reservations, clock, 2)
    clock.advance(timedelta(hours=1))
    assert await reservations.list_open() == []
    await make(reservations, clock, 10)


async def test_what_cannot_be_is_refused(database: Database, clock: HeldClock) -> None:
    # S16
    reservations, told = reservations_of(database, clock)
    made = await make(reservations, clock, 2)
    with pytest.raises(RegisterRuleError, match="déjà passée"):
        await reservations.make(service="BRI", slots=1, until=clock.now(), reason=None, cap=CAP, by=SUPERVISOR)
    for service, slots, refused in (("BRI", 3, "ne compte que 2"), ("DRPJ", 1, "déjà réservées")):
        with pytest.raises(RegisterRuleError, match=refused):
            await reservations.pass_on(made.id, service=service, slots=slots, reason=None, by=SUPERVISOR)
    await reservations.end(made.id, reason=None, by=SUPERVISOR)
    for act in (
        reservations.end(made.id, reason=None, by=SUPERVISOR),
        reservations.pass_on(made.id, service="BRI", slots=None, reason=None, by=SUPERVISOR),
        reservations.end("r-unknown", reason=None, by=SUPERVISOR),
    ):
        with pytest.raises(UnknownRecordError):
            await act
    assert len(told) == 2


async def test_what_cannot_be_traced_is_not_done(database: Database, clock: HeldClock) -> None:
    # T01
    async def fail(_: Draft) -> None:
        raise TraceUnavailable("the disk is full")

    reservations = Reservations(database.sessions, clock, record=fail)
    with pytest.raises(TraceUnavailable):
        await make(reservations, clock, 2)
    assert await reservations.list_open() == []
