"""Incidents as operations, PP and the auditor meet them: by the command line, by the API, in the trace (article 8)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

import halfgateway.app.incidents
from auth.trace import Draft, Journal, Kind
from camera_registry.cameras import CameraState
from halfgateway.cli.common import account_name
from halfgateway.config_incidents import RestorationSection
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from ops.incidents.detecting import StopDetector
from ops.interconnection import first_open
from ops.local_record import LocalRecord
from tests.e2e.conftest import SWIFT, Gateway, open_gateway
from tests.e2e.test_cut import run_command
from tests.held_clock import HeldClock

pytestmark = pytest.mark.asyncio(loop_scope="module")


class QuickDetector(StopDetector):
    """One that opens an incident after the first second."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **{**named, "lasting": timedelta(seconds=0.5)})  # type: ignore[arg-type]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halfgateway.app.incidents, "StopDetector", QuickDetector)
        async with open_gateway(tmp_path_factory.mktemp("incidents"), SWIFT) as opened:
            yield opened


async def test_a_cut_has_its_incident_for_every_role_that_may_read_it(gateway: Gateway, tmp_path: Path) -> None:
    # C10, C11, C12, N02
    occurred = datetime.now(UTC) - timedelta(minutes=20)
    body = {"ground": "critical-incident", "reason": "essai", "occurred_at": occurred.isoformat()}
    _, cut = await gateway.call("ops", "POST", "/interconnection/cut", body)
    incident = cut["incident"]
    await gateway.traced(lambda e: e.kind is Kind.INCIDENT_OPENED and e.detail["incident"] == incident)
    for role in ("ops", "officer", "auditor"):
        status, shown = await gateway.call(role, "GET", f"/incidents/{incident}")
        assert status == 200
        assert datetime.fromisoformat(shown["deadline"]) == occurred + timedelta(hours=8)
        assert (shown["critical"], shown["state"], shown["ground"]) == (True, "open", "critical-incident")
    assert (await gateway.call("operator", "GET", f"/incidents/{incident}"))[0] == 403
    assert (await gateway.call("ops", "POST", f"/incidents/{incident}/resolve", {"reason": "x"}))[0] == 422

    code, shown = await run_command(gateway, "incident", "show", incident, "--dossier", str(tmp_path / "dossier"))
    assert (code, shown["id"]) == (0, incident)
    assert {"dossier.pdf", "LISEZMOI.txt"} <= {file.name for file in (tmp_path / "dossier").iterdir()}
    await gateway.traced(lambda e: e.kind is Kind.TRACE_EXPORTED and e.detail["incident"] == incident)

    restored = {"incident": incident, "reason": "fini"}
    assert (await gateway.call("ops", "POST", "/interconnection/restore", restored))[0] == 200
    await gateway.traced(lambda e: e.kind is Kind.INCIDENT_RECOVERED and e.detail["incident"] == incident)
    assert (await gateway.call("ops", "POST", f"/incidents/{incident}/resolve", {"reason": "fini"}))[0] == 200
    (resolved,) = await gateway.traced(lambda e: e.kind is Kind.INCIDENT_RESOLVED and e.detail["incident"] == incident)
    assert resolved.account == gateway.ready["accounts"]["ops"]["id"]


async def test_the_command_line_does_it_all_by_the_account_of_who_types(gateway: Gateway) -> None:
    # C13, N02, N08, C21, L22
    code, reported = await run_command(
        gateway, "incident", "report", "--reported-by", "salle de commandement", "--reason", "plus d'image"
    )
    assert (code, reported["critical"]) == (0, False)
    incident = reported["id"]
    before = datetime.fromisoformat(reported["t0"]) - timedelta(hours=1)
    steps = (
        ("classify", incident, "--critical", "--reason", "panne générale"),
        ("revise", incident, "--t0", before.strftime("%Y-%m-%dT%H:%M:%S%z"), "--reason", "journal du commutateur"),
        ("clock", incident, "cnil-72h"),
        ("resolve", incident, "--reason", "rétabli"),
    )
    for step in steps:
        assert (await run_command(gateway, "incident", *step))[0] == 0, step
    code, shown = await run_command(gateway, "incident", "show", incident)
    assert datetime.fromisoformat(shown["deadline"]) == before.replace(microsecond=0) + timedelta(hours=8)
    assert (shown["critical"], shown["state"], len(shown["clocks"])) == (True, "resolved", 1)

    traced = await gateway.traced(lambda e: e.detail.get("incident") == incident and e.kind is Kind.INCIDENT_RESOLVED)
    assert traced[0].account is not None
    assert traced[0].account.startswith("local:")
    kinds = {e.kind for e in await gateway.trace() if e.detail.get("incident") == incident}
    assert {Kind.INCIDENT_REVISED, Kind.INCIDENT_CLOCK_STARTED, Kind.INCIDENT_CLASSIFIED} <= kinds
    assert (await run_command(gateway, "incident", "show", "nope"))[0] == 1


