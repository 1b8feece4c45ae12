"""Recording: durable before the answer, in groups, numbered without a gap, signed as it goes."""

from __future__ import annotations

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from held_clock import HeldClock

from auth.trace import Draft, EntryRefused, Journal, Kind, Status, TraceDamaged, TraceUnavailable, verify_folder
from auth.trace import groups as groups_module
from auth.trace import scan as scan_module
from auth.trace.layout import SEGMENT_ENTRIES
from camera_registry.clock import SystemClock
from tests.trace.journals import (
    CHECKPOINTS,
    KEY,
    LEAVES,
    NODE,
    PAYLOADS,
    FaultyStorage,
    draft,
    frame_spans,
    leaf_spans,
    numbers,
    open_journal,
    until,
    write_journal,
)


async def test_an_entry_is_on_the_disk_when_record_returns(tmp_path: Path) -> None:
    # T01
    async with await open_journal(tmp_path / "trace") as journal:
        entry = await journal.record(draft("s-7", agent="opaque-1"))
        assert (entry.node, entry.n, entry.kind, entry.agent) == (NODE, 0, Kind.STREAM_REQUESTED, "opaque-1")
        start, end = frame_spans(tmp_path / "trace")[0]
        data = (tmp_path / "trace" / "000000000000.payloads").read_bytes()
        assert data[start + 40 : end] == entry.payload()
        assert len(leaf_spans(tmp_path / "trace")) == journal.size == 1


