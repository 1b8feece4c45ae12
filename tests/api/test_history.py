"""The API's view of a real journal: scopes, searches, extracts, proofs, purges (T05, T09, T11, L17, L19, L21)."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.principals import Principal, Role
from auth.trace import Draft, Journal, Kind, verify_consistency
from auth.trace.retention import Retention, RetentionClass
from halfgateway.api.history import HistoryService, PurgeService
from halfgateway.api.operation import Forbidden
from halfgateway.api.ports import TraceFilter
from halfgateway.dossiers import local
from halfgateway.dossiers.tables import TableFormat
from halfgateway.errors import InvalidRequest
from ops.interconnection import Status
from tests.api.conftest import Client
from tests.api.fakes import FakeHouse, principal
from tests.dossiers.stopped_node import AGENT, NODE, drafts
from tests.held_clock import HeldClock

DAY = timedelta(days=1)


def auditor(scope: str | None) -> Principal:
    return replace(principal(Role.AUDITOR), scope=scope)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def journal(tmp_path: Path, clock: HeldClock) -> AsyncIterator[Journal]:
    key = Ed25519PrivateKey.generate()
    async with await Journal.open(tmp_path / "trace", node=NODE, key=key, clock=clock) as opened:
        for draft in drafts():
            await opened.record(draft)
        await opened.write_checkpoint()
        yield opened


async def numbers(journal: Journal, scope: str | None, wanted: TraceFilter) -> list[int]:
    page = await HistoryService(journal).entries(auditor(scope), wanted, limit=100, cursor=None)
    return [entry.n for entry in page.items]


@pytest.mark.parametrize(
    ("scope", "wanted", "expected"),
    [
        ("SYN", TraceFilter(), [6, 5, 4, 3, 2, 1, 0]),
        ("PP", TraceFilter(), [6, 4, 3, 2, 1, 0]),
        ("inspection", TraceFilter(), [6, 5, 4, 3, 2, 1, 0]),
        ("SYN", TraceFilter(agent=AGENT), []),
        ("SYN", TraceFilter(agent=AGENT, motive="contrôle"), [2, 1]),
        ("PP", TraceFilter(agent=AGENT), [2, 1]),
        ("PP", TraceFilter(account="syn-ops-01"), []),
        ("SYN", TraceFilter(account="syn-ops-01"), [3]),
        ("inspection", TraceFilter(incident="inc-7"), [3]),
        ("inspection", TraceFilter(camera="mairie", kind=Kind.STREAM_REFUSED), [4]),
        ("inspection", TraceFilter(node="node-9"), []),
    ],
)
async def test_each_scope_finds_what_it_may_see(
    journal: Journal, scope: str, wanted: TraceFilter, expected: list[int]
) -> None:
    # T11, L19, C17: who is masked cannot be searched for either
    assert await numbers(journal, scope, wanted) == expected


@pytest.mark.parametrize(
    ("scope", "hidden", "unknown"),
    [
        ("SYN", TraceFilter(agent=AGENT), TraceFilter(agent="nobody")),
        ("PP", TraceFilter(account="syn-ops-01"), TraceFilter(account="nobody")),
        ("PP", TraceFilter(kind=Kind.REGISTRY_CHANGED), TraceFilter(account="nobody")),
    ],
)
async def test_nor_by_the_size_or_the_cursor_of_a_page(
    journal: Journal, scope: str, hidden: TraceFilter, unknown: TraceFilter
) -> None:
    # L19, T11: what is masked ends no page
    history = HistoryService(journal)
    first, other = [await history.entries(auditor(scope), wanted, limit=1, cursor=None) for wanted in (hidden, unknown)]
    assert (first.items, first.next) == (other.items, other.next) == ((), None)


@pytest.mark.parametrize("scope", [None, "", "syn", "PREF"])
async def test_an_account_without_a_scope_sees_nothing(journal: Journal, scope: str | None) -> None:
    # T11: deny by default
    with pytest.raises(Forbidden):
        await numbers(journal, scope, TraceFilter())


async def test_an_extract_shows_each_scope_its_own(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    # T11, L19
    history = HistoryService(journal)

    async def agents(scope: str, wanted: TraceFilter) -> set[str]:
        file = await history.extract(auditor(scope), wanted, TableFormat.CSV, asked="")
        return {row["agent"] for row in csv.DictReader(io.StringIO(file.decode("utf-8-sig")), delimiter=";")}

    assert await agents("SYN", TraceFilter()) == {""}
    assert AGENT in await agents("SYN", TraceFilter(motive="contrôle"))
    assert AGENT in await agents("inspection", TraceFilter())
    for form in (TableFormat.XLSX, TableFormat.PDF):
        assert len(await history.extract(auditor("PP"), TraceFilter(), form, asked="")) > 1000
    monkeypatch.setattr(local, "MAX_EXTRACT_ENTRIES", 3)
    with pytest.raises(InvalidRequest):
        await agents("inspection", TraceFilter())


async def test_a_long_detail_fits_on_paper(journal: Journal) -> None:
    await journal.record(Draft(kind=Kind.REGISTRY_CHANGED, detail={"text": "é<&>" * 2_000}))
    paper = await HistoryService(journal).extract(auditor("SYN"), TraceFilter(), TableFormat.PDF, asked="<x> & y")
    assert paper.startswith(b"%PDF")


async def test_a_later_tree_is_proved_to_extend_an_earlier_one(journal: Journal) -> None:
    # T05
    history = HistoryService(journal)
    first = journal.checkpoint
    await journal.record(Draft(kind=Kind.HEARTBEAT))
    second = await journal.write_checkpoint()
    assert first is not None
    assert second is not None
    proof = await history.consistency(auditor("PP"), node=NODE, first=first.size, second=second.size)
    assert proof is not None
    proven = await journal.reader().prove_consistency(proof.first, proof.second)
    assert verify_consistency(first.size, second.size, first.root, second.root, proven.path)
    for node, sizes in (("node-9", (1, 2)), (NODE, (3, 2)), (NODE, (1, 99))):
        assert await history.consistency(auditor("PP"), node=node, first=sizes[0], second=sizes[1]) is None


async def test_an_officer_purges_within_the_decided_durations(journal: Journal, clock: HeldClock) -> None:
    # L17, T09
    retention = Retention(365 * DAY, 1096 * DAY, 365 * DAY, 1826 * DAY, "décision n° 2026-12", None)
    purges = PurgeService(journal, lambda: retention, clock)
    order = Draft(kind=Kind.TRACE_PURGED, account="syn-officer-01", source="10.78.0.9")
    clock.advance(400 * DAY)
    for wanted, days in ((RetentionClass.ACCESS, 364), (RetentionClass.EVIDENCE, 400)):
        with pytest.raises(InvalidRequest):
            await purges.purge(order, wanted, older_than_days=days, visa="AD78-1")
    record = await purges.purge(order, RetentionClass.ACCESS, older_than_days=366, visa="AD78-1")
    assert record is not None
    assert (record.count, record.by, record.visa) == (3, "syn-officer-01", "AD78-1")
    assert "stream.requested" in record.kinds
    assert await purges.purge(order, RetentionClass.ACCESS, older_than_days=366, visa="AD78-1") is None


async def test_who_inspects_reads_on_while_the_interconnection_is_cut(client: Client, fakes: FakeHouse) -> None:
    # L21: and only reads (the matrix of roles shows that an auditor does nothing else)
    fakes.interconnection.state = Status.CUT
    for path in ("trace", "trace/checkpoints", "trace/export?format=pdf", "trace/node-1/consistency?from=2&to=4"):
        async with client.get(f"/api/v1/{path}", headers={"Authorization": "Bearer auditor"}) as answer:
            assert answer.status == 200
    assert fakes.trace.kinds() == ["trace.read", "trace.read", "trace.exported", "trace.read"]
