"""Exports over HTTP: their shape, their owner, and files that are sent for as long as they may be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from halfgateway.errors import InterconnectionCut, NotHabilitated
from tests.api.fake_exports import FILM
from tests.api.fakes import FakeHouse

Client = TestClient[web.Request, web.Application]
WISH = {
    "camera": "cam-1",
    "start": "2026-11-21T00:00:00Z",
    "end": "2026-11-21T01:00:00Z",
    "reason": "L. 251-2, 5\N{DEGREE SIGN}",
    "reference": "PP-2026-7",
}
OPERATOR = {"Authorization": "Bearer operator"}
FILE = "/api/v1/exports/export-1/files/cam-1.mp4"


async def told(fakes: FakeHouse) -> None:
    """Wait until it is told how much of a file went."""
    async with asyncio.timeout(10):
        while not fakes.exports.sent:
            await asyncio.sleep(0.01)


@pytest.fixture
def kept(fakes: FakeHouse, tmp_path: Path) -> FakeHouse:
    fakes.exports.folder = tmp_path
    return fakes


async def test_an_export_is_taken_on_and_shown(client: Client, fakes: FakeHouse) -> None:
    async with client.post("/api/v1/exports", json=WISH, headers=OPERATOR) as answer:
        assert answer.status == 202
        export = await answer.json()
    (wish,) = fakes.exports.wishes
    assert (wish.reason.value, wish.reference) == ("L251-2-5", "PP-2026-7")
    assert set(export) == {
        *("id", "camera", "start", "end", "state", "percent", "bytes", "asked_at", "finished_at", "kept_until"),
        *("cause", "detail", "files"),
    }
    assert (export["state"], export["percent"], export["files"][0]["name"]) == ("done", 100, "cam-1.mp4")
    async with client.get("/api/v1/exports", headers=OPERATOR) as answer:
        assert [each["id"] for each in (await answer.json())["items"]] == ["export-1"]


@pytest.mark.parametrize(
    "fault",
    [{"end": WISH["start"]}, {"end": None}, {"reason": "curiosity"}, {"camera": "../x"}, {"mode": "live"}],
    ids=str,
)
async def test_a_wish_that_is_none_is_refused(client: Client, fakes: FakeHouse, fault: dict[str, Any]) -> None:
    async with client.post("/api/v1/exports", json=WISH | fault, headers=OPERATOR) as answer:
        assert answer.status == 422
    assert fakes.exports.wishes == []


async def test_a_refusal_is_the_answer(client: Client, fakes: FakeHouse) -> None:
    fakes.exports.refusal = NotHabilitated("Aucun export n'est convenu entre les parties (article 6).")
    async with client.post("/api/v1/exports", json=WISH, headers=OPERATOR) as answer:
        assert (answer.status, (await answer.json())["type"]) == (403, "urn:halfgateway:problem:not-habilitated")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_another_agents_export_is_not_shown_nor_ended(client: Client, fakes: FakeHouse, method: str) -> None:
    # L19
    other = {"Authorization": "Bearer other-operator"}
    async with client.request(method, "/api/v1/exports/export-1", headers=other) as answer:
        assert (answer.status, fakes.exports.cancelled) == (403, [])
    assert fakes.trace.kinds() == ["action.refused"]
    async with client.get(FILE, headers=other) as answer:
        assert answer.status == 403
    async with client.get("/api/v1/exports/unknown", headers=OPERATOR) as answer:
        assert (answer.status, (await answer.json())["type"]) == (404, "urn:halfgateway:problem:unknown-export")


async def test_a_file_comes_whole(client: Client, kept: FakeHouse) -> None:
    async with client.get(FILE, headers=OPERATOR) as answer:
        assert (answer.status, answer.content_type, answer.content_length) == (200, "video/mp4", len(FILM))
        assert answer.headers["Content-Disposition"] == 'attachment; filename="cam-1.mp4"'
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.read() == FILM
    await told(kept)
    assert kept.exports.sent == [len(FILM)]
    async with client.get("/api/v1/exports/export-1/files/other.mp4", headers=OPERATOR) as answer:
        assert answer.status == 404


async def test_a_cut_ends_a_file_on_its_way(client: Client, kept: FakeHouse) -> None:
    # article 8: its reader takes nothing, so most of it is still to be sent
    async with client.get(FILE, headers=OPERATOR) as answer:
        await answer.content.readany()
        kept.exports.allowed = False
        await told(kept)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert kept.exports.sent[0] < len(FILM)


async def test_while_cut_no_file_begins(client: Client, kept: FakeHouse) -> None:
    kept.exports.refusal = InterconnectionCut("Coupée.")
    async with client.get(FILE, headers=OPERATOR) as answer:
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
