"""A restored backup: seen before anything is written, continued by a signed entry, never whole again (T12)."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from auth.errors import NoteError, TraceDamaged
from auth.trace import Kind, verify_folder
from auth.trace.anchors import AnchorStore, read_head, remember_head
from auth.trace.checkpoint import parse_note
from auth.trace.continuity import Continuation, Gap, KnownHead, TraceBehind, find_gap
from tests.trace.journals import NODE, draft, erase, open_journal, patch, write_journal
from tests.trace.tampering import COVERED, copy, notes, verdict


@pytest.fixture
def lost(tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of three entries, put back in the place of a journal that had come to five; and its old heads."""
    live = tmp_path / "live"
    asyncio.run(write_journal(live, 3))
    restored = copy(live, "restored")

    async def go_on() -> None:
        async with await open_journal(live) as journal:
            for n in range(2):
                await journal.record(draft(f"lost-{n}"))
                await journal.write_checkpoint()

    asyncio.run(go_on())
    return restored, notes(live)


def gap_of(folder: Path, *heads: str) -> Gap | None:
    return find_gap(folder, NODE, [KnownHead(f"tête {n}", head) for n, head in enumerate(heads)])


async def declare(folder: Path, gap: Gap, more: int = 3) -> int:
    """Continue as the command does, and go on writing; the entry's number."""
    async with await open_journal(folder) as journal:
        entry = await journal.record(gap.draft("disque changé", "local:jeanne"))
        for n in range(more):
            await journal.record(draft(f"new-{n}"))
            await journal.write_checkpoint()
    return entry.n


def test_a_restored_copy_is_seen_and_a_whole_one_is_not(lost: tuple[Path, list[str]], tmp_path: Path) -> None:
    # T12
    folder, heads = lost
    gap = gap_of(folder, *heads)
    assert gap is not None
    assert (gap.held, gap.known.size, gap.source) == (3, 5, "tête 3")
    assert "halfgateway trace continue" in str(TraceBehind(gap))
    assert gap_of(tmp_path / "live", *heads) is None
    assert gap_of(folder, *heads[:2]) is None
    assert gap_of(folder, heads[-1].replace("gw1", "gw2")) is None
    assert gap_of(folder) is None
    with pytest.raises(NoteError):
        gap_of(folder, "rubbish")


def test_a_folder_that_is_gone_is_a_gap_too(lost: tuple[Path, list[str]], tmp_path: Path) -> None:
    # T12: all of it lost
    gap = gap_of(tmp_path / "nowhere", *lost[1])
    assert gap is not None
    assert (gap.held, gap.known.size) == (0, 5)


async def test_a_journal_that_was_written_on_before_anyone_saw_is_a_gap(lost: tuple[Path, list[str]]) -> None:
    # T12: as where the node could not ask the others at first
    folder, heads = lost
    async with await open_journal(folder) as journal:
        for n in range(4):
            await journal.record(draft(f"other-{n}"))
    gap = await asyncio.to_thread(gap_of, folder, *heads)
    assert gap is not None
    assert (gap.held, gap.known.size) == (3, 5)


async def test_it_goes_on_by_a_signed_entry_and_is_incomplete_for_ever(lost: tuple[Path, list[str]]) -> None:
    # T12: what others saw of what is lost is no divergence once the journal says so; it is never valid again
    folder, heads = lost
    gap = await asyncio.to_thread(gap_of, folder, *heads)
    assert gap is not None
    n = await declare(folder, gap)
    found = await asyncio.to_thread(verify_folder, folder, anchors=heads)
    assert (found.status.label, found.exit_code, found.lost, found.anchored) == ("incomplete", 5, 2, 3)
    assert f"les entrées 3 à 4 de ce qui fut signé sont perdues, l'entrée {n} le dit" in found.message
    assert await asyncio.to_thread(verdict, folder) == ("incomplete", None)
    later = (await asyncio.to_thread(notes, folder))[-1]
    found = await asyncio.to_thread(verify_folder, folder, anchors=[*heads, later])
    assert (found.exit_code, found.anchored) == (5, 7)
    assert await asyncio.to_thread(gap_of, folder, *heads, later) is None


