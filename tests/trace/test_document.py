"""``docs/trace.md``: its example is what the journal writes, and its commands say what it says they say (T06)."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from held_clock import HeldClock

from auth.trace import Draft, Journal, Kind
from auth.trace.verifier import judge

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs" / "trace.md"
EXAMPLE = REPOSITORY / "examples" / "journal"
ANCHORED = REPOSITORY / "examples" / "anchored"
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a key for an example, and for nothing else").digest())
_EXAMPLE = re.compile(r"```sh\n(.*?)```\n+```text\n(.*?)```", re.DOTALL)

ACCESS = Draft(
    kind=Kind.STREAM_REQUESTED,
    agent="pp-7f3a",
    account="pvpp",
    attribution="agent-asserted",
    camera="mairie",
    stream="5f1c",
    mode="live",
    reason="L251-2-5",
    source="198.51.100.7",
    detail={"service": "DOPC", "site": "PP-CITE"},
)


async def write_example(folder: Path) -> None:
    """Write the journal of ``examples/journal`` anew: clock, key and salts are the example's."""
    salts = (hashlib.sha256(b"salt %d" % n).digest() for n in itertools.count())
    async with await Journal.open(
        folder, node="gw1", key=KEY, clock=HeldClock(), checkpoint_interval_s=3600.0, random_bytes=lambda _: next(salts)
    ) as journal:
        for draft in (
            Draft(kind=Kind.NODE_STARTED, detail={"convention": "syn-pp"}),
            ACCESS,
            Draft(kind=Kind.NODE_STOPPED),
        ):
            await journal.record(draft)


async def test_the_example_is_what_the_journal_writes(tmp_path: Path) -> None:
    await write_example(tmp_path / "journal")
    written = {path.name: path.read_bytes() for path in (tmp_path / "journal").iterdir() if path.suffix != ".lock"}
    assert written == {path.name: path.read_bytes() for path in EXAMPLE.iterdir()}


def test_the_commands_say_what_the_document_says(tmp_path: Path) -> None:
    # T06: with coreutils and openssl, no program of ours
    text = DOCUMENT.read_text(encoding="utf-8")
    examples = _EXAMPLE.findall(text)
    assert len(examples) >= 8
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "journal")
    shutil.copytree(ANCHORED, tmp_path / "examples" / "anchored")
    script = "\n".join(f"{commands}echo ----" for commands, _ in examples)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("----\n")[:-1] == [said for _, said in examples]


def test_the_examples_token_anchors_the_example(tmp_path: Path) -> None:
    # T04, T06: what openssl verifies, the verifier does
    shutil.copytree(EXAMPLE, tmp_path / "journal")
    assert judge(tmp_path / "journal").verification.exit_code == 6
    shutil.copytree(ANCHORED / "anchors", tmp_path / "journal" / "anchors")
    assert judge(tmp_path / "journal").unchecked_tokens == 1
    found = judge(tmp_path / "journal", authorities=[ANCHORED / "authority.pem"])
    assert (found.verification.exit_code, found.verification.anchored) == (0, 3)


def test_every_kind_has_its_number_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for kind in Kind:
        assert f"| {kind.code} | `{kind.value}` |" in text, kind
