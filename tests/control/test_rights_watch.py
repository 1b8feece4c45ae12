"""Running streams held against who may: each reason ends the stream concerned, and no other (S12, C09)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from auth.errors import RecordsUnavailableError
from auth.policy import Convention
from auth.principals import Attribution, Factor, Principal, Role
from auth.rights import Block, BlockKind, Rights
from auth.trace import Draft, Kind
from halfgateway.control.entitlement import Entitlement
from halfgateway.control.rights_view import BlockCalendar, RightsView
from halfgateway.control.standing import Standing
from halfgateway.control.streams import Stream, Timings
from halfgateway.control.terms import Terms
from halfgateway.database import Database
from halfgateway.errors import NotHabilitated, StateStoreUnavailable
from tests.control.doors import (
    AGENT,
    BY_MACHINE,
    CAMERA,
    RESPONSIBLE,
    Machines,
    Place,
    Player,
    open_place,
    principal,
    wish,
)
from tests.control.valkeys import Nodes
from tests.held_clock import HeldClock
from tests.rights import BY, LONG_AGO, SERVICE, SITE, designation, habilitation, order, register_of, rights

EVERYBODY = {AGENT: Role.OPERATOR, RESPONSIBLE: Role.MACHINE}


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


def watch_of(place: Place, clock: HeldClock) -> Entitlement:
    place.admission._clock = clock
    return Entitlement(table=place.table, admission=place.admission, machines=Machines(), now=time.monotonic)


async def two_streams(place: Place) -> tuple[Stream, Player, Stream]:
    """The operator's, with its player, and the machine's: two agents, two streams."""
    operators, holder = await place.open()
    player = Player()
    await place.play(await place.sit(holder, player))
    await place.play(await place.sit(BY_MACHINE))
    (machines,) = [stream for stream in place.table if stream is not operators]
    return operators, player, machines


def block(kind: BlockKind, subject: str) -> Callable[[Rights], Rights]:
    set_now = Block(id="b", kind=kind, subject=subject, ground="security", reason="r", set_at=LONG_AGO, set_by="o")
    return lambda known: replace(known, blocks=(set_now,))


def without_designation(known: Rights) -> Rights:
    ended = designation(AGENT, ended_at=LONG_AGO + timedelta(days=1))
    return replace(known, designations={**known.designations, AGENT: ended})


ENDS_ONE: dict[str, tuple[Callable[[Rights], Rights], str]] = {
    "designation-ended": (without_designation, "not-habilitated"),
    "not-habilitated": (
        lambda known: replace(known, habilitations=known.habilitations_of(RESPONSIBLE, Role.MACHINE)),
        "not-habilitated",
    ),
    "agent-blocked": (block(BlockKind.AGENT, AGENT), "not-habilitated"),
    "account-ended": (lambda known: replace(known, ended_accounts=frozenset({"operator"})), "not-habilitated"),
}
ENDS_BOTH: dict[str, tuple[Callable[[Rights], Rights], str]] = {
    "service-blocked": (block(BlockKind.SERVICE, SERVICE), "not-habilitated"),
    "site-blocked": (block(BlockKind.SITE, SITE), "not-habilitated"),
    "site-not-declared": (lambda known: replace(known, sites=frozenset()), "site-not-declared"),
    "camera-blocked": (block(BlockKind.CAMERA, CAMERA), "camera-not-authorised"),
    "no-order": (lambda known: replace(known, orders=()), "camera-not-authorised"),
    "order-withdrawn": (
        lambda known: replace(known, orders=(order([CAMERA], withdrawn_at=LONG_AGO),)),
        "camera-not-authorised",
    ),
    "order-suspended": (
        lambda known: replace(known, orders=(order([CAMERA], suspended_since=LONG_AGO),)),
        "order-suspended",
    ),
}


async def endings(place: Place) -> dict[str | None, tuple[str, str | None]]:
    """Cause and reason of each stream that has ended."""
    await place.settle()
    stopped = [entry for entry in await place.told() if entry.kind is Kind.STREAM_STOPPED]
    return {entry.stream: (entry.detail["cause"], entry.detail.get("reason")) for entry in stopped}


@pytest.mark.parametrize("reason", ENDS_ONE)
async def test_what_ends_one_agents_right_ends_that_agents_stream(place: Place, clock: HeldClock, reason: str) -> None:
    # S12 C09
    watch = watch_of(place, clock)
    ended, player, kept = await two_streams(place)
    watch.sweep()
    place.closer.end_what_is_over()
    assert len(place.table) == 2
    change, refusal = ENDS_ONE[reason]
    assert place.who_may.rights is not None
    place.who_may.rights = change(place.who_may.rights)
    watch.sweep()
    place.closer.end_what_is_over()
    assert list(place.table) == [kept]
    assert player.ended_by is not None
    assert player.ended_by.code == refusal
    assert await endings(place) == {ended.id: (refusal, reason)}


@pytest.mark.parametrize("reason", ENDS_BOTH)
async def test_what_ends_for_a_camera_a_service_or_a_site_ends_for_all(
    place: Place, clock: HeldClock, reason: str
) -> None:
    # S12 L06
    watch = watch_of(place, clock)
    await two_streams(place)
    change, refusal = ENDS_BOTH[reason]
    assert place.who_may.rights is not None
    place.who_may.rights = change(place.who_may.rights)
    watch.sweep()
    place.closer.end_what_is_over()
    assert set((await endings(place)).values()) == {(refusal, reason)}
    assert len(place.table) == 0


async def test_an_order_ends_what_runs_by_it_at_midnight_in_paris(place: Place, clock: HeldClock) -> None:
    # L06 S12: no record changes, the day does
    watch = watch_of(place, clock)
    place.who_may.rights = rights(EVERYBODY, [CAMERA], orders=(order([CAMERA], last_day=date(2026, 11, 21)),))
    await two_streams(place)
    clock.advance(datetime(2026, 11, 21, 23, tzinfo=UTC) - clock.now() - timedelta(seconds=1))
    watch.sweep()
    place.closer.end_what_is_over()
    assert len(place.table) == 2
    clock.advance(timedelta(seconds=1))
    watch.sweep()
    place.closer.end_what_is_over()
    assert set((await endings(place)).values()) == {("camera-not-authorised", "order-expired")}


async def test_a_habilitation_ends_what_runs_by_it_on_its_date(place: Place, clock: HeldClock) -> None:
    # S12
    watch = watch_of(place, clock)
    held = (
        habilitation(AGENT, end=clock.now() + timedelta(minutes=1)),
        habilitation(RESPONSIBLE, Role.MACHINE),
    )
    place.who_may.rights = rights(EVERYBODY, [CAMERA], habilitations=held)
    ended, _, kept = await two_streams(place)
    clock.advance(timedelta(minutes=1))
    watch.sweep()
    place.closer.end_what_is_over()
    assert list(place.table) == [kept]
    assert await endings(place) == {ended.id: ("not-habilitated", "not-habilitated")}


async def test_the_conventions_end_closes_everything(place: Place, clock: HeldClock) -> None:
    # C18 S12
    watch = watch_of(place, clock)
    agreed = Convention("c", LONG_AGO, machine_only_agreement="accord", ended_at=clock.now() + timedelta(hours=1))
    place.house.terms.convention = agreed
    await two_streams(place)
    clock.advance(timedelta(hours=1))
    watch.sweep()
    place.closer.end_what_is_over()
    assert set((await endings(place)).values()) == {("convention-not-in-force", "convention-not-in-force")}


async def test_a_revoked_assertion_key_ends_what_its_assertions_opened(place: Place, clock: HeldClock) -> None:
    # S12 C08
    watch = watch_of(place, clock)
    asserted = replace(
        principal(Role.MACHINE), agent=AGENT, attribution=Attribution.AGENT_ASSERTED, assertion_key="key-1"
    )
    stream, ticket, _ = await place.desk.open(replace(wish(), principal=asserted))
    assert ticket.assertion_key == "key-1"
    kept, _ = await place.open()
    assert place.who_may.rights is not None
    place.who_may.rights = replace(place.who_may.rights, revoked_assertion_keys=frozenset({"key-1"}))
    watch.sweep()
    place.closer.end_what_is_over()
    assert await endings(place) == {stream.id: ("assertion-invalid", "assertion-key-revoked")}
    assert kept in place.table


async def test_a_certificate_that_fell_on_another_node_ends_what_came_by_it(place: Place, clock: HeldClock) -> None:
    # S12: and not what the account's other certificate opened
    watch = watch_of(place, clock)
    operator = principal(Role.OPERATOR)
    stream, ticket, _ = await place.desk.open(replace(wish(), principal=replace(operator, certificate="old")))
    assert ticket.certificate == "old"
    kept, _, _ = await place.desk.open(replace(wish(), principal=replace(operator, certificate="new")))
    assert place.who_may.rights is not None
    place.who_may.rights = replace(place.who_may.rights, fallen_certificates=frozenset({"old"}))
    watch.sweep()
    place.closer.end_what_is_over()
    assert await endings(place) == {stream.id: ("certificate-fallen", None)}
    assert kept in place.table


async def test_records_that_were_never_read_grant_nothing_and_end_nothing(place: Place, clock: HeldClock) -> None:
    # C09: failure table, SQL down
    watch = watch_of(place, clock)
    await two_streams(place)
    place.who_may.rights = None
    watch.sweep()
    place.closer.end_what_is_over()
    assert len(place.table) == 2
    with pytest.raises(StateStoreUnavailable):
        await place.desk.open(wish())


async def test_a_refused_request_says_its_finer_reason_to_the_trace_alone(place: Place) -> None:
    # C08 L01
    place.who_may.rights = rights({}, [CAMERA])
    with pytest.raises(NotHabilitated) as refused:
        await place.desk.open(wish())
    assert "agent-not-designated" not in refused.value.detail
    await place.settle()
    (entry,) = [entry for entry in await place.told() if entry.kind is Kind.STREAM_REFUSED]
    assert (entry.refusal, entry.detail["reason"]) == ("not-habilitated", "agent-not-designated")


async def test_a_machine_that_comes_from_elsewhere_than_allowed_is_refused(place: Place) -> None:
    # C09: RTSP Digest, by the networks of its agent's habilitation
    for network, allowed in (("203.0.113.0/24", False), ("198.51.100.0/24", True)):
        held = (habilitation(RESPONSIBLE, Role.MACHINE, sources=(ip_network(network),)),)
        place.who_may.rights = rights(EVERYBODY, [CAMERA], habilitations=held)
        if allowed:
            await place.sit(BY_MACHINE)
        else:
            with pytest.raises(NotHabilitated):
                await place.sit(BY_MACHINE)
    await place.settle()
    refused = [entry for entry in await place.told() if entry.kind is Kind.STREAM_REFUSED]
    assert [entry.detail["reason"] for entry in refused] == ["source-not-allowed"]


async def test_a_view_reads_again_only_what_has_changed(database: Database, clock: HeldClock) -> None:
    # S12: by the count of changes, or where other sites are declared
    sites = [frozenset({SITE})]
    view = RightsView(database.sessions, clock, sites=lambda: sites[0])
    assert view.current() is None
    await view.refresh()
    first = view.current()
    await view.refresh()
    assert view.current() is first
    await register_of(database, clock).designate([designation(AGENT)], by=BY)
    await asyncio.gather(view.refresh(), view.refresh())
    second = view.current()
    assert second is not None
    assert second.designation(AGENT) == designation(AGENT)
    sites[0] = frozenset({SITE, "PP-AUTRE"})
    third = view.current()
    assert third is not None
    assert third.sites == sites[0]
    assert third is view.current()


async def test_blocks_that_expire_are_closed_by_the_calendar(database: Database, clock: HeldClock) -> None:
    # S12
    told: list[Draft] = []
    register = register_of(database, clock, told)
    view = RightsView(database.sessions, clock, sites=frozenset)
    calendar = BlockCalendar(view=view, register=register, clock=clock)
    until = clock.now() + timedelta(minutes=1)
    block = Block(
        id="b",
        kind=BlockKind.AGENT,
        subject=AGENT,
        ground="s",
        reason="r",
        set_at=LONG_AGO,
        set_by="o",
        expires_at=until,
    )
    await register.block(block, by=BY)
    await view.refresh()
    await calendar.close_expired()
    clock.advance(timedelta(minutes=1))
    await calendar.close_expired()
    assert [draft.kind for draft in told] == [Kind.BLOCK_SET, Kind.BLOCK_EXPIRED]
    known = view.current()
    assert known is not None
    assert known.blocks == ()


async def test_a_view_keeps_what_it_knows_while_the_records_are_gone(clock: HeldClock) -> None:
    nowhere = Database("postgresql://gateway@127.0.0.1:1/records")
    view = RightsView(nowhere.sessions, clock, sites=frozenset)
    with pytest.raises(RecordsUnavailableError):
        await view.refresh()
    assert view.current() is None
    await nowhere.close()


@pytest.mark.parametrize(
    ("known", "refused", "reason"),
    [
        (rights({"agent-officer": Role.OFFICER}, []), None, None),
        (rights({}, []), NotHabilitated, "agent-not-designated"),
        (rights({"agent-officer": Role.OPS}, []), NotHabilitated, "not-habilitated"),
        (None, StateStoreUnavailable, None),
    ],
)
def test_nobody_comes_in_without_a_right_to(
    clock: HeldClock, known: Rights | None, refused: type[Exception] | None, reason: str | None
) -> None:
    # C09
    officer = Principal(
        account="officer",
        role=Role.OFFICER,
        agent="agent-officer",
        service="SYN",
        site=None,
        attribution=None,
        factors=(),
        scope=None,
    )
    standing = Standing(lambda: known, Terms(Convention("c", LONG_AGO), Timings()), clock)
    refusal = standing.refusal_of(officer, "198.51.100.7")
    assert type(refusal) is (refused or type(None))
    assert refusal is None or refusal.reason == reason


def test_who_comes_by_a_sealed_credential_needs_no_designation(clock: HeldClock) -> None:
    # C21: it is alarmed, and over within the hour; its account ends like any other
    sealed = replace(principal(Role.OFFICER), account="break-glass-1", agent=None, factors=(Factor.BREAK_GLASS,))
    terms = Terms(Convention("c", LONG_AGO), Timings())
    assert Standing(lambda: rights({}, []), terms, clock).refusal_of(sealed, "198.51.100.7") is None
    ended = replace(rights({}, []), ended_accounts=frozenset({"break-glass-1"}))
    assert Standing(lambda: ended, terms, clock).refusal_of(sealed, "198.51.100.7") is not None
    by_password = replace(sealed, factors=(Factor.PASSWORD,))
    assert Standing(lambda: rights({}, []), terms, clock).refusal_of(by_password, "198.51.100.7") is not None