@pytest.mark.usefixtures("uncounted")
async def test_no_changed_byte_makes_a_continued_journal_whole(lost: tuple[Path, list[str]]) -> None:
    # T03, T12
    folder, heads = lost
    gap = await asyncio.to_thread(gap_of, folder, *heads)
    assert gap is not None
    await declare(folder, gap, more=1)
    for file in COVERED:
        good = (folder / file).read_bytes()
        for position, byte in enumerate(good):
            patch(folder / file, position, bytes([byte ^ 1 << position % 8]))
            assert verify_folder(folder).exit_code in {3, 5}, (file, position)
            patch(folder / file, position, good[position : position + 1])


async def test_more_lost_than_was_declared_diverges(lost: tuple[Path, list[str]]) -> None:
    # T04, T12: whoever declares less than others saw is caught by what they saw
    folder, heads = lost
    gap = await asyncio.to_thread(gap_of, folder, *heads[:-1])
    assert gap is not None
    assert gap.known.size == 4
    await declare(folder, gap)
    assert await asyncio.to_thread(verdict, folder, *heads[:-1]) == ("incomplete", None)
    assert (await asyncio.to_thread(verdict, folder, *heads))[0] == "diverged"
    assert await asyncio.to_thread(gap_of, folder, *heads) is not None


async def test_what_was_lost_cannot_be_unsaid(lost: tuple[Path, list[str]]) -> None:
    # T09, T12
    folder, heads = lost
    gap = await asyncio.to_thread(gap_of, folder, *heads)
    assert gap is not None
    n = await declare(folder, gap)
    await asyncio.to_thread(erase, folder, n)
    assert await asyncio.to_thread(verdict, folder) == ("invalid", n)


def test_an_entry_that_cannot_be_a_continuation_is_none() -> None:
    def said(**detail: object) -> bytes:
        return bytes(32) + json.dumps({"detail": detail}).encode()

    assert Continuation.from_salted(3, said(held=3, known={"size": 5})) == Continuation(3, 3, 5)
    for detail in ({}, {"held": 4, "known": {"size": 5}}, {"held": 3, "known": {"size": 3}}, {"held": 3, "known": 5},
                   {"held": "3", "known": {"size": 5}}, {"held": -1, "known": {"size": 5}}):  # fmt: skip
        with pytest.raises(ValueError, match="perdu"):
            Continuation.from_salted(3, said(**detail))


def test_the_node_remembers_its_head_outside_the_journal(lost: tuple[Path, list[str]], tmp_path: Path) -> None:
    # T12
    folder, heads = lost
    path = tmp_path / "trace-head.note"
    assert read_head(path) is None
    remember_head(path, heads[-1])
    head = read_head(path)
    assert head is not None
    assert find_gap(folder, NODE, [head]) is not None
    path.write_text("rubbish")
    with pytest.raises(NoteError):
        read_head(path)


def test_an_anchor_beside_the_restored_journal_tells_too(lost: tuple[Path, list[str]]) -> None:
    # T12, T04
    folder, heads = lost
    store = AnchorStore(folder)
    assert store.latest() is None
    store.keep(parse_note(heads[-1].encode()), "pp")
    latest = store.latest()
    assert latest is not None
    assert find_gap(folder, NODE, [latest]) is not None


def test_a_copy_that_lacks_a_segment_is_damaged_before_it_is_behind(
    lost: tuple[Path, list[str]], small_segments: int, tmp_path: Path
) -> None:
    folder = tmp_path / "long"
    asyncio.run(write_journal(folder, 2 * small_segments + 1))
    head = notes(folder)[-1]
    shutil.move(folder / f"{small_segments:012d}.leaves", tmp_path / "away")
    shutil.move(folder / f"{small_segments:012d}.payloads", tmp_path / "away2")
    (folder / "checkpoints").unlink()
    with pytest.raises(TraceDamaged):
        find_gap(folder, NODE, [KnownHead("tête", head)])
    assert Kind.TRACE_CONTINUED.code == 9206
