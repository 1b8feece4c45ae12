"""The inspection dossier made beside a node that goes on writing: whole, at whatever instant it is made (L21)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.trace import Draft, Journal, Kind, Verification
from auth.trace.layout import payloads_header, payloads_name
from auth.trace.purge import PENDING_PURGE
from auth.trace.retention import RetentionClass, kinds_of
from auth.trace.verifier import judge
from halfgateway.dossiers import inspection
from halfgateway.dossiers.inspection import inspection_files
from halfgateway.dossiers.proof import write_files
from tests.dossiers.stopped_node import NODE, StoppedNode

ACCESS = frozenset(kind.code for kind in kinds_of(RetentionClass.ACCESS))


async def dossier(journal: Journal, target: Path) -> tuple[int, Verification]:
    """Make it as the command does; how many entries the journal's head then had, and what its verifier says."""
    await journal.write_checkpoint()
    (head,) = (await journal.reader().checkpoints(limit=1)).items
    files = await asyncio.to_thread(inspection_files, journal.folder, head, "extrait.csv", b"")
    await asyncio.to_thread(write_files, files, target)
    return head.checkpoint.size, (await asyncio.to_thread(judge, target)).verification


def meanwhile(patch: pytest.MonkeyPatch, act: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Have something happen in the journal once the leaves are copied, and before the payloads are."""
    loop, acts = asyncio.get_running_loop(), [act]

    def named(first: int) -> str:
        while acts:
            asyncio.run_coroutine_threadsafe(acts.pop()(), loop).result()
        return payloads_name(first)

    patch.setattr(inspection, "payloads_name", named)


async def test_what_is_written_meanwhile_is_no_part_of_it(
    node: StoppedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # L21, T06
    async with await node.open() as journal:
        meanwhile(monkeypatch, lambda: journal.record(Draft(kind=Kind.HEARTBEAT)))
        size, found = await dossier(journal, tmp_path / "controle")
    assert (found.exit_code, found.entries, found.signed) == (6, size, size)


async def test_what_is_purged_meanwhile_is_there_with_what_ordered_it(
    node: StoppedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # L21, T09: erased frames without their rule are a journal that somebody has changed
    monkeypatch.setattr(inspection, "PAUSE_S", 0.0)
    order = Draft(kind=Kind.TRACE_PURGED, detail={})
    async with await node.open() as journal:
        before = node.clock.now() + timedelta(days=1)
        meanwhile(monkeypatch, lambda: journal.purge(order, ACCESS, before))
        size, found = await dossier(journal, tmp_path / "controle")
    assert (found.exit_code, found.entries) == (6, size + 1)


async def test_a_purge_that_overwrites_is_waited_for_and_not_for_ever(
    node: StoppedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # L21, T09
    pending, waited = node.folder.trace / PENDING_PURGE, list[float]()
    rule = '{"kinds": [2101], "before": "2020-01-01T00:00:00.000000Z", "size": 7}'

    def ends(pause_s: float) -> None:
        waited.append(pause_s)
        if len(waited) == 3:
            pending.write_bytes(b"")

    async with await node.open() as journal:
        monkeypatch.setattr(time, "sleep", ends)
        pending.write_text(rule)
        _, found = await dossier(journal, tmp_path / "controle")
        assert (found.exit_code, len(waited)) == (6, 3)
        pending.write_text(rule)
        _, found = await dossier(journal, tmp_path / "encore")
        pending.write_bytes(b"")
    assert (found.exit_code, len(waited)) == (6, 3 + inspection.ATTEMPTS)


async def test_a_journal_that_was_changed_is_handed_over_as_it_is(node: StoppedNode, tmp_path: Path) -> None:
    # L21, T03
    async with await node.open() as journal:
        payloads = node.folder.trace / payloads_name(0)
        data = payloads.read_bytes()
        start = len(payloads_header(NODE, 0))
        payloads.write_bytes(data[:start] + bytes(8) + data[start + 8 :])
        _, found = await dossier(journal, tmp_path / "controle")
        assert (found.exit_code, found.first_bad) == (3, 0)
        payloads.write_bytes(data)
