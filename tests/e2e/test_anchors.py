"""A running node's trace tied to the world outside: tokens, cosignatures, keys, a backup put back (T04, T12)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from auth.trace import Draft, Kind
from auth.trace.continuity import TraceBehind
from auth.trace.cosigner import CosigningKey
from auth.trace.verifier import judge
from halfgateway.control.anchoring import Occasion
from halfgateway.control.heads import SharedHeads
from halfgateway.errors import StateStoreUnavailable
from halfgateway.folder import DataFolder
from halfgateway.opening import trace_gap
from halfgateway.sections import TraceSection
from tests.e2e import commands
from tests.e2e.conftest import STEADY, Gateway, open_gateway
from tests.timestamp_authority import TimestampAuthority, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

PP = "pp.example/half-gateway"


async def typed(*arguments: str | Path) -> tuple[int, Any, str]:
    """Run a command with ``--json``: exit code, document, stderr."""
    said = await commands.typed(*arguments, "--json")
    return said.code, json.loads(said.stdout) if said.stdout else None, said.stderr


def with_trace(gateway: Gateway, **section: Any) -> None:
    """Have the node anchor as a reload of its configuration would."""
    in_force = gateway.node.in_force
    in_force.current = in_force.current.model_copy(update={"trace": TraceSection(**section)})


class Cosigner:
    """The other half-gateway: its key, its memory, its machine account here."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        key = Ed25519PrivateKey.generate()
        self.key = CosigningKey(PP, key)
        self.folder = folder
        (folder / "pp.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        account = gateway.ready["accounts"]["machine"]
        (folder / "secret").write_text(account["password"] + "\n")
        shutil.copy(gateway.data / "trace" / "demo.pem", folder / "demo.pem")
        self._options: list[str | Path] = [
            *("--url", gateway.ready["https"], "--id", account["id"], "--password-file", folder / "secret"),
            *("--certificate", account["certificate"], "--key", account["key"], "--ca", gateway.ready["ca"]),
            *("--name", PP, "--cosigning-key", folder / "pp.key", "--node", "demo"),
            *("--log-key", folder / "demo.pem"),
        ]

    async def cosign(self, memory: str = "memory") -> tuple[int, Any, str]:
        return await typed("trace", "cosign", *self._options, "--memory", self.folder / memory)


@pytest_asyncio.fixture(loop_scope="module")
async def pp(shared: Gateway, tmp_path: Path) -> AsyncIterator[Cosigner]:
    cosigner = Cosigner(tmp_path, shared)
    with_trace(shared, cosigners=(cosigner.key.vkey,))
    yield cosigner
    with_trace(shared)


async def test_the_other_half_gateway_cosigns_and_the_journal_is_anchored(
    shared: Gateway, pp: Cosigner, tmp_path: Path
) -> None:
    # T04, T06: twice, the second time with a proof; and 6 becomes 0 for whoever knows the cosigner
    code, first, complaint = await pp.cosign()
    assert code == 0, complaint
    await shared.node.outside.anchoring.head()
    code, second, complaint = await pp.cosign()
    assert code == 0, complaint
    assert second["size"] > first["size"] > 0
    told = await shared.traced(lambda entry: entry.kind is Kind.TRACE_ANCHORED)
    assert [(entry.detail["by"], entry.detail["cosigner"], entry.detail["size"]) for entry in told] == [
        ("cosignature", PP, first["size"]),
        ("cosignature", PP, second["size"]),
    ]
    assert all(entry.account == shared.ready["accounts"]["machine"]["id"] for entry in told)
    copied = Path(await asyncio.to_thread(shutil.copytree, shared.data / "trace", tmp_path / "copy"))
    code, found, _ = await typed("trace", "verify", copied, "--cosigner", pp.key.vkey)
    assert (code, found["status"], found["anchored"]) == (0, "valid", second["size"])
    assert (await asyncio.to_thread(judge, copied)).verification.exit_code == 6
    assert shared.node.outside.anchoring.anchored == second["size"]


async def test_a_cosignature_that_is_not_to_be_taken_is_refused(shared: Gateway, pp: Cosigner, tmp_path: Path) -> None:
    # T04: of a stranger, of another log, of a tree that is not, changed on the way
    head = await shared.node.outside.anchoring.head()
    stranger = CosigningKey("elsewhere.example", Ed25519PrivateKey.generate())
    lines = [stranger.sign(head.checkpoint.text(), 1_790_000_000), pp.key.sign(head.checkpoint.text(), 4_000_000_000)]
    signed = pp.key.sign(head.checkpoint.text(), 1_790_000_000)
    changed = dataclasses.replace(signed, signature=bytes(8) + signed.signature[8:])
    notes = [*(head.note + str(line) for line in (*lines, changed)), head.note, "rubbish"]
    notes.append((head.note + str(signed)).replace("halfgateway/demo", "halfgateway/other"))
    for note in notes:
        status, problem = await shared.call("machine", "POST", "/trace/cosign", {"note": note})
        assert (status, problem["type"]) == (422, "urn:halfgateway:problem:invalid-request"), note
    status, taken = await shared.call("machine", "POST", "/trace/cosign", {"note": head.note + str(signed)})
    assert (status, taken["size"]) == (201, head.checkpoint.size)


async def test_the_client_signs_no_smaller_tree(shared: Gateway, pp: Cosigner, tmp_path: Path) -> None:
    # T04, T12: exit 4, and nothing is sent
    head = await shared.node.outside.anchoring.head()
    text = head.checkpoint.text().replace(f"\n{head.checkpoint.size}\n", f"\n{head.checkpoint.size + 9_999}\n")
    (tmp_path / "ahead").write_text(f"{text}\n{pp.key.sign(text, 1_790_000_000)}")
    before = len(await shared.traced(lambda entry: entry.kind is Kind.TRACE_ANCHORED))
    code, _, complaint = await pp.cosign("ahead")
    assert code == 4
    assert "tronqué" in complaint
    assert len(await shared.traced(lambda entry: entry.kind is Kind.TRACE_ANCHORED)) == before


async def test_tokens_are_asked_for_and_a_dead_authority_stops_nothing(shared: Gateway, tmp_path: Path) -> None:
    # T04: an alarm in the metrics; streams go on
    authority = TimestampAuthority(tmp_path / "tsa")
    anchoring = shared.node.outside.anchoring
    async with served(authority.reply) as url:
        with_trace(shared, timestamp_urls=(url,), timestamp_ca=authority.ca)
        head = await anchoring.stamp(Occasion.PERIOD)
    told = await shared.traced(lambda entry: entry.detail.get("by") == "timestamp")
    assert (told[-1].detail["size"], told[-1].detail["authority"]) == (head.checkpoint.size, "CN=Autorité d'essai 1")
    assert await metric(shared, "halfgateway_trace_timestamp_failing") == 0
    found = await asyncio.to_thread(judge, shared.data / "trace", authorities=[authority.ca])
    assert (found.verification.exit_code, found.verification.anchored) == (0, head.checkpoint.size)
    async with served(authority.reply) as url:
        lists = authority.revocations(datetime.now(UTC))
        with_trace(shared, timestamp_urls=(url,), timestamp_ca=authority.ca, timestamp_revoked=lists)
        await anchoring.stamp(Occasion.PERIOD)
        assert await metric(shared, "halfgateway_trace_timestamp_failing") == 1
        authority.revocations()  # renewed in place: the next token counts
        await anchoring.stamp(Occasion.PERIOD)
        assert await metric(shared, "halfgateway_trace_timestamp_failing") == 0
    async with shared.player(shared.machine) as player:
        path = f"/live/{shared.cameras[0]}"
        await player.set_up(path)
        await player.ask("PLAY", player.url(path), {"Session": player.session or ""})
        text = await anchoring.incident_text("INC-7")
        assert await metric(shared, "halfgateway_trace_timestamp_failing") == 1
        assert "INC-7" in text
        assert (await anchoring.head()).note.split("\n")[0] in text
        assert [stream.state.value for stream in shared.node.control.table] == ["playing"]
    with_trace(shared)


async def metric(gateway: Gateway, name: str) -> float:
    async with gateway.http.get(gateway.ready["http"] + "/metrics") as answer:
        [line] = [line for line in (await answer.text()).splitlines() if line.startswith(name + " ")]
    return float(line.split()[1])


async def test_the_trace_is_read_beside_the_running_node(shared: Gateway, tmp_path: Path) -> None:
    # T10, T11: the node records it first, by whom
    data = ("--data", str(shared.data))
    code, listed, complaint = await typed("trace", "list", "--kind", "node.started", *data)
    assert code == 0, complaint
    assert [entry["kind"] for entry in listed["items"]] == ["node.started"]
    code, proved, complaint = await typed("trace", "prove", "demo", "0", "--output", tmp_path / "dossier", *data)
    assert code == 0, complaint
    found = await asyncio.to_thread(judge, tmp_path / "dossier")
    assert (found.verification.exit_code, found.verification.signed) == (6, proved["size"])
    dossier = tmp_path / "inspection"
    inspect = ("trace", "export", "--inspection", "--motive", "CNIL-1")
    code, _, complaint = await typed(*inspect, "--output", dossier, *data)
    assert code == 0, complaint
    assert (await asyncio.to_thread(judge, dossier)).verification.exit_code == 6
    code, said, complaint = await typed("trace", "statement", *data)
    assert code == 0, complaint
    assert said["text"].count("\n— halfgateway/demo ") == 1
    told = [entry for entry in await shared.trace() if (entry.account or "").startswith("local:")]
    assert [(entry.kind.value, entry.detail.get("what")) for entry in told] == [
        ("trace.read", "entries"),
        ("trace.exported", "proof"),
        ("trace.exported", "inspection"),
        ("trace.read", "statement"),
    ]


async def test_the_key_is_changed_beside_the_running_node(shared: Gateway, tmp_path: Path) -> None:
    # T04: an anchor under the old key still holds; the machine's owner alone may
    first = Path(await asyncio.to_thread(shutil.copy, shared.data / "trace" / "demo.pem", tmp_path / "first.pem"))
    (tmp_path / "anchor").write_text((await shared.node.outside.anchoring.head()).note)
    code, told, complaint = await typed("trace", "rotate-key", "--reason", "échéance", "--data", shared.data)
    assert code == 0, complaint
    code, found, _ = await typed(
        *("trace", "verify", shared.data / "trace", "--key", first, "--anchor", tmp_path / "anchor")
    )
    assert (code, found["key"], found["signing_key"]) == (0, told["old"], told["new"])
    assert not (shared.data / "secrets" / "trace.next.key").exists()
    status, problem = await shared.call("officer", "POST", "/trace/keys", {"reason": "de loin"})
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:not-habilitated")


async def test_a_backup_that_was_put_back_is_seen_and_continued_by_a_person(tmp_path: Path) -> None:
    # T12: a real copy; nothing is served, nothing written, until somebody says what is lost
    demo, data = tmp_path / "demo", DataFolder(tmp_path / "demo")
    async with open_gateway(demo, STEADY) as gateway:
        await gateway.node.outside.anchoring.head()
        backup = await asyncio.to_thread(shutil.copytree, data.trace, tmp_path / "backup")
        await gateway.node.journal.record(Draft(kind=Kind.HEARTBEAT))
        head = await gateway.node.outside.anchoring.head()
        await gateway.node.outside.anchoring.remember_now()
    assert (await typed("trace", "continue", "--reason", "rien", "--data", demo))[0] == 1
    await asyncio.to_thread(shutil.rmtree, data.trace)
    await asyncio.to_thread(shutil.copytree, backup, data.trace)
    before = {path.name: path.read_bytes() for path in data.trace.glob("0*")}
    gap = await asyncio.to_thread(trace_gap, data, "demo")
    assert gap is not None
    assert gap.source == "ce nœud lui-même"
    data.head.unlink()  # the other nodes still know
    with pytest.raises(TraceBehind, match=r"état partagé.*trace continue"):
        async with open_gateway(demo, STEADY):
            pass
    assert {path.name: path.read_bytes() for path in data.trace.glob("0*")} == before
    code, told, complaint = await typed("trace", "continue", "--reason", "disque changé, décision 12", "--data", demo)
    assert code == 0, complaint
    assert told["lost"]["last"] == head.checkpoint.size - 1
    async with open_gateway(demo, STEADY) as gateway:
        [entry] = [entry for entry in await gateway.trace() if entry.kind is Kind.TRACE_CONTINUED]
        assert (entry.n, entry.detail["motive"]) == (told["n"], "disque changé, décision 12")
    (tmp_path / "anchor").write_text(head.note)
    code, found, _ = await typed("trace", "verify", data.trace, "--anchor", tmp_path / "anchor")
    assert (code, found["status"]) == (5, "incomplete")
    assert found["lost"] == head.checkpoint.size - told["lost"]["first"]


async def test_a_whole_folder_put_back_as_the_runbook_says_is_seen(tmp_path: Path) -> None:
    # T12: every memory of its own that lies in the folder goes back with it, but for the note that stays
    demo, data = tmp_path / "demo", DataFolder(tmp_path / "demo")
    page = (Path(__file__).parents[2] / "docs" / "fr" / "exploitation.md").read_text(encoding="utf-8")
    (saved, restored) = re.findall(r"```(?:console|sh)\n(.*?)```", page.partition("\n## 26.")[2], re.DOTALL)[:2]
    async with open_gateway(demo, STEADY) as gateway:
        await gateway.node.outside.anchoring.head()
    typed_in(tmp_path, demo, [line[2:] for line in saved.splitlines() if re.match(r"\$ (cp|rm) ", line)])
    async with open_gateway(demo, STEADY) as gateway:
        await gateway.node.journal.record(Draft(kind=Kind.HEARTBEAT))
        await gateway.node.outside.anchoring.head()
        await gateway.node.outside.anchoring.remember_now()
    typed_in(tmp_path, demo, restored.splitlines())
    before = {path.name: path.read_bytes() for path in data.trace.glob("0*")}
    with pytest.raises(TraceBehind, match=r"ce nœud lui-même.*trace continue"):
        async with open_gateway(demo, STEADY):
            pass
    assert {path.name: path.read_bytes() for path in data.trace.glob("0*")} == before


def typed_in(folder: Path, data: Path, lines: list[str]) -> None:
    """Type lines of the runbook where a person stands."""
    assert lines
    script, environment = "\n".join(["set -e", *lines]), os.environ | {"DONNEES": str(data)}
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment, check=True)


async def test_the_daily_text_has_every_head_and_leaves_with_an_entry(
    shared: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T04: a node that cannot be asked is named as such; the mail that took the text away is an entry
    anchoring = shared.node.outside.anchoring
    assert "n'a pas pu être lu" not in await anchoring.daily_text()

    async def silent(_heads: SharedHeads) -> dict[str, Any]:
        raise StateStoreUnavailable

    monkeypatch.setattr(SharedHeads, "all", silent)
    assert "n'a pas pu être lu" in await anchoring.daily_text()
    await anchoring.left([await anchoring.head()], message_id="<1@syn>", recipients=3)
    told = await shared.traced(lambda entry: entry.detail.get("by") == "mail")
    assert told[-1].detail["recipients"] == 3
    assert told[-1].detail["heads"][0]["origin"] == "halfgateway/demo"
