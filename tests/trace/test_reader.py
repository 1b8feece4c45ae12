"""Reading beside the writer: newest first, filtered, in bounded pages, with proofs (T05)."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import pytest
from held_clock import HeldClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth.trace import (
    Draft,
    Entry,
    Kind,
    TraceDamaged,
    TraceFilter,
    TraceReader,
    TraceUnavailable,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from auth.trace import reader as reader_module
from auth.trace.checkpoint import KeyChain
from auth.trace.layout import LEAF, commitment, origin
from tests.trace.journals import (
    CHECKPOINTS,
    KEY,
    NODE,
    PAYLOADS,
    FaultyStorage,
    draft,
    erase,
    frame_spans,
    leaf_spans,
    numbers,
    open_journal,
    patch,
    until,
    write_journal,
)


async def every_page(reader: TraceReader, wanted: TraceFilter, limit: int) -> list[Entry]:
    """All that fits, over as many pages as it takes."""
    found: list[Entry] = []
    cursor: str | None = None
    while True:
        page = await reader.entries(wanted, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


@pytest.fixture
async def varied(tmp_path: Path, small_segments: int) -> Path:
    """Forty entries over five segments, a second apart, of four cameras, three agents and two kinds."""
    clock = HeldClock()
    async with await open_journal(tmp_path / "trace", clock=clock) as journal:
        for n in range(40):
            kind = Kind.STREAM_REQUESTED if n % 2 else Kind.STREAM_STOPPED
            await journal.record(
                Draft(kind=kind, agent=f"a-{n % 3}", camera=f"cam-{n % 4}", stream=f"s-{n // 2}", detail={"n": n})
            )
            clock.advance(timedelta(seconds=1))
            if n % 7 == 0:
                await journal.write_checkpoint()
    return tmp_path / "trace"


async def test_pages_are_newest_first_and_end(varied: Path) -> None:
    reader = TraceReader.of(varied, NODE)
    first = await reader.entries(limit=25)
    second = await reader.entries(limit=25, cursor=first.next)
    assert numbers(first.items) == list(range(39, 14, -1))
    assert numbers(second.items) == list(range(14, -1, -1))
    assert (first.next, second.next) == ("15", None)
    assert first.items[0].detail == {"n": 39}


start = HeldClock().now()
optional_time = st.none() | st.integers(-1, 41).map(lambda second: start + timedelta(seconds=second))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kinds=st.none() | st.frozensets(st.sampled_from([Kind.STREAM_REQUESTED, Kind.STREAM_STOPPED, Kind.HEARTBEAT])),
    agent=st.none() | st.sampled_from(["a-1", "a-9", 'a"', "a"]),
    camera=st.none() | st.sampled_from(["cam-2", "cam-"]),
    stream=st.none() | st.sampled_from(["s-1", "s-10"]),
    since=optional_time,
    until=optional_time,
    limit=st.integers(1, 50),
)
def test_a_filter_finds_what_fits_and_nothing_else(varied: Path, limit: int, **wanted: object) -> None:
    fitting = TraceFilter(**wanted)  # type: ignore[arg-type]
    reader = TraceReader.of(varied, NODE)

    async def read() -> tuple[list[Entry], list[Entry]]:
        return await every_page(reader, fitting, limit), await every_page(reader, TraceFilter(), 1000)

    found, everything = asyncio.run(read())

    def fits(entry: Entry) -> bool:
        return (
            (fitting.kinds is None or entry.kind in fitting.kinds)
            and (fitting.agent is None or entry.agent == fitting.agent)
            and (fitting.camera is None or entry.camera == fitting.camera)
            and (fitting.stream is None or entry.stream == fitting.stream)
            and (fitting.since is None or entry.at >= fitting.since)
            and (fitting.until is None or entry.at < fitting.until)
        )

    assert found == [entry for entry in everything if fits(entry)]


async def test_a_text_in_the_detail_is_no_member(tmp_path: Path) -> None:
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(Draft(kind=Kind.HEARTBEAT, detail={"camera": "cam-1"}))
        await journal.record(draft())
        page = await journal.reader().entries(TraceFilter(camera="cam-1"))
        assert numbers(page.items) == [1]


async def test_a_page_looks_at_a_bounded_number_of_entries(varied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_WORK", 5)
    reader = TraceReader.of(varied, NODE)
    rare = TraceFilter(kinds=frozenset({Kind.HEARTBEAT}))
    page = await reader.entries(rare)
    assert (page.items, page.next) == ((), "35")
    assert await every_page(reader, rare, 10) == []
    assert len(await every_page(reader, TraceFilter(), 10)) == 40


async def test_a_reader_beside_a_writer_sees_what_is_durable_and_no_more(tmp_path: Path) -> None:
    # T01
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        reader = journal.reader()
        assert (await reader.entries()).items == ()
        for n in range(3):
            await journal.record(draft(f"s-{n}"))
            assert numbers((await reader.entries()).items) == list(range(n, -1, -1))
        storage.break_("sync", ".leaves", times=1)
        with pytest.raises(TraceUnavailable):
            await journal.record(draft("lost"))
        storage.gate.clear()
        before = storage.syncs
        writing = asyncio.create_task(journal.record(draft("s-3")))
        await until(lambda: storage.syncs > before)
        assert numbers((await reader.entries()).items) == [2, 1, 0]
        storage.gate.set()
        await writing
        assert (await reader.entries()).items[0].stream == "s-3"


async def test_checkpoints_are_listed_newest_first_with_their_notes(varied: Path) -> None:
    # T03
    reader = TraceReader.of(varied, NODE)
    everything = await reader.checkpoints()
    sizes = [signed.checkpoint.size for signed in everything.items]
    assert sizes == [40, 36, 29, 22, 15, 8, 1, 0]
    assert everything.next is None
    page = await reader.checkpoints(limit=3)
    rest = await reader.checkpoints(limit=50, cursor=page.next)
    assert page.items + rest.items == everything.items
    shown = everything.items[0].to_json()
    assert list(shown) == ["node", "size", "root", "note"]
    assert KeyChain(origin(NODE), [KEY.public_key()]).open(shown["note"].encode()).root == b64decode(shown["root"])


async def test_a_long_list_of_checkpoints_is_read_from_its_end(tmp_path: Path) -> None:
    async with await open_journal(tmp_path / "trace") as journal:
        for _ in range(400):
            await journal.record(draft())
            await journal.write_checkpoint()
    assert (tmp_path / "trace" / CHECKPOINTS).stat().st_size > 1 << 16
    reader = TraceReader.of(tmp_path / "trace", NODE)
    sizes: list[int] = []
    cursor: str | None = None
    while True:
        page = await reader.checkpoints(limit=1000, cursor=cursor)
        sizes += [signed.checkpoint.size for signed in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert sizes == list(range(400, -1, -1))


async def test_every_entry_is_proved_in_every_checkpoint_over_it(varied: Path) -> None:
    # T05
    reader = TraceReader.of(varied, NODE)
    for signed in (await reader.checkpoints()).items:
        size, root = signed.checkpoint.size, signed.checkpoint.root
        for n in range(size):
            proof = await reader.prove_inclusion(n, size)
            assert verify_inclusion(n, size, leaf_hash(proof.leaf), proof.path, root)
    shown = proof.to_json()
    assert list(shown) == ["node", "n", "size", "leaf", "leaf_hash", "path"]
    assert b64decode(shown["leaf_hash"]) == leaf_hash(b64decode(shown["leaf"]))


async def test_a_proved_leaf_commits_to_the_entry(varied: Path) -> None:
    # T05, T09
    proof = await TraceReader.of(varied, NODE).prove_inclusion(3, 40)
    n, at_us, code, committed = LEAF.unpack(proof.leaf)
    start, end = frame_spans(varied)[3]
    salted = (varied / PAYLOADS).read_bytes()[start + 8 : end]
    entry = Entry.from_payload(salted[32:])
    assert (n, code) == (entry.n, entry.code) == (3, 2101)
    assert at_us == round(entry.at.timestamp() * 1_000_000)
    assert committed == commitment(salted)


async def test_checkpoints_are_proved_to_extend_each_other(varied: Path) -> None:
    # T05
    reader = TraceReader.of(varied, NODE)
    heads = [signed.checkpoint for signed in (await reader.checkpoints()).items][-2::-1]
    for old in heads:
        for new in heads[heads.index(old) :]:
            proof = await reader.prove_consistency(old.size, new.size)
            assert verify_consistency(old.size, new.size, old.root, new.root, proof.path)
    assert list(proof.to_json()) == ["node", "first", "second", "path"]


async def test_what_the_journal_does_not_have_is_refused(varied: Path) -> None:
    reader = TraceReader.of(varied, NODE)
    for ask in (
        lambda: reader.entry(40),
        lambda: reader.entry(-1),
        lambda: reader.prove_inclusion(40, 40),
        lambda: reader.prove_inclusion(1, 41),
        lambda: reader.prove_consistency(0, 40),
        lambda: reader.prove_consistency(1, 41),
        lambda: reader.entries(limit=0),
        lambda: reader.entries(cursor="-1"),
        lambda: reader.entries(cursor="٣"),
        lambda: reader.entries(cursor="9" * 30),
        lambda: reader.checkpoints(cursor="x"),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            await ask()
    assert numbers((await reader.entries(cursor="1000")).items)[0] == 39


async def test_a_changed_payload_is_never_shown(tmp_path: Path) -> None:
    # L18: an attempt to modify is itself an alert
    await write_journal(tmp_path / "trace", 3)
    start, end = frame_spans(tmp_path / "trace")[1]
    reader = TraceReader.of(tmp_path / "trace", NODE)
    await reader.entries()
    patch(tmp_path / "trace" / PAYLOADS, end - 3, b"x")
    with pytest.raises(TraceDamaged) as caught:
        await reader.entries()
    assert caught.value.first_bad == 1
    patch(tmp_path / "trace" / PAYLOADS, start, b"x")
    with pytest.raises(TraceDamaged):
        await reader.entries()
    assert (await reader.entries(limit=1)).items[0].n == 2


async def test_an_erased_entry_shows_what_its_leaf_holds(tmp_path: Path) -> None:
    # T09
    entries = await write_journal(tmp_path / "trace", 3)
    reader = TraceReader.of(tmp_path / "trace", NODE)
    await reader.entries()
    erase(tmp_path / "trace", 1)
    erased = await reader.entry(1)
    assert erased == Entry(kind=entries[1].kind, node=NODE, n=1, at=entries[1].at, detail={"erased": True})
    assert numbers((await reader.entries(TraceFilter(camera="cam-1"))).items) == [2, 0]
    proof = await reader.prove_inclusion(1, 3)
    root = (await reader.checkpoints(limit=1)).items[0].checkpoint.root
    assert verify_inclusion(1, 3, leaf_hash(proof.leaf), proof.path, root)
    patch(tmp_path / "trace" / PAYLOADS, frame_spans(tmp_path / "trace")[1][1] - 1, b"x")
    with pytest.raises(TraceDamaged):
        await reader.entry(1)


async def test_a_folder_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    reader = TraceReader.of(tmp_path / "nowhere", NODE)
    with pytest.raises(TraceUnavailable):
        await reader.entries()
    with pytest.raises(TraceDamaged):
        await reader.checkpoints()
    (tmp_path / "empty").mkdir()
    assert (await TraceReader.of(tmp_path / "empty", NODE).entries()).items == ()
    await write_journal(tmp_path / "trace", 3)
    assert len(leaf_spans(tmp_path / "trace")) == 3
    (tmp_path / "trace" / PAYLOADS).unlink()
    with pytest.raises(TraceDamaged, match="manque"):
        await TraceReader.of(tmp_path / "trace", NODE).entries()
