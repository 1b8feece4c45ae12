"""The configuration read again on request: what has changed, or every fault."""

from __future__ import annotations

from tests.api.conftest import Client
from tests.api.fakes import FakeHouse

OPS = {"Authorization": "Bearer ops"}


async def test_it_says_what_has_changed_and_who_asked_is_passed_on(client: Client, fakes: FakeHouse) -> None:
    async with client.post("/api/v1/admin/reload", headers=OPS) as answer:
        assert answer.status == 200
        assert await answer.json() == {"sha256": "5e" * 32, "changed": ["timings.resume_s"]}
    assert fakes.administration.asked == [("ops", "127.0.0.1")]


async def test_every_fault_is_in_the_answer(client: Client, fakes: FakeHouse) -> None:
    fakes.administration.faults = ["listen.host: cannot be changed", "not started from a file"]
    async with client.post("/api/v1/admin/reload", headers=OPS) as answer:
        problem = await answer.json()
    assert (answer.status, problem["type"]) == (422, "urn:halfgateway:problem:invalid-request")
    assert problem["faults"] == [
        {"where": "listen.host", "message": "cannot be changed"},
        {"where": "configuration", "message": "not started from a file"},
    ]
    assert fakes.trace.kinds() == ["action.refused"]
