"""Asking for streams, seeing them masked, closing them."""

from __future__ import annotations

from typing import Any

import pytest

from auth.principals import Attribution, Role
from auth.purposes import Purpose
from halfgateway.errors import CapReached, InterconnectionCut, TraceUnavailable
from tests.api.conftest import Client
from tests.api.fakes import FakeHouse, principal, stream_of

WISH = {"camera": "cam-1", "mode": "live", "reason": "L251-2-5"}
TICKET_KEYS = ["id", "camera", "mode", "rtsp_url", "rtsps_url", "username", "password", "play_before", "slot"]


async def _post(client: Client, body: object, token: str = "operator") -> tuple[int, dict[str, Any]]:
    async with client.post("/api/v1/streams", json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer.status, await answer.json()


async def _list(client: Client, token: str, query: str = "") -> tuple[int, dict[str, Any]]:
    async with client.get(f"/api/v1/streams{query}", headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer.status, await answer.json()


async def test_a_wish_gives_a_ticket_in_the_promised_shape(client: Client, fakes: FakeHouse) -> None:
    status, ticket = await _post(client, {**WISH, "profile": "main", "reference": "PP-2026-17"})
    assert status == 201
    assert list(ticket) == TICKET_KEYS
    assert ticket["play_before"] == "2026-11-21T10:15:30.000000Z"
    assert (fakes.streams.wishes[0].profile, fakes.streams.wishes[0].reference) == ("main", "PP-2026-17")


@pytest.mark.parametrize("spelling", ["L251-2-5", "L. 251-2, 5°", "l251-2 5"])
async def test_the_purpose_is_stored_by_its_code(client: Client, fakes: FakeHouse, spelling: str) -> None:  # L16
    status, _ = await _post(client, {**WISH, "reason": spelling})
    assert status == 201
    assert fakes.streams.wishes[0].reason is Purpose.SAFETY_OF_PERSONS_AND_GOODS


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"reason": None}, "body.reason"),
        ({"reason": "surveillance de M. Martin"}, "body.reason"),
        ({"reason": 5}, "body.reason"),
        ({"camera": "../etc/passwd"}, "body.camera"),
        ({"mode": "replay"}, "body.mode"),
        ({"mode": "recorded"}, "body.start"),
        ({"mode": "recorded", "start": "2026-11-20"}, "body.start"),
        ({"mode": "recorded", "start": 1763640000}, "body.start"),
        ({"mode": "recorded", "start": "2026-11-20T10:15:00"}, "body.start"),
        ({"mode": "recorded", "start": "0001-01-01T00:00:00+23:59"}, "body.start"),
        ({"mode": "recorded", "start": "2026-13-20T10:15:00Z"}, "body.start"),
        ({"start": "2026-11-20T10:15:00Z"}, "body.start"),
        ({"end": "2026-11-20T10:15:00Z"}, "body.end"),
        (
            {"mode": "recorded", "start": "2026-11-20T10:15:00Z", "end": "2026-11-20T11:15:00+01:00"},
            "body.end",
        ),
        ({"reference": "Martin Jean"}, "body.reference"),
        ({"name": "Martin"}, "body.name"),
    ],
)
async def test_a_malformed_wish_is_refused_where_it_is_wrong(
    client: Client, fakes: FakeHouse, change: dict[str, Any], where: str
) -> None:  # L16
    status, problem = await _post(client, {**WISH, **change})
    assert (status, problem["type"]) == (422, "urn:halfgateway:problem:invalid-request")
    assert [fault["where"] for fault in problem["faults"]] == [where]
    assert not fakes.streams.wishes
    assert fakes.trace.entries[-1].refusal == "invalid-request"


async def test_every_fault_is_listed_at_once(client: Client) -> None:
    wrong = {"mode": "recorded", "end": "yesterday", "reason": "", "profile": "a b", "unknown": 1}
    status, problem = await _post(client, wrong)
    assert status == 422
    assert {fault["where"] for fault in problem["faults"]} == {
        "body.camera",
        "body.start",
        "body.end",
        "body.reason",
        "body.profile",
        "body.unknown",
    }
    assert all(fault["where"] in problem["detail"] for fault in problem["faults"])


async def test_a_recorded_wish_carries_its_range_in_utc(client: Client, fakes: FakeHouse) -> None:
    wish = {**WISH, "mode": "recorded", "start": "2026-11-20T11:15:00+01:00", "end": "2026-11-20T10:30:00Z"}
    assert (await _post(client, wish))[0] == 201
    start = fakes.streams.wishes[0].start
    assert start is not None
    assert start.isoformat() == "2026-11-20T10:15:00+00:00"