@asynccontextmanager
async def agreed(gateway: Gateway, **sections: object) -> AsyncIterator[None]:
    """For as long as this lasts, another configuration is in force."""
    in_force = gateway.node.in_force
    before = in_force.current
    in_force.current = before.model_copy(update=sections)
    try:
        yield
    finally:
        in_force.current = before


async def typed_at_a_terminal(gateway: Gateway, answer: str, *arguments: str) -> tuple[int, str]:
    """A command whose question a person answers; its exit code and all that it showed."""
    keyboard, terminal = os.openpty()
    command = [sys.executable, "-m", "halfgateway", *arguments, "--data", str(gateway.data)]
    merged = asyncio.subprocess.STDOUT
    try:
        os.write(keyboard, answer.encode() + b"\n")
        process = await asyncio.create_subprocess_exec(
            *command, stdin=terminal, stdout=asyncio.subprocess.PIPE, stderr=merged
        )
        shown, _ = await process.communicate()
    finally:
        os.close(keyboard)
        os.close(terminal)
    return process.returncode or 0, shown.decode()


async def test_a_restoration_shows_its_pre_flight_and_keeps_it(gateway: Gateway) -> None:
    # article 8: shown before it is confirmed; a motive passes over what is not essential, and is kept
    _, cut = await run_command(gateway, "cut", "--reason", "essai")
    incident = cut["incident"]
    wish = ("restore", "--incident", incident, "--reason", "réparé")
    async with agreed(gateway, contacts=()):
        assert (await run_command(gateway, *wish))[0] == 1
        code, restored = await run_command(gateway, *wish, "--motive", "annexe 2 à la signature")
    assert (code, restored["state"], restored["proposal"]) == (0, "open", None)
    told = {found["check"]: found["outcome"] for found in restored["preflight"]["findings"]}
    assert (told["trace"], told["cameras"], told["contacts"]) == ("passed", "passed", "failed")
    (refused,) = await gateway.traced(lambda e: e.kind is Kind.INTERCONNECTION_RESTORATION_REFUSED)
    assert (refused.refusal, refused.detail["blocking"]) == ("preflight-failed", ["contacts"])
    (kept,) = await gateway.traced(
        lambda e: e.kind is Kind.INTERCONNECTION_RESTORED and e.detail["incident"] == incident
    )
    assert kept.detail["motive"] == "annexe 2 à la signature"
    assert kept.detail["preflight"]["contacts"]["outcome"] == "failed"
    assert refused.account == kept.account == account_name()
    (noted,) = await gateway.traced(lambda e: e.kind is Kind.INCIDENT_NOTED and e.detail["incident"] == incident)
    assert noted.detail["who"] == "node"
    _, shown = await gateway.call("ops", "GET", f"/incidents/{incident}")
    (line,) = [event["detail"]["text"] for event in shown["timeline"] if event["kind"] == "incident.noted"]
    assert "EN DÉFAUT (l'annexe 2 est vide" in line


async def test_at_a_terminal_a_person_is_asked_in_french(gateway: Gateway) -> None:
    _, cut = await run_command(gateway, "cut", "--reason", "essai")
    wish = ("restore", "--incident", cut["incident"], "--reason", "réparé")
    code, shown = await typed_at_a_terminal(gateway, "non", *wish)
    assert (code, "reste interrompue" in shown) == (1, True), shown
    async with agreed(gateway, contacts=()):
        code, shown = await typed_at_a_terminal(gateway, "", *wish)
        assert (code, "Motif pour passer outre" in shown) == (1, True), shown
    assert (await gateway.call("ops", "GET", "/interconnection"))[1]["state"] == "cut"
    code, shown = await typed_at_a_terminal(gateway, "oui", *wish)
    assert (code, "[oui] Le journal des accès est inscriptible : répond" in shown) == (0, True), shown
    assert shown.rstrip().endswith(f"Interconnexion rétablie, incident {cut['incident']}.")


