"""The API of a whole gateway, as its scripts read it."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest

from auth.trace import Kind
from auth.trace.tree import leaf_hash, verify_inclusion
from tests.e2e.conftest import Gateway, credentials_of, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_operator_sees_cameras_and_its_own_stream_and_ends_it(shared: Gateway) -> None:
    # C16: nothing that leads to the device; C01: the slot comes back
    _, cameras = await shared.call("operator", "GET", "/cameras")
    assert [camera["id"] for camera in cameras["items"]] == shared.cameras
    assert {camera["state"] for camera in cameras["items"]} == {"available"}
    assert {profile["codec"] for camera in cameras["items"] for profile in camera["profiles"]} == {"H264", "H265"}
    assert (await shared.call("operator", "GET", "/cameras/no-such"))[0] == 404

    ticket = await shared.ticket(shared.cameras[0])
    _, streams = await shared.call("operator", "GET", "/streams")
    (stream,) = streams["items"]
    assert (stream["id"], stream["state"], stream["slot"]) == (ticket["id"], "reserved", "1/10")
    assert stream["attribution"] == "agent-authenticated"
    _, masked = await shared.call("ops", "GET", "/streams")
    assert (masked["items"][0]["agent"], masked["items"][0]["reason"]) == (None, None)  # L19
    assert (await shared.call("auditor", "DELETE", f"/streams/{ticket['id']}"))[0] == 403
    assert (await shared.call("operator", "DELETE", f"/streams/{ticket['id']}"))[0] in {200, 204}

    async def free() -> bool:
        return await shared.slots_used() == 0

    await until(free)
    async with shared.player(credentials_of(ticket)) as player:
        assert (await player.set_up(f"/live/{shared.cameras[0]}")).status == 401


async def test_the_eleventh_is_refused_in_french_and_traced(shared: Gateway) -> None:
    # C01, article 4
    tickets = [await shared.ticket(shared.cameras[number % 3]) for number in range(10)]
    wish = {"camera": shared.cameras[0], "mode": "live", "reason": "L251-2-5"}
    status, problem = await shared.call("operator", "POST", "/streams", wish)
    assert status == 409
    assert problem["type"].endswith("cap-reached")
    assert "Nombre maximal de Flux atteint (10 sur 10)" in problem["detail"]
    assert "services : DOPC" in problem["detail"]
    (refused,) = await shared.traced(lambda entry: entry.kind is Kind.STREAM_REFUSED)
    assert (refused.refusal, refused.stream) == ("cap-reached", problem["detail"].rpartition("n° ")[2].rstrip("."))
    async with shared.player(shared.machine) as player:
        answer = await player.set_up(f"/live/{shared.cameras[0]}")
        assert (answer.status, answer.reason) == (453, "Not Enough Bandwidth")
        assert int(answer.header("retry-after")) > 0
    for ticket in tickets:
        assert (await shared.call("supervisor", "DELETE", f"/streams/{ticket['id']}"))[0] == 204


async def test_a_wish_without_a_lawful_purpose_is_no_wish(shared: Gateway) -> None:
    # L16: a code of the closed list, never free text
    for reason in ("vol de M. Dupont", "", None):
        wish = {"camera": shared.cameras[0], "mode": "live", "reason": reason}
        status, problem = await shared.call("operator", "POST", "/streams", wish)
        assert (status, problem["type"].endswith("invalid-request")) == (422, True)
    assert await shared.slots_used() == 0


async def test_an_auditor_reads_the_history_and_checks_an_entry(shared: Gateway) -> None:
    # T03 T05 T11
    ticket = await shared.ticket(shared.cameras[0])
    _, history = await shared.call("auditor", "GET", f"/trace?stream={ticket['id']}")
    assert [entry["kind"] for entry in history["items"]] == ["stream.granted", "stream.requested"]
    entry = history["items"][-1]

    async def signed() -> bool:
        _, heads = await shared.call("auditor", "GET", "/trace/checkpoints")
        return bool(heads["items"]) and heads["items"][0]["size"] > entry["n"]

    await until(signed)
    head = (await shared.call("auditor", "GET", "/trace/checkpoints"))[1]["items"][0]
    size = head["size"]
    status, proof = await shared.call("auditor", "GET", f"/trace/{entry['node']}/{entry['n']}/proof?size={size}")
    assert status == 200
    decoded = [bytes_of(step) for step in proof["path"]]
    root = bytes_of(head["root"])
    assert verify_inclusion(entry["n"], size, leaf_hash(bytes_of(proof["leaf"])), decoded, root)
    assert (await shared.call("operator", "GET", "/trace"))[0] == 403
    await shared.traced(lambda entry: entry.kind is Kind.TRACE_READ)
    assert (await shared.call("supervisor", "DELETE", f"/streams/{ticket['id']}"))[0] == 204


def bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


async def test_the_revoked_agent_is_refused_and_the_reason_is_traced(shared: Gateway) -> None:
    # C08 S02
    folder = Path(shared.ready["data"]) / "revoked"
    tls = ssl.create_default_context(cafile=shared.ready["ca"])
    tls.load_cert_chain(next(folder.glob("*.pem")), next(folder.glob("*.key")))
    account = shared.ready["accounts"]["operator"]
    body = {"id": account["id"], "password": account["password"]}
    async with shared.http.post(shared.ready["https"] + "/api/v1/login", json=body, ssl=tls) as answer:
        assert answer.status == 401
    await shared.traced(lambda entry: entry.kind is Kind.AUTH_FAILED and "revoked" in str(entry.detail))


async def test_health_readiness_metrics_and_documents(shared: Gateway) -> None:
    for path, wanted in (
        ("/healthz", '"alive"'),
        ("/readyz", '"ready"'),
        ("/metrics", "halfgateway_trace_writable 1.0"),
        ("/api/v1/openapi.json", '"3.1'),
        ("/api/v1/docs", "<html"),
    ):
        async with shared.http.get(shared.ready["http"] + path) as answer:
            assert answer.status == 200, path
            assert wanted in await answer.text()
