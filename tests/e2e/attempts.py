"""Attempts that must fail, each from an address of its own: what one source may try does not hide what the next may."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp

from auth.trace import Entry, Kind
from tests.e2e.conftest import until
from tests.e2e.pki import Pki

_addresses = count(2)

REFUSALS = {Kind.AUTH_FAILED, Kind.ASSERTION_REFUSED, Kind.STREAM_REFUSED, Kind.ACTION_REFUSED, Kind.AUTH_LOCKED}


@dataclass
class Told:
    """What whoever failed was told: all of it."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


def new_source() -> str:
    """One more loopback address."""
    number = next(_addresses)
    return f"127.0.{number // 250 + 1}.{number % 250 + 2}"


@asynccontextmanager
async def calling(source: str) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that comes from this address."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        yield http


async def told_of(answer: aiohttp.ClientResponse) -> Told:
    """Everything but the date."""
    headers = sorted((name.lower(), value) for name, value in answer.headers.items() if name.lower() != "date")
    return Told(answer.status, await answer.read(), tuple(headers))


async def post(
    pki: Pki, path: str, body: dict[str, Any], *, source: str, tls: ssl.SSLContext | None, token: str | None = None
) -> Told:
    """One call, over TLS where there is a context for it."""
    ready = pki.gateway.ready
    url = (ready["http"] if tls is None else ready["https"]) + "/api/v1" + path
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with calling(source) as http, http.post(url, json=body, ssl=tls or True, headers=headers) as answer:
        return await told_of(answer)


async def refusals(pki: Pki, source: str, found: Callable[[Entry], bool] = lambda _: True) -> list[Entry]:
    """Wait for the entries of what this address was refused."""

    async def wanted() -> list[Entry]:
        return [
            entry
            for entry in await pki.gateway.trace()
            if entry.source == source and entry.kind in REFUSALS and found(entry)
        ]

    async def are_told() -> bool:
        return bool(await wanted())

    await until(are_told)
    return await wanted()
