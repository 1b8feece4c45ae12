"""The OpenAPI document is valid, and the API keeps to it whatever it is sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from auth.principals import Role
from auth.purposes import Purpose
from halfgateway.api.application import OPERATIONS, build_application
from halfgateway.api.openapi import openapi_document
from tests.api.conftest import Client
from tests.api.fakes import FakeHouse

EXAMPLES = 10


class LiveServer:
    """The API in a thread of its own, for a tester that blocks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(build_application(FakeHouse().ports(), full_api_on_http=True), access_log=None)
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-under-test")

    def start(self) -> str:
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        return f"http://{host}:{port}"


@pytest.fixture(scope="module")
def live_url() -> Iterator[str]:
    server = LiveServer()
    yield server.start()
    server.stop()


def _cases() -> list[Any]:
    application = build_application(FakeHouse().ports(), full_api_on_http=True)
    operations = application[OPERATIONS]
    declared = {operation.name: operation for operation in operations}
    document = openapi_document(operations, version="0", description="under test")
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    tested = [result.ok() for result in found if isinstance(result, Ok)]
    assert len(tested) == len(declared)
    cases = []
    for operation in tested:
        ours = declared[operation.definition.raw["operationId"]]
        role = min(ours.roles or {Role.OPS})
        takes_input = ours.path_model or ours.query_model or ours.body_model
        modes = list(GenerationMode) if takes_input else [GenerationMode.POSITIVE]
        cases += [pytest.param(operation, role, mode, id=f"{operation.label} {mode.value}") for mode in modes]
    return cases


def _breaks_a_rule_that_no_schema_can_say(answer: Any) -> bool:
    """A period that ends before it starts, an incident to come, an instant or cursor that only looks like one."""
    if answer.status_code != 422:
        return False
    detail = answer.json()["detail"]
    rules = (
        *("is not after the start", "in the future", "no such instant", "cursor : inconnu"),
        *(
            "est à venir",
            "signalements sont en cours",
            "mode dégradé de ce nom",
            "no such day",
            "no such network",
            "an order names",
            "the last day is",
            "retention is at least",
        ),
    )
    return any(rule in detail for rule in rules)


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize(("operation", "role", "mode"), _cases())
def test_the_api_keeps_to_its_document(live_url: str, operation: Any, role: Role, mode: GenerationMode) -> None:
    bearer = {"Authorization": f"Bearer {role}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def keeps_to_it(case: Any) -> None:
        answer = case.call(base_url=live_url, headers=bearer)
        excluded = [positive_data_acceptance] if _breaks_a_rule_that_no_schema_can_say(answer) else []
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # a refusal that schemathesis does not count
            excluded.append(negative_data_rejection)
        case.validate_response(answer, excluded_checks=excluded, headers=bearer)

    keeps_to_it()


async def test_the_document_is_valid_openapi_3_1(client: Client) -> None:
    async with client.get("/api/v1/openapi.json") as answer:
        document = await answer.json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


async def test_the_document_lists_the_purposes_and_the_reason_codes(client: Client) -> None:  # L16
    async with client.get("/api/v1/openapi.json") as answer:
        document = await answer.json()
    purposes = document["components"]["schemas"]["Purpose"]["enum"]
    assert purposes == [purpose.value for purpose in Purpose]
    refusals = document["paths"]["/api/v1/streams"]["post"]["responses"]
    assert "cap-reached" in refusals["409"]["description"]
    assert "interconnection-cut" in refusals["503"]["description"]
    assert list(refusals["409"]["content"]) == ["application/problem+json"]


async def test_the_page_for_people_asks_nothing_of_anyone(client: Client) -> None:
    async with client.get("/api/v1/docs") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert answer.content_type == "text/html"
    for outside in ("<script", "src=", "http://", "https://", "@import", "url("):
        assert outside not in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    for path in ("/api/v1/streams", "/api/v1/trace/{node}/{n}/proof", "/readyz"):
        assert f"<code>{path}</code>" in page
