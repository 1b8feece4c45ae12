"""Cameras, interconnection, trace, health, and what every answer carries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from aiohttp import hdrs

from auth.errors import (
    AuthenticationError,
    FailureReason,
    RecordsUnavailableError,
    ThrottledError,
)
from halfgateway import errors
from halfgateway.api.application import MAX_BODY_BYTES
from halfgateway.api.problems import TITLES
from halfgateway.errors import TraceUnavailable
from ops.errors import LocalRecordError, NothingToRestore, OfficerRequired, WrongIncident
from tests.api.conftest import Client
from tests.api.fakes import NOW, FakeHouse
from tests.preflights import looked

CUT = {"ground": "critical-incident", "reason": "panne du cœur de réseau"}


async def _call(client: Client, method: str, path: str, token: str, body: object = None) -> tuple[int, dict[str, Any]]:
    bearer = {"Authorization": f"Bearer {token}"}
    async with client.request(method, f"/api/v1{path}", json=body, headers=bearer) as answer:
        return answer.status, await answer.json()


async def test_a_camera_has_the_promised_shape(client: Client) -> None:  # C16
    status, listed = await _call(client, "GET", "/cameras", "machine")
    assert status == 200
    assert listed == {
        "items": [
            {
                "id": "cam-1",
                "name": "Place d'Armes",
                "site": "Versailles 1",
                "commune": "Versailles",
                "latitude": 48.8033,
                "longitude": 2.1234,
                "state": "available",
                "cause": None,
                "profiles": [{"id": "main", "codec": "H264", "width": 1920, "height": 1080, "fps": 25.0}],
                "recorded": True,
            }
        ],
        "next": None,
    }
    assert (await _call(client, "GET", "/cameras/cam-1", "machine"))[1] == listed["items"][0]


async def test_an_unknown_camera_is_a_404(client: Client) -> None:
    status, problem = await _call(client, "GET", "/cameras/cam-9", "ops")
    assert (status, problem["type"]) == (404, "urn:halfgateway:problem:unknown-camera")


async def test_a_search_for_recordings_is_traced_found_or_not(client: Client, fakes: FakeHouse) -> None:  # C05, L11
    status, found = await _call(client, "GET", "/cameras/cam-1/recordings?start=2026-11-20T10:15:00Z", "operator")
    assert status == 200
    assert list(found) == ["camera", "window", "intervals"]
    assert found["intervals"][0]["verified"] is True
    status, _ = await _call(client, "GET", "/cameras/cam-1/recordings?start=2027-01-01T00:00:00Z", "operator")
    assert status == 404
    entries = [(entry.kind.value, entry.camera, entry.refusal) for entry in fakes.trace.entries]
    assert entries == [
        ("recording.searched", "cam-1", None),
        ("recording.searched", "cam-1", "no-recording"),
    ]


async def test_a_search_that_cannot_be_traced_is_not_answered(client: Client, fakes: FakeHouse) -> None:  # T01
    fakes.trace.broken = TraceUnavailable()
    status, problem = await _call(client, "GET", "/cameras/cam-1/recordings", "operator")
    assert (status, problem["type"]) == (503, "urn:halfgateway:problem:trace-unavailable")


async def test_the_interconnection_has_the_promised_shape(client: Client) -> None:
    status, view = await _call(client, "GET", "/interconnection", "operator")
    assert status == 200
    assert view == {
        "state": "open",
        "since": "2026-11-21T10:15:00.000000Z",
        "by": "ops",
        "ground": None,
        "incident": None,
        "mode": None,
        "slots": {"used": 0, "cap": 10},
    }


async def test_a_cut_tells_its_incident_and_what_it_closed(client: Client) -> None:  # C10
    status, answer = await _call(client, "POST", "/interconnection/cut", "ops", CUT)
    assert status == 200
    assert (answer["state"], answer["incident"], answer["at"]) == (
        "cut",
        "incident-1",
        "2026-11-21T10:15:00.000000Z",
    )
    assert answer["nodes"] == [{"id": "node-1", "streams_closed": 3}]
    body = {"incident": "incident-1", "reason": "rétabli"}
    assert (await _call(client, "POST", "/interconnection/restore", "ops", body))[1]["state"] == "open"


async def test_a_pre_flight_is_shown_before_a_restoration(client: Client, fakes: FakeHouse) -> None:
    fakes.interconnection.looked = looked(NOW, failed={"cameras"}, unknown={"clock"})
    status, seen = await _call(client, "GET", "/interconnection/preflight", "ops")
    assert (status, seen["ready"], seen["four_eyes"], seen["proposal"]) == (200, False, False, None)
    told = {found["check"]: (found["outcome"], found["essential"]) for found in seen["findings"]}
    assert (told["trace"], told["cameras"]) == (("passed", True), ("failed", False))
    assert told["clock"] == ("unknown", False)


async def test_a_failed_pre_flight_refuses_until_a_motive_is_stated(client: Client, fakes: FakeHouse) -> None:
    fakes.interconnection.looked = looked(NOW, failed={"cameras"})
    body = {"incident": "incident-1", "reason": "rétabli"}
    status, problem = await _call(client, "POST", "/interconnection/restore", "ops", body)
    assert (status, problem["type"]) == (409, "urn:halfgateway:problem:preflight-failed")
    assert (problem["missing"], problem["article"]) == (["cameras"], "article 8")
    body["motive"] = "gymnase en travaux"
    status, answer = await _call(client, "POST", "/interconnection/restore", "ops", body)
    assert (status, answer["state"], answer["proposal"]) == (200, "open", None)


async def test_a_drill_tells_its_incident_and_leaves_it_open(client: Client) -> None:  # N14
    _, answer = await _call(client, "POST", "/interconnection/cut", "ops", {**CUT, "ground": "drill"})
    assert (answer["state"], answer["incident"]) == ("open", "incident-1")


@pytest.mark.parametrize(
    "change",
    [
        {"ground": "boredom"},
        {"reason": ""},
        {"reason": "a\nb"},
        {"reason": "x" * 501},
        {"occurred_at": (NOW + timedelta(minutes=2)).isoformat()},
        {"occurred_at": "yesterday"},
    ],
)
async def test_a_malformed_cut_is_refused(client: Client, change: dict[str, str]) -> None:
    status, problem = await _call(client, "POST", "/interconnection/cut", "ops", {**CUT, **change})
    assert (status, problem["type"]) == (422, "urn:halfgateway:problem:invalid-request")


@pytest.mark.parametrize(
    ("failure", "status", "code", "traced"),
    [
        (OfficerRequired(), 403, "not-habilitated", ["action.refused"]),
        (NothingToRestore(), 422, "invalid-request", ["action.refused"]),
        (WrongIncident("incident-7"), 422, "invalid-request", ["action.refused"]),
        (LocalRecordError("no space left"), 503, "state-store-unavailable", []),
    ],
)
async def test_a_transition_that_may_not_be_is_refused(
    client: Client, fakes: FakeHouse, failure: Exception, status: int, code: str, traced: list[str]
) -> None:  # C10
    fakes.interconnection.failure = failure
    body = {"incident": "incident-1", "reason": "rétabli"}
    answered, problem = await _call(client, "POST", "/interconnection/restore", "ops", body)
    assert (answered, problem["type"]) == (status, f"urn:halfgateway:problem:{code}")
    assert "incident-7" not in str(problem)
    assert fakes.trace.kinds() == traced


async def test_reading_the_trace_is_an_entry(client: Client, fakes: FakeHouse) -> None:  # T11
    status, listed = await _call(client, "GET", "/trace?kind=stream.refused&since=2026-11-01T00:00:00Z", "auditor")
    assert status == 200
    assert listed["next"] == "older"
    assert listed["items"][0] == {
        "node": "node-1",
        "n": 412,
        "at": "2026-11-21T10:15:00.000000Z",
        "kind": "stream.refused",
        "code": 2103,
        "agent": None,
        "account": None,
        "attribution": None,
        "camera": None,
        "stream": None,
        "mode": None,
        "reason": None,
        "refusal": "cap-reached",
        "source": None,
        "detail": {},
    }
    (entry,) = fakes.trace.entries
    assert (entry.kind.value, entry.account, entry.detail["scope"]) == ("trace.read", "auditor", "SYN")
    assert entry.detail["asked"]["kind"] == fakes.history.wanted[0].kind == "stream.refused"


async def test_heads_and_proofs_have_the_promised_shapes(client: Client, fakes: FakeHouse) -> None:  # T05, T11
    _, heads = await _call(client, "GET", "/trace/checkpoints", "auditor")
    assert [list(head) for head in heads["items"]] == [["node", "size", "root", "note"]]
    _, proof = await _call(client, "GET", "/trace/node-1/412/proof?size=500", "auditor")
    assert proof == {"node": "node-1", "n": 412, "size": 500, "leaf": "bGVhZg==", "path": ["aGFzaA=="]}
    status, problem = await _call(client, "GET", "/trace/node-1/500/proof?size=500", "auditor")
    assert (status, problem["type"]) == (404, "urn:halfgateway:problem:unknown-entry")
    assert fakes.trace.kinds() == ["trace.read"] * 3


async def test_a_reading_that_cannot_be_traced_shows_nothing(client: Client, fakes: FakeHouse) -> None:  # T01
    fakes.trace.broken = TraceUnavailable()
    for path in ("/trace", "/trace/checkpoints", "/trace/node-1/412/proof"):
        assert (await _call(client, "GET", path, "auditor"))[0] == 503


async def test_login_has_the_promised_shape_and_sets_a_cookie(client: Client, fakes: FakeHouse) -> None:
    async with client.post("/api/v1/login", json={"id": "ops", "password": "right", "totp": "123456"}) as answer:
        assert await answer.json() == {
            "token": "ops",
            "expires_at": "2026-11-21T22:15:00.000000Z",
            "role": "ops",
            "factors": ["password", "totp"],
        }
    cookie = answer.headers["Set-Cookie"]
    assert cookie == "halfgateway_session=ops; HttpOnly; Max-Age=43200; Path=/; SameSite=Strict"
    assert fakes.trace.kinds() == ["auth.succeeded"]


@pytest.mark.parametrize(
    ("failure", "status", "code", "traced"),
    [
        (AuthenticationError(FailureReason.CODE_REPLAYED, account="ops"), 401, "unauthenticated", ["auth.failed"]),
        (AuthenticationError(FailureReason.UNKNOWN_ACCOUNT), 401, "unauthenticated", ["auth.failed"]),
        (ThrottledError(retry_after_s=3, just_locked=True), 429, "throttled", ["auth.locked"]),
        (ThrottledError(retry_after_s=3, just_locked=False), 429, "throttled", []),
        (RecordsUnavailableError("down"), 503, "state-store-unavailable", []),
    ],
)
async def test_a_failed_login_tells_no_more_than_its_code(
    client: Client, fakes: FakeHouse, failure: Exception, status: int, code: str, traced: list[str]
) -> None:  # C08, S03
    fakes.login.failure = failure
    async with client.post("/api/v1/login", json={"id": "ops", "password": "x"}) as answer:
        problem = await answer.json()
    assert (answer.status, problem["type"]) == (status, f"urn:halfgateway:problem:{code}")
    assert "Set-Cookie" not in answer.headers
    assert fakes.trace.kinds() == traced
    if isinstance(failure, AuthenticationError):
        assert fakes.trace.entries[0].detail == {"reason": failure.reason.value}
        assert failure.reason.value not in str(problem)


async def test_a_login_that_cannot_be_traced_does_not_happen(client: Client, fakes: FakeHouse) -> None:  # T01
    fakes.trace.broken = TraceUnavailable()
    async with client.post("/api/v1/login", json={"id": "ops", "password": "right"}) as answer:
        assert answer.status == 503
        assert "ops" not in await answer.text()
    assert fakes.sessions.closed == ["ops"]


async def test_logout_ends_the_session_and_the_cookie(client: Client, fakes: FakeHouse) -> None:
    async with client.post("/api/v1/logout", headers={"Authorization": "Bearer ops"}) as answer:
        assert answer.status == 204
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert fakes.sessions.closed == ["ops"]
    assert fakes.trace.kinds() == ["session.closed"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        ({"Origin": "http://{host}"}, 204),
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_another_sites_page_cannot_use_the_cookie(
    client: Client, fakes: FakeHouse, headers: dict[str, str], status: int
) -> None:
    own = f"{client.host}:{client.port}"
    sent = {name: value.format(host=own) for name, value in headers.items()}
    sent["Cookie"] = "halfgateway_session=ops"
    async with client.delete("/api/v1/streams/stream-1", headers=sent) as answer:
        assert answer.status == status
    assert bool(fakes.streams.closed) == (status == 204)


async def test_records_that_cannot_be_read_are_a_503(client: Client, fakes: FakeHouse) -> None:
    fakes.sessions.failure = RecordsUnavailableError("down")
    status, problem = await _call(client, "GET", "/cameras", "ops")
    assert (status, problem["type"]) == (503, "urn:halfgateway:problem:state-store-unavailable")


async def test_health_readiness_and_metrics_need_no_login(production_client: Client, fakes: FakeHouse) -> None:
    async with production_client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"alive": True})
    async with production_client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "missing": []})
    fakes.health.waiting_for = ("state-store", "trace")
    async with production_client.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["missing"]) == (503, ["state-store", "trace"])
    async with production_client.get("/metrics") as answer:
        text = await answer.text()
    assert 'halfgateway_http_answers_total{operation="tell_ready",status="503"} 1.0' in text


@pytest.mark.parametrize("path", ["/api/v1/login", "/api/v1/cameras", "/api/v1/docs", "/api/v1/openapi.json", "/"])
async def test_the_plain_port_serves_nothing_else_in_production(production_client: Client, path: str) -> None:  # S01
    async with production_client.get(path) as answer:
        assert answer.status == 404
    async with production_client.post("/api/v1/login", json={"id": "ops", "password": "right"}) as answer:
        assert (answer.status, (await answer.json())["type"]) == (404, "about:blank")


async def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for method, path in (
        ("GET", "/healthz"),
        ("GET", "/nowhere"),
        ("POST", "/api/v1/cameras"),
        ("GET", "/api/v1/trace"),
    ):
        async with client.request(method, path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Server"] == "halfgateway"


async def test_what_the_http_layer_refuses_is_a_problem_too(client: Client) -> None:
    async with client.post("/api/v1/cameras") as answer:
        assert (answer.status, answer.content_type) == (405, "application/problem+json")
        assert answer.headers[hdrs.ALLOW] == "GET"
    async with client.get("/api/v1/nowhere") as answer:
        assert (answer.status, (await answer.json())["title"]) == (404, "Not Found")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), "application/json", 413),
        (b"{}", "text/plain", 415),
        (b"id=ops&password=right", "application/x-www-form-urlencoded", 415),
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"id": "\xff\xfe", "password": "right"}', "application/json", 422),
        (b'{"id": "\\ud800", "password": "right"}', "application/json", 422),
        (b'{"id": "a\\u0000b", "password": "right"}', "application/json", 422),
        (b'{"id": "ops", "password": "right", "admin": true}', "application/json", 422),
        (b"[" * 60_000, "application/json", 422),
    ],
)
async def test_a_malformed_body_is_refused_and_never_repeated(
    client: Client, body: bytes, content_type: str, status: int
) -> None:
    async with client.post("/api/v1/login", data=body, headers={"Content-Type": content_type}) as answer:
        text = await answer.text()
    assert answer.status == status, text
    assert answer.content_type == "application/problem+json"
    assert "right" not in text


def test_every_reason_code_has_a_french_title() -> None:
    declared = [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.Refusal) and error is not errors.Refusal
    ]
    assert len(declared) > 10
    assert [error.code for error in declared if error.code not in TITLES] == []
