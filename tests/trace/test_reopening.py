"""What a journal says of the run before: how it ended, and which acts it left open (T02)."""

from __future__ import annotations

import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

from held_clock import HeldClock

from auth.trace import (
    Draft,
    Entry,
    Kind,
    OpenAct,
    open_streams,
)
from auth.trace.layout import erased_frame
from tests.trace.journals import (
    NODE,
    draft,
    erase,
    open_journal,
    write_journal,
)


async def test_an_unclean_end_is_an_entry_of_its_own(tmp_path: Path, clock: HeldClock) -> None:
    # T02
    journal = await open_journal(tmp_path / "live", clock=clock)
    await journal.record(Draft(kind=Kind.NODE_STARTED))
    clock.advance(timedelta(seconds=9))
    last = await journal.record(draft("s-1"))
    shutil.copytree(tmp_path / "live", tmp_path / "trace")
    await journal.record(Draft(kind=Kind.NODE_STOPPED))
    await journal.close()
    async with await open_journal(tmp_path / "live") as clean:
        assert clean.recovery is None
    async with await open_journal(tmp_path / "trace", clock=clock) as again:
        assert again.recovery is not None
        assert again.recovery.dropped_bytes == 0
        assert (await again.reader().entry(2)).detail == {
            "dropped_entries": 0, "dropped_bytes": 0, "dropped_sha256": None, "last_at": last.to_json()["at"],
        }  # fmt: skip
    async with await open_journal(tmp_path / "trace") as third:
        assert third.recovery is None  # the unclean end has been said


async def test_what_was_left_open_is_told_until_it_is_closed(tmp_path: Path) -> None:
    # T02
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(Draft(kind=Kind.NODE_STARTED))
        await journal.record(draft("before"))
        await journal.record(draft("before", Kind.STREAM_STOPPED))
        await journal.record(draft("a"))
        await journal.record(draft("b"))
        await journal.record(draft("b", Kind.STREAM_REFUSED))
        await journal.record(draft("a", Kind.STREAM_STARTED, agent="opaque-1"))
    async with await open_journal(tmp_path / "trace") as again:
        (act,) = again.open_acts
        assert (act.stream, act.intent.n, act.last.n, act.last.agent) == ("a", 3, 6, "opaque-1")
        assert again.recovery is not None
    async with await open_journal(tmp_path / "trace") as died_again:
        assert [act.stream for act in died_again.open_acts] == ["a"]
        await died_again.record(draft("a", Kind.STREAM_STOPPED))
        await died_again.record(Draft(kind=Kind.NODE_STARTED))
        await died_again.record(draft("c", Kind.STREAM_GRANTED))
    async with await open_journal(tmp_path / "trace") as last:
        assert [act.stream for act in last.open_acts] == ["c"]


async def test_an_act_that_began_in_an_earlier_segment_is_still_open(tmp_path: Path, small_segments: int) -> None:
    # T02
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(Draft(kind=Kind.NODE_STARTED))
        await journal.record(draft("long"))
        for _ in range(3 * small_segments):
            await journal.record(Draft(kind=Kind.HEARTBEAT))
    async with await open_journal(tmp_path / "trace") as again:
        assert [act.stream for act in again.open_acts] == ["long"]


def test_open_streams_are_those_without_a_result(clock: HeldClock) -> None:
    # T02
    def entries(*told: tuple[str | None, Kind]) -> list[Entry]:
        return [
            Entry(kind=kind, stream=stream, node=NODE, n=n, at=clock.now()) for n, (stream, kind) in enumerate(told)
        ]

    told = entries(
        ("a", Kind.STREAM_REQUESTED), ("b", Kind.STREAM_GRANTED), (None, Kind.HEARTBEAT), ("a", Kind.STREAM_GRANTED),
        ("c", Kind.STREAM_DESCRIBED), ("b", Kind.STREAM_STOPPED), ("d", Kind.STREAM_STARTED),
        ("a", Kind.STREAM_MOVED), ("e", Kind.STREAM_REFUSED),
    )  # fmt: skip
    assert open_streams(told) == [OpenAct("a", told[0], told[7]), OpenAct("d", told[6], told[6])]


def test_a_stream_taken_up_again_after_its_result_is_open_again(clock: HeldClock) -> None:
    # T02: a ticket is good for a while after TEARDOWN
    kinds = (Kind.STREAM_REQUESTED, Kind.STREAM_STOPPED, Kind.STREAM_RESUMED)
    told = [entry_of(clock, n, kind) for n, kind in enumerate(kinds)]
    assert open_streams(told) == [OpenAct("a", told[2], told[2])]


def test_an_export_is_an_act_beside_the_stream_that_it_is_made_from(clock: HeldClock) -> None:
    # T02: each has its own result; a refusal ends both
    asked, made = (Kind.STREAM_REQUESTED, Kind.EXPORT_REQUESTED), (Kind.EXPORT_MADE, Kind.STREAM_STOPPED)
    told = [entry_of(clock, n, kind) for n, kind in enumerate((*asked, Kind.STREAM_STOPPED))]
    assert open_streams(told[:2]) == [OpenAct("a", told[0], told[0]), OpenAct("a", told[1], told[1])]
    assert open_streams(told) == [OpenAct("a", told[1], told[1])]
    for closed in (made, (Kind.STREAM_STOPPED, Kind.EXPORT_FAILED), (Kind.EXPORT_CANCELLED, Kind.STREAM_STOPPED)):
        assert open_streams([entry_of(clock, n, kind) for n, kind in enumerate((*asked, *closed))]) == []
    refused = (*asked, Kind.EXPORT_REFUSED)
    assert open_streams([entry_of(clock, n, kind) for n, kind in enumerate(refused)]) == []


async def test_an_export_that_a_crash_left_open_is_told(tmp_path: Path) -> None:
    # T02
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(Draft(kind=Kind.NODE_STARTED))
        await journal.record(draft("a", Kind.EXPORT_REQUESTED))
    async with await open_journal(tmp_path / "trace") as again:
        assert [(act.stream, act.intent.kind) for act in again.open_acts] == [("a", Kind.EXPORT_REQUESTED)]


def entry_of(clock: HeldClock, n: int, kind: Kind) -> Entry:
    return Entry(kind=kind, stream="a", node="n", n=n, at=clock.now())


async def test_an_erased_entry_is_not_needed_to_open(tmp_path: Path) -> None:
    # T09
    await write_journal(tmp_path / "trace", 4, purging=True)
    erase(tmp_path / "trace", 1)
    async with await open_journal(tmp_path / "trace") as journal:
        assert (await journal.record(draft())).n == 4
        assert [act.stream for act in journal.open_acts] == ["s-0", "s-2"]


def test_what_a_purge_leaves_is_a_length_a_hash_and_zeros() -> None:
    # T09
    left = erased_frame(b"leaf", 2)
    assert left == bytes([0, 0, 0, 2, 0, 0, 0, 2]) + hashlib.sha256(b"\0leaf").digest() + bytes(2)
