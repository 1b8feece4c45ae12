"""``halfgateway trace``: each command shows, proves, exports or purges, and leaves its entry (T05, T10, L17, L21)."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from base64 import b64decode
from pathlib import Path

import pytest
from openpyxl import load_workbook

from auth.trace import Kind, verify_inclusion
from auth.trace.checkpoint import parse_checkpoint, parse_note
from auth.trace.dossier import CONSISTENCY, ENTRY, LEAF_RECORD, SALT, verify_dossier
from auth.trace.tree import leaf_hash
from tests.dossiers.stopped_node import AGENT, NODE, StoppedNode


def test_what_is_listed_is_searched_masked_and_traced(node: StoppedNode) -> None:
    # L16, L19, T11
    code, listed, _ = node.run("list", "--kind", "stream.requested")
    assert (code, [entry["n"] for entry in listed["items"]]) == (0, [1])
    assert listed["items"][0]["agent"] is None
    assert "DOPC" not in json.dumps(listed)
    assert node.run("list", "--agent", AGENT)[1]["items"] == []
    unmasked = node.run("list", "--agent", AGENT, "--motive", "contrôle n° 3")[1]["items"]
    assert [entry["n"] for entry in unmasked] == [2, 1]
    assert [entry["n"] for entry in node.run("list", "--incident", "inc-7")[1]["items"]] == [3]
    assert [entry["n"] for entry in node.run("list", "--camera", "mairie", "--until", "2020-01-01")[1]["items"]] == []
    reads = [entry for entry in node.trace() if entry.kind is Kind.TRACE_READ]
    assert len(reads) == 5
    assert all((entry.account or "").startswith("local:") for entry in reads)
    assert reads[2].detail["motive"] == "contrôle n° 3"


async def test_beside_a_writer_that_takes_no_orders_nothing_is_shown(tmp_path: Path) -> None:
    # T10: what could not be recorded is not done
    running = StoppedNode(tmp_path / "running")
    async with await running.open() as journal:
        for command in (["list"], ["export", "--output", str(tmp_path / "x.csv")],
                        ["prove", NODE, "0", "--output", str(tmp_path / "x")]):  # fmt: skip
            code, document, said = await asyncio.to_thread(running.run, *command)
            assert (code, document) == (1, None)
            assert "réessayez" in said
        assert journal.size == 0
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("opened", [True, False])
def test_a_dossier_of_one_entry_proves_it_elsewhere(node: StoppedNode, tmp_path: Path, opened: bool) -> None:
    # T05, T06
    motive = ["--motive", "demande PP-12"] if opened else []
    dossier = tmp_path / "preuve"
    code, made, said = node.run("prove", NODE, "2", "--output", dossier, "--from", "7", *motive)
    assert (code, made and made["opened"]) == (0, opened), said
    assert (dossier / ENTRY).exists() == opened
    ran = subprocess.run(
        [sys.executable, "-I", dossier / "halfgateway-verify", dossier, "--json"], capture_output=True, check=False
    )
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["status"], found["node"], found["checkpoints"]) == (6, "unanchored", NODE, 2)
    kept = tmp_path / "kept"
    kept.write_bytes((dossier / "earlier.checkpoint").read_bytes())
    ran = subprocess.run(
        [sys.executable, "-I", dossier / "halfgateway-verify", dossier, "--anchor", kept],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    if opened:
        salted = (dossier / SALT).read_bytes() + (dossier / ENTRY).read_bytes()
        assert hashlib.sha256(salted).digest() == (dossier / LEAF_RECORD).read_bytes()[-32:]
    readme = (dossier / "LISEZMOI.txt").read_text(encoding="utf-8")
    assert "n° 2" in readme
    assert found["key"] in readme
    assert len(readme.splitlines()) < 60  # a page
    assert node.trace()[-1].detail["asked"] == {
        "n": 2, "at": None, "from": 7, "motive": "demande PP-12" if opened else None,
    }  # fmt: skip


def test_a_dossier_that_was_changed_is_refused(node: StoppedNode, tmp_path: Path) -> None:
    # T03, T05: every file that proves something, at every byte
    dossier = tmp_path / "preuve"
    assert node.run("prove", NODE, "2", "--output", dossier, "--from", "7", "--motive", "x")[0] == 0
    whole = verify_dossier(dossier).verification
    assert whole.exit_code == 6
    for name in ("inclusion.tlog-proof", LEAF_RECORD, SALT, ENTRY, "earlier.checkpoint", CONSISTENCY):
        good = (dossier / name).read_bytes()
        for position in range(len(good)):
            (dossier / name).write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
            assert verify_dossier(dossier).verification.exit_code in (3, 5), (name, position)
        (dossier / name).unlink()
        expected = {"inclusion.tlog-proof": 5, "earlier.checkpoint": 6}.get(name, 5)
        assert verify_dossier(dossier).verification.exit_code == expected, name
        (dossier / name).write_bytes(good)
    assert verify_dossier(dossier).verification == whole


def test_a_zip_is_a_dossier_too(node: StoppedNode, tmp_path: Path) -> None:
    # T05
    target = tmp_path / "preuve.zip"
    assert node.run("prove", NODE, "1", "--output", target)[0] == 0
    assert node.run("prove", NODE, "1", "--output", target)[0] == 1  # nothing is overwritten
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path / "out")
    assert verify_dossier(tmp_path / "out" / "preuve").verification.exit_code == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((NODE, "99"), "n° 99"), (("node-9", "1"), "node-1"), ((NODE, "1", "--at", "4"), "point de contrôle")],
)
def test_what_cannot_be_proved_is_said(
    node: StoppedNode, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, complaint = node.run("prove", *arguments, "--output", tmp_path / "preuve")
    assert code == 1
    assert said in complaint


def test_an_extract_carries_its_checkpoint_and_proofs(node: StoppedNode, tmp_path: Path) -> None:
    # T05, T11: whoever has the file alone can check each line of it
    target = tmp_path / "extrait.csv"
    code, made, _ = node.run("export", "--output", target, "--camera", "mairie", "--motive", "contrôle n° 4")
    assert (code, made["entries"]) == (0, 4)
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8-sig")), delimiter=";"))
    head = parse_checkpoint(parse_note(rows[-1]["path"].encode()).text)
    assert (rows[-1]["record"], int(rows[-1]["n"])) == ("checkpoint", head.size)
    for row in rows[:-1]:
        leaf = b64decode(row["leaf"])
        path = [b64decode(digest) for digest in row["path"].split()]
        assert verify_inclusion(int(row["n"]), head.size, leaf_hash(leaf), path, head.root)
        assert hashlib.sha256(b64decode(row["salt"]) + row["payload"].encode()).digest() == leaf[-32:]
    assert {row["agent"] for row in rows} == {AGENT, "'=pp-0002", ""}  # no spreadsheet takes it for a formula
    entry = node.trace()[-1]
    assert (entry.kind, entry.detail["motive"]) == (Kind.TRACE_EXPORTED, "contrôle n° 4")


def test_a_masked_extract_gives_no_salt(node: StoppedNode, tmp_path: Path) -> None:
    # L19, C17: with the salt, whoever is masked could be tried out
    target = tmp_path / "extrait.csv"
    node.run("export", "--output", target)
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8-sig")), delimiter=";"))
    masked = [row for row in rows if row["kind"].startswith("stream.")]
    assert len(masked) == 3
    assert {(row["agent"], row["salt"], row["payload"]) for row in masked} == {("", "", "")}
    assert AGENT not in target.read_text(encoding="utf-8-sig")
    assert [row["salt"] != "" for row in rows if row["kind"] == "registry.changed"] == [True]


def test_spreadsheet_and_paper_say_the_same(node: StoppedNode, tmp_path: Path) -> None:
    for form in ("xlsx", "pdf"):
        assert node.run("export", "--output", tmp_path / f"e.{form}", "--format", form, "--motive", "x")[0] == 0
    book = load_workbook(tmp_path / "e.xlsx")
    agents = [cell.value for cell in book["Journal"]["F"]]
    assert "=pp-0002" in agents
    assert {cell.data_type for cell in book["Journal"]["F"]} <= {"s", "n", "inlineStr"}
    assert any("halfgateway/node-1" in str(row[0].value) for row in book["Preuve"].iter_rows())
    assert (tmp_path / "e.pdf").read_bytes().startswith(b"%PDF-")


def test_the_inspection_dossier_is_the_whole_journal_and_its_verifier(node: StoppedNode, tmp_path: Path) -> None:
    # L21, T06
    target = tmp_path / "controle"
    assert node.run("export", "--inspection", "--output", target)[0] == 2  # it takes the request's reference
    code, _, said = node.run("export", "--inspection", "--output", target, "--motive", "commission, 12/2026")
    assert code == 0, said
    ran = subprocess.run(
        [sys.executable, "-I", target / "halfgateway-verify", target, "--json"], capture_output=True, check=False
    )
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["first_bad"], found["entries"]) == (6, None, 8)
    assert AGENT in (target / "extrait.csv").read_text(encoding="utf-8-sig")
    assert (target / "journal" / "checkpoints").exists()


def test_the_verifier_command_writes_the_one_file(node: StoppedNode, tmp_path: Path) -> None:
    # T06
    script = tmp_path / "halfgateway-verify"
    assert node.run("verifier", "--output", script)[0] == 0
    assert node.run("verifier", "--output", script)[0] == 1
    copied = shutil.copytree(node.folder.trace, tmp_path / "copied")
    ran = subprocess.run([script, copied], capture_output=True, text=True, check=False)
    assert ran.returncode == 6
    assert "VALIDE, NON ANCRÉ" in ran.stdout
    code, found, _ = node.run("verify")
    assert (code, found["message"]) == (6, "7 entrées tiennent, et aucune ancre ne montre que toutes y sont")
    assert node.run("verify", copied, "--anchor", copied / "nothing")[0] == 2


CONFIG = """
[node]
id = "node-1"
data = "data"
[convention]
in_force_from = 2025-10-21T00:00:00Z
[listen]
https_port = 0
[tls]
certificate = "gateway.toml"
key = "gateway.toml"
client_ca = "gateway.toml"
[retention]
access_days = 365
"""


def test_a_purge_needs_a_decision_and_leaves_its_record(node: StoppedNode, tmp_path: Path) -> None:
    # L17, T09
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG)
    purge = ["purge", "--config", config, "--visa", "AD78-2028-3", "--output", tmp_path / "bordereaux"]
    code, _, said = node.run(*purge, "--older-than", "400")
    assert (code, "décision" in said) == (1, True)
    config.write_text(CONFIG + 'decision = "décision n° 2026-12"\n')
    code, _, said = node.run(*purge, "--older-than", "300")
    assert (code, "pas échue" in said) == (1, True)
    assert node.run(*purge, "--class", "evidence", "--older-than", "400")[0] == 1
    code, done, said = node.run(*purge, "--older-than", "400")
    assert (code, done and done["count"]) == (0, 3), said
    record = done["record"]
    assert (record["visa"], record["decision"], record["first"], record["last"]) == (
        "AD78-2028-3", "décision n° 2026-12", 1, 4,
    )  # fmt: skip
    assert {Path(file).suffix for file in done["files"]} == {".json", ".csv", ".pdf"}
    assert all(Path(file).stat().st_size > 300 for file in done["files"])
    entries = node.trace()
    assert [entry.detail == {"erased": True} for entry in entries[:6]] == [False, True, True, False, True, False]
    assert node.run("verify")[1]["erased"] == 3
    assert node.run(*purge, "--older-than", "400")[1]["count"] == 0