async def test_a_refusal_carries_its_code_its_article_and_when_to_come_back(
    client: Client, fakes: FakeHouse
) -> None:  # C01, C05
    fakes.streams.refusal = CapReached("Nombre maximal de Flux atteint (10 sur 10).", retry_after_s=5)
    bearer = {"Authorization": "Bearer operator"}
    async with client.post("/api/v1/streams", json=WISH, headers=bearer) as answer:
        problem = await answer.json()
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Retry-After"] == "5"
    assert problem == {
        "type": "urn:halfgateway:problem:cap-reached",
        "title": "Nombre maximal de Flux atteint",
        "status": 409,
        "detail": "Nombre maximal de Flux atteint (10 sur 10).",
        "article": "article 4",
        "retry_after": 5,
    }
    assert not fakes.trace.entries, "what the door refuses, the door has traced"


async def test_a_cut_is_a_503(client: Client, fakes: FakeHouse) -> None:  # C10
    fakes.streams.refusal = InterconnectionCut()
    status, problem = await _post(client, WISH)
    assert (status, problem["type"], problem["article"]) == (
        503,
        "urn:halfgateway:problem:interconnection-cut",
        "article 8",
    )


@pytest.mark.parametrize("role", ["ops", "officer", "auditor"])
async def test_syn_sees_slots_and_not_who_watches_what(client: Client, role: str) -> None:  # L19
    status, listed = await _list(client, role)
    (stream,) = listed["items"]
    assert status == 200
    assert {name for name, value in stream.items() if value is None} == {
        "account",
        "agent",
        "service",
        "reason",
        "reference",
        "position",
        "idle_since",
        "login_before",
    }
    assert (stream["camera"], stream["slot"], stream["bytes"]) == ("cam-1", "1/10", 1000)


async def test_a_machines_account_is_shown_and_its_agents_are_not(client: Client, fakes: FakeHouse) -> None:  # L19
    machine = stream_of(principal(Role.MACHINE)).model_copy(update={"attribution": Attribution.AGENT_ASSERTED})
    fakes.streams.running = [machine]
    _, listed = await _list(client, "ops")
    (stream,) = listed["items"]
    assert (stream["account"], stream["agent"]) == ("machine", None)


@pytest.mark.parametrize("role", ["officer", "auditor"])
async def test_unmasking_is_traced_with_its_motive(client: Client, fakes: FakeHouse, role: str) -> None:  # L19
    status, listed = await _list(client, role, "?unmask=incident%20du%2021%20novembre")
    assert status == 200
    assert listed["items"][0]["agent"] == "agent-of-operator"
    (entry,) = fakes.trace.entries
    assert (entry.kind.value, entry.account) == ("stream.unmasked", role)
    assert entry.detail == {"motive": "incident du 21 novembre", "streams": ["stream-1"]}


@pytest.mark.parametrize(("role", "status"), [("ops", 403), ("supervisor", 403), ("operator", 403)])
async def test_others_may_not_unmask(client: Client, fakes: FakeHouse, role: str, status: int) -> None:  # L19
    assert (await _list(client, role, "?unmask=curiosite"))[0] == status
    assert fakes.trace.kinds() == ["action.refused"]


@pytest.mark.parametrize("motive", ["", "%20", "a%0Ab"])
async def test_a_motive_is_a_sentence(client: Client, motive: str) -> None:  # L19
    assert (await _list(client, "auditor", f"?unmask={motive}"))[0] == 422


async def test_what_cannot_be_traced_is_not_unmasked(client: Client, fakes: FakeHouse) -> None:  # T01, L19
    fakes.trace.broken = TraceUnavailable()
    status, problem = await _list(client, "auditor", "?unmask=incident")
    assert (status, problem["type"]) == (503, "urn:halfgateway:problem:trace-unavailable")


async def test_an_operator_sees_its_own_and_the_supervisor_all(client: Client, fakes: FakeHouse) -> None:  # S16
    mine, theirs = (stream_of(principal(Role.OPERATOR, name), name) for name in ("operator", "other-operator"))
    fakes.streams.running = [mine, theirs]
    _, own = await _list(client, "operator")
    _, everyone = await _list(client, "supervisor")
    assert [stream["id"] for stream in own["items"]] == ["operator"]
    assert {stream["agent"] for stream in everyone["items"]} == {"agent-of-operator", "agent-of-other-operator"}


