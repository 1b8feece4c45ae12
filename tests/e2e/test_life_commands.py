"""``halfgateway change``, ``annex``, ``calendar`` and ``acceptance``, beside a running node, and what they do to it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from auth.trace import Kind
from camera_registry.paris import PARIS
from ops.acceptance import CHECKS
from tests.e2e.conftest import Gateway, until
from tests.e2e.test_rights_commands import LOCAL, done, typed

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTES = "%Y-%m-%dT%H:%M"


def at(wall: datetime) -> str:
    return wall.astimezone(PARIS).strftime(MINUTES)


@pytest_asyncio.fixture(loop_scope="module")
async def bare(tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a node that has never run."""
    folder = tmp_path / "bare"
    folder.mkdir()
    yield folder


async def test_the_first_stream_is_preceded_by_a_record_that_openssl_verifies(shared: Gateway, tmp_path: Path) -> None:
    # C23: the demo has one; its bytes, its signature and the journal's own key agree
    listed = (await done(shared.data, "acceptance", "show"))["acceptances"]
    assert [each["accepted"] for each in listed] == [True]
    files = {suffix: tmp_path / f"recette.{suffix}" for suffix in ("json", "sig", "pdf")}
    for file in files.values():
        await done(shared.data, "acceptance", "show", "1", "--output", str(file))
    key = shared.data / "trace" / "demo.pem"
    verify = ("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key)
    checked = subprocess.run(
        [*verify, "-in", files["json"], "-sigfile", files["sig"]], check=False, capture_output=True
    )
    assert checked.returncode == 0, checked.stderr
    record = json.loads(files["json"].read_bytes())
    assert [result["check"] for result in record["results"]] == [check.id for check in CHECKS]
    assert {each["party"] for each in record["signatories"]} == {"PP", "SYN"}
    assert files["pdf"].read_bytes().startswith(b"%PDF")
    (told,) = [each for each in await shared.trace() if each.detail.get("change") == "acceptance-recorded"]
    assert told.detail["sha256"] == listed[0]["sha256"]


async def test_a_run_that_leaves_checks_open_is_refused_and_one_that_fails_opens_nothing(
    bare: Path, tmp_path: Path
) -> None:
    # C23: where no node runs, the node's own checks cannot pass
    plan = (await done(bare, "acceptance", "plan"))["checks"]
    by_people = [each["check"] for each in plan if not each["automatic"]]
    body: dict[str, Any] = {"place": "Versailles", "reference": "PV-1", "answers": []}
    body["signatories"] = [{"party": party, "name": "A", "function": "chef"} for party in ("PP", "SYN")]
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(body))
    code, _, complaint = await typed(bare, "acceptance", "run", "--answers", str(file))
    assert (code, "Contrôle sans réponse" in complaint) == (1, True)
    body["answers"] = [{"check": check, "passed": True, "observation": "vu"} for check in by_people]
    file.write_text(json.dumps(body))
    code, said, _ = await typed(bare, "acceptance", "run", "--answers", str(file))
    assert (code, "NON PRONONCÉE" in said) == (1, True)
    assert not (await done(bare, "calendar", "show"))["accepted"]


async def test_a_change_is_announced_classified_and_scheduled(shared: Gateway) -> None:
    # C15
    wished = (datetime.now(PARIS) + timedelta(days=5)).date().isoformat()
    about = ("--wished-on", wished, "--description", "Remplacement du pare-feu.")
    number = str((await done(shared.data, "change", "announce", "Pare-feu", "--party", "SYN", *about))["number"])
    decided = ("--major", "--project-structure", "--decided-by", "comité technique", "--reference", "CT-7")
    await done(shared.data, "change", "classify", number, *decided)
    code, _, complaint = await typed(shared.data, "change", "schedule", number, "--day", wished)
    assert (code, "30 jours calendaires" in complaint) == (1, True)
    for party in ("PP", "SYN"):
        agreed = ("--party", party, "--not-before", wished, "--reference", f"{party}-3")
        await done(shared.data, "change", "agree", number, *agreed)
    scheduled = await done(shared.data, "change", "schedule", number, "--day", wished)
    assert (scheduled["state"], scheduled["scheduled_on"]) == ("scheduled", wished)
    kinds = [entry.kind.value for entry in await shared.trace() if entry.kind.value.startswith("change.")]
    assert kinds == ["change.announced", "change.classified", "change.agreed", "change.agreed", "change.scheduled"]
    assert {entry.account for entry in await shared.trace() if entry.kind is Kind.CHANGE_AGREED} == {LOCAL}


async def test_a_window_is_planned_announced_and_given_up(shared: Gateway) -> None:
    # P07
    start = datetime.now(UTC) + timedelta(days=2)
    span = ("--start", at(start), "--end", at(start + timedelta(hours=2)))
    planned = await done(shared.data, "change", "window", *span, "--reason", "mise à jour")
    file = shared.data / "announcements" / f"window-{planned['number']}-planned.json"
    await until(file.exists)
    told = json.loads(file.read_bytes())
    assert "interruption programmée" in told["text"]
    assert told["to"] == ["PP", "SYN"]
    withdrawn = await done(shared.data, "change", "withdraw-window", str(planned["number"]), "--reason", "reportée")
    assert withdrawn["state"] == "withdrawn"


