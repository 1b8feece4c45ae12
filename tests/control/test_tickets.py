"""Tickets: a name and a password that any node checks from memory, and what they grant, in the store."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.control.tickets import Ticket, TicketKey, TicketStore
from halfgateway.errors import StateStoreUnavailable
from tests.control.valkeys import Nodes

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = TicketKey(bytes(range(32)))
TICKET = Ticket(
    id=KEY.issue().username,
    stream="9f8e7d6c5b4a3f2e",
    camera="c1",
    profile="main",
    mode="recorded",
    start=NOON - timedelta(hours=1),
    end=None,
    account="pp-gateway",
    role="machine",
    agent="a7",
    service="DOPC",
    site="site-1",
    attribution="agent-asserted",
    reason="L251-2-1",
    reference=None,
    created_at=NOON,
    play_before=NOON + timedelta(seconds=30),
)


def test_credentials_are_letters_that_cannot_be_guessed_nor_meet() -> None:
    # C16: 128 bits from the random source, letters, digits, - and _ only
    issued = [KEY.issue() for _ in range(100)]
    assert len({credentials.username for credentials in issued}) == 100
    for credentials in issued:
        assert re.fullmatch(r"t-[A-Za-z0-9_-]{22}", credentials.username)
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", credentials.password)
        assert credentials.password not in repr(credentials)


def test_any_node_with_the_key_knows_the_password_and_no_other_does() -> None:
    # C01: verified from memory alone, before any question to the store
    credentials = KEY.issue()
    assert TicketKey(bytes(range(32))).password_for(credentials.username) == credentials.password
    assert TicketKey(bytes(32)).password_for(credentials.username) != credentials.password


def test_the_password_is_the_hmac_of_the_name() -> None:
    # RFC 2104; the expected value was computed apart, with openssl dgst
    name = "t-AAAAAAAAAAAAAAAAAAAAAA"
    assert TicketKey(bytes(32), random_bytes=bytes).issue().username == name
    assert TicketKey(bytes(32)).password_for(name) == "yIiCwLwmMDADfWwzHbMB53oZKajTeZS_yotcM-p0pns"


def test_the_random_source_is_asked_for_128_bits() -> None:
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    TicketKey(bytes(32), random_bytes=random_bytes).issue()
    assert asked == [16]


@given(st.text())
def test_a_name_that_no_ticket_has_has_no_password(name: str) -> None:
    assert (KEY.password_for(name) is None) == (re.fullmatch(r"t-[A-Za-z0-9_-]{22}", name, re.ASCII) is None)


@pytest.mark.parametrize("name", ["", "t-", "t-short", "t-" + "é" * 22, "t-" + "a" * 22 + "\n", "ops"])
def test_no_password_for_a_near_miss(name: str) -> None:
    assert KEY.password_for(name) is None


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        TicketKey(bytes(31))


def test_a_ticket_is_read_as_it_was_written() -> None:
    assert Ticket.from_json(TICKET.to_json()) == TICKET
    paris = replace(TICKET, end=NOON.astimezone(timezone(timedelta(hours=1))))
    assert Ticket.from_json(paris.to_json()) == paris


async def test_every_node_sees_a_ticket_while_it_is_good_and_nothing_secret_is_stored(nodes: Nodes) -> None:
    # C01, C16
    here, there = TicketStore(nodes.store()), TicketStore(nodes.store())
    await here.put(TICKET, 30)
    assert await there.get(TICKET.id) == TICKET
    store = nodes.store()
    password = KEY.password_for(TICKET.id)
    assert password is not None
    for key in await store.client.keys("*"):
        assert password.encode() not in str(await store.client.get(key)).encode()


async def test_a_ticket_ends_by_itself(nodes: Nodes) -> None:
    # C01
    tickets = TicketStore(nodes.store())
    await tickets.put(TICKET, 0.1)
    async with asyncio.timeout(10):
        while await tickets.get(TICKET.id) is not None:
            await asyncio.sleep(0.01)
    assert not await tickets.keep(TICKET.id, 30)


async def test_a_ticket_is_kept_and_ended_with_a_grace_that_never_lengthens_it(nodes: Nodes) -> None:
    # S15
    tickets, store = TicketStore(nodes.store()), nodes.store()

    async def life_s() -> float:
        return await store.client.pttl(store.key(f"ticket:{TICKET.id}")) / 1000

    await tickets.put(TICKET, 5)
    assert await tickets.keep(TICKET.id, 60)
    assert 50 < await life_s() <= 60
    await tickets.end(TICKET.id, 10)
    assert 5 < await life_s() <= 10
    await tickets.end(TICKET.id, 60)
    assert await life_s() <= 10
    await tickets.end(TICKET.id, 0)
    assert await tickets.get(TICKET.id) is None
    await tickets.end(TICKET.id, 10)


async def test_conventions_do_not_share_tickets(nodes: Nodes) -> None:
    await TicketStore(nodes.store()).put(TICKET, 30)
    elsewhere = Nodes(nodes.server, nodes.address, clients=nodes.clients)
    assert await TicketStore(elsewhere.store()).get(TICKET.id) is None


async def test_a_name_that_no_ticket_has_is_not_asked_for(nodes: Nodes) -> None:
    tickets = TicketStore(nodes.store())
    await nodes.server.stop()
    assert await tickets.get("ops") is None
    assert await tickets.get("t-\ud800") is None


@pytest.mark.parametrize("raw", ["", "[]", "{}", "nothing", '{"start":1}'])
async def test_what_is_not_a_ticket_is_unavailable(nodes: Nodes, raw: str) -> None:
    store = nodes.store()
    await store.client.set(store.key(f"ticket:{TICKET.id}"), raw)
    with pytest.raises(StateStoreUnavailable):
        await TicketStore(store).get(TICKET.id)


async def test_a_store_that_hangs_or_is_not_there_is_unavailable(nodes: Nodes) -> None:
    # C01
    tickets = TicketStore(nodes.store(call_limit_s=0.2))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        nodes.signal(number)
        for question in (
            tickets.put(TICKET, 30),
            tickets.get(TICKET.id),
            tickets.keep(TICKET.id, 30),
            tickets.end(TICKET.id, 10),
        ):
            with pytest.raises(StateStoreUnavailable) as refused:
                await question
            assert refused.value.__cause__ is not None
