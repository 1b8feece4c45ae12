"""Exports through a running gateway: asked for, made, fetched, verified; off unless agreed (L14, L15, S14)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import av
import pytest
import pytest_asyncio

from auth.trace import Kind
from camera_registry.clock import rfc3339
from halfgateway.app.extracting import extract_held
from halfgateway.exporting.extraction import HeldPeriod
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.film import PICTURE
from tests.e2e.conftest import STEADY, Gateway, until
from tests.e2e.export_terms import WATCH_AND_EXPORT
from tests.e2e.exporting import Exporting, open_exporting
from tests.e2e.recorders import KINDS, Recorded, open_recorded
from tests.exporting.footages import shot
from tests.replay.filmed import first_clean, instants_in_file

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def let_export(gateway: Gateway) -> None:
    """Give the operator the right."""
    right = WATCH_AND_EXPORT | {"agent": gateway.ready["accounts"]["operator"]["id"]}
    status, answer = await gateway.call("officer", "POST", "/habilitations", right)
    assert status == 201, answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exporting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exporting]:
    async with open_exporting(tmp_path_factory.mktemp("exports") / "demo", STEADY) as opened:
        await let_export(opened.gateway)
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recorded]:
    async with open_recorded(tmp_path_factory.mktemp("recorded"), STEADY, exports=True) as opened:
        await let_export(opened.gateway)
        yield opened


async def over(gateway: Gateway, export: dict[str, Any]) -> dict[str, Any]:
    """The export, once it is over."""
    shown = export

    async def is_over() -> bool:
        nonlocal shown
        _, shown = await gateway.call("operator", "GET", f"/exports/{export['id']}")
        return shown["state"] not in {"queued", "running"}

    await until(is_over)
    return shown


async def fetched(gateway: Gateway, export: dict[str, Any], name: str) -> bytes:
    headers = {"Authorization": f"Bearer {await gateway.token('operator')}"}
    url = f"{gateway.ready['http']}/api/v1/exports/{export['id']}/files/{name}"
    async with gateway.http.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_what_is_fetched_is_what_was_recorded(exporting: Exporting) -> None:
    # L14, L15, T01: the log of exports is read from the trace
    gateway = exporting.gateway
    status, export = await gateway.call("operator", "POST", "/exports", exporting.wish())
    assert (status, export["state"]) == (202, "running")
    export = await over(gateway, export)
    assert (export["state"], export["percent"]) == ("done", 100)
    files = {file["name"]: await fetched(gateway, export, file["name"]) for file in export["files"]}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == {
        file["name"]: file["sha256"] for file in export["files"]
    }
    (film,) = (content for name, content in files.items() if name.endswith(".mp4"))
    with av.open(BytesIO(film)) as container:
        copied = hashlib.sha256(b"".join(bytes(packet) for packet in container.demux(video=0)))
    assert copied.hexdigest() == shot().sha256()
    status, log = await gateway.call("auditor", "GET", f"/trace?kind=export.*&stream={export['id']}")
    assert status == 200
    told = [entry["kind"] for entry in reversed(log["items"])]
    assert told[:2] == ["export.requested", "export.made"]
    assert set(told[2:]) == {"export.downloaded"}
    status, unknown = await gateway.call("auditor", "GET", "/trace?kind=exports.*")
    assert status == 422, unknown


async def test_a_cut_ends_what_is_made_and_keeps_what_is_done_from_its_owner(exporting: Exporting) -> None:
    # C10, article 8
    gateway, reel = exporting.gateway, exporting.reel
    _, done = await gateway.call("operator", "POST", "/exports", exporting.wish())
    done = await over(gateway, done)
    reel.hold_at = 3
    _, export = await gateway.call("operator", "POST", "/exports", exporting.wish())
    await reel.reached.wait()
    _, cut = await gateway.call("ops", "POST", "/interconnection/cut", {"ground": "security", "reason": "essai"})
    assert cut["nodes"][0]["streams_closed"] == 1
    export = await over(gateway, export)
    assert (export["state"], export["cause"], export["files"]) == ("failed", "interconnection-cut", [])
    path = f"/exports/{done['id']}/files/{done['files'][-1]['name']}"
    status, problem = await gateway.call("operator", "GET", path)
    assert (status, problem["type"]) == (503, "urn:halfgateway:problem:interconnection-cut")
    status, problem = await gateway.call("operator", "POST", "/exports", exporting.wish())
    assert (status, problem["type"]) == (503, "urn:halfgateway:problem:interconnection-cut")
    await gateway.traced(lambda entry: entry.kind is Kind.EXPORT_REFUSED)
    restore = {"incident": cut["incident"], "reason": "fin", "motive": "essai"}
    status, answer = await gateway.call("officer", "POST", "/interconnection/restore", restore)
    assert status == 200, answer
    reel.hold_at = None
    assert await fetched(gateway, done, done["files"][-1]["name"])
    left = await asyncio.to_thread(lambda: list((gateway.data / "exports" / "demo").glob(".*")))
    assert left == []


async def test_without_the_right_or_another_agents_nothing_is_had(exporting: Exporting) -> None:
    # S14, L19
    gateway = exporting.gateway
    _, done = await gateway.call("operator", "POST", "/exports", exporting.wish())
    done = await over(gateway, done)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", f"/files/{done['files'][-1]['name']}")):
        status, _ = await gateway.call("machine", method, f"/exports/{done['id']}{path}")
        assert status == 403
    status, problem = await gateway.call("machine", "POST", "/exports", exporting.wish())
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:not-habilitated")


async def test_unless_it_is_agreed_every_export_is_refused_and_told(shared: Gateway) -> None:
    # S14: off by default
    wish = {"camera": shared.cameras[0], "start": "2026-11-21T00:00:00Z", "end": "2026-11-21T01:00:00Z"}
    status, problem = await shared.call("operator", "POST", "/exports", wish | {"reason": "L251-2-5"})
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:not-habilitated")
    (entry,) = await shared.traced(lambda entry: entry.kind is Kind.EXPORT_REFUSED)
    assert entry.detail["reason"] == "exports-not-agreed"
    assert not await asyncio.to_thread(Path(shared.data / "exports").exists)


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_recorder_has_it_a_film_shows_what_was_asked_for(
    recorded: Recorded, kind: str, tmp_path: Path
) -> None:
    # T5, T13: the instants are read in the decoded pictures; each picture is there, once
    gateway, start = recorded.gateway, recorded.before(hours=2) + timedelta(seconds=0.5)
    end = start + timedelta(seconds=6)
    recorded.film(start, end + timedelta(seconds=10))
    wish = {"camera": recorded.cameras[kind], "start": rfc3339(start), "end": rfc3339(end), "reason": "L251-2-5"}
    status, export = await gateway.call("operator", "POST", "/exports", wish)
    assert status == 202, export
    export = await over(gateway, export)
    assert export["state"] == "done", export
    manifest = json.loads(await fetched(gateway, export, "manifest.json"))
    (file,) = manifest["files"]
    film = tmp_path / file["name"]
    film.write_bytes(await fetched(gateway, export, file["name"]))
    first, count = first_clean(start), (end - first_clean(start)) / PICTURE
    assert await asyncio.to_thread(instants_in_file, str(film)) == [first + n * PICTURE for n in range(ceil(count))]
    assert (datetime.fromisoformat(file["start"]), manifest["gaps"]) == (first, [])

    async def is_free() -> bool:
        return await gateway.slots_used() == 0 and recorded.recorder.session_count == 0

    await until(is_free)


async def test_who_watches_live_loses_nothing_while_an_export_is_made(recorded: Recorded) -> None:
    # S14, C01: two slots, and each its own pace
    gateway, start = recorded.gateway, recorded.before(hours=3)
    end = start + timedelta(seconds=15)
    recorded.film(start, end)
    wish = {"camera": recorded.cameras["segments"], "start": rfc3339(start), "end": rfc3339(end), "reason": "L251-2-5"}
    path = f"/live/{recorded.cameras['onvif']}"
    async with recorded.player() as player:
        await player.set_up(path)
        await player.play(path)
        await player.packets_until(1)
        watching = asyncio.create_task(player.packets_until(100_000))
        status, export = await gateway.call("operator", "POST", "/exports", wish)
        assert (status, await gateway.slots_used()) == (202, 2)
        export = await over(gateway, export)
        watching.cancel()
        await asyncio.wait({watching})
        assert export["state"] == "done", export
        sequences = [RtpView(data).sequence for channel, data, _ in player.packets if channel == 0]
        assert all((later - earlier) % 65536 == 1 for earlier, later in itertools.pairwise(sequences))
    (stopped,) = await gateway.traced(
        lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.mode == "live" and entry.detail["packets"] > 0
    )
    assert stopped.detail["lost"] == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_hold_keeps_is_extracted_from_any_recorder(recorded: Recorded, kind: str, tmp_path: Path) -> None:
    # L15, L26: beside the node, from the recorders of its configuration; of third parties' recorders too
    start = recorded.before(hours=4)
    end = start + timedelta(seconds=4)
    recorded.film(start, end + timedelta(seconds=10))
    held = HeldPeriod(1, "TJ78-2026-1", recorded.cameras[kind], start, end)
    made = await extract_held(recorded.gateway.node.configuration, held, tmp_path)
    assert hashlib.sha256(made.manifest.read_bytes()).hexdigest() == made.sha256
    (file,) = json.loads(made.manifest.read_bytes())["files"]
    film = tmp_path / file["name"]
    assert hashlib.sha256(film.read_bytes()).hexdigest() == file["sha256"]
    shown = await asyncio.to_thread(instants_in_file, str(film))
    assert shown == [start + n * PICTURE for n in range(ceil((end - start) / PICTURE))]