async def test_the_charter_is_read_before_a_first_stream_at_our_own_door(shared: Gateway, tmp_path: Path) -> None:
    # L25: a refusal that says so, the text to read, and then a stream
    camera = shared.cameras[0]
    running = await shared.ticket(camera)
    charter = tmp_path / "charte.txt"
    charter.write_text("Charte éthique de la vidéoprotection", encoding="utf-8")
    about = ("--party", "PP", "--summary", "version signée", "--avenant", "avenant n° 1")
    await done(shared.data, "annex", "inform", "7", str(charter), *about)

    async def is_in_force() -> bool:
        return (await shared.call("operator", "GET", "/charter"))[0] == 200

    await until(is_in_force)
    wish = {"camera": camera, "mode": "live", "reason": "L251-2-5"}
    status, problem = await shared.call("operator", "POST", "/streams", wish)
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:charter-not-acknowledged")
    assert "annexe 7" in problem["detail"]
    _, shown = await shared.call("operator", "GET", "/charter")
    assert base64.b64decode(shown["content"]) == charter.read_bytes()
    assert not shown["acknowledged"]
    assert (await shared.call("operator", "DELETE", f"/streams/{running['id']}"))[0] == 204  # it was not ended by this
    status, shown = await shared.call("operator", "POST", "/charter/acknowledge", {"version": shown["version"]})
    assert (status, shown["acknowledged"]) == (200, True)
    ticket = await shared.ticket(camera)
    await shared.call("operator", "DELETE", f"/streams/{ticket['id']}")
    (entry,) = [each for each in await shared.trace() if each.kind is Kind.ANNEX_ACKNOWLEDGED]
    assert entry.agent == shared.ready["accounts"]["operator"]["id"]


async def test_viewing_sites_that_pp_informs_of_wait_for_silence_and_may_be_opposed(
    shared: Gateway, tmp_path: Path
) -> None:
    # C07, C20
    sites = tmp_path / "sites.txt"
    sites.write_text("PP-17;Commissariat du 17e\nPP-CITE;Cité\n", encoding="utf-8")
    informed = await done(shared.data, "annex", "inform", "6", str(sites), "--party", "PP", "--summary", "un site")
    delay = datetime.fromisoformat(informed["effective_at"]) - datetime.fromisoformat(informed["informed_at"])
    assert delay == timedelta(days=15)
    code, _, complaint = await typed(
        shared.data, "annex", "inform", "8", str(sites), "--party", "SYN", "--summary", "x"
    )
    assert (code, "avenant" in complaint) == (1, True)
    await done(shared.data, "annex", "oppose", "6", "1", "--party", "SYN", "--reason", "site inconnu")
    kinds = {entry.kind for entry in await shared.trace() if entry.detail.get("annex") == 6}
    assert kinds == {Kind.ANNEX_INFORMED, Kind.ANNEX_OPPOSED}


async def test_annex_1_is_drawn_without_a_secret_or_an_address(shared: Gateway, tmp_path: Path) -> None:
    # C20, C16
    drawing = tmp_path / "annexe-1.svg"
    await done(shared.data, "annex", "draw", "--output", str(drawing))
    text = drawing.read_text(encoding="utf-8")
    assert "Demi-Passerelle Partenaire" in text
    inside = (
        part
        for record in shared.node.records.cameras.snapshot.records.values()
        for part in (record.connection.onvif_url, record.connection.credentials.password, *record.connection.streams)
    )
    assert not any(part in text for part in inside if len(part) > 6)
    assert "127.0.0.1" not in text
    code, _, complaint = await typed(shared.data, "annex", "draw", "--output", str(drawing))
    assert (code, "annexe-1.svg" in complaint) == (1, True)  # never over another file


async def test_an_end_is_recorded_with_its_reference_and_undone_by_a_person(shared: Gateway) -> None:
    # C18
    today = datetime.now(PARIS).date()
    denounced = ("--party", "PP", "--reference", "LRAR 1A 234", "--day", today.isoformat())
    found = await done(shared.data, "calendar", "record", "denounced", *denounced)
    assert (found["in_force"], found["ended_at"], found["to_be_recorded"]) == (True, None, False)
    effect = at(datetime.now(UTC) + timedelta(days=9))
    end = ("--party", "PP", "--reference", "fin", "--day", today.isoformat(), "--effect", effect)
    code, _, complaint = await typed(
        shared.data, "calendar", "record", "end-recorded", *end, "--ground", "denunciation"
    )
    assert (code, "trois mois" in complaint) == (1, True)
    found = await done(shared.data, "calendar", "record", "end-recorded", *end, "--ground", "agreement")
    assert found["ended_at"] is not None
    undone = ("--party", "PP", "--reference", "erreur", "--day", today.isoformat())
    found = await done(shared.data, "calendar", "record", "end-withdrawn", *undone)
    assert found["ended_at"] is None
    assert (await shared.call("supervisor", "GET", "/convention"))[1]["acts"] == found["acts"]
    told = [each.detail["change"] for each in await shared.trace() if each.detail.get("act")]
    assert told == ["convention-denounced", "convention-end-recorded", "convention-end-withdrawn"]
