"""What commands do before they reach a node: which folder they mean, and what they ask for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from halfgateway.cli import MODULES, build
from halfgateway.cli import block as block_module
from halfgateway.cli.common import named_folder

ENGLISH = re.compile(r"\b(?:the|of|is|are|and|with|its|who|where|which|for|from|at|to|by)\b(?![-\]])")
BESIDE_A_NODE = ("agent", "order", "block", "assertion-key", "crl", "break-glass", "intervention")
HEAVY = ("sqlalchemy", "pydantic", "redis", "cryptography", "halfgateway.config")


@pytest.mark.parametrize("kind", ["agent", "service", "camera", "site"])
def test_each_kind_of_block_is_asked_for_with_ground_term_and_reason(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # S12
    asked: list[tuple[Any, ...]] = []

    def ask(_config: object, _data: object, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        asked.append((method, path, body))
        return {**body, "id": "b-1", "set_by": "local:jeanne"}

    monkeypatch.setattr(block_module, "ask", ask)
    why = ["--ground", "securite", "--reason", "essai"]
    said = CliRunner().invoke(block_module.block, [kind, "x-1", *why, "--expires", "2026-12-01"])
    assert said.exit_code == 0, said.output
    assert "b-1" in said.output
    assert "jusqu'au 2026-12-01 00:00 UTC (securite : essai), par local:jeanne" in said.output
    body = {"kind": kind, "subject": "x-1", "ground": "securite", "reason": "essai"}
    assert asked == [("POST", "/blocks", {**body, "expires": "2026-12-01T00:00:00+00:00"})]
    assert CliRunner().invoke(block_module.block, [kind, "x-1", "--reason", "sans fondement"]).exit_code == 2


def test_a_command_finds_its_node_by_where_its_configuration_says_that_it_lies(tmp_path: Path) -> None:
    # C10: a cut or a list beside a running node does not hang on the rest of the file
    config = tmp_path / "gateway.toml"
    config.write_text('[node]\ndata = "here"\n[listen]\nhttp_port = "nonsense"\n')
    assert named_folder(config, None).root == tmp_path / "here"
    config.write_text('[node]\ndata = "/srv/halfgateway"\n')
    assert named_folder(config, None).root == Path("/srv/halfgateway")
    assert named_folder(config, tmp_path).root == tmp_path
    for wrong in ('[node]\nid = "a"\n', "[node\n", "node = 3\n"):
        config.write_text(wrong)
        with pytest.raises(typer.Exit) as exited:
            named_folder(config, None)
        assert exited.value.exit_code == 2


def test_a_command_beside_a_node_loads_nothing_heavy() -> None:
    commands = ", ".join(f"halfgateway.cli.{MODULES[name]}" for name in BESIDE_A_NODE)
    program = f"import sys, {commands}; print([name for name in {HEAVY} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def helps(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """What ``--help`` says of each command and of each of its options, with the command's name."""
    yield " ".join(path), command.help or ""
    yield from ((" ".join(path), getattr(option, "help", None) or "") for option in command.params)
    for name, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, (*path, name))


def test_people_are_helped_in_french() -> None:
    # D05
    told = list(helps(typer.main.get_command(build([]))))
    assert {path for path, text in told if text} >= set(MODULES)
    assert [(path, text) for path, text in told if ENGLISH.search(text)] == []
