"""``halfgateway trace rotate-key`` on a stopped node: from file to file, into a token, within the token (T04)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auth.trace import Kind
from auth.trace.notes import read_keys, write_key
from tests.dossiers.stopped_node import NODE, StoppedNode
from tests.dossiers.test_commands import CONFIG
from tests.softhsm import ED25519, MODULE, configured, needs_token, token_with

BECAUSE = ("rotate-key", "--reason", "échéance")


def test_the_key_of_a_stopped_node_is_changed_for_another_file(node: StoppedNode, tmp_path: Path) -> None:
    # T04, C21: the first key is enough for whoever knew it before; who changed it, and why, is on record
    before = node.keys.trace_file.public_key()
    (tmp_path / "first.pem").write_bytes(write_key(before))
    code, told, said = node.run(*BECAUSE)
    assert code == 0, said
    assert not (node.folder.secrets / "trace.next.key").exists()
    assert read_keys(node.folder.trace / f"{NODE}.pem") == [before, node.keys.trace_file.public_key()]
    code, found, _ = node.run("verify", node.folder.trace, "--key", tmp_path / "first.pem")
    assert (code, found["key"], found["signing_key"]) == (6, told["old"], told["new"])
    entry = node.trace()[told["n"]]
    assert (entry.kind, entry.detail["motive"], entry.detail["stage"]) == (
        Kind.TRACE_KEY_ROTATED, "échéance", "in-force",
    )  # fmt: skip
    assert (entry.account or "").startswith("local:")
    assert node.run(*BECAUSE)[0] == 0


class TokenNode:
    """A stopped node whose configuration names a key in a token."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "gateway.toml"
        environment = {**os.environ, "SOFTHSM2_CONF": str(configured(folder))}
        token_with(folder, {"trace-2026": ED25519, "trace-2027": ED25519})
        self._typist = subprocess.Popen(
            [sys.executable, "-m", "tests.dossiers.typist"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._typist.communicate()

    def name(self, label: str) -> None:
        """Have the configuration name the key of this label."""
        named = f"module = '{MODULE}'\ntoken = 'journal'\nlabel = '{label}'\npin_file = '{self._folder / 'pin'}'\n"
        self._config.write_text(f"{CONFIG}[trace.pkcs11]\n{named}")

    def run(self, *arguments: str) -> tuple[int, Any, str]:
        """Run ``halfgateway trace``: exit code, JSON document, what stderr says."""
        assert self._typist.stdin is not None
        assert self._typist.stdout is not None
        self._typist.stdin.write(json.dumps(["trace", *arguments, "--config", str(self._config), "--json"]) + "\n")
        self._typist.stdin.flush()
        code, output, complaint = json.loads(self._typist.stdout.readline())
        return code, json.loads(output) if output else None, complaint


@pytest.fixture
def token(tmp_path: Path) -> Iterator[TokenNode]:
    made = TokenNode(tmp_path)
    yield made
    made.close()


@needs_token
def test_the_key_moves_into_a_token_and_on_to_the_next_one_there(node: StoppedNode, token: TokenNode) -> None:
    # T04: the file is destroyed; a key that has handed over changes nothing any more, however often it is named
    file = node.folder.secrets / "trace.key"
    node.keys.trace_file.public_key()
    former = file.read_bytes()
    token.name("trace-2026")
    code, first, said = token.run(*BECAUSE)
    assert code == 0, said
    assert not file.exists()
    file.write_bytes(former)  # as a crash before its end leaves it
    code, _, said = token.run(*BECAUSE)
    assert (code, "--from-label" in said, file.exists()) == (1, True, False)
    token.name("trace-2027")
    code, second, said = token.run(*BECAUSE, "--from-label", "trace-2026")
    assert code == 0, said
    assert second["old"] == first["new"]
    code, _, said = token.run(*BECAUSE, "--from-label", "trace-2026")
    assert (code, "a transmis" in said) == (1, True)
    code, found, _ = token.run("verify")
    assert (code, found["key"], found["signing_key"]) == (6, first["old"], second["new"])
