"""Agents asserted through one machine account: told apart in the trace, ended with the key that named them (C08)."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from auth.assertions import read_header
from auth.trace import Entry, Kind
from halfgateway.control.enforcement import RECORDS_EVERY_S
from tests.asserting import Signer, public_pem
from tests.e2e.conftest import SWIFT, WAIT_S, Gateway, credentials_of, open_gateway, until
from tests.e2e.people import order_of
from tests.raw_player import RawPlayer
from tests.rights import SERVICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVOKED_WITHIN_S = 5.0
OVER_TCP = {"Transport": "RTP/AVP/TCP;interleaved=0-1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with open_gateway(tmp_path_factory.mktemp("asserted") / "demo", SWIFT) as opened:
        for agent in ("pp-agent-1", "pp-agent-2", "pp-agent-99"):
            await admit(opened, agent, SERVICE)
        opened.node.control.terms.sites |= {"PP-BESSIERES"}
        await admit(opened, "pp-agent-42", "DRPJ")
        status, answer = await opened.call("officer", "POST", "/orders", order_of("78-42", opened.cameras[0], "DRPJ"))
        assert status == 201, answer
        yield opened


async def admit(gateway: Gateway, agent: str, service: str) -> None:
    """Let another agent watch."""
    decided = {"authority": "préfet de police", "reference": "PP-42", "start": datetime.now(UTC).isoformat()}
    for path, body in (
        ("/agents", {"id": agent, "administration": "PP", "service": service, **decided}),
        ("/habilitations", {"agent": agent, "role": "operator", **decided}),
    ):
        status, answer = await gateway.call("officer", "POST", path, body)
        assert status == 201, answer


class Vms:
    """The PP half-gateway with its VMS: one machine account, several operators, each asserted for what they ask."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.signer = Signer.of_demo(gateway.ready)
        account = gateway.ready["accounts"]["machine"]
        self.tls = ssl.create_default_context(cafile=gateway.ready["ca"])
        self.tls.load_cert_chain(account["certificate"], account["key"])

    async def ask(self, camera: str, assertion: str | None, reason: str = "L251-2-5") -> tuple[int, dict[str, Any]]:
        """One ``POST /streams`` over mutual TLS."""
        wish = {"camera": camera, "mode": "live", "reason": reason}
        wish |= {} if assertion is None else {"assertion": assertion}
        headers = {"Authorization": f"Bearer {await self.gateway.token('machine')}"}
        url = self.gateway.ready["https"] + "/api/v1/streams"
        async with self.gateway.http.post(url, json=wish, headers=headers, ssl=self.tls) as answer:
            return answer.status, await answer.json()

    def player(self, ticket: dict[str, Any]) -> RawPlayer:
        host, _, port = self.gateway.ready["rtsps"].partition("://")[2].partition(":")
        return RawPlayer(host, int(port), credentials_of(ticket), tls=self.tls)


async def plays(player: RawPlayer, camera: str) -> None:
    assert (await player.set_up(f"/live/{camera}")).status == 200
    assert (await player.play(f"/live/{camera}")).status == 200
    await player.packets_until(5)


def of_stream(entries: list[Entry], stream: str) -> dict[Kind, Entry]:
    return {entry.kind: entry for entry in entries if entry.stream == stream}