class ListedStorage(FaultyStorage):
    """A real disk that notes which names it was given, and whose names it was told to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []

    def open(self, path: Path, *, create: bool) -> int:
        if not path.exists():
            self.done.append(("made", path.name))
        return super().open(path, create=create)

    def sync_folder(self, folder: Path) -> None:
        self.done.append(("kept", folder.name))
        super().sync_folder(folder)


async def test_every_name_is_on_the_disk_before_an_entry_is(tmp_path: Path) -> None:
    # T01: a power cut forgets names that their folder was not told to keep
    storage = ListedStorage()
    async with await open_journal(tmp_path / "node" / "trace", storage=storage) as journal:
        assert storage.done[:2] == [("kept", "node"), ("kept", tmp_path.name)]
        last = max(index for index, done in enumerate(storage.done) if done == ("kept", "trace"))
        assert {name for act, name in storage.done[:last] if act == "made"} >= {LEAVES, PAYLOADS, CHECKPOINTS}
        assert [name for act, name in storage.done[last:] if act == "made"] == []
        await journal.record(draft("s-7"))


async def test_200_callers_share_few_syncs_and_get_200_numbers(tmp_path: Path) -> None:
    # T03
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        before = storage.syncs
        entries = await asyncio.gather(*(journal.record(draft(f"s-{n}")) for n in range(200)))
        assert sorted(numbers(entries)) == list(range(200))
        assert storage.syncs - before <= 200 * 2 / 10
        again = await asyncio.gather(*(journal.record(draft(f"s-{n}")) for n in range(200)))
        assert sorted(numbers(again)) == list(range(200, 400))
    found = verify_folder(tmp_path / "trace")
    assert (found.status, found.entries, found.unsigned_tail) == (Status.UNANCHORED, 400, 0)


class HurryingClock(HeldClock):
    """A clock by which every write takes long."""

    def monotonic(self) -> float:
        self.advance(timedelta(minutes=1))
        return super().monotonic()


async def test_callers_that_come_back_are_one_group_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T03: a crowd does not part into two halves that wait for one another's syncs; and one that has gone is no delay
    monkeypatch.setattr(groups_module, "GATHER_LIMIT_S", 20.0)
    callers, rounds, storage = 40, 5, FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage, clock=HurryingClock()) as journal:

        async def come_back(number: int) -> None:
            for _ in range(rounds):
                await journal.record(draft(f"s-{number}"))

        before = storage.syncs
        await asyncio.gather(*(come_back(number) for number in range(callers)))
        assert storage.syncs - before <= 2 * (rounds + 2)
        alone = asyncio.create_task(journal.record(draft("alone")))
        await asyncio.sleep(0)
        await journal.probe()
        assert (await alone).n == callers * rounds


async def test_calls_of_one_task_keep_their_order(tmp_path: Path) -> None:
    async with await open_journal(tmp_path / "trace") as journal:
        tasks = [asyncio.create_task(journal.record(draft(f"s-{n}"))) for n in range(50)]
        assert numbers(await asyncio.gather(*tasks)) == list(range(50))


async def test_checkpoints_follow_the_entries_by_themselves(tmp_path: Path) -> None:
    # T03
    async with await open_journal(tmp_path / "trace", checkpoint_interval_s=0.01) as journal:
        await journal.record(draft())
        await until(lambda: journal.checkpoint is not None and journal.checkpoint.size == 1)
        quiet = (tmp_path / "trace" / CHECKPOINTS).read_bytes()
        await journal.probe()
        assert (tmp_path / "trace" / CHECKPOINTS).read_bytes() == quiet
        await journal.record(draft())
        await until(lambda: journal.checkpoint is not None and journal.checkpoint.size == 2)


async def test_closing_signs_what_is_there_and_lets_go(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path / "trace")
    pending = [asyncio.create_task(journal.record(draft(f"s-{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    await journal.close()
    await journal.close()
    assert numbers(await asyncio.gather(*pending)) == list(range(5))
    assert journal.checkpoint is not None
    assert journal.checkpoint.size == 5
    with pytest.raises(TraceUnavailable, match="closed"):
        await journal.record(draft())
    async with await open_journal(tmp_path / "trace") as again:
        assert again.size == 5
        assert again.recovery is None


async def test_two_writers_never_share_a_journal(tmp_path: Path) -> None:
    async with await open_journal(tmp_path / "trace") as journal:
        with pytest.raises(TraceUnavailable, match="another process"):
            await open_journal(tmp_path / "trace")
        await journal.record(draft())


async def test_a_journal_is_its_owners_alone(tmp_path: Path) -> None:
    # L18
    await write_journal(tmp_path / "trace", 1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "trace").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "trace").stat().st_mode) == 0o700


async def test_another_key_does_not_go_on_with_a_journal(tmp_path: Path) -> None:
    await write_journal(tmp_path / "trace", 1)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(TraceDamaged, match=r"gw1\.pem n'est pas la clé"):
        await Journal.open(tmp_path / "trace", node=NODE, key=other, clock=SystemClock())


@pytest.mark.parametrize("node", ["", ".", "-a", "a b", "a+b", "a/b", "é", "a" * 65])
async def test_a_name_that_no_node_can_have_is_refused(tmp_path: Path, node: str) -> None:
    with pytest.raises(ValueError, match="cannot name a node"):
        await Journal.open(tmp_path / "trace", node=node, key=KEY, clock=SystemClock())


async def test_a_draft_that_can_be_no_entry_disturbs_nobody(tmp_path: Path) -> None:
    async with await open_journal(tmp_path / "trace") as journal:
        outcomes = await asyncio.gather(
            journal.record(draft("s-0")),
            journal.record(Draft(kind=Kind.HEARTBEAT, detail={"x": "y" * 20_000})),
            journal.record(draft("s-1")),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], EntryRefused)
        assert journal.size == 2
        assert journal.unwritable_since_s is None


async def test_a_group_is_bounded_in_entries_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_module, "MAX_GROUP_BYTES", 4_000)
    async with await open_journal(tmp_path / "trace") as journal:
        large = Draft(kind=Kind.HEARTBEAT, detail={"x": "y" * 3_500})
        entries = await asyncio.gather(*(journal.record(large) for _ in range(20)))
        assert numbers(entries) == list(range(20))
    assert verify_folder(tmp_path / "trace").entries == 20


async def test_more_waiting_calls_than_the_bound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T01: a bounded queue refuses, it never drops
    monkeypatch.setattr(groups_module, "MAX_WAITING", 3)
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        storage.gate.clear()
        before = storage.syncs
        first = asyncio.create_task(journal.record(draft("s-0")))
        await until(lambda: storage.syncs > before)
        waiting = [asyncio.create_task(journal.record(draft(f"s-{n}"))) for n in range(1, 6)]
        await asyncio.sleep(0)
        storage.gate.set()
        outcomes = await asyncio.gather(first, *waiting, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, TraceUnavailable)]
        assert len(refused) == 2
        assert journal.size == 4


async def test_segments_follow_each_other(tmp_path: Path, small_segments: int) -> None:
    # T03
    entries = await write_journal(tmp_path / "trace", small_segments + 1, 2 * small_segments, 1)
    assert numbers(entries) == list(range(3 * small_segments + 2))
    starts = scan_module.segment_starts(tmp_path / "trace")
    assert starts == [0, small_segments, 2 * small_segments, 3 * small_segments]
    found = verify_folder(tmp_path / "trace")
    assert (found.status, found.entries, found.unsigned_tail) == (Status.UNANCHORED, len(entries), 0)
    async with await open_journal(tmp_path / "trace") as journal:
        assert (await journal.record(draft())).n == len(entries)
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED


async def test_a_segment_that_is_exactly_full_is_gone_on_from(tmp_path: Path, small_segments: int) -> None:
    await write_journal(tmp_path / "trace", small_segments)
    async with await open_journal(tmp_path / "trace") as journal:
        assert (await journal.record(draft())).n == small_segments
    assert verify_folder(tmp_path / "trace").entries == small_segments + 1


def test_a_segment_has_65536_entries() -> None:
    assert SEGMENT_ENTRIES == 65_536


async def test_one_reading_of_the_clock_stamps_a_group(tmp_path: Path, clock: HeldClock) -> None:
    # T08
    async with await open_journal(tmp_path / "trace", clock=clock) as journal:
        first = await journal.record(draft())
        clock.advance(timedelta(seconds=3))
        second = await journal.record(draft())
        assert second.at - first.at == timedelta(seconds=3)
        assert first.at == clock.now() - timedelta(seconds=3)
