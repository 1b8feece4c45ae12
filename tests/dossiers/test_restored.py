"""A stopped node whose whole folder was put back from a backup: what its commands do (T12)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from auth.trace import TraceReader
from auth.trace.anchors import read_head, remember_head
from tests.dossiers.stopped_node import NODE, StoppedNode, drafts
from tests.dossiers.test_commands import CONFIG


@pytest.fixture
def restored(node: StoppedNode, tmp_path: Path) -> Path:
    """The configuration, with the head's note outside the folder; the backup has an older one of its own."""
    config, note = tmp_path / "gateway.toml", tmp_path / "head" / "trace-head.note"
    note.parent.mkdir()
    config.write_text(f"{CONFIG}[trace]\nhead_note = '{note}'\n")
    remember_head(node.folder.head, head_of(node))
    backup = shutil.copytree(node.folder.root, tmp_path / "backup")
    asyncio.run(node.write(drafts()))
    remember_head(note, head_of(node))
    shutil.rmtree(node.folder.root)
    shutil.copytree(backup, node.folder.root)
    return config


def head_of(node: StoppedNode) -> str:
    return asyncio.run(TraceReader.of(node.folder.trace, NODE).checkpoints(limit=1)).items[0].note


def files_of(node: StoppedNode) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in node.folder.trace.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("command", [("list",), ("rotate-key", "--reason", "échéance")], ids=" ".join)
def test_no_command_writes_on_before_somebody_says_what_is_lost(
    node: StoppedNode, restored: Path, command: tuple[str, ...]
) -> None:
    before = files_of(node)
    code, _, said = node.run(*command, "--config", restored)
    assert (code, "trace continue" in said) == (1, True)
    assert files_of(node) == before


def test_the_note_goes_on_where_it_is_once_it_is_said(node: StoppedNode, restored: Path) -> None:
    note = restored.parent / "head" / "trace-head.note"
    code, told, said = node.run("continue", "--reason", "disque changé, décision 12", "--config", restored)
    assert code == 0, said
    assert told["lost"]["first"] == told["held"] > 0
    kept = read_head(note)
    assert kept is not None
    assert kept.note == head_of(node)
    assert node.run("list", "--config", restored)[0] == 0
    shutil.rmtree(note.parent)  # its disk is not there: nobody knows how far the journal went
    code, _, said = node.run("list", "--config", restored)
    assert (code, "head_note" in said) == (1, True)
