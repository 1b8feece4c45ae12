"""Purging by class and age: proofs stay, payloads cannot be guessed, a crash loses nothing (T09, L17)."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from held_clock import HeldClock

from auth.errors import AuthError, PurgeRefused
from auth.trace import Draft, Entry, Journal, Kind, Status, SystemStorage, TraceUnavailable, verify_folder
from auth.trace.erasure import ErasedEntries, ErasureRule
from auth.trace.layout import FRAME, LEAF
from auth.trace.purge import PENDING_PURGE, PendingPurge
from auth.trace.retention import Retention, RetentionClass, class_of, kinds_of
from auth.trace.tree import leaf_hash, verify_inclusion
from tests.trace.journals import LEAVES, PAYLOADS, draft, frame_spans, leaf_spans, open_journal, write_journal
from tests.trace.tampering import notes, parse_root

ACCESS = frozenset(kind.code for kind in kinds_of(RetentionClass.ACCESS))
ORDER = Draft(kind=Kind.TRACE_PURGED, account="local:greffe", detail={"class": "access", "visa": "AD78-2027-14"})
YEAR = timedelta(days=365)


async def two_years(folder: Path, clock: HeldClock) -> list[Entry]:
    """Three old entries, one of them evidence, and a new one."""
    async with await open_journal(folder, clock=clock) as journal:
        old = [
            await journal.record(draft("s-0", agent="pp-0001")),
            await journal.record(Draft(kind=Kind.NOTICE_SUBMITTED, detail={"incident": "inc-1"})),
            await journal.record(draft("s-0", Kind.STREAM_STOPPED, agent="pp-0001")),
        ]
        await journal.write_checkpoint()
        clock.advance(2 * YEAR)
        return [*old, await journal.record(draft("s-1", agent="pp-0002"))]


async def purge(journal: Journal, clock: HeldClock) -> Entry | None:
    return await journal.purge(ORDER, ACCESS, clock.now() - YEAR)


async def test_a_purge_erases_a_class_of_an_age_and_says_so(tmp_path: Path) -> None:
    # T09, L17
    clock, folder = HeldClock(), tmp_path / "trace"
    written = await two_years(folder, clock)
    anchors = await asyncio.to_thread(notes, folder)
    leaves = (folder / LEAVES).read_bytes()
    async with await open_journal(folder, clock=clock) as journal:
        told = await purge(journal, clock)
        assert told is not None
        assert (told.kind, told.account, told.detail["visa"]) == (Kind.TRACE_PURGED, "local:greffe", "AD78-2027-14")
        assert told.detail["size"] == 4
        assert {name: told.detail["erased"][name] for name in ("count", "first", "last")} == {
            "count": 2, "first": 0, "last": 2,
        }  # fmt: skip
        reader = journal.reader()
        assert (await reader.entry(0)).detail == {"erased": True}
        assert [await reader.entry(n) for n in (1, 3)] == [written[1], written[3]]
        proof = await reader.prove_inclusion(0, 3)
        assert verify_inclusion(0, 3, leaf_hash(proof.leaf), proof.path, parse_root(anchors[1]))
        assert await purge(journal, clock) is None
        assert journal.size == 5
    assert (folder / LEAVES).read_bytes()[: len(leaves)] == leaves
    found = verify_folder(folder, anchors=anchors)
    assert (found.status, found.erased, found.entries) == (Status.VALID, 2, 5)


async def test_what_was_purged_cannot_be_guessed(tmp_path: Path) -> None:
    # T09: he who knows every payload that it can have been does not learn which it was
    clock, folder = HeldClock(), tmp_path / "trace"
    [entry, *_] = await two_years(folder, clock)
    committed = (folder / LEAVES).read_bytes()[slice(*leaf_spans(folder)[0])][-32:]
    start, end = frame_spans(folder)[0]
    salt = (folder / PAYLOADS).read_bytes()[start + FRAME.size :][:32]
    payloads = [replace(entry, agent=f"pp-{number:04d}").payload() for number in range(1000)]
    assert [n for n, payload in enumerate(payloads) if hashlib.sha256(salt + payload).digest() == committed] == [1]
    async with await open_journal(folder, clock=clock) as journal:
        await purge(journal, clock)
    for path in folder.iterdir():
        data = path.read_bytes()
        assert salt not in data
        assert payloads[1] not in data
    left = (folder / PAYLOADS).read_bytes()[start:end]
    assert left[FRAME.size + 32 :] == bytes(end - start - FRAME.size - 32)
    for tried in (b"", bytes(32), left[FRAME.size :][:32], committed):
        assert not any(hashlib.sha256(tried + payload).digest() == committed for payload in payloads)


class DyingStorage(SystemStorage):
    """A real disk, until the call at which the machine dies; a write under way is half done."""

    def __init__(self, calls: int | None = None) -> None:
        self.calls = 0
        self._last = calls

    def _live(self) -> bool:
        self.calls += 1
        return self._last is None or self.calls <= self._last

    def open(self, path: Path, *, create: bool) -> int:
        if not self._live():
            raise OSError(errno.EIO, "dead")
        return super().open(path, create=create)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        if not self._live():
            if self.calls == (self._last or 0) + 1:
                super().write(descriptor, data[: len(data) // 2], offset)
            raise OSError(errno.EIO, "dead")
        super().write(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        if not self._live():
            raise OSError(errno.EIO, "dead")
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        if not self._live():
            raise OSError(errno.EIO, "dead")
        super().sync(descriptor)


async def instants(whole: Path, clock: HeldClock) -> int:
    """How many calls on the disk a purge makes, from the opening of the journal to its end."""
    storage = DyingStorage()
    journal = await open_journal(whole, clock=clock, storage=storage)
    before = storage.calls
    await purge(journal, clock)
    after = storage.calls
    await journal.close()
    assert after - before > 15
    return after


async def test_a_crash_at_any_instant_of_a_purge_loses_nothing(tmp_path: Path) -> None:
    # T09, T02: whatever the last call was, every entry and proof is there; what a signed entry says is erased, or
    # nothing, and then the journal says of an entry that was not signed for that it is void
    clock, folder = HeldClock(), tmp_path / "trace"
    written = await two_years(folder, clock)
    anchors, outcomes = await asyncio.to_thread(notes, folder), set[tuple[bool, bool]]()
    calls = await instants(Path(shutil.copytree(folder, tmp_path / "counted")), clock)
    for last in range(calls + 1):
        died = Path(shutil.copytree(folder, tmp_path / f"died-{last}"))
        storage = DyingStorage(last)
        try:
            journal = await open_journal(died, clock=clock, storage=storage)
            try:
                await purge(journal, clock)
            finally:
                await journal.close()
        except TraceUnavailable:
            pass
        async with await open_journal(died, clock=clock) as journal:
            reader = journal.reader()
            entries = [await reader.entry(n) for n in range(journal.size)]
            void = {n for entry in entries if entry.kind is Kind.NODE_RECOVERED for n in entry.detail.get("void", ())}
            rules = {entry.n for entry in entries if entry.kind is Kind.TRACE_PURGED}
            purged = bool(rules - void)
            assert [await reader.entry(n) for n in (1, 3)] == [written[1], written[3]]
            erased = [(await reader.entry(n)).detail == {"erased": True} for n in (0, 2)]
            assert erased == [purged, purged], (last, entries)
            outcomes.add((purged, bool(void)))
        found = verify_folder(died, anchors=anchors)
        assert (found.status, found.erased) == (Status.VALID, 2 if purged else 0), (last, found)
        assert PendingPurge(died, SystemStorage()).read() is None
        shutil.rmtree(died)
    assert outcomes == {(False, False), (False, True), (True, False)}


async def test_a_purge_that_failed_is_gone_on_with_by_the_next(tmp_path: Path) -> None:
    # T09: the node lives on, the disk answers again
    clock, folder = HeldClock(), tmp_path / "trace"
    await two_years(folder, clock)
    storage = BreakingStorage()
    async with await open_journal(folder, clock=clock, storage=storage) as journal:
        storage.broken = True
        with pytest.raises(TraceUnavailable, match="written"):
            await purge(journal, clock)
        storage.broken = False
        assert await purge(journal, clock) is None
        assert (await journal.reader().entry(0)).detail == {"erased": True}
    assert verify_folder(folder).status is Status.UNANCHORED


class BreakingStorage(SystemStorage):
    """A disk on which payloads that lie there cannot be overwritten."""

    broken = False

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        if self.broken and data[:4] == data[4:8]:
            raise OSError(errno.EIO, "Input/output error")
        super().write(descriptor, data, offset)


async def test_a_purge_over_several_segments_is_redone(tmp_path: Path, small_segments: int) -> None:
    # T09
    folder, clock = tmp_path / "trace", HeldClock()
    await write_journal(folder, 2 * small_segments + 3)
    async with await open_journal(folder, clock=clock) as journal:
        told = await journal.purge(ORDER, ACCESS, clock.now() + YEAR)
        assert told is not None
        assert told.detail["erased"]["count"] == 2 * small_segments + 3
    assert verify_folder(folder).erased == 2 * small_segments + 3
    rule = ErasureRule.from_detail(told.detail)
    (folder / PENDING_PURGE).write_text(json.dumps(rule.to_detail()))
    async with await open_journal(folder, clock=clock):
        assert (folder / PENDING_PURGE).read_bytes() == b""
    (folder / PENDING_PURGE).write_text(json.dumps(replace(rule, size=1).to_detail()))
    async with await open_journal(folder, clock=clock) as journal:
        assert (folder / PENDING_PURGE).read_bytes() == b""
    (folder / PENDING_PURGE).write_text('{"kinds": 3')
    async with await open_journal(folder, clock=clock) as journal:
        assert (await journal.reader().entry(journal.size - 1)).kind is Kind.TRACE_PURGED


async def test_a_rule_without_its_entry_erases_nothing(tmp_path: Path) -> None:
    # T09, L18: whoever can write a file beside the journal cannot have entries erased by it
    folder, clock = tmp_path / "trace", HeldClock()
    await write_journal(folder, 3)
    (folder / PENDING_PURGE).write_text(json.dumps(ErasureRule(ACCESS, 1 << 52, 3).to_detail()))
    async with await open_journal(folder, clock=clock) as journal:
        assert (await journal.reader().entry(0)).stream == "s-0"
    assert verify_folder(folder).erased == 0


def test_every_kind_is_of_one_class() -> None:
    # L17
    assert {kind for each in RetentionClass for kind in kinds_of(each)} == set(Kind) - {
        Kind.TRACE_PURGED,
        Kind.TRACE_KEY_ROTATED,
        Kind.TRACE_CONTINUED,
    }
    assert class_of(Kind.TRACE_PURGED) is RetentionClass.EVIDENCE
    for kind in Kind:
        if kind.value.startswith(("notice.", "incident.", "annex.", "change.", "interconnection.")):
            assert class_of(kind) is RetentionClass.EVIDENCE
        if kind.value.startswith(("stream.", "auth.", "assertion.")):
            assert class_of(kind) is RetentionClass.ACCESS


def decided(**changes: object) -> Retention:
    base = Retention(YEAR, 3 * YEAR, YEAR, 5 * YEAR, "décision n° 2026-12", None)
    return replace(base, **changes)  # type: ignore[arg-type]  # each test names fields of its own


def test_nothing_is_purged_before_its_time_or_without_a_decision() -> None:
    # L17
    now = HeldClock().now()
    decided().check(RetentionClass.ACCESS, now - YEAR, now)
    for wanted, before, retention in (
        (RetentionClass.ACCESS, now - YEAR + timedelta(seconds=1), decided()),
        (RetentionClass.RIGHTS, now - 2 * YEAR, decided()),
        (RetentionClass.ACCESS, now - 4 * YEAR, decided(decision=None)),
        (RetentionClass.EVIDENCE, now - 20 * YEAR, decided()),
        (RetentionClass.EVIDENCE, now - 20 * YEAR, decided(convention_end=now - 4 * YEAR)),
    ):
        with pytest.raises(PurgeRefused):
            retention.check(wanted, before, now)
    decided(convention_end=now - 6 * YEAR).check(RetentionClass.EVIDENCE, now - 6 * YEAR, now)


def erased(*entries: tuple[int, int]) -> ErasedEntries:
    known = ErasedEntries()
    for n, at_us in entries:
        known.add(n, at_us, 1)
    return known


def covering() -> Iterator[tuple[ErasedEntries, list[ErasureRule], bool]]:
    rule, later = ErasureRule(frozenset({1}), 10, 5), ErasureRule(frozenset({1}), 5, 9)
    yield erased(), [], True
    yield erased((4, 9)), [rule], True
    yield erased((4, 9)), [], False
    yield erased((4, 10)), [rule], False
    yield erased((5, 9)), [rule], False
    yield erased((2, 9), (8, 4)), [rule, later], True
    yield erased((2, 9), (8, 4)), [rule], False
    yield erased((2, 9), (8, 4)), [later], False
    yield erased((4, 9)), [replace(rule, codes=frozenset({2}))], False


@pytest.mark.parametrize(("known", "rules", "accounted"), list(covering()))
def test_rules_account_for_what_they_cover(known: ErasedEntries, rules: list[ErasureRule], accounted: bool) -> None:
    # T09
    assert known.covered_by(rules) is accounted


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"kinds": [2101], "before": "2026-01-01T00:00:00Z"},
        {"kinds": [True], "before": "2026-01-01T00:00:00Z", "size": 0},
        {"kinds": "2101", "before": "2026-01-01T00:00:00Z", "size": 0},
        {"kinds": [2101], "before": "2026-01-01T00:00:00", "size": 0},
        {"kinds": [2101], "before": "yesterday", "size": 0},
        {"kinds": [2101], "before": "2026-01-01T00:00:00Z", "size": 9},
    ],
)
async def test_a_purge_entry_that_says_nothing_is_named(tmp_path: Path, detail: dict[str, object]) -> None:
    # T09
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(draft())
        await journal.record(Draft(kind=Kind.TRACE_PURGED, detail=detail))
    found = verify_folder(tmp_path / "trace")
    assert (found.status, found.first_bad) == (Status.INVALID, 1)
    assert issubclass(PurgeRefused, AuthError)
    assert LEAF.size == 52
