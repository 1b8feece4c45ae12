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
from halfgateway.api.life_shapes import AcceptanceForm
from ops.acceptance import CHECKS
from tests.e2e.conftest import Gateway, until
from tests.e2e.test_rights_commands import LOCAL, done, history, typed

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
    listed = (await shared.call("auditor", "GET", "/acceptance"))[1]["items"]
    assert [each["accepted"] for each in listed] == [True]
    files = {form: tmp_path / f"recette.{form}" for form in AcceptanceForm}
    for form in (AcceptanceForm.JSON, AcceptanceForm.SIGNATURE):
        files[form].write_bytes((await shared.node.office.life.convention.acceptance(1, form)).content)
    await done(shared.data, "acceptance", "show", "1", "--output", str(files[AcceptanceForm.PDF]))
    key = shared.data / "trace" / "demo.pem"
    verify = ("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key)
    checked = subprocess.run(
        [*verify, "-in", files[AcceptanceForm.JSON], "-sigfile", files[AcceptanceForm.SIGNATURE]],
        check=False,
        capture_output=True,
    )
    assert checked.returncode == 0, checked.stderr
    record = json.loads(files[AcceptanceForm.JSON].read_bytes())
    assert [result["check"] for result in record["results"]] == [check.id for check in CHECKS]
    assert {each["party"] for each in record["signatories"]} == {"PP", "SYN"}
    assert files[AcceptanceForm.PDF].read_bytes().startswith(b"%PDF")
    (told,) = [each for each in await shared.trace() if each.kind is Kind.ACCEPTANCE_RECORDED]
    assert told.detail["sha256"] == listed[0]["sha256"]


async def test_a_run_that_fails_is_kept_and_opens_nothing(bare: Path, tmp_path: Path) -> None:
    # C23: where no node runs, the node's own checks cannot pass
    by_people = [check.id for check in CHECKS if not check.automatic]
    body = {
        "place": "Versailles",
        "reference": "PV-1",
        "answers": [{"check": check, "passed": True, "observation": "vu"} for check in by_people],
        "signatories": [{"party": party, "name": "A", "function": "chef"} for party in ("PP", "SYN")],
    }
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(body))
    code, said, _ = await typed(bare, "acceptance", "run", "--answers", str(file))
    assert (code, "NON PRONONCÉE" in said) == (1, True)
    (told,) = [entry for entry in await history(bare) if entry.kind is Kind.ACCEPTANCE_RECORDED]
    assert told.detail["accepted"] is False


async def test_a_change_is_announced_classified_and_scheduled(shared: Gateway) -> None:
    # C15
    wished = (datetime.now(PARIS) + timedelta(days=5)).date().isoformat()
    about = ("--wished-on", wished, "--description", "Remplacement du pare-feu.")
    number = (await done(shared.data, "change", "announce", "Pare-feu", "--party", "SYN", *about))["number"]

    async def step(name: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        got, answer = await shared.call("ops", "POST", f"/changes/{number}/{name}", body)
        assert got == status, answer
        return answer

    decision = {"major": True, "project_structure": True, "decided_by": "comité technique", "reference": "CT-7"}
    await step("classify", decision)
    assert "30 jours calendaires" in (await step("schedule", {"day": wished}, 422))["detail"]
    for party in ("PP", "SYN"):
        await step("agree", {"party": party, "not_before": wished, "reference": f"{party}-3"})
    scheduled = await step("schedule", {"day": wished})
    assert (scheduled["state"], scheduled["scheduled_on"]) == ("scheduled", wished)
    kinds = [entry.kind.value for entry in await shared.trace() if entry.kind.value.startswith("change.")]
    assert kinds == ["change.announced", "change.classified", "change.agreed", "change.agreed", "change.scheduled"]
    accounts = [entry.account for entry in await shared.trace() if entry.kind.value.startswith("change.")]
    assert accounts == [LOCAL, *[shared.ready["accounts"]["ops"]["id"]] * 4]


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
    path = f"/windows/{planned['number']}/withdraw"
    assert (await shared.call("ops", "POST", path, {"reason": "reportée"}))[1]["state"] == "withdrawn"


async def test_the_charter_is_read_before_a_first_stream_at_our_own_door(shared: Gateway, tmp_path: Path) -> None:
    # L25: a refusal that says so, the text to read, and then a stream
    camera = shared.cameras[0]
    running = await shared.ticket(camera)
    charter = tmp_path / "charte.txt"
    charter.write_text("Charte éthique de la vidéoprotection", encoding="utf-8")
    about = ("--party", "PP", "--summary", "version signée", "--avenant", "avenant n° 1")
    await done(shared.data, "annex", "inform", "7", str(charter), *about)

    await until(lambda: shared.node.control.view.life().on_record.charter == 1)
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
    without_avenant = {"party": "SYN", "summary": "x", "orders": ["78-2025-01"]}
    status, problem = await shared.call("ops", "POST", "/annexes/8", without_avenant)
    assert (status, "avenant" in problem["detail"]) == (422, True)
    opposition = {"party": "SYN", "reason": "site inconnu"}
    assert (await shared.call("ops", "POST", "/annexes/6/1/oppose", opposition))[0] == 200
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
    today = datetime.now(PARIS).date().isoformat()
    denounced = ("--party", "PP", "--reference", "LRAR 1A 234", "--day", today)
    found = await done(shared.data, "calendar", "record", "denounced", *denounced)
    assert (found["in_force"], found["ended_at"], found["to_be_recorded"]) == (True, None, False)
    effect = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    end = {"kind": "end-recorded", "party": "PP", "reference": "fin", "day": today, "effect": effect}

    async def record(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return await shared.call("officer", "POST", "/convention/acts", body)

    status, problem = await record({**end, "ground": "denunciation"})
    assert (status, "trois mois" in problem["detail"]) == (422, True)
    assert (await record({**end, "ground": "agreement"}))[1]["ended_at"] is not None
    _, found = await record({"kind": "end-withdrawn", "party": "PP", "reference": "erreur", "day": today})
    assert found["ended_at"] is None
    assert (await shared.call("supervisor", "GET", "/convention"))[1]["acts"] == found["acts"]
    told = [each.kind for each in await shared.trace() if each.detail.get("act")]
    assert told == [Kind.CONVENTION_DENOUNCED, Kind.CONVENTION_END_RECORDED, Kind.CONVENTION_END_WITHDRAWN]
