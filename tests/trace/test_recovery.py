"""What lies there after a crash: a torn tail is cut and said, anything else is damage (T02, T03)."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest

from auth.trace import (
    Draft,
    Kind,
    Status,
    TraceDamaged,
    TraceFilter,
    TraceUnavailable,
    verify_folder,
)
from auth.trace import recovery as recovery_module
from auth.trace.layout import LEAF, MAX_GROUP_ENTRIES, frame, leaves_header, payloads_header
from auth.trace.recovery import examine
from tests.trace.journals import (
    CHECKPOINTS,
    KEY,
    LEAVES,
    NODE,
    PAYLOADS,
    FaultyStorage,
    cut,
    draft,
    frame_spans,
    leaf_spans,
    open_journal,
    patch,
    write_journal,
)

SIGNED = 3
"""Entries of the first group of the journals here; a second of two follows, then no further checkpoint."""


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    """A journal that was never closed: five entries, the first three of them signed for."""
    journal = await open_journal(tmp_path / "live")
    for n in range(SIGNED + 2):
        await journal.record(draft(f"s-{n}"))
        if n == SIGNED - 1:
            await journal.write_checkpoint()
    shutil.copytree(tmp_path / "live", tmp_path / "trace")
    await journal.close()
    return tmp_path / "trace"


async def recovered(folder: Path) -> tuple[list[str | None], dict[str, object]]:
    """Open; return the streams kept and what ``node.recovered`` says, after checking that all verifies."""
    async with await open_journal(folder) as journal:
        page = await journal.reader().entries(TraceFilter(kinds=frozenset({Kind.STREAM_REQUESTED})))
        notes = await journal.reader().entries(TraceFilter(kinds=frozenset({Kind.NODE_RECOVERED})))
        streams = [entry.stream for entry in reversed(page.items)]
        assert (journal.recovery is None) == (not notes.items)
        if journal.recovery:
            assert journal.recovery.size == len(streams)
            assert journal.checkpoint is not None
            assert journal.checkpoint.size == len(streams) + 1
    assert verify_folder(folder).status is Status.UNANCHORED
    return streams, dict(notes.items[0].detail) if notes.items else {}


def damage(folder: Path) -> TraceDamaged:
    with pytest.raises(TraceDamaged) as caught:
        asyncio.run(_open(folder))
    return caught.value


async def _open(folder: Path) -> None:
    await open_journal(folder)


async def test_nothing_torn_needs_no_recovery(crashed: Path) -> None:
    assert await recovered(crashed) == ([f"s-{n}" for n in range(5)], {})


async def test_every_torn_length_is_cut_to_the_last_whole_entry(crashed: Path, tmp_path: Path) -> None:
    # T02: payloads are written first, so they are there whenever a leaf is, whole or torn
    _, signed_end = leaf_spans(crashed)[SIGNED - 1]
    whole = (crashed / LEAVES).read_bytes()
    for size in range(signed_end, len(whole)):
        folder = tmp_path / f"torn-{size}"
        shutil.copytree(crashed, folder)
        cut(folder / LEAVES, size)
        kept = SIGNED + (size - signed_end) // LEAF.size
        payload_end = frame_spans(folder)[kept - 1][1]
        dropped = (folder / PAYLOADS).read_bytes()[payload_end:] + whole[leaf_spans(crashed)[kept - 1][1] : size]
        streams, told = await recovered(folder)
        assert streams == [f"s-{n}" for n in range(kept)]
        assert told["dropped_bytes"] == len(dropped)
        assert told["dropped_entries"] == 0
        assert told["dropped_sha256"] == hashlib.sha256(dropped).hexdigest()


@pytest.mark.parametrize("lost", [1, 30, 300])
async def test_a_torn_payload_without_a_leaf_is_cut(crashed: Path, lost: int) -> None:
    # T02
    cut(crashed / LEAVES, leaf_spans(crashed)[3][1])
    start, end = frame_spans(crashed)[4]
    cut(crashed / PAYLOADS, max(start + 1, end - lost))
    streams, told = await recovered(crashed)
    assert streams == [f"s-{n}" for n in range(4)]
    assert told["dropped_bytes"] == max(1, end - lost - start)


async def test_sectors_that_a_power_cut_lost_are_cut(tmp_path: Path) -> None:
    # T02: a file may have grown before what belongs there was written
    await write_journal(tmp_path / "whole", 1)
    async with await open_journal(tmp_path / "whole") as journal:
        await asyncio.gather(*(journal.record(draft(f"s-{n}")) for n in range(1, 40)))
        shutil.copytree(tmp_path / "whole", tmp_path / "crashed")
    for sector in range(512, 2048, 512):
        folder = tmp_path / f"lost-{sector}"
        shutil.copytree(tmp_path / "crashed", folder)
        patch(folder / LEAVES, sector, bytes(512))
        kept = next(n for n, (_, end) in enumerate(leaf_spans(folder)) if end > sector)
        streams, told = await recovered(folder)
        assert streams == [f"s-{n}" for n in range(kept)]
        assert told["dropped_entries"] == 40 - kept


@pytest.mark.parametrize("tail", [b"halfgateway/gw1\n4\nAAAA", b"h", b"\0" * 300, b"halfgateway/gw1\n4\n\0\0\n\n"])
async def test_a_torn_checkpoint_is_cut(crashed: Path, tail: bytes) -> None:
    # T02
    with (crashed / CHECKPOINTS).open("ab") as file:
        file.write(tail)
    streams, told = await recovered(crashed)
    assert streams == [f"s-{n}" for n in range(5)]
    assert told["dropped_sha256"] == hashlib.sha256(tail).hexdigest()


def test_damage_under_the_last_checkpoint_is_never_repaired(crashed: Path, tmp_path: Path) -> None:
    # T03
    for n in range(SIGNED):
        for file, (start, end) in ((LEAVES, leaf_spans(crashed)[n]), (PAYLOADS, frame_spans(crashed)[n])):
            for position in (start, (start + end) // 2, end - 1):
                folder = tmp_path / f"{file}-{position}"
                shutil.copytree(crashed, folder)
                patch(folder / file, position, bytes([(folder / file).read_bytes()[position] ^ 0x10]))
                before = {path.name: path.read_bytes() for path in folder.iterdir()}
                assert damage(folder).first_bad == n
                assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_entries_that_were_signed_for_and_are_gone_are_damage(crashed: Path) -> None:
    # T03
    cut(crashed / LEAVES, leaf_spans(crashed)[SIGNED - 1][0] + 5)
    found = damage(crashed)
    assert (found.first_bad, found.missing) == (SIGNED - 1, True)


def test_a_rewritten_entry_is_damage_although_it_fits_its_leaf(crashed: Path) -> None:
    # T03: whoever cannot sign may make leaf and payload fit, and not the root
    start, end = frame_spans(crashed)[1]
    payload = (crashed / PAYLOADS).read_bytes()[start + 40 : end].replace(b"cam-1", b"cam-2")
    patch(crashed / PAYLOADS, start, frame(bytes(32), payload))
    patch(crashed / LEAVES, leaf_spans(crashed)[1][1] - 32, hashlib.sha256(bytes(32) + payload).digest())
    found = damage(crashed)
    assert found.first_bad == 0  # somewhere from here on
    assert "signées" in str(found)


def test_checkpoints_that_are_gone_are_damage(crashed: Path) -> None:
    # T03
    (crashed / CHECKPOINTS).unlink()
    assert damage(crashed).missing


@pytest.mark.parametrize("more", [b"x" * 5_000, b"a\nb\nc\n\nd\n\n"])
def test_what_no_crash_leaves_after_the_last_checkpoint_is_damage(crashed: Path, more: bytes) -> None:
    # T03
    with (crashed / CHECKPOINTS).open("ab") as file:
        file.write(more)
    assert "ne finit pas par un point de contrôle" in str(damage(crashed))


@pytest.mark.parametrize("file", [LEAVES, PAYLOADS])
def test_a_damaged_first_line_is_damage(crashed: Path, file: str) -> None:
    # T03
    patch(crashed / file, 30, b"?")
    assert damage(crashed).first_bad == 0


@pytest.mark.parametrize(
    ("call", "suffix"),
    [
        ("truncate", LEAVES), ("sync", PAYLOADS), ("write", PAYLOADS), ("write", LEAVES),
        ("write", "recovery.partial.json"), ("sync", "recovery.partial.json"),
    ],
)  # fmt: skip
async def test_what_was_cut_is_told_however_often_the_telling_fails(crashed: Path, call: str, suffix: str) -> None:
    # T02: a node that dies while it recovers
    leaf = leaf_spans(crashed)[4][0]
    cut(crashed / LEAVES, leaf + 7)
    torn = (crashed / PAYLOADS).read_bytes()[frame_spans(crashed)[4][0] :] + (crashed / LEAVES).read_bytes()[leaf:]
    storage = FaultyStorage()
    storage.break_(call, suffix)
    for _ in range(3):
        with pytest.raises(TraceUnavailable):
            await open_journal(crashed, storage=storage)
    storage.mend()
    async with await open_journal(crashed) as journal:
        told = await journal.reader().entries(TraceFilter(kinds=frozenset({Kind.NODE_RECOVERED})))
        assert [entry.detail["dropped_sha256"] for entry in told.items] == [hashlib.sha256(torn).hexdigest()]
        assert (crashed / "recovery.json").read_bytes() == b""
    assert verify_folder(crashed).status is Status.UNANCHORED


async def test_two_torn_tails_are_two_entries(crashed: Path) -> None:
    # T02: it died, and died again half through telling so
    cut(crashed / PAYLOADS, frame_spans(crashed)[4][1])
    cut(crashed / LEAVES, leaf_spans(crashed)[3][1])
    storage = FaultyStorage()
    storage.break_("write", LEAVES)
    with pytest.raises(TraceUnavailable):
        await open_journal(crashed, storage=storage)
    with (crashed / PAYLOADS).open("ab") as file:
        file.write(b"half of node.recovered")
    storage.break_("write", "recovery.partial.json")
    with pytest.raises(TraceUnavailable):
        await open_journal(crashed, storage=storage)
    async with await open_journal(crashed) as journal:
        told = await journal.reader().entries(TraceFilter(kinds=frozenset({Kind.NODE_RECOVERED})))
        assert len({entry.detail["dropped_sha256"] for entry in told.items}) == len(told.items) == 2
        assert journal.recovery is not None
        assert journal.recovery.dropped_bytes == len(b"half of node.recovered")
    async with await open_journal(crashed) as journal:
        assert journal.recovery is None


async def test_what_was_told_is_not_told_twice(crashed: Path) -> None:
    # T02: it died after the entry and before it could forget
    cut(crashed / LEAVES, leaf_spans(crashed)[4][0] + 7)
    storage = FaultyStorage()
    storage.break_("write", CHECKPOINTS)
    with pytest.raises(TraceUnavailable):
        await open_journal(crashed, storage=storage)
    assert (crashed / "recovery.json").read_bytes()
    async with await open_journal(crashed) as journal:
        assert journal.recovery is None
        assert journal.size == 5
    assert (crashed / "recovery.json").read_bytes() == b""


def test_a_damaged_key_is_damage_once_there_are_entries(crashed: Path) -> None:
    (crashed / "gw1.pem").write_bytes(b"")
    assert "gw1.pem" in str(damage(crashed))


@pytest.mark.parametrize("position", [0, 20, 60, 100, 150])
def test_a_damaged_last_checkpoint_is_damage(crashed: Path, position: int) -> None:
    # T03
    data = (crashed / CHECKPOINTS).read_bytes()
    last = data.rindex(b"halfgateway/gw1\n")
    patch(crashed / CHECKPOINTS, last + position, bytes([data[last + position] ^ 1]))
    damage(crashed)


def test_what_no_crash_can_tear_is_damage_after_the_last_checkpoint_too(crashed: Path, tmp_path: Path) -> None:
    # T03: a whole leaf says that its payload was durable before
    for n in range(SIGNED, SIGNED + 2):
        for file, (start, end) in ((LEAVES, leaf_spans(crashed)[n]), (PAYLOADS, frame_spans(crashed)[n])):
            for position in (start, (start + end) // 2, end - 1):
                folder = tmp_path / f"{file}-{position}"
                shutil.copytree(crashed, folder)
                patch(folder / file, position, bytes([(folder / file).read_bytes()[position] ^ 0x10]))
                assert damage(folder).first_bad == n


def test_more_than_one_group_is_never_cut(crashed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T03: what was not in flight together had been acknowledged
    monkeypatch.setattr(recovery_module, "MAX_GROUP_ENTRIES", 1)
    patch(crashed / LEAVES, leaf_spans(crashed)[SIGNED][0], bytes(LEAF.size))
    assert damage(crashed).first_bad == SIGNED
    assert MAX_GROUP_ENTRIES == 512


async def test_an_unfinished_group_is_never_larger_than_recovery_cuts(tmp_path: Path) -> None:
    # T02: the largest group, all its payloads written and none of its leaves
    journal = await open_journal(tmp_path / "live")
    await journal.record(draft("s-0"))
    large = {"x": "y" * 15_800}
    await asyncio.gather(*(journal.record(Draft(kind=Kind.HEARTBEAT, detail=large)) for _ in range(65)))
    shutil.copytree(tmp_path / "live", tmp_path / "trace")
    await journal.close()
    spans = [end for _, end in frame_spans(tmp_path / "trace") if end - frame_spans(tmp_path / "trace")[0][1] < 1 << 20]
    cut(tmp_path / "trace" / PAYLOADS, spans[-1])
    cut(tmp_path / "trace" / LEAVES, leaf_spans(tmp_path / "trace")[0][1])
    streams, _ = await recovered(tmp_path / "trace")
    assert streams == ["s-0"]


async def test_a_crash_while_a_journal_begins(tmp_path: Path) -> None:
    # T02: whatever part of its first files was there, it begins again
    await write_journal(tmp_path / "whole")
    names = ["gw1.pem", CHECKPOINTS, LEAVES, PAYLOADS]
    for there in range(len(names)):
        for size in (0, 10):
            folder = tmp_path / f"begun-{there}-{size}"
            folder.mkdir()
            for name in names[: there + 1]:
                shutil.copy(tmp_path / "whole" / name, folder / name)
            cut(folder / names[there], size)
            async with await open_journal(folder) as journal:
                assert (await journal.record(draft())).n <= 1
            assert verify_folder(folder).status is Status.UNANCHORED


async def test_a_crash_while_a_segment_begins(tmp_path: Path, small_segments: int) -> None:
    # T02
    await write_journal(tmp_path / "trace", small_segments)
    first = small_segments
    whole = {
        f"{first:012d}.leaves": leaves_header(NODE, first) + b"torn",
        f"{first:012d}.payloads": payloads_header(NODE, first) + b"torn",
    }
    for there in (1, 2):
        for size in (0, 10, 200):
            folder = tmp_path / f"begun-{there}-{size}"
            shutil.copytree(tmp_path / "trace", folder)
            for name, data in list(whole.items())[:there]:
                (folder / name).write_bytes(data[:size])
            async with await open_journal(folder) as journal:
                assert (await journal.record(draft())).n in (first, first + 1)
            assert verify_folder(folder).status is Status.UNANCHORED


async def test_damage_before_the_last_segment_is_found(tmp_path: Path, small_segments: int) -> None:
    # T03
    await write_journal(tmp_path / "trace", 2 * small_segments + 1)
    shutil.copytree(tmp_path / "trace", tmp_path / "changed")
    patch(tmp_path / "changed" / LEAVES, leaf_spans(tmp_path / "changed")[5][0] + 20, b"\xff")
    with pytest.raises(TraceDamaged) as caught:
        await open_journal(tmp_path / "changed")
    assert caught.value.first_bad == 5
    shutil.copytree(tmp_path / "trace", tmp_path / "short")
    cut(tmp_path / "short" / LEAVES, leaf_spans(tmp_path / "short")[-1][0])
    with pytest.raises(TraceDamaged) as caught:
        await open_journal(tmp_path / "short")
    assert caught.value.first_bad == small_segments - 1
    shutil.copytree(tmp_path / "trace", tmp_path / "lost")
    (tmp_path / "lost" / PAYLOADS).unlink()
    with pytest.raises(TraceDamaged) as caught:
        await open_journal(tmp_path / "lost")
    assert caught.value.first_bad == 0
    (tmp_path / "trace" / f"{small_segments:012d}.leaves").unlink()
    (tmp_path / "trace" / f"{small_segments:012d}.payloads").unlink()
    with pytest.raises(TraceDamaged, match="manque") as caught:
        await open_journal(tmp_path / "trace")
    assert caught.value.first_bad == small_segments


async def test_a_tail_over_two_segments_is_checked_whole(tmp_path: Path, small_segments: int) -> None:
    # T03: a later segment proves that an earlier one had been acknowledged
    journal = await open_journal(tmp_path / "live")
    for n in range(small_segments + 2):
        await journal.record(draft(f"s-{n}"))
    shutil.copytree(tmp_path / "live", tmp_path / "trace")
    shutil.copytree(tmp_path / "live", tmp_path / "changed")
    await journal.close()
    async with await open_journal(tmp_path / "trace") as again:
        assert again.size == small_segments + 2
    patch(tmp_path / "changed" / PAYLOADS, frame_spans(tmp_path / "changed")[-1][1] - 1, b"]")
    with pytest.raises(TraceDamaged) as caught:
        await open_journal(tmp_path / "changed")
    assert caught.value.first_bad == small_segments - 1


@pytest.mark.usefixtures("uncounted")
def test_every_bit_of_what_is_signed_counts_at_the_opening(tmp_path: Path) -> None:
    # T03
    asyncio.run(write_journal(tmp_path / "trace", 3))
    folder = tmp_path / "trace"
    assert examine(folder, NODE, KEY.public_key()).durable.frontier.size == 3
    for file, spans in ((LEAVES, leaf_spans(folder)), (PAYLOADS, frame_spans(folder))):
        good = (folder / file).read_bytes()
        for position in range(len(good)):
            owner = next((n for n, (start, end) in enumerate(spans) if start <= position < end), 0)
            for bit in range(8):
                patch(folder / file, position, bytes([good[position] ^ 1 << bit]))
                with pytest.raises(TraceDamaged) as caught:
                    examine(folder, NODE, KEY.public_key())
                assert caught.value.first_bad == owner
            patch(folder / file, position, good[position : position + 1])
