"""Rights are asked again while streams run: whose right ends is closed, the others lose no packet (S12, T4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from itertools import pairwise

import pytest
import pytest_asyncio

from auth.trace import Kind
from halfgateway.protocol.rtp import RtpView, sequence_distance
from tests.e2e.conftest import Gateway, until
from tests.e2e.people import Person, person
from tests.raw_player import RawPlayer
from tests.rights import BY, SITE, register_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT_S = 5.0
"""Within which a right that ends closes what runs by it (S12)."""

Cause = Callable[[Person], Awaitable[object]]


def block_of(kind: str) -> Cause:
    def subject(someone: Person) -> str:
        of = {"agent": someone.agent, "service": someone.service, "camera": someone.camera, "site": SITE}
        return of[kind]

    async def block(someone: Person) -> None:
        body = {"kind": kind, "subject": subject(someone), "ground": "security", "reason": "essai"}
        blocked = await someone.officer("/blocks", body)
        blocks.append(blocked["id"])

    return block


async def end_designation(someone: Person) -> None:
    await someone.officer(f"/agents/{someone.agent}/end", {"reason": "départ", "reference": "PP-99"})


async def end_habilitation(someone: Person) -> None:
    await someone.officer(f"/habilitations/{someone.habilitation}/end", {"reason": "mutation", "reference": "PP-98"})


def order_is(change: str) -> Cause:
    async def do(someone: Person) -> None:
        await someone.officer(f"/orders/{someone.order}/{change}", {"reason": "essai"})

    return do


async def end_account(someone: Person) -> None:
    account = someone.gateway.ready["accounts"][someone.agent]["id"]
    await someone.gateway.node.records.accounts.end(account)


async def end_on_another_node(someone: Person) -> None:
    """Another node, or a command, changes the records that this one shares: it is not told."""
    node = someone.gateway.node
    elsewhere = register_of(node.records.database, node.records.accounts._clock)
    await elsewhere.end_designation(someone.agent, reason="départ", reference="PP-97", by=BY)


CAUSES: dict[str, tuple[Cause, str, str]] = {
    "designation": (end_designation, "not-habilitated", "designation-ended"),
    "habilitation": (end_habilitation, "not-habilitated", "not-habilitated"),
    "agent blocked": (block_of("agent"), "not-habilitated", "agent-blocked"),
    "service blocked": (block_of("service"), "not-habilitated", "service-blocked"),
    "site blocked": (block_of("site"), "not-habilitated", "site-blocked"),
    "camera blocked": (block_of("camera"), "camera-not-authorised", "camera-blocked"),
    "order suspended": (order_is("suspend"), "order-suspended", "order-suspended"),
    "order withdrawn": (order_is("withdraw"), "camera-not-authorised", "order-withdrawn"),
    "account": (end_account, "not-habilitated", "account-ended"),
    "on another node": (end_on_another_node, "not-habilitated", "designation-ended"),
}
blocks: list[str] = []


@pytest_asyncio.fixture(loop_scope="module")
async def no_block_left(shared: Gateway) -> AsyncIterator[None]:
    yield
    while blocks:
        await shared.call("officer", "POST", f"/blocks/{blocks.pop()}/lift", {"reason": "fin de l'essai"})


async def ends_within(victim: RawPlayer, limit_s: float) -> None:
    """The victim is told goodbye, and ends."""
    async with asyncio.timeout(limit_s):
        assert await victim.read_to_end() == "reset"
    assert victim.goodbyes() == victim.sources() != set()


async def has_lost_nothing(other: RawPlayer) -> None:
    """A second more of the other's picture comes, and no packet of it is missing from the beginning on."""
    await other.packets_until(len(other.packets) + 25)
    numbers = [RtpView(data).sequence for channel, data, _ in other.packets if channel == 0]
    assert [sequence_distance(before, after) for before, after in pairwise(numbers)] == [1] * (len(numbers) - 1)


