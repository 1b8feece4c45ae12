"""No unaudited path from the command line: each that acts is run, and leaves its entry under the OS account (T10).

The commands are enumerated from the command line itself, down to the last subcommand. One that is neither run here nor
said to do nothing fails the test.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import halfgateway.app.answering
import halfgateway.app.extracting
from auth.demo_authority import DemoAuthority
from auth.trace import Entry, Kind
from auth.trace.reader import TraceReader
from camera_registry.clock import SystemClock
from camera_registry.paris import PARIS
from halfgateway.app.recorders import ConfiguredRecorders
from halfgateway.cli import build
from halfgateway.cli.common import account_name
from halfgateway.replay.segment_folder import SegmentFolder
from halfgateway.segments.layout import Layout
from tests.asserting import public_pem
from tests.databases import Kind as DatabaseKind
from tests.databases import databases
from tests.dossiers.stopped_node import NODE, StoppedNode, drafts
from tests.dossiers.test_commands import CONFIG
from tests.e2e.conftest import SWIFT, Gateway, open_gateway
from tests.e2e.forging import read, revocation_list
from tests.e2e.touring import acceptance_run, purges_in_two_years, signed_list
from tests.segments.footage import DEFAULT, write

READINGS_OF_THE_CONTRACT = (
    *("change list", "change windows", "annex list", "annex show", "annex draw"),
    *("calendar show", "acceptance plan", "acceptance show"),
)

UNTRACED = {
    "check": "reads a configuration file; touches no node",
    "simulate": "is not a gateway",
    "notifier": "writes the books of incidents, which the node's entries follow; sends mail, shows no picture",
    "watchdog": "writes the books of incidents, which the node's entries follow; shows no picture",
    "recorder": "writes footage that a node shows, and a register of its own (tests/recorder); shows nobody a picture",
    "doctor": "pulls a camera beside the node, takes no slot and shows nobody its picture; see its help",
    "camera scan": "asks the network for devices; no node",
    "camera import": "checks a list of devices and writes it anew; no node",
    "camera list": "reads the inventory; no stream, nobody's access",
    "camera show": "reads the inventory; no stream, nobody's access",
    "trace verify": "reads a copy with the rights of whoever holds it; the node's own copy is guarded by the OS",
    "trace verifier": "writes a program, and nothing of any trace",
    "assertion-key list": "reads a register of keys, each of which is traced",
    "break-glass list": "reads a register of acts, each of which is traced",
    "intervention list": "reads a register of acts, each of which is traced",
    "order list": "reads administrative acts: no person, no stream",
    **dict.fromkeys(READINGS_OF_THE_CONTRACT, "reads the contract and its calendar: no person, no stream"),
    "incident list": "tells what became of the interconnection: no person, no stream",
    "incident show": "tells what became of the interconnection: no person, no stream",
    "status": "tells how the interconnection stands: no person, no stream",
    "stream list": "tells how many slots are taken; who watches, and why, is masked (L19)",
    "hold list": "reads a register of acts, each of which is traced",
    "request list": "reads a register of acts, each of which is traced",
    "request export": "reads a register of acts, each of which is traced",
    "correspondence list": "tells which mails left, to functions: no person, no stream",
    "correspondence show": "tells which mails left, to functions: no person, no stream",
}
"""The commands that act on nothing, and why."""

STARTED = ("demo", "serve")
"""The two that start a node: the node of this test says so in its first entry, and is started as ``demo`` starts its
own; ``serve`` is run in most other modules of this folder (:class:`tests.e2e.nodes.ServedNode`)."""

ELSEWHERE = ("trace continue", "trace cosign", "stream close")
"""Those that take a backup put back, another half-gateway, or a player: run, with their entries asserted, in
test_anchors.py and test_watch_commands.py."""

BY = ("--authority", "préfet de police", "--reference", "PP-17")
ORDER = ("--recipient", "DOPC", "--commune", "Trappes", "--signed-on", "2026-01-01", "--last-day", "2099-12-31")


def leaves(command: Any, name: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that can be typed, groups opened."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield " ".join(name)
        return
    for word, each in subcommands.items():
        yield from leaves(each, (*name, word))


class Typist:
    """Types commands against one folder; what each leaves in its trace is asserted at once and remembered."""

    def __init__(self, trace: Path, where: Sequence[str], node: str) -> None:
        self._trace = trace
        self.where = where
        self._node = node
        self.shown: dict[str, set[Kind]] = {}

    async def type(self, command: str, *arguments: str | Path, leaves: tuple[Kind, ...] = ()) -> Any:
        """Run a command that succeeds and leaves entries of these kinds; its JSON."""
        size = len(await self.entries())
        words = [*command.split(), *map(str, arguments), *self.where, "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, build(words), words)
        assert done.exit_code == 0, (words, done.output)
        async with asyncio.timeout(20):  # a state is enforced first, and traced as soon as can be
            while not {entry.kind for entry in await self._new(size)} >= set(leaves):
                await asyncio.sleep(0.02)
        new = await self._new(size)
        assert {entry.kind for entry in new} == set(leaves), command
        assert {entry.account for entry in new} <= {account_name()}, command
        self.shown.setdefault(command, set()).update(leaves)
        return json.loads(done.stdout)

    async def _new(self, size: int) -> list[Entry]:
        return [entry for entry in (await self.entries())[size:] if entry.account is not None]

    async def entries(self) -> list[Entry]:
        """All there are, oldest first; none where no journal was begun."""
        if not any(self._trace.glob("*.leaves")):
            return []
        page = await TraceReader.of(self._trace, self._node).entries(limit=1000)
        return page.items[::-1]


async def test_every_command_that_acts_leaves_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T10, C21
    monkeypatch.setattr(halfgateway.app.answering, "PurgeService", purges_in_two_years)
    demo = tmp_path / "demo"
    typist = Typist(demo / "trace", ("--data", str(demo)), "demo")
    with databases.using(DatabaseKind.SQLITE):  # as a demo at rest has it
        async with open_gateway(demo, SWIFT) as gateway:
            assert Kind.NODE_STARTED in {entry.kind for entry in await typist.entries()}
            await beside_a_running_node(typist, gateway, tmp_path)
            sealed = await use_a_sealed_credential(gateway)
    await at_rest(typist, demo, tmp_path, sealed)
    first = tmp_path / "first"
    first.mkdir()
    beginner = Typist(first / "trace", ("--data", str(first)), "demo")
    await beginner.type("agent bootstrap", leaves=(Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED, Kind.AGENT_ENROLLED))
    archivist = await purge_what_is_due(tmp_path)
    acted = {name for each in (typist, beginner, archivist) for name, kinds in each.shown.items() if kinds}
    did_nothing = {name for name, kinds in typist.shown.items() if not kinds}
    assert did_nothing <= set(UNTRACED)
    assert sorted([*acted, *UNTRACED, *STARTED, *ELSEWHERE]) == sorted(leaves(typer.main.get_command(build([]))))


async def beside_a_running_node(typist: Typist, gateway: Gateway, folder: Path) -> None:
    card = DemoAuthority.open(gateway.data / "ca", datetime.now(UTC)).client("pp-cli", datetime.now(UTC))
    certificate = ("--certificate", card.certificate_path)
    for name, administration in (("pp-cli", "PP"), ("pp-vms-2", "PP"), ("syn-cli", "SYN")):
        service = ("--administration", administration, "--service", "DOPC", *BY)
        await typist.type("agent add", name, *service, leaves=(Kind.AGENT_ADDED,))
    granted = await typist.type(
        "agent habilitate", "pp-cli", "--role", "operator", *BY, leaves=(Kind.HABILITATION_GRANTED,)
    )
    enrolled = (Kind.AGENT_ENROLLED,)
    await typist.type(
        "agent enrol-card", "pp-cli", "--role", "operator", "--site", "PP-CITE", *certificate, leaves=enrolled
    )
    await typist.type("agent enrol-totp", "syn-cli", "--role", "ops", leaves=enrolled)
    await typist.type("agent enrol-machine", "pp-vms-2", "--site", "PP-CITE", leaves=enrolled)
    for reading in ("agent list", "agent show pp-cli", "agent on 2026-11-21"):
        words = reading.split()
        await typist.type(" ".join(words[:2]), *words[2:], leaves=(Kind.TRACE_READ,))
    await typist.type("agent review", leaves=(Kind.TRACE_READ,))
    await typist.type(
        "agent review", "--confirm", granted["id"], "--reference", "revue-1",
        leaves=(Kind.HABILITATION_CONFIRMED, Kind.TRACE_READ),
    )  # fmt: skip
    wish = signed_list()
    (folder / "list.csv").write_text(wish["list"])
    (folder / "list.sig").write_bytes(base64.b64decode(wish["signature"]))
    (folder / "list.pem").write_text(wish["key"])
    signed = ("--signature", folder / "list.sig", "--key", folder / "list.pem", *BY)
    await typist.type(
        "agent import", folder / "list.csv", *signed, leaves=(Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED)
    )
    ended = (Kind.AGENT_ENDED, Kind.HABILITATION_ENDED)
    await typist.type("agent end", "pp-cli", "--reason", "départ", "--reference", "PP-18", leaves=ended)
    await orders(typist, folder)
    cut = await typist.type("cut", "--reason", "essai", leaves=(Kind.INTERCONNECTION_CUT,))
    again = ("--incident", cut["incident"], "--reason", "fin")
    await typist.type("restore", *again, leaves=(Kind.INTERCONNECTION_RESTORED,))
    less = ("--mode", "live-only", "--reason", "essai")
    await typist.type("degrade", *less, leaves=(Kind.INTERCONNECTION_DEGRADED,))
    await typist.type("degrade", "--end", "--reason", "fin", leaves=(Kind.INTERCONNECTION_RESTORED,))
    await incidents(typist)
    await the_conventions_life(typist, folder)
    await blocks(typist, gateway.cameras[0])
    await safekeeping(typist, gateway.cameras[0], folder)
    await typist.type("trace statement", leaves=(Kind.TRACE_READ,))
    await typist.type("trace rotate-key", "--reason", "terme", leaves=(Kind.TRACE_KEY_ROTATED,))
    await a_purge_by_the_node(typist, folder)


async def a_purge_by_the_node(typist: Typist, folder: Path) -> None:
    """The node that runs eliminates, by its own decision; the record is written where the command is typed (L17)."""
    asked = ("--visa", "AD78-2028-3", "--class", "technical", "--output", folder / "bordereaux")
    purged = await typist.type("trace purge", "--older-than", "400", *asked, leaves=(Kind.TRACE_PURGED,))
    (entry,) = [entry for entry in await typist.entries() if entry.kind is Kind.TRACE_PURGED]
    assert purged["count"] == entry.detail["erased"]["count"] > 0
    assert (purged["record"]["n"], purged["record"]["visa"]) == (entry.n, "AD78-2028-3")
    assert {Path(file).suffix for file in purged["files"]} == {".json", ".csv", ".pdf"}
    assert all(Path(file).stat().st_size > 300 for file in purged["files"])
    erased = [each for each in await typist.entries() if each.detail == {"erased": True}]
    assert {each.kind for each in erased} >= {Kind.NODE_STARTED}
    words = ["trace", "purge", *map(str, asked), *typist.where, "--older-than", "300"]
    done = await asyncio.to_thread(CliRunner().invoke, build(words), words)
    assert (done.exit_code, "pas échue" in done.stderr) == (1, True)


async def incidents(typist: Typist) -> None:
    opened = (Kind.INCIDENT_OPENED,)
    await typist.type("incident declare", "--reason", "essai", leaves=opened)
    of_pp = ("--reported-by", "salle de commandement", "--reason", "plus d'image")
    incident = (await typist.type("incident report", *of_pp, leaves=opened))["id"]
    for command, arguments, left in (
        ("revise", ("--t0", "2026-11-20T03:12", "--reason", "journal"), Kind.INCIDENT_REVISED),
        ("note", ("--text", "onduleur"), Kind.INCIDENT_NOTED),
        ("step", ("--text", "en cours"), Kind.INCIDENT_STEP_TOLD),
        ("classify", ("--critical", "--reason", "panne générale"), Kind.INCIDENT_CLASSIFIED),
        ("acknowledge", ("--contact", "permanence"), Kind.INCIDENT_ACKNOWLEDGED),
        ("escalate", ("--level", "2", "--contact", "astreinte"), Kind.INCIDENT_ESCALATED),
        ("clock", ("nis2-24h", "--hours", "24"), Kind.INCIDENT_CLOCK_STARTED),
    ):
        await typist.type(f"incident {command}", incident, *arguments, leaves=(left,))
    await typist.type(
        "incident clock", incident, "nis2-24h", "--done", "notifié", leaves=(Kind.INCIDENT_CLOCK_STOPPED,)
    )
    over = (Kind.INCIDENT_RECOVERED, Kind.INCIDENT_RESOLVED)
    await typist.type("incident resolve", incident, "--reason", "fin", leaves=over)


async def the_conventions_life(typist: Typist, folder: Path) -> None:
    announced, withdrawn = (Kind.CHANGE_ANNOUNCED,), (Kind.CHANGE_WITHDRAWN,)
    wished = ("--party", "SYN", "--wished-on", "2099-01-10", "--description", "Remplacement.")
    change = str((await typist.type("change announce", "Pare-feu", *wished, leaves=announced))["number"])
    decision = ("--minor", "--no-project-structure", "--decided-by", "comité", "--reference", "CT-7")
    await typist.type("change classify", change, *decision, leaves=(Kind.CHANGE_CLASSIFIED,))
    agreed = ("--party", "PP", "--not-before", "2026-01-01", "--reference", "PP-3")
    await typist.type("change agree", change, *agreed, leaves=(Kind.CHANGE_AGREED,))
    await typist.type(
        "change schedule", change, "--day", datetime.now(PARIS).date().isoformat(), leaves=(Kind.CHANGE_SCHEDULED,)
    )
    await typist.type("change live", change, leaves=(Kind.CHANGE_WENT_LIVE,))
    other = str((await typist.type("change announce", "Autre", *wished, leaves=announced))["number"])
    await typist.type("change withdraw", other, "--reason", "abandon", leaves=withdrawn)
    span = ("--start", "2098-01-10T22:00", "--end", "2098-01-10T23:00", "--reason", "essai")
    window = str((await typist.type("change window", *span, leaves=announced))["number"])
    await typist.type("change withdraw-window", window, "--reason", "reportée", leaves=withdrawn)
    sites = folder / "sites.txt"
    sites.write_text("PP-CITE;Cité\n", encoding="utf-8")
    by_pp = ("--party", "PP", "--summary", "un site")
    await typist.type("annex inform", "6", sites, *by_pp, leaves=(Kind.ANNEX_INFORMED,))
    against = ("--party", "SYN", "--reason", "site inconnu")
    await typist.type("annex oppose", "6", "1", *against, leaves=(Kind.ANNEX_OPPOSED,))
    act = ("denounced", "--party", "PP", "--reference", "LRAR 1A", "--day", "2026-11-20")
    await typist.type("calendar record", *act, leaves=(Kind.CONVENTION_DENOUNCED,))
    answers = folder / "answers.json"
    answers.write_text(json.dumps(acceptance_run()))
    await typist.type("acceptance run", "--answers", answers, leaves=(Kind.ACCEPTANCE_RECORDED,))


async def blocks(typist: Typist, camera: str) -> None:
    because = ("--ground", "securite", "--reason", "doute")
    for kind, subject in (("agent", "pp-cli"), ("service", "PJ"), ("camera", camera), ("site", "PP-CITE")):
        blocked = await typist.type(f"block {kind}", subject, *because, leaves=(Kind.BLOCK_SET,))
        await typist.type("block lift", blocked["id"], "--reason", "levé", leaves=(Kind.BLOCK_LIFTED,))
    await typist.type("block list", leaves=(Kind.TRACE_READ,))


@contextlib.contextmanager
def footage_since(start: datetime, camera: str, folder: Path) -> Iterator[None]:
    """While it lasts, a recorder has four seconds of a camera."""
    write(folder / "footage" / "channel", start.astimezone(UTC))
    with ThreadPoolExecutor(1) as threads, pytest.MonkeyPatch.context() as patch:
        shelf = SegmentFolder(folder / "footage", "channel", Layout(DEFAULT), clock=SystemClock(), threads=threads)
        patch.setattr(halfgateway.app.extracting, "open_recorders", lambda *_: ConfiguredRecorders({camera: shelf}))
        yield


async def safekeeping(typist: Typist, camera: str, folder: Path) -> None:
    now = datetime.now(PARIS)
    period = [f"{now - timedelta(hours=hours):%Y-%m-%dT%H:%M}" for hours in (30, 29)]
    wish = ("--start", period[0], "--end", period[1], "--reference", "TJ78-2026-1")
    held = str((await typist.type("hold add", camera, *wish, leaves=(Kind.HOLD_PLACED,)))["number"])
    assert [each["alarm"] for each in (await typist.type("hold list"))["holds"]] == [True]
    with footage_since(datetime.fromisoformat(period[0]).replace(tzinfo=PARIS), camera, folder):
        copied = await typist.type("hold extract", held, "--output", folder / "scellé", leaves=(Kind.HOLD_EXTRACTING,))
    assert [path.suffix for path in sorted((folder / "scellé").iterdir())] == [".json", ".mp4"]
    medium = ("--medium", "scellé 12", "--manifest-sha256", copied["manifest_sha256"])
    await typist.type("hold sealed", held, *medium, leaves=(Kind.HOLD_EXTRACTED,))
    await typist.type("hold release", held, "--reason", "mainlevée", leaves=(Kind.HOLD_ENDED,))
    asked = ("--service", "DOPC", "--channel", "mail", "--camera", camera)
    number = str((await typist.type("request add", *asked, leaves=(Kind.REQUEST_RECEIVED,)))["number"])
    told = ("--outcome", "not-served", "--cause", "no-recording", "--text", "aucun enregistrement")
    await typist.type("request answer", number, *told, leaves=(Kind.REQUEST_ANSWERED,))
    await typist.type("request export", "--output", folder / "demandes.xlsx", "--format", "xlsx")
    await typist.type("retention", "--probe", leaves=(Kind.RETENTION_PROBED,))
    days = ("--from", f"{now - timedelta(days=2):%Y-%m-%d}", "--to", f"{now:%Y-%m-%d}")
    await typist.type("register", *days, "--output", folder / "registre.csv", leaves=(Kind.TRACE_EXPORTED,))
    lines = (folder / "registre.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    acts = [line.split(";")[4] for line in lines]  # L04: in their order; what the probe found comes after
    assert acts[:6] == [
        "hold.placed",
        "hold.extracting",
        "hold.extracted",
        "hold.ended",
        "request.received",
        "request.answered",
    ]
    assert f";{camera};" in lines[0]
    assert "TJ78-2026-1" in lines[0]
    await typist.type("register", *days, "--output", folder / "r.pdf", "--format", "pdf", leaves=(Kind.TRACE_EXPORTED,))
    assert (folder / "r.pdf").read_bytes().startswith(b"%PDF")


async def orders(typist: Typist, folder: Path) -> None:
    acts = {"suspend": Kind.ORDER_SUSPENDED, "resume": Kind.ORDER_RESUMED, "withdraw": Kind.ORDER_WITHDRAWN}
    await typist.type("order add", "78-cli-1", *ORDER, "--retention-max", "30", leaves=(Kind.ORDER_RECORDED,))
    for act, kind in acts.items():
        await typist.type(f"order {act}", "78-cli-1", "--reason", "essai", leaves=(kind,))
    listed = folder / "orders.csv"
    listed.write_text(
        "reference;type;communes;place;recipients;live;recorded;retention_min_days;retention_max_days;signed_on;last_day\n"
        "78-cli-2;normal;Trappes;gare;DOPC;oui;non;0;30;2026-01-01;2099-12-31\n"
    )
    await typist.type("order import", listed, leaves=(Kind.ORDER_RECORDED,))
    await typist.type("order list")


async def use_a_sealed_credential(gateway: Gateway) -> int:
    """Its number; a report of its use is then due."""
    _, sealed = await gateway.call("officer", "POST", "/break-glass", {"role": "ops"})
    body = {"id": sealed["account"], "password": sealed["password"]}
    async with gateway.http.post(gateway.ready["http"] + "/api/v1/login", json=body) as answer:
        assert answer.status == 200
    return int(sealed["number"])


async def at_rest(typist: Typist, demo: Path, folder: Path, sealed: int) -> None:
    root = read(demo / "ca" / "ca.pem", demo / "ca" / "ca.key")
    (folder / "pp.pub").write_text(public_pem(root.key))  # type: ignore[arg-type]
    (folder / "crl.pem").write_bytes(revocation_list(root, begins=timedelta(0)))
    declared = ("--reference", "PP-2", "--kid", "pp-2")
    await typist.type("assertion-key add", folder / "pp.pub", *declared, leaves=(Kind.ASSERTION_KEY_DECLARED,))
    await typist.type("assertion-key revoke", "pp-2", "--reason", "perte", leaves=(Kind.ASSERTION_KEY_REVOKED,))
    await typist.type("crl import", folder / "crl.pem", leaves=(Kind.CONFIG_CHANGED,))
    await typist.type("break-glass issue", "--for", "ops", leaves=(Kind.BREAK_GLASS_ISSUED,))
    ends = (Kind.BREAK_GLASS_ENDED, Kind.BREAK_GLASS_REPORTED)
    await typist.type("break-glass report", str(sealed), "--text", "Panne.", leaves=ends)
    begun = await typist.type(
        "intervention start", "--by", "technicien-4", "--reason", "disque", leaves=(Kind.INTERVENTION_STARTED,)
    )
    await typist.type("intervention end", str(begun["number"]), leaves=(Kind.INTERVENTION_ENDED,))
    for register in ("assertion-key list", "break-glass list", "intervention list"):
        await typist.type(register)
    await typist.type("trace list", leaves=(Kind.TRACE_READ,))
    exported = (Kind.TRACE_EXPORTED,)
    await typist.type("trace export", "--output", folder / "extrait.csv", leaves=exported)
    await typist.type("trace prove", "demo", "1", "--output", folder / "preuve", leaves=exported)


async def purge_what_is_due(folder: Path) -> Typist:
    node = StoppedNode(folder / "old")
    await node.write(drafts())
    config = folder / "gateway.toml"
    config.write_text(CONFIG.replace('"data"', '"old"') + 'decision = "décision n° 2026-12"\n')
    archivist = Typist(node.folder.trace, ("--config", str(config)), NODE)
    due = ("--older-than", "400", "--visa", "AD78-2028-3", "--output", folder / "bordereaux")
    await archivist.type("trace purge", *due, leaves=(Kind.TRACE_PURGED,))
    return archivist
