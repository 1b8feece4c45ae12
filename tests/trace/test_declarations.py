"""What excuses an erased or a lost entry counts only where the run that wrote it signed for it (T03, T09, T12)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from held_clock import HeldClock

from auth.trace import Draft, Journal, Kind, Status, TraceDamaged, TraceUnavailable, verify, verify_folder
from auth.trace.continuity import KnownHead, find_gap
from auth.trace.erasure import ErasureRule
from auth.trace.purge import PENDING_PURGE
from tests.trace.journals import (
    CHECKPOINTS,
    LEAVES,
    NODE,
    PAYLOADS,
    FaultyStorage,
    cut,
    draft,
    erase,
    frame_spans,
    leaf_spans,
    open_journal,
    write_journal,
)
from tests.trace.tampering import append, notes, verdict

RULE = ErasureRule(frozenset({Kind.STREAM_REQUESTED.code}), 1 << 52, 3)
FORGED = Draft(kind=Kind.TRACE_PURGED, account="local:x", source="local", detail=RULE.to_detail())
CONTINUED = Draft(kind=Kind.TRACE_CONTINUED, detail={"held": 3, "known": {"size": 5}})


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """Three entries under a checkpoint."""
    asyncio.run(write_journal(tmp_path / "trace", 3))
    return tmp_path / "trace"


async def refused(folder: Path) -> TraceDamaged:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TraceDamaged) as caught:
        await open_journal(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**before, "journal.lock": b""}
    return caught.value


async def test_a_rule_that_no_head_covers_excuses_nothing(signed: Path) -> None:
    # T03, T09: whoever can write the files cannot have a signed entry look purged
    anchors = await asyncio.to_thread(notes, signed)
    append(signed, FORGED)
    assert verdict(signed, *anchors) == ("valid", None)
    erase(signed, 1)
    assert verdict(signed, *anchors) == ("invalid", 1)
    assert (await refused(signed)).first_bad == 1


async def test_a_rule_that_the_next_run_signs_for_excuses_nothing_either(signed: Path) -> None:
    # T03, T09: it takes over what lies after the last checkpoint, and says that this declares nothing
    n = append(signed, FORGED)
    (signed / PENDING_PURGE).write_text(json.dumps(RULE.to_detail()))
    async with await open_journal(signed) as journal:
        assert (await journal.reader().entry(n + 1)).detail["void"] == [n]
        assert (await journal.reader().entry(1)).stream == "s-1"
        assert (signed / PENDING_PURGE).read_bytes() == b""
    assert verify_folder(signed).signed == n + 2
    (signed / PENDING_PURGE).write_text(json.dumps(RULE.to_detail()))
    async with await open_journal(signed) as journal:
        assert journal.recovery is None
        assert (await journal.reader().entry(1)).stream == "s-1"
    erase(signed, 1)
    assert verdict(signed) == ("invalid", 1)


async def test_it_excuses_nothing_once_the_entry_that_says_so_was_purged(signed: Path) -> None:
    # T09: that a run began is in the leaf
    append(signed, FORGED)
    async with await open_journal(signed) as journal:
        told = await journal.purge(
            Draft(kind=Kind.TRACE_PURGED), frozenset({Kind.NODE_RECOVERED.code}), HeldClock().now().replace(year=2090)
        )
        assert told is not None
    assert verify_folder(signed).erased == 1
    erase(signed, 1)
    assert verdict(signed) == ("invalid", 1)


async def test_nothing_is_signed_before_the_run_says_that_it_is_another(signed: Path) -> None:
    # T03: a journal that cannot be opened is closed, and closing signs
    append(signed, FORGED)
    before, storage = (signed / CHECKPOINTS).read_bytes(), FaultyStorage()
    storage.break_("write", LEAVES, times=1)
    with pytest.raises(TraceUnavailable):
        await open_journal(signed, storage=storage)
    assert (signed / CHECKPOINTS).read_bytes() == before
    async with await open_journal(signed) as journal:
        assert journal.checkpoint is not None
        assert journal.checkpoint.size == journal.size == 5
    assert verify_folder(signed).status is Status.UNANCHORED


async def test_a_purge_that_was_signed_for_is_redone_after_a_crash(signed: Path) -> None:
    # T09, T02: the rule lies under the last checkpoint, and not one frame was erased yet
    async with await open_journal(signed) as journal:
        await journal.record(FORGED)
    (signed / PENDING_PURGE).write_text(json.dumps(RULE.to_detail()))
    async with await open_journal(signed) as journal:
        assert (await journal.reader().entry(1)).detail == {"erased": True}
    found = verify_folder(signed)
    assert (found.status, found.erased) == (Status.UNANCHORED, 3)


async def test_an_erased_entry_that_is_not_signed_is_damage(signed: Path) -> None:
    # T09, T03
    async with await open_journal(signed) as journal:
        await journal.record(FORGED)
    n = append(signed, draft())
    erase(signed, n)
    assert (await refused(signed)).first_bad == n


@pytest.mark.parametrize("kind", [Kind.TRACE_PURGED, Kind.TRACE_CONTINUED])
async def test_an_entry_that_declares_nothing_is_not_taken_over(signed: Path, kind: Kind) -> None:
    # T03: signed, it would make the journal invalid for good
    n = append(signed, Draft(kind=kind))
    assert (await refused(signed)).first_bad == n


async def lose_two(folder: Path) -> str:
    """Write two entries more, and put the copy of three back; the head that is lost."""
    async with await open_journal(folder) as journal:
        for n in range(2):
            await journal.record(draft(f"lost-{n}"))
    *kept, lost = await asyncio.to_thread(notes, folder)
    (folder / CHECKPOINTS).write_text("".join(f"{note}\n" for note in kept))
    cut(folder / LEAVES, leaf_spans(folder)[2][1])
    cut(folder / PAYLOADS, frame_spans(folder)[2][1])
    return lost


async def test_a_continuation_counts_as_a_rule_does(signed: Path) -> None:
    # T12, T04: a person has it go on, and nobody else
    head = KnownHead("tête", await lose_two(signed))
    append(signed, CONTINUED)
    assert verdict(signed) == ("unanchored", None)
    assert verdict(signed, head.note) == ("incomplete", 4)
    assert find_gap(signed, NODE, [head]) is not None
    async with await open_journal(signed) as journal:
        await journal.record(draft())
    assert verdict(signed) == ("unanchored", None)
    assert verdict(signed, head.note) == ("diverged", 0)
    assert find_gap(signed, NODE, [head]) is not None
    gap = await asyncio.to_thread(find_gap, signed, NODE, [head])
    assert gap is not None
    async with await open_journal(signed) as journal:
        await journal.record(gap.draft("disque changé", "local:jeanne"))
        assert find_gap(signed, NODE, [head]) is not None
        await journal.write_checkpoint()
        assert find_gap(signed, NODE, [head]) is None
    assert verdict(signed, head.note) == ("incomplete", None)


async def test_beside_a_live_writer_a_purge_is_no_fault(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T06, T09: checkpoints are read first, and a purge begins before the entries are
    async with await open_journal(signed) as journal:
        purges = iter([journal])
        read = verify.read_leaves

        def slowly(*place: Any) -> tuple[bytes, int]:
            for each in purges:
                asyncio.run_coroutine_threadsafe(purge(each), loop).result()
            return read(*place)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(verify, "read_leaves", slowly)
        found = await asyncio.to_thread(verify_folder, signed)
        assert (found.status, found.erased) == (Status.UNANCHORED, 3)


async def purge(journal: Journal) -> None:
    later = HeldClock().now().replace(year=2090)
    await journal.purge(Draft(kind=Kind.TRACE_PURGED), frozenset({Kind.STREAM_REQUESTED.code}), later)
