"""Whoever has proved who they are comes in only while they have a right to (C09)."""

from __future__ import annotations

import pytest

from halfgateway.errors import NotHabilitated, StateStoreUnavailable, TraceUnavailable
from tests.api.conftest import Client
from tests.api.fakes import FakeHouse

LOGIN = {"id": "ops", "password": "right", "totp": "123456"}


async def test_a_login_without_a_right_opens_no_session_and_is_traced(client: Client, fakes: FakeHouse) -> None:
    fakes.gatekeeper.refusal = NotHabilitated("Non.", reason="source-not-allowed")
    async with client.post("/api/v1/login", json=LOGIN) as answer:
        text = await answer.text()
    assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)
    assert "source-not-allowed" not in text
    assert fakes.sessions.closed == ["ops"]
    (entry,) = fakes.trace.entries
    assert (entry.kind.value, entry.account, entry.refusal) == ("auth.failed", "ops", "not-habilitated")
    assert entry.detail == {"reason": "source-not-allowed"}


@pytest.mark.parametrize("path", ["/cameras", "/orders", "/interconnection"])
async def test_a_right_that_has_ended_since_the_login_opens_nothing(
    client: Client, fakes: FakeHouse, path: str
) -> None:
    fakes.gatekeeper.refusal = NotHabilitated("Non.", reason="designation-ended")
    async with client.get(f"/api/v1{path}", headers={"Authorization": "Bearer officer"}) as answer:
        assert answer.status == 403
        assert "designation-ended" not in await answer.text()
    (entry,) = fakes.trace.entries
    assert (entry.kind.value, entry.detail["reason"]) == ("action.refused", "designation-ended")


async def test_nobody_comes_in_while_that_cannot_be_known(client: Client, fakes: FakeHouse) -> None:
    fakes.gatekeeper.refusal = StateStoreUnavailable("Inconnu.")
    async with client.post("/api/v1/login", json=LOGIN) as answer:
        assert answer.status == 503
    async with client.get("/api/v1/cameras", headers={"Authorization": "Bearer ops"}) as answer:
        assert answer.status == 503
    assert fakes.sessions.closed == ["ops"]


async def test_who_keeps_the_register_is_named_in_it(client: Client, fakes: FakeHouse) -> None:
    # C09: each change has its author
    body = {"reason": "recours"}
    async with client.post(
        "/api/v1/orders/78-1/suspend", json=body, headers={"Authorization": "Bearer officer"}
    ) as answer:
        assert answer.status == 200
    (actor,) = fakes.orders.actors
    assert (actor.account, actor.agent, actor.source) == ("officer", "agent-of-officer", "127.0.0.1")


async def test_the_register_is_read_only_where_that_is_traced(client: Client, fakes: FakeHouse) -> None:
    # T01 T11
    fakes.trace.broken = TraceUnavailable()
    for path in ("/agents", "/agents/pp-1", "/habilitations", "/blocks"):
        async with client.get(f"/api/v1{path}", headers={"Authorization": "Bearer auditor"}) as answer:
            assert answer.status == 503
            assert "pp-7f3a" not in await answer.text()


@pytest.mark.parametrize("header", ["Halfgateway-Sudo-User", "X-Forwarded-For"])
async def test_nobody_is_local_from_the_network(client: Client, fakes: FakeHouse, header: str) -> None:
    # C21: the node's own socket alone says who is
    async with client.get("/api/v1/orders", headers={header: "root"}) as answer:
        assert answer.status == 401