async def test_the_trace_tells_two_operators_of_one_machine_apart(gateway: Gateway) -> None:
    # C08, L16, T5: same account, same camera, same address, at the same time
    vms, camera = Vms(gateway), gateway.cameras[0]
    operators = {
        "pp-agent-17": {"service": "DOPC", "site": "PP-CITE", "purpose": "L251-2-5", "reference": "PP-2026-17"},
        "pp-agent-42": {"service": "DRPJ", "site": "PP-BESSIERES", "purpose": "L251-2-6", "reference": "PP-2026-18"},
    }
    sent, tickets, players = {}, {}, []
    async with AsyncExitStack() as life:
        for agent, claims in operators.items():
            sent[agent] = vms.signer.assertion(sub=agent, **claims)
            status, tickets[agent] = await vms.ask(camera, sent[agent], claims["purpose"])
            assert status == 201, tickets[agent]
            players.append(await life.enter_async_context(vms.player(tickets[agent])))
            await plays(players[-1], camera)
        for player in players:
            await player.packets_until(len(player.packets) + 5)
            assert (await player.tear_down(f"/live/{camera}")).status == 200
    for agent, claims in operators.items():
        stream = tickets[agent]["id"]
        await gateway.traced(lambda entry, stream=stream: (entry.stream, entry.kind) == (stream, Kind.STREAM_STOPPED))
        entries = await gateway.trace()
        told = of_stream(entries, stream)
        assert {Kind.STREAM_REQUESTED, Kind.STREAM_GRANTED, Kind.STREAM_STARTED, Kind.STREAM_STOPPED} <= told.keys()
        assert {entry.agent for entry in told.values()} == {agent}
        assert {entry.account for entry in told.values()} == {gateway.machine.username}
        assert {entry.attribution for entry in told.values()} == {"agent-asserted"}
        assert {entry.reason for entry in told.values()} == {claims["purpose"]}
        for name in ("service", "site", "reference"):
            assert {entry.detail[name] for entry in told.values()} == {claims[name]}
        node, _, number = told[Kind.STREAM_REQUESTED].detail["assertion"].partition("/")
        kept = entries[int(number)]
        assert (kept.node, kept.kind, kept.agent) == (node, Kind.ASSERTION_ACCEPTED, agent)
        assert kept.detail["assertion"] == sent[agent], "the exact text that was signed"
        assert read_header(kept.detail["assertion"]).kid == kept.detail["key"]


async def test_what_two_operators_of_one_machine_are_refused_names_each_with_their_purpose(gateway: Gateway) -> None:
    # T5
    vms, camera = Vms(gateway), "no-such-camera"
    operators = {("pp-agent-17", "DOPC", "PP-CITE", "L251-2-5"), ("pp-agent-42", "DRPJ", "PP-BESSIERES", "L251-2-6")}
    for agent, service, site, purpose in operators:
        assertion = vms.signer.assertion(sub=agent, service=service, site=site, purpose=purpose)
        assert (await vms.ask(camera, assertion, purpose))[0] == 404

    async def refused() -> list[Entry]:
        return [entry for entry in await gateway.trace() if (entry.kind, entry.camera) == (Kind.STREAM_REFUSED, camera)]

    async with asyncio.timeout(WAIT_S):
        while len(await refused()) < len(operators):
            await asyncio.sleep(0.02)
    told = {(entry.agent, entry.detail["service"], entry.detail["site"], entry.reason) for entry in await refused()}
    assert told == operators
    assert {(entry.account, entry.attribution) for entry in await refused()} == {
        (gateway.machine.username, "agent-asserted")
    }


READINGS = {
    "operator": ("/cameras/{camera}/recordings",),
    "officer": ("/streams?unmask=essai", "/agents", "/habilitations", "/blocks"),
    "auditor": ("/trace", "/trace/checkpoints", "/trace/demo/1/proof", "/trace/demo/consistency?from=1&to=2",
                "/trace/export", "/streams?unmask=essai"),
}  # fmt: skip
"""What is shown only once it is on record that it was."""