async def test_an_account_of_the_machine_does_not_speak_for_the_security_officer(gateway: Gateway) -> None:
    # article 8: after a security measure the RSSI's agreement; the socket's officer's rights are over registers alone
    _, cut = await run_command(gateway, "cut", "--reason", "intrusion", "--ground", "security")
    wish = ("restore", "--incident", cut["incident"], "--reason", "levée")
    assert (await run_command(gateway, *wish))[0] == 1
    body = {"incident": cut["incident"], "reason": "levée"}
    assert (await gateway.call("ops", "POST", "/interconnection/restore", body))[0] == 403
    async with agreed(gateway, restoration=RestorationSection(four_eyes=True)):
        code, proposed = await run_command(gateway, *wish)  # operations propose, the officer agrees
        assert (code, proposed["state"], proposed["proposal"]["account"]) == (0, "cut", account_name())
        seen = (await gateway.call("officer", "GET", "/interconnection/preflight"))[1]
        assert (seen["four_eyes"], seen["proposal"]) == (True, proposed["proposal"])
        assert (await gateway.call("ops", "POST", "/interconnection/restore", body))[0] == 403
        assert (await gateway.call("officer", "POST", "/interconnection/restore", body))[1]["state"] == "open"
    (entry,) = await gateway.traced(
        lambda e: e.kind is Kind.INTERCONNECTION_RESTORED and e.detail["incident"] == cut["incident"]
    )
    assert (entry.detail["by"], entry.detail["proposed_by"]) == ("officer", account_name())


async def test_a_machine_that_lost_its_power_tells_of_it_when_it_is_back(tmp_path: Path) -> None:
    # N02, C12: the watchdog was down with it; the incident is from the last instant at which the node could serve
    folder, clock = DataFolder(tmp_path / "demo"), HeldClock()
    clock.advance(datetime.now(UTC) - timedelta(hours=3) - clock.now())
    folder.make()
    LocalRecord(folder.interconnection, clock=clock).initialise(first_open(clock.now()))
    key = NodeKeys.open(folder.secrets).trace
    async with await Journal.open(folder.trace, node="demo", key=key, clock=clock) as journal:
        await journal.record(Draft(kind=Kind.NODE_STARTED))
        good = await journal.record(Draft(kind=Kind.HEARTBEAT, detail={"serving": True}))
    async with open_gateway(folder.root, SWIFT) as back:
        await back.traced(lambda entry: entry.kind is Kind.INCIDENT_RECOVERED)
        status, listed = await back.call("ops", "GET", "/incidents")
        (incident,) = listed["items"]
        assert (status, incident["t0_source"], incident["critical"]) == (200, "heartbeat", True)
        assert datetime.fromisoformat(incident["t0"]) == good.at
        assert datetime.fromisoformat(incident["deadline"]) == good.at + timedelta(hours=8)


async def test_every_camera_gone_is_an_incident_and_their_return_its_end(gateway: Gateway) -> None:
    # article 8, N02, N03
    cameras = gateway.node.records.cameras

    async def in_state(state: CameraState, cause: str | None) -> None:
        for record in tuple(cameras.snapshot.records.values()):
            await cameras.upsert(replace(record, camera=replace(record.camera, state=state, cause=cause)))

    await in_state(CameraState.UNAVAILABLE, "unreachable")
    (found,) = await gateway.traced(
        lambda e: e.kind is Kind.INCIDENT_OPENED and e.detail["who"] == "detection" and "caméra" in e.detail["reason"]
    )
    await in_state(CameraState.AVAILABLE, None)
    incident = found.detail["incident"]
    await gateway.traced(lambda e: e.kind is Kind.INCIDENT_RECOVERED and e.detail["incident"] == incident)
    _, shown = await gateway.call("ops", "GET", f"/incidents/{incident}")
    assert (shown["t0_source"], shown["critical"]) == ("heartbeat", True)