@pytest.mark.usefixtures("no_block_left")
@pytest.mark.parametrize("cause", CAUSES)
async def test_a_right_that_ends_closes_what_runs_by_it_and_nothing_else(shared: Gateway, cause: str) -> None:
    # S12 C09 L06, T4
    end, refusal, reason = CAUSES[cause]
    victim, other = await person(shared), await person(shared)
    async with contextlib.AsyncExitStack() as players:
        watching, stream = await victim.watches(players.enter_async_context)
        if cause == "site blocked":  # everybody of that site is out
            await end(victim)
            await ends_within(watching, PROMPT_S)
        else:
            undisturbed, _ = await other.watches(players.enter_async_context)
            await end(victim)
            await ends_within(watching, PROMPT_S)
            await has_lost_nothing(undisturbed)
    (stopped,) = await shared.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == stream)
    assert (stopped.detail["cause"], stopped.detail["reason"]) == (refusal, reason)
    status, _ = await victim.asks()
    assert status in {401, 403}


async def test_a_habilitation_that_expires_closes_what_runs_by_it(shared: Gateway) -> None:
    # S12: no record changes, its date passes
    victim, other = await person(shared, lasts=timedelta(seconds=6)), await person(shared)
    async with contextlib.AsyncExitStack() as players:
        undisturbed, _ = await other.watches(players.enter_async_context)
        watching, stream = await victim.watches(players.enter_async_context)
        await ends_within(watching, 6 + PROMPT_S)
        await has_lost_nothing(undisturbed)
    (stopped,) = await shared.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == stream)
    assert stopped.detail["reason"] == "not-habilitated"


async def test_a_ticket_whose_right_has_ended_is_403_and_a_suspended_order_resumes(shared: Gateway) -> None:
    # section 1.7; L06
    someone = await person(shared)
    status, ticket = await someone.asks()
    assert status == 201
    await order_is("suspend")(someone)
    refused = await someone.asks()
    assert (refused[0], refused[1]["type"]) == (403, "urn:halfgateway:problem:order-suspended")

    async def is_over() -> bool:
        return await shared.slots_used() == 0

    await until(is_over)
    await order_is("resume")(someone)
    status, ticket = await someone.asks()
    assert status == 201, ticket
    assert (await shared.call(someone.agent, "DELETE", f"/streams/{ticket['id']}"))[0] == 204


async def test_what_no_order_exposes_is_not_listed_nor_shown(shared: Gateway) -> None:
    # L06: absent from lists, and unknown
    someone = await person(shared)
    status, listed = await shared.call(someone.agent, "GET", "/cameras")
    assert (status, [each["id"] for each in listed["items"]]) == (200, [someone.camera])
    hidden = next(each for each in shared.cameras if each != someone.camera)
    assert (await shared.call(someone.agent, "GET", f"/cameras/{hidden}"))[0] == 404
    wish = {"camera": hidden, "mode": "live", "reason": "L251-2-5"}
    status, problem = await shared.call(someone.agent, "POST", "/streams", wish)
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:recipient-not-authorised")
    for role in ("ops", "officer", "auditor"):
        status, listed = await shared.call(role, "GET", "/cameras")
        assert set(shared.cameras) <= {each["id"] for each in listed["items"]}


async def test_who_comes_from_elsewhere_than_allowed_is_refused_and_traced(shared: Gateway) -> None:
    # C09: login and stream, by the habilitation's networks
    someone = await person(shared)
    await end_habilitation(someone)
    narrow = {
        "agent": someone.agent,
        "role": "operator",
        "sources": ["198.51.100.0/24"],
        "start": "2026-01-01T00:00:00Z",
        "authority": "préfet de police",
        "reference": "PP-17",
    }
    await someone.officer("/habilitations", narrow)
    with pytest.raises(AssertionError, match="not-habilitated"):
        await shared.token(someone.agent)
    (failed,) = await shared.traced(lambda entry: entry.kind is Kind.AUTH_FAILED and entry.account == someone.agent)
    assert (failed.refusal, failed.detail["reason"]) == ("not-habilitated", "source-not-allowed")
    await someone.officer("/habilitations", narrow | {"sources": ["127.0.0.0/8"]})
    assert (await someone.asks())[0] == 201

    async def is_over() -> bool:
        return await shared.slots_used() == 0

    await end_designation(someone)
    await until(is_over)