async def test_with_the_trace_gone_nobody_watches_and_nobody_reads(gateway: Gateway) -> None:
    # T5: by assertion, by the machine's account, or in the history itself
    vms, camera, folder = Vms(gateway), gateway.cameras[1], gateway.node.journal.folder
    for role in ("machine", *READINGS):
        await gateway.token(role)
    away = folder.with_name("moved")
    folder.rename(away)
    try:
        status, problem = await vms.ask(camera, vms.signer.assertion())
        assert (status, problem["type"]) == (503, "urn:halfgateway:problem:trace-unavailable")
        for role, path in ((role, path.format(camera=camera)) for role, paths in READINGS.items() for path in paths):
            status, problem = await gateway.call(role, "GET", path)
            assert (status, problem["type"]) == (503, "urn:halfgateway:problem:trace-unavailable"), path
        async with gateway.player(gateway.machine) as player:
            for method in ("DESCRIBE", "SETUP"):
                answer = await player.ask(method, player.url(f"/live/{camera}/trackID=0"), OVER_TCP)
                assert (answer.status, answer.header("x-refusal")) == (503, "trace-unavailable"), method
    finally:
        away.rename(folder)

    async def is_written_again() -> bool:
        return (await gateway.call("auditor", "GET", "/trace/checkpoints"))[0] == 200

    await until(is_written_again)
    assert await gateway.slots_used() == 0


async def test_an_assertion_that_was_kept_can_be_checked_by_openssl_alone(gateway: Gateway, tmp_path: Path) -> None:
    # T06: the bytes in the trace prove it without this program
    vms = Vms(gateway)
    assertion = vms.signer.assertion(sub="pp-agent-99")
    _, ticket = await vms.ask(gateway.cameras[1], assertion)
    (kept,) = await gateway.traced(lambda entry: entry.kind is Kind.ASSERTION_ACCEPTED and entry.agent == "pp-agent-99")
    (tmp_path / "assertion").write_text(kept.detail["assertion"])
    key = gateway.ready["accounts"]["machine"]["assertion_key"]
    script = f"""set -e
        openssl pkey -in {key} -pubout -out public.pem
        cut -d. -f1,2 assertion | tr -d '\\n' > signed
        raw=$(cut -d. -f3 assertion | tr -- '-_' '+/'); while [ $((${{#raw}} % 4)) -ne 0 ]; do raw=$raw=; done
        hex=$(printf %s "$raw" | base64 -d | od -An -v -tx1 | tr -d ' \\n')
        printf 'asn1=SEQUENCE:s\\n[s]\\nr=INTEGER:0x%s\\ns=INTEGER:0x%s\\n' "${{hex:0:64}}" "${{hex:64}}" > sig.cnf
        openssl asn1parse -genconf sig.cnf -noout -out sig.der
        openssl dgst -sha256 -verify public.pem -signature sig.der signed"""
    checked = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.stdout.strip() == "Verified OK", checked.stderr
    await gateway.call("supervisor", "DELETE", f"/streams/{ticket['id']}")


async def test_without_an_assertion_a_machine_is_machine_only_under_the_recorded_agreement(gateway: Gateway) -> None:
    vms = Vms(gateway)
    status, ticket = await vms.ask(gateway.cameras[0], None)
    assert status == 201
    (entry,) = await gateway.traced(lambda entry: (entry.stream, entry.kind) == (ticket["id"], Kind.STREAM_REQUESTED))
    assert (entry.attribution, entry.account) == ("machine-only", gateway.machine.username)
    assert "assertion" not in entry.detail
    await gateway.call("supervisor", "DELETE", f"/streams/{ticket['id']}")


