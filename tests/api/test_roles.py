"""Who may call what: the whole matrix, against the interface's table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from auth.principals import Role
from halfgateway.api.application import OPERATIONS, build_application
from tests.api.fakes import FakeHouse

ALL = set(Role)
WATCHERS = {Role.OPERATOR, Role.MACHINE}
CODE_ROLES = {Role.OPS, Role.OFFICER, Role.AUDITOR}
KEEPERS = {Role.OFFICER, Role.AUDITOR}
KEEPING_ORDER = {Role.OPS, Role.OFFICER}
_INCIDENT = "/api/v1/incidents/incident-1"
_START = "2026-11-21T00:00:00Z"
_BY = {"authority": "préfet de police", "reference": "PP-17"}
_AGENT = {"id": "pp-1", "administration": "PP", "service": "DOPC", "start": _START, **_BY}
_ORDER = {
    "reference": "78-1",
    "type": "normal",
    "perimeter": {"cameras": ["cam-1"]},
    "place": "voie publique",
    "recipients": ["DOPC"],
    "live": True,
    "recorded": True,
    "retention_min_days": 10,
    "retention_max_days": 30,
    "signed_on": "2026-01-01",
    "last_day": "2030-12-31",
}
_HANDS = {Role.OPS, Role.OFFICER}
_TOLD = {*_HANDS, Role.AUDITOR, Role.SUPERVISOR}
_CHANGE = {"party": "PP", "title": "Pare-feu", "description": "x", "wished_on": "2027-01-10"}
_DECIDED = {"major": True, "project_structure": False, "decided_by": "comité", "reference": "CT-7"}
_WINDOW = {"start": "2026-12-01T22:00:00Z", "end": "2026-12-02T02:00:00Z", "reason": "mise à jour"}
_ACT = {"kind": "denounced", "party": "PP", "reference": "LRAR 1A", "day": "2026-11-20"}
_RUN = {
    "place": "Versailles",
    "reference": "PV-1",
    "answers": [],
    "signatories": [{"party": "PP", "name": "A", "function": "chef de projet"}],
}
_CUT = {"ground": "drill", "reason": "essai"}
_HOLD = {"camera": "cam-1", "start": _START, "end": "2026-11-21T01:00:00Z", "reference": "TJ78-1"}
_SEALED = {"medium": "scellé 12", "manifest_sha256": "0" * 64}
_ASKED = {"sort": "request", "channel": "mail", "service": "DOPC"}
_WISH = {"camera": "cam-1", "mode": "live", "reason": "L251-2-5"}
_EXPORT = {"camera": "cam-1", "start": _START, "end": "2026-11-21T01:00:00Z", "reason": "L251-2-5"}

# Who may what, written out once more by hand: a table that agrees with itself shows nothing.
MATRIX: list[tuple[str, str, dict[str, Any] | None, set[Role]]] = [
    ("POST", "/api/v1/logout", None, ALL),
    ("GET", "/api/v1/cameras", None, ALL),
    ("GET", "/api/v1/cameras/cam-1", None, ALL),
    ("GET", "/api/v1/cameras/cam-1/recordings", None, WATCHERS),
    ("POST", "/api/v1/streams", _WISH, WATCHERS),
    ("GET", "/api/v1/streams", None, ALL - {Role.MACHINE}),
    (
        "DELETE",
        "/api/v1/streams/stream-1",
        None,
        {Role.OPERATOR, Role.MACHINE, Role.SUPERVISOR, Role.OPS, Role.OFFICER},
    ),
    ("POST", "/api/v1/streams/stream-1/handover", {"assertion": "a.b.c"}, WATCHERS),
    ("GET", "/api/v1/reservations", None, {Role.SUPERVISOR, Role.OPS, Role.OFFICER, Role.AUDITOR}),
    ("POST", "/api/v1/reservations", {"service": "DOPC", "slots": 2, "until": _START}, {Role.SUPERVISOR}),
    ("POST", "/api/v1/reservations/r-1/pass", {"service": "DRPJ"}, {Role.SUPERVISOR}),
    ("DELETE", "/api/v1/reservations/r-1", None, {Role.SUPERVISOR}),
    ("POST", "/api/v1/exports", _EXPORT, WATCHERS),
    ("GET", "/api/v1/exports", None, WATCHERS),
    ("GET", "/api/v1/exports/export-1", None, WATCHERS),
    ("DELETE", "/api/v1/exports/export-1", None, WATCHERS),
    ("GET", "/api/v1/exports/export-1/files/cam-1.mp4", None, WATCHERS),
    ("GET", "/api/v1/interconnection", None, ALL),
    ("POST", "/api/v1/interconnection/cut", _CUT, {Role.OPS, Role.OFFICER}),
    (
        "POST",
        "/api/v1/interconnection/restore",
        {"incident": "incident-1", "reason": "fin"},
        {Role.OPS, Role.OFFICER},
    ),
    ("GET", "/api/v1/interconnection/preflight", None, {Role.OPS, Role.OFFICER}),
    ("POST", "/api/v1/interconnection/degrade", {"mode": "live-only", "reason": "panne"}, KEEPING_ORDER),
    ("GET", "/api/v1/incidents", None, CODE_ROLES),
    ("GET", "/api/v1/incidents/incident-1", None, CODE_ROLES),
    ("GET", "/api/v1/correspondence", None, CODE_ROLES),
    ("GET", "/api/v1/correspondence/test-2026-11", None, CODE_ROLES),
    ("POST", "/api/v1/incidents", {"reason": "panne"}, KEEPING_ORDER),
    (
        "POST",
        "/api/v1/incidents/report",
        {"reported_by": "salle", "reason": "panne"},
        {*KEEPING_ORDER, Role.SUPERVISOR, Role.MACHINE},
    ),
    ("POST", f"{_INCIDENT}/revise", {"t0": _START, "reason": "journal"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/note", {"text": "onduleur"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/step", {"text": "en cours", "next_by": "2026-11-22T00:00:00Z"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/classify", {"critical": False, "reason": "non"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/acknowledge", {"contact": "permanence"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/escalate", {"level": 2, "contact": "astreinte"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/clock", {"clock": "nis2-24h", "start": _START, "hours": 24}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/clock/stop", {"clock": "cnil-72h", "done": "notifié"}, KEEPING_ORDER),
    ("POST", f"{_INCIDENT}/resolve", {"reason": "fin"}, KEEPING_ORDER),
    ("POST", "/api/v1/admin/reload", None, {Role.OPS}),
    ("GET", "/api/v1/sessions", None, ALL),
    ("DELETE", "/api/v1/sessions/session-1", None, ALL),
    ("GET", "/api/v1/assertion-keys", None, {Role.OFFICER, Role.AUDITOR}),
    ("POST", "/api/v1/assertion-keys", {"public_key": "PEM", "reference": "PP-1"}, {Role.OFFICER}),
    ("POST", "/api/v1/assertion-keys/pp-2026/revoke", {"reason": "perte"}, {Role.OFFICER}),
    ("PUT", "/api/v1/admin/crl", {"pem": "PEM"}, {Role.MACHINE, Role.OFFICER}),
    ("POST", "/api/v1/recovery-codes", None, CODE_ROLES),
    ("GET", "/api/v1/break-glass", None, {Role.OFFICER, Role.AUDITOR}),
    ("POST", "/api/v1/break-glass", {"role": "ops"}, {Role.OFFICER}),
    ("POST", "/api/v1/break-glass/7/report", {"text": "panne"}, {Role.OFFICER}),
    ("GET", "/api/v1/interventions", None, CODE_ROLES),
    ("POST", "/api/v1/interventions", {"person": "tech-4", "reason": "disque"}, {Role.OPS, Role.OFFICER}),
    ("POST", "/api/v1/interventions/3/end", None, {Role.OPS, Role.OFFICER}),
    ("GET", "/api/v1/trace", None, {Role.AUDITOR}),
    ("GET", "/api/v1/trace/checkpoints", None, {Role.AUDITOR, Role.MACHINE}),
    ("GET", "/api/v1/trace/node-1/412/proof", None, {Role.AUDITOR}),
    ("GET", "/api/v1/trace/node-1/consistency?from=2&to=4", None, {Role.AUDITOR, Role.MACHINE}),
    ("POST", "/api/v1/trace/cosign", {"note": "halfgateway/node-1"}, {Role.MACHINE}),
    ("GET", "/api/v1/trace/statement", None, CODE_ROLES),
    # these two from the node's own machine alone
    ("POST", "/api/v1/trace/keys", {"reason": "terme"}, set()),
    ("POST", "/api/v1/trace/disclosures", {"kind": "trace.read", "detail": {}}, set()),
    ("GET", "/api/v1/trace/export", None, {Role.AUDITOR}),
    ("POST", "/api/v1/trace/purges", {"class": "access", "older_than_days": 400, "visa": "AD78"}, {Role.OFFICER}),
    ("GET", "/api/v1/agents", None, KEEPERS),
    ("POST", "/api/v1/agents", _AGENT, {Role.OFFICER}),
    ("POST", "/api/v1/agents/bootstrap", {"id": "syn-1", **_BY}, {Role.OFFICER}),
    ("POST", "/api/v1/agents/import", {"list": "x", "signature": "eA==", "key": "k", **_BY}, {Role.OFFICER}),
    ("GET", "/api/v1/agents/pp-1", None, KEEPERS),
    ("POST", "/api/v1/agents/pp-1/end", {"reason": "départ", "reference": "PP-9"}, {Role.OFFICER}),
    ("POST", "/api/v1/agents/pp-1/factors", {"kind": "totp", "role": "ops"}, {Role.OFFICER}),
    ("GET", "/api/v1/habilitations?on=2026-11-21", None, KEEPERS),
    ("POST", "/api/v1/habilitations", {"agent": "pp-1", "role": "operator", "start": _START, **_BY}, {Role.OFFICER}),
    ("POST", "/api/v1/habilitations/h-1/end", {"reason": "départ"}, {Role.OFFICER}),
    ("POST", "/api/v1/habilitations/h-1/confirm", {"reference": "revue-1"}, {Role.OFFICER}),
    ("GET", "/api/v1/blocks", None, KEEPERS),
    (
        "POST",
        "/api/v1/blocks",
        {"kind": "agent", "subject": "pp-1", "ground": "security", "reason": "doute"},
        {Role.OFFICER},
    ),
    ("POST", "/api/v1/blocks/b-1/lift", {"reason": "levé"}, {Role.OFFICER}),
    ("GET", "/api/v1/orders", None, {*KEEPERS, Role.OPS}),
    ("POST", "/api/v1/orders", _ORDER, {Role.OFFICER}),
    ("POST", "/api/v1/orders/import", {"orders": [_ORDER]}, {Role.OFFICER}),
    ("POST", "/api/v1/orders/78-1/suspend", {"reason": "recours"}, {Role.OFFICER}),
    ("POST", "/api/v1/orders/78-1/resume", {"reason": "rejet"}, {Role.OFFICER}),
    ("POST", "/api/v1/orders/78-1/withdraw", {"reason": "abrogation"}, {Role.OFFICER}),
    ("GET", "/api/v1/changes", None, _TOLD),
    ("POST", "/api/v1/changes", _CHANGE, _HANDS),
    ("POST", "/api/v1/changes/1/classify", _DECIDED, _HANDS),
    ("POST", "/api/v1/changes/1/agree", {"party": "PP", "not_before": "2026-12-01", "reference": "PP-3"}, _HANDS),
    ("POST", "/api/v1/changes/1/schedule", {"day": "2027-01-10"}, _HANDS),
    ("POST", "/api/v1/changes/1/live", None, _HANDS),
    ("POST", "/api/v1/changes/1/withdraw", {"reason": "abandon"}, _HANDS),
    ("GET", "/api/v1/windows", None, _TOLD),
    ("POST", "/api/v1/windows", _WINDOW, _HANDS),
    ("POST", "/api/v1/windows/1/withdraw", {"reason": "reportée"}, _HANDS),
    ("GET", "/api/v1/annexes", None, CODE_ROLES),
    ("GET", "/api/v1/annexes/diagram", None, CODE_ROLES),
    ("POST", "/api/v1/annexes/1", {"party": "SYN", "summary": "schéma"}, _HANDS),
    ("POST", "/api/v1/annexes/6/1/oppose", {"party": "SYN", "reason": "site inconnu"}, _HANDS),
    ("GET", "/api/v1/annexes/6/1/document", None, CODE_ROLES),
    ("GET", "/api/v1/charter", None, ALL),
    ("POST", "/api/v1/charter/acknowledge", {"version": 1}, {Role.OPERATOR, Role.SUPERVISOR}),
    ("GET", "/api/v1/convention", None, _TOLD),
    ("POST", "/api/v1/convention/acts", _ACT, {Role.OFFICER}),
    ("GET", "/api/v1/acceptance", None, CODE_ROLES),
    ("GET", "/api/v1/acceptance/plan", None, CODE_ROLES),
    ("POST", "/api/v1/acceptance", _RUN, {Role.OFFICER}),
    ("GET", "/api/v1/acceptance/1", None, CODE_ROLES),
    ("GET", "/api/v1/holds", None, CODE_ROLES),
    ("POST", "/api/v1/holds", _HOLD, {Role.OFFICER}),
    ("POST", "/api/v1/holds/1/release", {"reason": "mainlevée"}, {Role.OFFICER}),
    ("POST", "/api/v1/holds/1/extraction", None, {Role.OFFICER}),
    ("POST", "/api/v1/holds/1/sealed", _SEALED, {Role.OFFICER}),
    ("GET", "/api/v1/requests", None, CODE_ROLES),
    ("POST", "/api/v1/requests", _ASKED, _HANDS),
    ("POST", "/api/v1/requests/1/answer", {"outcome": "served", "text": "remise"}, _HANDS),
    ("GET", "/api/v1/retention", None, CODE_ROLES),
    ("POST", "/api/v1/retention/probe", None, _HANDS),
]
PUBLIC = {"/api/v1/login", "/api/v1/openapi.json", "/api/v1/docs", "/healthz", "/readyz", "/metrics"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[FakeHouse, TestClient[web.Request, web.Application]]]:
    """One house and its API for all tests in which nothing is done."""
    fakes = FakeHouse()
    async with TestClient(TestServer(build_application(fakes.ports(), full_api_on_http=True))) as client:
        yield fakes, client


_CASES = [
    pytest.param(method, path, body, role, role in allowed, id=f"{method} {path} {role}")
    for method, path, body, allowed in MATRIX
    for role in Role
]


@pytest.mark.parametrize(("method", "path", "body", "role", "allowed"), _CASES)
async def test_a_role_may_do_what_the_interface_says_and_no_more(
    client: TestClient[web.Request, web.Application],
    fakes: FakeHouse,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    role: Role,
    allowed: bool,
) -> None:  # L19, T10, T11
    bearer = {"Authorization": f"Bearer {role}"}
    async with client.request(method, path, json=body, headers=bearer) as answer:
        problem = await answer.json() if "json" in answer.content_type else None
    if allowed and not (role is Role.MACHINE and (method, path) == ("DELETE", "/api/v1/streams/stream-1")):
        assert answer.status < 300, problem
        assert "action.refused" not in fakes.trace.kinds()
        return
    assert problem is not None
    assert (answer.status, problem["type"]) == (403, "urn:halfgateway:problem:not-habilitated")
    refused = fakes.trace.entries[-1]
    assert (refused.kind.value, refused.account) == ("action.refused", role.value)
    assert refused.refusal == "not-habilitated"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("method", "path", "body"), [row[:3] for row in MATRIX])
@pytest.mark.parametrize("authorization", [None, "Bearer unknown", "Basic b3BzOm9wcw==", "Bearer", "Bearer  "])
async def test_without_a_session_nothing_is_done(
    shared: tuple[FakeHouse, TestClient[web.Request, web.Application]],
    method: str,
    path: str,
    body: dict[str, Any] | None,
    authorization: str | None,
) -> None:  # C08
    fakes, client = shared
    fakes.trace.entries.clear()
    headers = {"Authorization": authorization} if authorization else {}
    async with client.request(method, path, json=body, headers=headers) as answer:
        problem = await answer.json()
    assert (answer.status, problem["type"]) == (401, "urn:halfgateway:problem:unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert fakes.trace.kinds() == (["auth.failed"] if authorization == "Bearer unknown" else [])


async def test_a_token_that_opens_nothing_is_traced_with_its_reason(
    client: TestClient[web.Request, web.Application], fakes: FakeHouse
) -> None:  # C08
    async with client.get("/api/v1/streams", headers={"Authorization": "Bearer guessed"}) as answer:
        assert "session" not in await answer.text()
    (failed,) = fakes.trace.entries
    assert failed.detail == {"action": "GET /api/v1/streams", "reason": "session-unknown"}
    assert failed.source == "127.0.0.1"


def test_every_door_is_in_the_matrix_and_says_what_it_traces(fakes: FakeHouse) -> None:  # T10
    application = build_application(fakes.ports())
    declared = {(operation.method, operation.path) for operation in application[OPERATIONS]}
    routed = {(route.method, route.resource.canonical) for route in application.router.routes() if route.resource}
    assert routed == declared
    assert len(declared) == len(MATRIX) + len(PUBLIC)
    assert {operation.path for operation in application[OPERATIONS] if operation.roles is None} == PUBLIC
    for operation in application[OPERATIONS]:
        acts = operation.method != "GET" or bool(operation.traces)
        assert acts == bool(operation.traces), f"{operation.name} acts and leaves no entry"