async def test_streams_come_in_pages_newest_first(client: Client, fakes: FakeHouse) -> None:
    owner = principal(Role.OPERATOR)
    fakes.streams.running = [stream_of(owner, f"s{age}", age_s=age // 2) for age in range(7)]
    seen: list[str] = []
    query = "?limit=3"
    while True:
        _, page = await _list(client, "supervisor", query)
        seen += [stream["id"] for stream in page["items"]]
        if page["next"] is None:
            break
        assert len(page["items"]) == 3
        query = f"?limit=3&cursor={page['next']}"
    assert seen == ["s1", "s0", "s3", "s2", "s5", "s4", "s6"]


@pytest.mark.parametrize("cursor", ["AAAA", "_", "Zm9v", "a" * 256])
async def test_a_cursor_that_is_not_ours_is_refused(client: Client, cursor: str) -> None:
    assert (await _list(client, "supervisor", f"?cursor={cursor}"))[0] == 422


@pytest.mark.parametrize("query", ["?limit=0", "?limit=501", "?limit=x", "?limit=1&limit=2", "?page=2"])
async def test_a_malformed_query_is_refused(client: Client, query: str) -> None:
    assert (await _list(client, "supervisor", query))[0] == 422


@pytest.mark.parametrize(
    ("token", "stream", "status"),
    [
        ("operator", "stream-1", 204),
        ("supervisor", "stream-1", 204),
        ("ops", "stream-1", 204),
        ("other-operator", "stream-1", 403),
        ("machine", "stream-1", 403),
        ("operator", "stream-9", 404),
    ],
)
async def test_a_stream_is_closed_by_its_owner_the_supervisor_or_operations(
    client: Client, fakes: FakeHouse, token: str, stream: str, status: int
) -> None:  # S16
    bearer = {"Authorization": f"Bearer {token}"}
    async with client.delete(f"/api/v1/streams/{stream}?reason=fin", headers=bearer) as answer:
        assert answer.status == status
    assert fakes.streams.closed == ([(stream, token, "fin")] if status == 204 else [])
    assert fakes.trace.kinds() == (["action.refused"] if status == 403 else [])


@pytest.mark.parametrize(
    ("token", "stream", "body", "status"),
    [
        ("operator", "stream-1", {}, 204),
        ("machine", "stream-1", {"assertion": "a.b.c"}, 204),
        ("machine", "stream-1", {}, 403),
        ("supervisor", "stream-1", {}, 403),
        ("operator", "stream-9", {}, 404),
        ("operator", "stream-1", {"agent": "pp-1"}, 422),
    ],
)
async def test_a_stream_is_handed_over_to_who_asks_or_is_asserted(
    client: Client, fakes: FakeHouse, token: str, stream: str, body: dict[str, Any], status: int
) -> None:  # S15
    bearer = {"Authorization": f"Bearer {token}"}
    async with client.post(f"/api/v1/streams/{stream}/handover", json=body, headers=bearer) as answer:
        assert answer.status == status
    asked = [(stream, token, body.get("assertion"))] if status in {204, 404} else []
    assert fakes.streams.handed_over == asked
    assert fakes.trace.kinds() == (["action.refused"] if status in {403, 422} else [])


@pytest.mark.parametrize(
    ("role", "services"),
    [("supervisor", {"DOPC", "DRPJ"}), ("ops", {None}), ("officer", {None}), ("auditor", {None})],
)
async def test_syn_sees_how_many_slots_are_reserved_and_not_for_whom(
    client: Client, role: str, services: set[str | None]
) -> None:  # S16, L19
    async with client.get("/api/v1/reservations", headers={"Authorization": f"Bearer {role}"}) as answer:
        listed = await answer.json()
    assert {each["service"] for each in listed["items"]} == services
    assert sorted(each["slots"] for each in listed["items"]) == [1, 2]


@pytest.mark.parametrize(
    "change", [{"slots": 0}, {"slots": "two"}, {"until": "tomorrow"}, {"service": ""}, {"service": "a\nb"}, {"cap": 11}]
)
async def test_a_malformed_reservation_is_refused(client: Client, fakes: FakeHouse, change: dict[str, Any]) -> None:
    # S16
    wish = {"service": "DOPC", "slots": 2, "until": "2026-11-21T12:00:00Z", **change}
    bearer = {"Authorization": "Bearer supervisor"}
    async with client.post("/api/v1/reservations", json=wish, headers=bearer) as answer:
        assert answer.status == 422
    assert fakes.reservations.acts == []