async def test_a_revoked_key_ends_what_it_opened_within_five_seconds_and_nothing_else(gateway: Gateway) -> None:
    # S12, C08, T4
    assert RECORDS_EVERY_S * 2 < REVOKED_WITHIN_S
    vms, camera = Vms(gateway), gateway.cameras[2]
    second = Signer(ec.generate_private_key(ec.SECP256R1()), vms.signer.issuer, vms.signer.audience)
    declared = {"public_key": public_pem(second.key), "reference": "PP-2026-2"}
    status, key = await gateway.call("officer", "POST", "/assertion-keys", declared)
    assert (status, key["kid"], key["algorithm"]) == (201, second.kid, "ES256")
    _, kept_ticket = await vms.ask(camera, vms.signer.assertion(sub="pp-agent-1"))
    status, ended_ticket = await vms.ask(camera, second.assertion(sub="pp-agent-2"))
    assert status == 201, ended_ticket
    async with vms.player(kept_ticket) as kept, vms.player(ended_ticket) as ended:
        await plays(kept, camera)
        await plays(ended, camera)
        reading = asyncio.create_task(ended.read_to_end())
        revoked_at = time.monotonic()
        motive = {"reason": "clé perdue"}
        assert (await gateway.call("officer", "POST", f"/assertion-keys/{second.kid}/revoke", motive))[0] == 204
        await reading
        assert time.monotonic() - revoked_at < REVOKED_WITHIN_S
        kept.packets.clear()
        await kept.packets_until(20)
        assert (await kept.tear_down(f"/live/{camera}")).status == 200
    (stopped,) = await gateway.traced(
        lambda entry: (entry.stream, entry.kind) == (ended_ticket["id"], Kind.STREAM_STOPPED)
    )
    assert (stopped.detail["cause"], stopped.detail["reason"]) == ("assertion-invalid", "assertion-key-revoked")
    assert (await vms.ask(camera, second.assertion()))[0] == 403
    (refused,) = await gateway.traced(
        lambda entry: entry.kind is Kind.ASSERTION_REFUSED and entry.detail["reason"] == "key-revoked"
    )
    assert refused.detail["key"] == second.kid
    (told,) = await gateway.traced(lambda entry: entry.kind is Kind.ASSERTION_KEY_REVOKED)
    assert told.detail == {"key": second.kid, "why": "clé perdue"}
    _, listed = await gateway.call("auditor", "GET", "/assertion-keys")
    assert {each["kid"]: each["revoked_reason"] for each in listed["items"]} == {
        second.kid: "clé perdue",
        vms.signer.kid: None,
    }


async def test_the_end_of_a_login_asks_again_and_ends_no_running_picture(gateway: Gateway) -> None:
    # S15: logged out everywhere, the machine's streams go on; what it asks next, it is asked for its login
    vms, camera = Vms(gateway), gateway.cameras[0]
    _, ticket = await vms.ask(camera, vms.signer.assertion())
    async with vms.player(ticket) as player:
        await plays(player, camera)
        status, sessions = await gateway.call("machine", "GET", "/sessions")
        assert status == 200
        assert [each["current"] for each in sessions["items"]] == [True]
        assert (await gateway.call("machine", "POST", "/logout?everywhere=true"))[0] == 204
        status, problem = await vms.ask(camera, vms.signer.assertion())
        assert (status, problem["type"]) == (401, "urn:halfgateway:problem:unauthenticated")
        player.packets.clear()
        await player.packets_until(50)
        assert (await player.tear_down(f"/live/{camera}")).status == 200
    del gateway.tokens["machine"]


async def test_one_of_ones_own_sessions_is_ended_and_nobody_elses(gateway: Gateway) -> None:
    first = await gateway.token("operator")
    del gateway.tokens["operator"]
    await gateway.token("operator")
    _, listed = await gateway.call("operator", "GET", "/sessions")
    (other,) = [each for each in listed["items"] if not each["current"]]
    assert first not in json.dumps(listed)
    status, problem = await gateway.call("supervisor", "DELETE", f"/sessions/{other['id']}")
    assert (status, problem["type"]) == (404, "urn:halfgateway:problem:unknown-session")
    assert (await gateway.call("operator", "DELETE", f"/sessions/{other['id']}"))[0] == 204
    current, gateway.tokens["operator"] = gateway.tokens["operator"], first
    assert (await gateway.call("operator", "GET", "/sessions"))[0] == 401
    gateway.tokens["operator"] = current
    assert len((await gateway.call("operator", "GET", "/sessions"))[1]["items"]) == 1
