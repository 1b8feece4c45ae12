"""The API on a real loopback port, with fakes behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from halfgateway.api.application import build_application
from tests.api.fakes import FakeHouse

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def fakes() -> FakeHouse:
    return FakeHouse()


@pytest.fixture
async def client(fakes: FakeHouse) -> AsyncIterator[Client]:
    """A client of the demo's plain port: the whole API answers there."""
    server = TestServer(build_application(fakes.ports(), full_api_on_http=True))
    async with TestClient(server) as opened:
        yield opened


@pytest.fixture
async def production_client(fakes: FakeHouse) -> AsyncIterator[Client]:
    """A client of a production node's plain port."""
    server = TestServer(build_application(fakes.ports()))
    async with TestClient(server) as opened:
        yield opened
