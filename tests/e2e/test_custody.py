"""Sealed credentials, recovery codes, interventions and revocation lists, as people and commands come to them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import auth.break_glass
import halfgateway.app.watching
from auth.trace import Entry, Kind
from auth.trace.reader import TraceReader
from halfgateway.cli import common
from tests.asserting import public_pem
from tests.databases import Kind as DatabaseKind
from tests.databases import databases
from tests.e2e.commands import typed
from tests.e2e.conftest import SWIFT, Gateway, open_gateway, until
from tests.e2e.forging import issue, read, revocation_list
from tests.e2e.pki import Pki, open_pki

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pki(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pki]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halfgateway.app.watching, "CHECK_BREAK_GLASS_S", 0.1)
        async with open_pki(tmp_path_factory.mktemp("custody")) as opened:
            yield opened


async def log_in(gateway: Gateway, **body: str) -> tuple[int, dict[str, Any]]:
    async with gateway.http.post(gateway.ready["http"] + "/api/v1/login", json=body) as answer:
        return answer.status, await answer.json()


async def as_token(gateway: Gateway, token: str, method: str, path: str, body: object = None) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    url = gateway.ready["http"] + "/api/v1" + path
    async with gateway.http.request(method, url, json=body, headers=headers) as answer:
        return answer.status


async def test_a_sealed_credential_opens_an_hour_with_an_alarm_and_a_report_is_due(
    pki: Pki, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:  # C21
    gateway = pki.gateway
    assert (await gateway.call("officer", "POST", "/break-glass", {"role": "operator"}))[0] == 422
    status, sealed = await gateway.call("officer", "POST", "/break-glass", {"role": "ops"})
    assert (status, sealed["account"]) == (201, f"break-glass-{sealed['number']}")
    assert (await log_in(gateway, id=sealed["account"], password="wrong"))[0] == 401
    status, opened = await log_in(gateway, id=sealed["account"], password=sealed["password"])
    assert (status, opened["role"], opened["factors"]) == (200, "ops", ["break-glass"])
    assert f"break_glass.used number={sealed['number']} role=ops" in caplog.text
    (used,) = await gateway.traced(lambda entry: entry.kind is Kind.BREAK_GLASS_USED)
    assert (used.account, used.detail["number"]) == (sealed["account"], sealed["number"])
    assert await as_token(gateway, opened["token"], "GET", "/streams") == 200
    assert await as_token(gateway, opened["token"], "POST", "/recovery-codes") == 403

    async def due() -> bool:
        async with gateway.http.get(gateway.ready["http"] + "/metrics") as answer:
            return "halfgateway_break_glass_due 1.0" in await answer.text()

    await until(due)
    monkeypatch.setattr(auth.break_glass, "LASTS", timedelta(0))
    (ended,) = await gateway.traced(lambda entry: entry.kind is Kind.BREAK_GLASS_ENDED)
    assert ended.detail == {"number": sealed["number"]}
    assert (await log_in(gateway, id=sealed["account"], password=sealed["password"]))[0] == 401
    (refused,) = await gateway.traced(lambda entry: entry.detail.get("reason") == "break-glass-over")
    assert refused.account == sealed["account"]

    _, listed = await gateway.call("auditor", "GET", "/break-glass")
    assert [each["report_due"] for each in listed["items"]] == [True]
    assert sealed["password"] not in json.dumps(listed)
    path = f"/break-glass/{sealed['number']}/report"
    assert (await gateway.call("officer", "POST", path, {"text": "Panne de l'annuaire."}))[0] == 204
    assert (await gateway.call("officer", "POST", path, {"text": "Encore."}))[0] == 422
    (told,) = await gateway.traced(lambda entry: entry.kind is Kind.BREAK_GLASS_REPORTED)
    assert told.detail == {"number": sealed["number"], "report": "Panne de l'annuaire."}
    assert sealed["password"] not in repr(await gateway.trace())


async def test_an_officers_sealed_credential_makes_nothing_that_outlives_it_and_its_report_ends_it(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C21, T10
    gateway = pki.gateway
    monkeypatch.setattr(auth.break_glass, "LASTS", timedelta(hours=1))
    _, sealed = await gateway.call("officer", "POST", "/break-glass", {"role": "officer"})
    credentials = {"id": sealed["account"], "password": sealed["password"]}
    _, opened = await log_in(gateway, **credentials)
    report = f"/break-glass/{sealed['number']}/report"
    for lasting in (
        *("/agents", "/agents/import", "/agents/bootstrap", "/agents/pp-1/factors", "/habilitations"),
        *("/assertion-keys", "/recovery-codes", "/break-glass", report),
    ):
        assert await as_token(gateway, opened["token"], "POST", lasting, {"text": "Rien."}) == 403, lasting
    assert await as_token(gateway, opened["token"], "GET", "/agents") == 200
    assert (await gateway.call("officer", "POST", report, {"text": "Carte perdue."}))[0] == 204
    assert await as_token(gateway, opened["token"], "GET", "/agents") == 401
    assert (await log_in(gateway, **credentials))[0] == 401
    about = [entry.kind for entry in await gateway.trace() if entry.detail.get("number") == sealed["number"]]
    assert about[-2:] == [Kind.BREAK_GLASS_ENDED, Kind.BREAK_GLASS_REPORTED]


async def test_a_recovery_code_counts_once_and_a_new_set_ends_the_old(pki: Pki) -> None:  # S04
    gateway = pki.gateway
    status, drawn = await gateway.call("auditor", "POST", "/recovery-codes")
    assert status == 201
    assert len(set(drawn["codes"])) == 10
    account = gateway.ready["accounts"]["auditor"]
    who = {"id": account["id"], "password": account["password"]}
    outcomes = await asyncio.gather(*(log_in(gateway, **who, totp=drawn["codes"][0]) for _ in range(4)))
    assert sorted(status for status, _ in outcomes) == [200, 401, 401, 401], "of four at once, one wins"
    (answer,) = [answer for status, answer in outcomes if status == 200]
    assert answer["factors"] == ["password", "recovery-code"]
    assert (await log_in(gateway, **who, totp=drawn["codes"][1]))[0] == 200
    await gateway.call("auditor", "POST", "/recovery-codes")
    assert (await log_in(gateway, **who, totp=drawn["codes"][2]))[0] == 401
    used = await gateway.traced(lambda entry: entry.detail.get("factors") == ["password", "recovery-code"])
    assert len(used) == 2
    everything = repr(await gateway.trace())
    assert not any(code in everything for code in drawn["codes"])


async def test_an_operator_has_no_recovery_code(pki: Pki) -> None:  # S05
    assert (await pki.gateway.call("operator", "POST", "/recovery-codes"))[0] == 403


async def test_an_intervention_has_its_beginning_and_its_end(pki: Pki) -> None:  # C21
    gateway = pki.gateway
    asked = {"person": "technicien-4", "contractor": "Prestataire", "reason": "remplacement d'un disque"}
    status, begun = await gateway.call("ops", "POST", "/interventions", asked)
    assert (status, begun["ended_at"]) == (201, None)
    path = f"/interventions/{begun['number']}/end"
    assert (await gateway.call("ops", "POST", path))[0] == 200
    assert (await gateway.call("ops", "POST", path))[0] == 422
    _, listed = await gateway.call("auditor", "GET", "/interventions")
    assert [(each["person"], each["ended_at"] is None) for each in listed["items"]] == [("technicien-4", False)]
    (started,) = await gateway.traced(lambda entry: entry.kind is Kind.INTERVENTION_STARTED)
    assert started.detail["person"] == "technicien-4"
    assert await gateway.traced(lambda entry: entry.kind is Kind.INTERVENTION_ENDED)


async def test_a_pushed_revocation_list_counts_if_it_is_the_authoritys_own_and_newer(pki: Pki) -> None:  # S02
    gateway = pki.gateway
    before = pki.crl.read_bytes()
    stranger = issue(None, "another authority", is_authority=True)
    refused = {
        "rubbish": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        "nothing": b"nothing",
        "another authority's": revocation_list(stranger),
        "stale": revocation_list(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1)),
        "of tomorrow": revocation_list(pki.root, begins=timedelta(days=1)),
        "older than what counts": revocation_list(pki.root, begins=timedelta(hours=-1)),
    }
    for case, pem in refused.items():
        status, problem = await gateway.call("machine", "PUT", "/admin/crl", {"pem": pem.decode()})
        assert (status, problem["type"]) == (422, "urn:halfgateway:problem:invalid-request"), case
        assert pki.crl.read_bytes() == before, case
    many = [issue(pki.root, f"card-{number}").certificate for number in range(1, 3)] + [pki.supervisor.certificate]
    newer = revocation_list(pki.root, many, begins=timedelta(minutes=-1)).decode()
    status, answer = await gateway.call("machine", "PUT", "/admin/crl", {"pem": newer})
    assert (status, len(answer["authorities"])) == (200, 1)
    (pushed,) = await gateway.traced(lambda entry: "revocation_lists" in entry.detail)
    assert (pushed.account, pushed.detail["revocation_lists"]) == (gateway.machine.username, answer["authorities"])
    await gateway.traced(lambda entry: entry.detail.get("files") == ["crl.pem"])
    supervisor = pki.context(pki.supervisor)
    account = gateway.ready["accounts"]["supervisor"]
    body = {"id": account["id"], "password": account["password"]}
    async with gateway.http.post(gateway.ready["https"] + "/api/v1/login", json=body, ssl=supervisor) as answered:
        assert answered.status == 401
    assert await gateway.traced(lambda entry: entry.detail.get("reason") == "certificate-revoked")


# Commands on a node at rest


async def run(folder: Path, *arguments: str) -> tuple[int, Any]:
    said = await typed(*arguments, "--data", folder, "--json")
    return said.code, json.loads(said.stdout) if said.stdout else None


async def trace_of(folder: Path) -> list[Entry]:
    page = await TraceReader.of(folder / "trace", "demo").entries(limit=100)
    return list(page.items)[::-1]


async def test_the_commands_leave_their_entries_under_the_os_accounts_name(tmp_path: Path) -> None:  # C21, T10
    folder = tmp_path / "demo"
    with databases.using(DatabaseKind.SQLITE):  # as a demo at rest has it
        async with open_gateway(folder, SWIFT):
            pass
    key, crl = tmp_path / "pp.pub", tmp_path / "crl.pem"
    root = read(folder / "ca" / "ca.pem", folder / "ca" / "ca.key")
    key.write_text(public_pem(root.key))  # type: ignore[arg-type]
    crl.write_bytes(revocation_list(root, begins=timedelta(0)))
    size = len(await trace_of(folder))
    code, declared = await run(folder, "assertion-key", "add", str(key), "--reference", "PP-2026-1", "--kid", "pp-2")
    assert (code, declared["kid"]) == (0, "pp-2")
    _, begun = await run(folder, "intervention", "start", "--by", "technicien-4", "--reason", "disque")
    assert (await run(folder, "assertion-key", "revoke", "pp-2", "--reason", "perte"))[0] == 0
    assert (await run(folder, "assertion-key", "revoke", "pp-2", "--reason", "perte"))[0] == 1
    assert (await run(folder, "crl", "import", str(crl)))[0] == 0
    code, sealed = await run(folder, "break-glass", "issue", "--for", "ops")
    assert (code, len(sealed["password"])) == (0, 32)
    assert (await run(folder, "intervention", "end", str(begun["number"])))[0] == 0
    assert (await run(folder, "break-glass", "report", "1", "--text", "rien"))[0] == 1
    _, keys = await run(folder, "assertion-key", "list")
    assert [each["revoked_at"] is None for each in keys] == [False, True]
    entries = (await trace_of(folder))[size:]
    told = {entry.kind: entry for entry in entries}
    assert list(told) == [
        Kind.ASSERTION_KEY_DECLARED,
        Kind.INTERVENTION_STARTED,
        Kind.ASSERTION_KEY_REVOKED,
        Kind.CONFIG_CHANGED,
        Kind.BREAK_GLASS_ISSUED,
        Kind.INTERVENTION_ENDED,
    ]
    assert {entry.account for entry in entries} == {common.account_name()}
    assert {entry.source for entry in entries} == {"local"}
    assert told[Kind.ASSERTION_KEY_DECLARED].detail["interventions"] == [], "nobody had declared one"
    assert told[Kind.ASSERTION_KEY_REVOKED].detail["interventions"] == [begun["number"]]


async def test_the_commands_go_through_the_running_node(pki: Pki, tmp_path: Path) -> None:  # C21, S04, T10
    gateway, key = pki.gateway, tmp_path / "pp.pub"
    key.write_text(public_pem(read(pki.gateway.data / "ca" / "ca.pem", pki.gateway.data / "ca" / "ca.key").key))  # type: ignore[arg-type]
    size = len(await gateway.trace())
    code, declared = await run(gateway.data, "assertion-key", "add", str(key), "--reference", "PP-9", "--kid", "pp-9")
    assert (code, declared["kid"]) == (0, "pp-9")
    _, begun = await run(gateway.data, "intervention", "start", "--by", "technicien-5", "--reason", "câble")
    code, sealed = await run(gateway.data, "break-glass", "issue", "--for", "auditor")
    assert (code, len(sealed["password"]), sealed["role"]) == (0, 32, "auditor")
    assert (await run(gateway.data, "assertion-key", "revoke", "pp-9", "--reason", "essai"))[0] == 0
    assert (await run(gateway.data, "assertion-key", "revoke", "pp-9", "--reason", "essai"))[0] == 1
    assert (await run(gateway.data, "break-glass", "report", "999", "--text", "rien"))[0] == 1
    _, ended = await run(gateway.data, "intervention", "end", str(begun["number"]))
    assert ended["ended_at"] is not None
    entries = [entry for entry in (await gateway.trace())[size:] if entry.source == "local"]
    assert [entry.kind for entry in entries] == [
        Kind.ASSERTION_KEY_DECLARED,
        Kind.INTERVENTION_STARTED,
        Kind.BREAK_GLASS_ISSUED,
        Kind.ASSERTION_KEY_REVOKED,
        Kind.INTERVENTION_ENDED,
    ]
    assert {entry.account for entry in entries} == {common.account_name()}
    assert entries[3].detail["interventions"] == [begun["number"]]
    assert sealed["password"] not in repr(entries)


async def test_a_cut_by_command_names_the_os_account(tmp_path: Path) -> None:  # C21
    async with open_gateway(tmp_path / "demo", SWIFT) as gateway:
        assert (await run(gateway.data, "cut", "--reason", "essai"))[0] == 0
        (told,) = await gateway.traced(lambda entry: entry.kind is Kind.INTERCONNECTION_CUT)
    assert (told.account, told.source) == (common.account_name(), "local")


@pytest.mark.parametrize(
    ("uid", "login_uid", "sudo_user", "name"),
    [
        (65534, "0", "root", "local:nobody"),
        (0, "65534", "root", "local:nobody"),
        (0, str(2**32 - 1), "nobody", "local:nobody"),
        (0, str(2**32 - 1), "no-such-account", "local:root"),
        (0, None, "", "local:root"),
        (4_000_000, None, "nobody", "local:uid-4000000"),
    ],
)
async def test_an_os_account_is_what_the_system_says_and_not_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int, login_uid: str | None, sudo_user: str, name: str
) -> None:  # C21
    assert pwd.getpwnam("nobody").pw_uid == 65534
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(common, "LOGIN_UID", tmp_path / "loginuid")
    if login_uid is not None:
        (tmp_path / "loginuid").write_text(login_uid)
    monkeypatch.setenv("SUDO_USER", sudo_user)
    monkeypatch.setenv("USER", "someone-else")
    monkeypatch.setenv("LOGNAME", "someone-else")
    assert common.account_name() == name
