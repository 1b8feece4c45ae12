"""PP arbitrates its ten: reserved slots, the relief, who sees what, and logins that end, on a running gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from auth.trace import Kind
from halfgateway.protocol.rtp import RtpView, sequence_distance
from tests.e2e.conftest import Gateway, until
from tests.e2e.people import Person, order_of, person
from tests.e2e.test_asserted import Vms, admit, plays
from tests.raw_player import RawPlayer
from tests.rights import SERVICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAP = 10


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def has_lost_nothing(player: RawPlayer) -> None:
    """A second more comes, and no packet is missing from the beginning on; nor has its source changed."""
    await player.packets_until(sum(channel == 0 for channel, _, _ in player.packets) + 25)
    views = [RtpView(data) for channel, data, _ in player.packets if channel == 0]
    assert {sequence_distance(one.sequence, next_one.sequence) for one, next_one in pairwise(views)} == {1}
    assert len({view.ssrc for view in views}) == 1


@pytest_asyncio.fixture(loop_scope="module")
async def nothing_reserved(shared: Gateway) -> AsyncIterator[None]:
    yield
    _, listed = await shared.call("supervisor", "GET", "/reservations")
    for each in listed["items"]:
        assert (await shared.call("supervisor", "DELETE", f"/reservations/{each['id']}"))[0] == 204


@pytest.mark.usefixtures("nothing_reserved")
async def test_the_supervisor_reserves_passes_on_and_frees(shared: Gateway) -> None:
    # S16, L19, T10
    wish = {"service": "DRPJ", "slots": CAP, "until": in_an_hour(), "reason": "G7"}
    status, made = await shared.call("supervisor", "POST", "/reservations", wish)
    assert status == 201, made
    status, problem = await shared.call("supervisor", "POST", "/reservations", {**wish, "slots": 1})
    assert (status, problem["faults"][0]["message"]) == (
        422,
        "10 des 10 places sont déjà réservées : il n'en reste que 0 à réserver (article 4).",
    )
    ask = {"camera": shared.cameras[0], "mode": "live", "reason": "L251-2-5"}
    status, problem = await shared.call("operator", "POST", "/streams", ask)
    assert (status, problem["type"]) == (409, "urn:halfgateway:problem:cap-reached")
    assert "(10 sur 10)" in problem["detail"]
    assert "(DRPJ : 10)" in problem["detail"]
    async with shared.player(shared.machine) as vms:
        answer = await vms.set_up(f"/live/{shared.cameras[0]}")
        assert (answer.status, answer.header("x-refusal")) == (453, "cap-reached")
    status, passed = await shared.call(
        "supervisor", "POST", f"/reservations/{made['id']}/pass", {"service": SERVICE, "slots": 1}
    )
    assert (status, passed["service"], passed["slots"], passed["passed_from"]) == (200, SERVICE, 1, made["id"])
    status, ticket = await shared.call("operator", "POST", "/streams", ask)
    assert status == 201, ticket
    for role in ("ops", "officer", "auditor"):
        status, listed = await shared.call(role, "GET", "/reservations")
        assert (status, [(each["service"], each["slots"]) for each in listed["items"]]) == (200, [(None, 1), (None, 9)])
        assert (await shared.call(role, "POST", "/reservations", wish))[0] == 403
        assert (await shared.call(role, "DELETE", f"/reservations/{made['id']}"))[0] == 403
    assert (await shared.call("supervisor", "DELETE", f"/reservations/{made['id']}?reason=fin"))[0] == 204
    assert (await shared.call("supervisor", "DELETE", f"/reservations/{made['id']}"))[0] == 404
    assert (await shared.call("supervisor", "DELETE", f"/streams/{ticket['id']}"))[0] == 204
    told = await shared.traced(lambda entry: entry.kind is Kind.RESERVATION_ENDED)
    told += await shared.traced(lambda entry: entry.kind in {Kind.RESERVATION_MADE, Kind.RESERVATION_PASSED})
    assert {entry.kind: entry.detail["slots"] for entry in told} == {
        Kind.RESERVATION_MADE: 10,
        Kind.RESERVATION_PASSED: 1,
        Kind.RESERVATION_ENDED: 9,
    }


async def hand_over(vms: Vms, stream: str, assertion: str | None) -> int:
    headers = {"Authorization": f"Bearer {await vms.gateway.token('machine')}"}
    url = f"{vms.gateway.ready['https']}/api/v1/streams/{stream}/handover"
    body = {} if assertion is None else {"assertion": assertion}
    async with vms.gateway.http.post(url, json=body, headers=headers, ssl=vms.tls) as answer:
        return answer.status


async def end_designation(gateway: Gateway, agent: str) -> None:
    body = {"reason": "départ", "reference": "PP-99"}
    status, answer = await gateway.call("officer", "POST", f"/agents/{agent}/end", body)
    assert status < 300, answer


async def test_a_machine_hands_a_stream_over_and_not_a_packet_is_lost(shared: Gateway) -> None:
    # S15, S12, C08: by assertion; then the relief's rights count, and the former's do not
    for agent in ("pp-relieved", "pp-relief"):
        await admit(shared, agent, SERVICE)
    vms, camera = Vms(shared), shared.cameras[0]
    status, ticket = await vms.ask(camera, vms.signer.assertion(sub="pp-relieved", service=SERVICE))
    assert status == 201, ticket
    async with vms.player(ticket) as player:
        await plays(player, camera)
        assertion = vms.signer.assertion(sub="pp-relief", service=SERVICE)
        assert await hand_over(vms, ticket["id"], assertion) == 204
        assert await hand_over(vms, ticket["id"], assertion) == 403, "it counts once"
        assert await hand_over(vms, ticket["id"], None) == 403
        other_purpose = vms.signer.assertion(sub="pp-relieved", service=SERVICE, purpose="L251-2-6")
        assert await hand_over(vms, ticket["id"], other_purpose) == 403, "for what it was opened"
        assert await hand_over(vms, "no-such-stream", vms.signer.assertion(sub="pp-relief")) == 404
        await end_designation(shared, "pp-relieved")
        await has_lost_nothing(player)
        await end_designation(shared, "pp-relief")
        assert await player.read_to_end() == "reset"
    (handed,) = await shared.traced(lambda entry: (entry.kind, entry.stream) == (Kind.STREAM_HANDED_OVER, ticket["id"]))
    assert (handed.agent, handed.detail["from_agent"]) == ("pp-relief", "pp-relieved")
    (stopped,) = await shared.traced(lambda entry: (entry.kind, entry.stream) == (Kind.STREAM_STOPPED, ticket["id"]))
    assert (stopped.agent, stopped.detail["reason"]) == ("pp-relief", "designation-ended")


async def test_an_operator_takes_over_in_their_own_name_and_who_sees_what(shared: Gateway) -> None:
    # S15, S16, L19
    former, relief = await person(shared), await person(shared)
    async with AsyncExitStack() as players:
        player, stream = await former.watches(players.enter_async_context)
        assert (await shared.call(relief.agent, "POST", f"/streams/{stream}/handover", {}))[0] == 403, "no order"
        await relief.officer("/orders", order_of(f"{relief.order}-b", former.camera, relief.service))
        assert (await shared.call(relief.agent, "POST", f"/streams/{stream}/handover", {}))[0] == 204
        assert (await shared.call(former.agent, "DELETE", f"/streams/{stream}"))[0] == 403
        await has_lost_nothing(player)
        assert await seen_by(shared, former.agent) == {}
        for role, unmask in (
            ("supervisor", ""),
            (relief.agent, ""),
            ("officer", "?unmask=essai"),
            ("auditor", "?unmask=essai"),
        ):
            view = (await seen_by(shared, role, unmask))[stream]
            assert (view["agent"], view["service"], view["node"]) == (relief.agent, relief.service, "demo"), role
            assert (view["state"], view["idle_since"], view["login_before"]) == ("playing", None, None)
        for role in ("ops", "officer", "auditor"):
            view = (await seen_by(shared, role))[stream]
            assert {view[name] for name in ("account", "agent", "service", "reason", "reference")} == {None}, role
            assert (view["slot"], view["packets"] > 0) == ("1/10", True)
        assert (await shared.call("ops", "GET", "/streams?unmask=essai"))[0] == 403
        unmasked = await shared.traced(lambda entry: entry.kind is Kind.STREAM_UNMASKED)
        assert [(entry.detail["motive"], entry.detail["streams"]) for entry in unmasked] == [("essai", [stream])] * 2
        assert (await shared.call(relief.agent, "DELETE", f"/streams/{stream}"))[0] == 204


async def seen_by(gateway: Gateway, role: str, query: str = "") -> dict[str, dict[str, Any]]:
    status, listed = await gateway.call(role, "GET", f"/streams{query}")
    assert status == 200, listed
    return {view["id"]: view for view in listed["items"]}


async def is_asked(gateway: Gateway, stream: str) -> bool:
    return (await seen_by(gateway, "supervisor"))[stream]["login_before"] is not None


async def end_login(someone: Person) -> None:
    status, _ = await someone.gateway.call(someone.agent, "POST", "/logout?everywhere=true")
    assert status == 204
    status, problem = await someone.gateway.call(someone.agent, "GET", "/streams")
    assert (status, problem["detail"]) == (
        401,
        "Ce jeton n'ouvre pas, ou n'ouvre plus, d'accès : authentifiez-vous de nouveau.",
    )


async def test_a_login_that_ends_is_asked_for_again_before_it_ends_the_picture(shared: Gateway) -> None:
    # S15: it goes on for the grace; a new login keeps it; without one it ends with its own reason
    someone, terms = await person(shared), shared.node.control.terms
    async with AsyncExitStack() as players:
        player, stream = await someone.watches(players.enter_async_context)
        await end_login(someone)
        await until(lambda: is_asked(shared, stream))
        await has_lost_nothing(player)
        del shared.tokens[someone.agent]
        await shared.token(someone.agent)

        async def is_kept() -> bool:
            return not await is_asked(shared, stream)

        await until(is_kept)
        await has_lost_nothing(player)
        before, terms.timings = terms.timings, replace(terms.timings, login_grace_s=0.5)
        await end_login(someone)
        assert await player.read_to_end() == "reset"
        terms.timings = before
    (stopped,) = await shared.traced(lambda entry: (entry.kind, entry.stream) == (Kind.STREAM_STOPPED, stream))
    assert stopped.detail["cause"] == "login-expired"
    moved = [
        entry.detail["to"]
        for entry in await shared.trace()
        if (entry.kind, entry.stream) == (Kind.STREAM_MOVED, stream)
    ]
    assert moved == ["login-asked", "login-renewed", "login-asked"]
