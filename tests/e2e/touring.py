"""A tour of the API: every call is made on a real node, and names what it leaves in the trace (T10)."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

import halfgateway.app.answering
from auth.trace import Entry, Kind
from auth.trace.reader import TraceReader
from auth.trace.retention import Retention
from camera_registry.clock import SystemClock
from halfgateway.api.application import OPERATIONS, build_application
from halfgateway.api.history import PurgeService
from halfgateway.api.paths import API
from halfgateway.config import ConfigurationFile
from ops.acceptance import CHECKS
from tests.api.fakes import FakeHouse
from tests.asserting import public_pem
from tests.e2e.conftest import SWIFT, Gateway
from tests.e2e.exporting import open_exporting
from tests.exporting.footages import Reel

DECLARED = {
    (operation.method, operation.path): frozenset(operation.traces)
    for operation in build_application(FakeHouse().ports())[OPERATIONS]
}
"""Every operation of the application, and the kinds that it says it leaves."""

BY = {"authority": "préfet de police", "reference": "PP-17"}
"""On whose authority what PP designates is recorded."""

A_YEAR = timedelta(days=365)


def route_of(method: str, path: str) -> tuple[str, str]:
    """The declared operation that a call reaches: a literal path before one with names in it."""
    path = path.partition("?")[0]
    for template in (each for verb, each in sorted(DECLARED) if verb == method):
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path):
            literal = (method, path) in DECLARED
            return (method, path) if literal else (method, template)
    raise AssertionError(f"{method} {path} is no operation")


class Tour:
    """Calls one after the other; what each has left in the trace is asserted at once, and remembered by its route."""

    def __init__(self, gateway: Gateway, reel: Reel) -> None:
        self.gateway = gateway
        self.reel = reel
        self.shown: dict[tuple[str, str], set[Kind]] = {}
        self._size = 0

    async def call(
        self, who: str | None, method: str, path: str, body: object = None, leaves: tuple[Kind, ...] = (), **how: Any
    ) -> dict[str, Any]:
        """One call as ``who``, which must succeed unless ``status`` says otherwise; its JSON."""
        path = path if path.startswith(("/health", "/ready", "/metrics")) else API + path
        token = how.pop("token", None) or (await self.gateway.token(who) if who is not None else None)
        await self._forget_the_past()
        wanted, port = how.pop("status", None), how.pop("port", "http")
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with self.gateway.http.request(
            method, self.gateway.ready[port] + path, json=body, headers=headers, **how
        ) as answer:
            said = await answer.text(errors="replace")
            assert answer.status < 300 if wanted is None else answer.status == wanted, (method, path, said)
            document = await answer.json() if "json" in answer.content_type and said else {}
        await self.told(method, path, leaves)
        return document if isinstance(document, dict) else {}

    async def told(self, method: str, path: str, leaves: tuple[Kind, ...]) -> None:
        """Wait for the entries of these kinds, and for no others."""
        left: set[Kind] = set()
        async with asyncio.timeout(20):
            while not (left := {entry.kind for entry in await self._new()}) >= set(leaves):
                await asyncio.sleep(0.01)
        assert left == set(leaves), (method, path)
        self.shown.setdefault(route_of(method, path), set()).update(left)

    async def _forget_the_past(self) -> None:
        seen = await self._new()  # what is read may be durable before the journal counts it
        self._size = max([self.gateway.node.journal.size, *(entry.n + 1 for entry in seen)])

    async def _new(self) -> list[Entry]:
        """What was recorded since of someone's acts: the node's own life has neither account nor source."""
        page = await TraceReader.of(self.gateway.node.journal.folder, self.gateway.node.journal.node).entries(limit=50)
        return [entry for entry in page.items if entry.n >= self._size and (entry.account is not None or entry.source)]


class InTwoYears(SystemClock):
    """For whom what was just recorded has been kept long enough."""

    def now(self) -> Any:
        return super().now() + 2 * A_YEAR


def purges_in_two_years(journal: Any, _retention: Any, _clock: Any) -> PurgeService:
    decided = Retention(A_YEAR, A_YEAR, A_YEAR, A_YEAR, "décision n° 1", None)
    return PurgeService(journal, lambda: decided, InTwoYears())


@asynccontextmanager
async def on_tour(folder: Path) -> AsyncIterator[Tour]:
    """A gateway that can be asked for anything: it reads a configuration again, and something is due for a purge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halfgateway.app.answering, "PurgeService", purges_in_two_years)
        async with open_exporting(folder, SWIFT) as exporting:
            gateway = exporting.gateway
            in_force = ConfigurationFile(folder / "gateway.toml", "0" * 64, gateway.node.configuration)
            patch.setattr(gateway.node.in_force, "_file", in_force)
            patch.setattr(ConfigurationFile, "read", lambda _path: in_force)
            yield Tour(gateway, exporting.reel)


def signed_list() -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    text = "agent,service,role,start\npp-list-1,PJ,operator,2026-01-01\n"
    signature = base64.b64encode(key.sign(text.encode(), ec.ECDSA(SHA256()))).decode()
    return {"list": text, "signature": signature, "key": public_pem(key), **BY}


def acceptance_run() -> dict[str, Any]:
    """A run in which people answer that all is well."""
    return {
        "place": "Versailles",
        "reference": "PV-2",
        "answers": [
            {"check": check.id, "passed": True, "observation": "vu"} for check in CHECKS if not check.automatic
        ],
        "signatories": [{"party": party, "name": "A", "function": "chef de projet"} for party in ("PP", "SYN")],
    }
