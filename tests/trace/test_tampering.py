"""Every bit, every trick, every truncation: detected, and the first bad entry named (T03)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth.trace import Draft, Kind, Status, verify_folder
from auth.trace.layout import frame
from auth.trace.stamp import Stamper
from tests.trace.journals import (
    CHECKPOINTS,
    ERASED,
    LEAVES,
    PAYLOADS,
    cut,
    draft,
    erase,
    frame_spans,
    leaf_spans,
    open_journal,
    patch,
    write_journal,
)
from tests.trace.tampering import COVERED, append, copy, rewrite, verdict


def owner(folder: Path, file: str, position: int) -> int | None:
    """The entry that a byte of a file belongs to; a first line belongs to the first entry, a note to none."""
    if file == CHECKPOINTS:
        return None
    spans = leaf_spans(folder) if file == LEAVES else frame_spans(folder)
    return next((n for n, (start, end) in enumerate(spans) if start <= position < end), 0)


ENGLISH = re.compile(r"\b(the|is|are|not|entry|entries|does|missing)\b")


@pytest.mark.usefixtures("uncounted")
def test_every_single_bit_of_every_file_counts(tmp_path: Path) -> None:
    # T03; D05: what is found is said in French
    folder, said = tmp_path / "trace", set[str]()
    asyncio.run(write_journal(folder, 3, purging=True))
    erase(folder, ERASED)
    for file in COVERED:
        good = (folder / file).read_bytes()
        for position, byte in enumerate(good):
            belongs_to = owner(folder, file, position)
            for bit in range(8):
                patch(folder / file, position, bytes([byte ^ 1 << bit]))
                found = verify_folder(folder)
                assert found.status in (Status.INVALID, Status.INCOMPLETE), (file, position, bit, found)
                said.add(found.message)
                if file != CHECKPOINTS:
                    assert found.first_bad == belongs_to, (file, position, bit, found)
            patch(folder / file, position, good[position : position + 1])
    assert verify_folder(folder).status is Status.UNANCHORED
    assert len(said) > 20
    assert [message for message in said if ENGLISH.search(message)] == []


@pytest.mark.usefixtures("uncounted")
async def test_every_single_bit_of_an_unsigned_tail_counts(tmp_path: Path) -> None:
    # T03: before a checkpoint covers them, entries are covered by their commitments
    journal = await open_journal(tmp_path / "live")
    await journal.record(draft("s-0"))
    await journal.record(draft("s-1"))
    folder = copy(tmp_path / "live", "trace")
    await journal.close()
    found = verify_folder(folder)
    assert (found.status, found.signed, found.unsigned_tail) == (Status.UNANCHORED, 0, 2)
    for file in (LEAVES, PAYLOADS):
        good = (folder / file).read_bytes()
        for position, byte in enumerate(good):
            belongs_to = owner(folder, file, position)
            for bit in range(8):
                patch(folder / file, position, bytes([byte ^ 1 << bit]))
                assert verdict(folder) == ("invalid", belongs_to), (position, bit)
            patch(folder / file, position, good[position : position + 1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.sampled_from(COVERED), st.data())
def test_every_truncation_counts(journal: Path, file: str, data: st.DataObject) -> None:
    # T03
    whole = (journal / file).read_bytes()
    size = data.draw(st.integers(0, len(whole) - 1))
    (journal / file).write_bytes(whole[:size])
    found = verify_folder(journal)
    (journal / file).write_bytes(whole)
    at_a_note = file == CHECKPOINTS and whole[:size].endswith(b"\n\n") and b"A" in whole[:size]
    if at_a_note and found.status is Status.UNANCHORED:
        assert found.unsigned_tail > 0  # said, and only an anchor can tell more
        return
    assert found.status in (Status.INVALID, Status.INCOMPLETE)
    if file != CHECKPOINTS:
        assert found.first_bad == missing_after(journal, file, size)


def missing_after(folder: Path, file: str, size: int) -> int:
    spans = leaf_spans(folder) if file == LEAVES else frame_spans(folder)
    return next(n for n, (_, end) in enumerate(spans) if end > size)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.sampled_from(COVERED), st.binary(min_size=1, max_size=600))
def test_anything_added_counts(journal: Path, file: str, more: bytes) -> None:
    # T03
    whole = (journal / file).read_bytes()
    (journal / file).write_bytes(whole + more)
    found = verify_folder(journal)
    (journal / file).write_bytes(whole)
    assert found.status in (Status.INVALID, Status.INCOMPLETE)


def swap_leaves(folder: Path, a: int, b: int) -> None:
    data = (folder / LEAVES).read_bytes()
    (first, first_end), (second, second_end) = leaf_spans(folder)[a], leaf_spans(folder)[b]
    patch(folder / LEAVES, first, data[second:second_end])
    patch(folder / LEAVES, second, data[first:first_end])


def splice(folder: Path, file: str, spans: list[tuple[int, int]], order: list[int]) -> None:
    data = (folder / file).read_bytes()
    head = data[: spans[0][0]]
    (folder / file).write_bytes(head + b"".join(data[slice(*spans[n])] for n in order))


def reorder(folder: Path, order: list[int]) -> None:
    splice(folder, PAYLOADS, frame_spans(folder), order)
    splice(folder, LEAVES, leaf_spans(folder), order)


TRICKS: list[tuple[str, Callable[[Path], None], str, int | None]] = [
    ("delete", lambda folder: reorder(folder, [0, 1, 3, 4]), "invalid", 2),
    ("delete the last", lambda folder: reorder(folder, [0, 1, 2, 3]), "incomplete", 4),
    ("reorder", lambda folder: reorder(folder, [0, 1, 3, 2, 4]), "invalid", 2),
    ("duplicate", lambda folder: reorder(folder, [0, 1, 2, 2, 3, 4]), "invalid", 3),
    ("delete a payload", lambda folder: splice(folder, PAYLOADS, frame_spans(folder), [0, 1, 3, 4]), "invalid", 2),
    ("delete a leaf", lambda folder: splice(folder, LEAVES, leaf_spans(folder), [0, 1, 3, 4]), "invalid", 2),
    ("swap leaves", lambda folder: swap_leaves(folder, 2, 3), "invalid", 2),
    ("edit", lambda folder: rewrite(folder, 3, b"cam-1", b"cam-2"), "invalid", 2),
    ("edit before an erased one", lambda folder: rewrite(folder, 0, b"cam-1", b"cam-2"), "invalid", 0),
    ("erase what the purge named", lambda folder: erase(folder, 0), "unanchored", None),
    ("erase without right", lambda folder: erase(folder, 3), "invalid", 3),
    ("erase the purge's entry", lambda folder: erase(folder, 4), "invalid", 1),
    ("lose the leaves", lambda folder: (folder / LEAVES).unlink(), "incomplete", 0),
    ("lose the payloads", lambda folder: (folder / PAYLOADS).unlink(), "incomplete", 0),
    ("lose the checkpoints", lambda folder: (folder / CHECKPOINTS).unlink(), "incomplete", None),
    ("lose the key", lambda folder: (folder / "gw1.pem").unlink(), "incomplete", None),
    ("empty the key", lambda folder: (folder / "gw1.pem").write_bytes(b""), "invalid", None),
    ("add a file", lambda folder: (folder / "notes.txt").touch(), "invalid", None),
    ("add a folder", lambda folder: (folder / "more").mkdir(), "invalid", None),
    ("add an odd segment", lambda folder: (folder / "000000000007.leaves").touch(), "invalid", 65_536),
    ("add a far segment", lambda folder: (folder / "000000131072.leaves").touch(), "incomplete", 65_536),
]


@pytest.mark.parametrize(("trick", "status", "first_bad"), [pytest.param(*row[1:], id=row[0]) for row in TRICKS])
def test_every_trick_has_its_verdict(
    journal: Path, trick: Callable[[Path], None], status: str, first_bad: int | None
) -> None:
    # T03, T06
    trick(journal)
    found = verify_folder(journal)
    assert (found.status.label, found.first_bad) == (status, first_bad), found


def test_a_link_in_a_files_place_is_not_followed(journal: Path) -> None:
    (journal / LEAVES).rename(journal.with_name("elsewhere"))
    (journal / LEAVES).symlink_to(journal.with_name("elsewhere"))
    assert verdict(journal) == ("invalid", None)


def test_an_entry_may_be_erased_only_under_a_checkpoint_that_covers_its_rule_too(journal: Path) -> None:
    # T09
    data = (journal / CHECKPOINTS).read_bytes()
    cut(journal / CHECKPOINTS, data.rindex(b"halfgateway/gw1\n"))
    assert verdict(journal) == ("invalid", 1)
    erase(journal, 3)
    assert verdict(journal) == ("invalid", 3)


@pytest.mark.parametrize("at_us", [-(1 << 63), (1 << 63) - 1, -1])
def test_an_impossible_time_is_named(journal: Path, at_us: int) -> None:
    # T08
    patch(journal / LEAVES, leaf_spans(journal)[2][0] + 8, at_us.to_bytes(8, signed=True))
    assert verdict(journal) == ("invalid", 2)


async def test_time_that_goes_back_in_silence_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T08: only a writer that breaks the format's rule could write such a journal
    monkeypatch.setattr(Stamper, "at", lambda _self, reading, _draft: reading.wall_us - next(backwards))
    backwards = count()
    await write_journal(tmp_path / "trace", 3)
    assert verdict(tmp_path / "trace") == ("invalid", 1)


async def test_a_segment_that_others_follow_is_whole(tmp_path: Path, small_segments: int) -> None:
    # T03
    await write_journal(tmp_path / "trace", 2 * small_segments)
    short = copy(tmp_path / "trace", "short")
    cut(short / LEAVES, leaf_spans(short)[-1][0])
    assert verdict(short) == ("incomplete", small_segments - 1)
    for n in (0, 1):
        longer = copy(tmp_path / "trace", f"longer-{n}")
        with (longer / f"{n * small_segments:012d}.payloads").open("ab") as file:
            file.write(frame(bytes(32), b"{}"))
        assert verdict(longer) == ("invalid", (n + 1) * small_segments)
    for n in (0, 1):
        longer = copy(tmp_path / "trace", f"leaves-{n}")
        with (longer / f"{n * small_segments:012d}.leaves").open("ab") as file:
            file.write(b"x")
        assert verdict(longer) == ("invalid", (n + 1) * small_segments)


async def test_more_payloads_than_a_group_without_leaves_are_lost_entries(tmp_path: Path) -> None:
    # T03
    await write_journal(tmp_path / "trace", 1)
    with (tmp_path / "trace" / PAYLOADS).open("ab") as file:
        file.write(frame(bytes(32), bytes(16_000)) * 70)
    assert verdict(tmp_path / "trace") == ("incomplete", 1)


HUGE = 1 << 35


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def hole(path: Path) -> None:
    os.truncate(path, HUGE)


@pytest.mark.parametrize("name", [*COVERED, "gw1.pem"])
@pytest.mark.parametrize("trick", [pipe, device, hole])
def test_what_is_in_a_files_place_is_neither_waited_for_nor_read_for_ever(
    journal: Path, name: str, trick: Callable[[Path], None]
) -> None:
    # T06: whoever hands a folder over chose what is in it
    trick(journal / name)
    assert verdict(journal)[0] in {"invalid", "incomplete"}


NESTED = "[" * 8_000 + "]" * 8_000
DIGITS = "9" * 4_300


@pytest.mark.parametrize(
    "detail",
    [NESTED, f'{{"held":1,"known":{{"size":{DIGITS}}}}}', f'{{"held":1,"known":{{"size":{1 << 63}}}}}'],
    ids=["nested", "digits", "beyond any tree"],
)
@pytest.mark.parametrize("kind", [Kind.TRACE_PURGED, Kind.TRACE_CONTINUED])
def test_what_declares_the_impossible_has_a_verdict(journal: Path, kind: Kind, detail: str) -> None:
    # T06
    number = append(journal, Draft(kind=kind), detail.encode())
    assert verdict(journal) == ("invalid", number)
