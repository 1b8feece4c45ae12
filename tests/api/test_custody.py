"""What the API's layer itself does for keys and lists: sizes, shapes, and who is named as having done it."""

from __future__ import annotations

import io
import json

import pytest

from halfgateway.api.application import MAX_BODY_BYTES
from halfgateway.api.custody_shapes import MAX_CRL_BYTES
from tests.api.conftest import Client
from tests.api.fakes import FakeHouse


async def put(client: Client, path: str, token: str, body: object, method: str = "PUT") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    headers["Content-Type"] = "application/json"
    sent = io.BytesIO(json.dumps(body).encode())
    async with client.request(method, f"/api/v1{path}", data=sent, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("size", "status"),
    [(MAX_BODY_BYTES * 4, 200), (MAX_CRL_BYTES, 200), (MAX_CRL_BYTES + 1, 422), (2 * MAX_CRL_BYTES, 413)],
)
async def test_revocation_lists_may_be_large(client: Client, fakes: FakeHouse, size: int, status: int) -> None:  # S02
    assert await put(client, "/admin/crl", "machine", {"pem": "x" * size}) == status
    assert len(fakes.custody.acts) == (status == 200)


async def test_nothing_else_may_be(client: Client) -> None:
    body = {"person": "tech-4", "reason": "x" * MAX_BODY_BYTES}
    assert await put(client, "/interventions", "ops", body, "POST") == 413


async def test_an_act_is_its_callers(client: Client, fakes: FakeHouse) -> None:  # C21
    assert await put(client, "/assertion-keys/pp-2026/revoke", "officer", {"reason": "perte"}, "POST") == 204
    ((act, actor),) = fakes.custody.acts
    assert (act, actor.account, actor.source, actor.interventions) == ("revoke pp-2026", "officer", "127.0.0.1", None)
