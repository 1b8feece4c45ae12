"""The trace as the door writes it: durable or refused, owed until it is written, and refusals counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from auth.trace import Draft, Entry, Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from halfgateway.control import tracing
from halfgateway.control.tracing import Tracer
from halfgateway.errors import TraceUnavailable
from tests.control.valkeys import until


class Paper:
    """A journal in memory that can be made to fail, or to keep its writer waiting."""

    def __init__(self) -> None:
        self.told: list[Draft] = []
        self.fails = False
        self.takes = asyncio.Event()
        self.takes.set()

    async def record(self, draft: Draft) -> Entry:
        await self.takes.wait()
        if self.fails:
            raise JournalUnavailable("the disk is full")
        self.told.append(draft)
        return Entry.from_draft(draft, node="a", n=len(self.told), at_us=0)

    def streams(self) -> list[str | None]:
        return [draft.stream for draft in self.told]


class Clock:
    def __init__(self) -> None:
        self.s = 50.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock_s() -> Clock:
    return Clock()


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
async def tracer(paper: Paper, clock_s: Clock) -> AsyncIterator[Tracer]:
    tracer = Tracer(paper, now=clock_s, retry_s=0.005)
    writing = asyncio.create_task(tracer.run())
    yield tracer
    writing.cancel()
    await asyncio.wait([writing])


def result(stream: str) -> Draft:
    return Draft(kind=Kind.STREAM_STOPPED, stream=stream)


def refused(stream: str, **members: Any) -> Draft:
    about = {"account": "vms", "camera": "cam-1", "refusal": "cap-reached", "source": "198.51.100.7"}
    return Draft(kind=Kind.STREAM_REFUSED, stream=stream, detail={"via": "rtsp"}, **about | members)


async def test_what_must_be_durable_is_written_or_refused(tracer: Tracer, paper: Paper) -> None:
    # T01
    entry = await tracer.durable(result("s"))
    assert (entry.stream, entry.at) == ("s", datetime(1970, 1, 1, tzinfo=UTC))
    paper.fails = True
    with pytest.raises(TraceUnavailable) as error:
        await tracer.durable(result("t"))
    assert isinstance(error.value.__cause__, JournalUnavailable)
    assert paper.streams() == ["s"]


async def test_what_is_owed_is_written_in_order_once_the_journal_takes_it(tracer: Tracer, paper: Paper) -> None:
    # T02
    paper.fails = True
    for name in "abc":
        tracer.eventual(result(name))
    await tracer.settle(0.03)
    assert paper.told == []
    paper.fails = False
    await tracer.settle(5)
    assert paper.streams() == ["a", "b", "c"]
    tracer.eventual(result("d"))
    await tracer.settle(5)
    assert paper.streams() == ["a", "b", "c", "d"]


async def test_a_debt_without_end_is_bounded(
    tracer: Tracer, paper: Paper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # T02: the oldest is given up, also while it is being written, and the log says so
    monkeypatch.setattr(tracing, "MAX_OWED_ENTRIES", 2)
    paper.takes.clear()
    tracer.eventual(result("a"))
    await asyncio.sleep(0)
    for name in "bc":
        tracer.eventual(result(name))
    assert "trace.given_up" in caplog.text
    paper.takes.set()
    await tracer.settle(5)
    assert paper.streams() == ["a", "b", "c"]
    paper.takes.clear()
    for name in "defg":
        tracer.eventual(result(name))
    paper.takes.set()
    await tracer.settle(5)
    assert paper.streams() == ["a", "b", "c", "f", "g"]


async def test_identical_refusals_are_one_entry_a_second_with_their_count(
    tracer: Tracer, paper: Paper, clock_s: Clock
) -> None:
    # C05; ADR 2, Audit events
    for second in range(3):
        for attempt in range(5):
            tracer.refusal(refused(f"{second}{attempt}"))
            tracer.sweep()
        clock_s.s += 1
        tracer.sweep()
    await tracer.settle(5)
    assert [(draft.stream, draft.detail.get("repeated")) for draft in paper.told] == [
        ("00", None),
        ("00", 4),
        ("00", 5),
        ("00", 5),
    ]
    assert paper.told[1].detail == {"via": "rtsp", "repeated": 4, "streams": ["01", "02", "03", "04"]}
    clock_s.s += 1
    tracer.sweep()
    clock_s.s += 1
    tracer.refusal(refused("later"))
    await tracer.settle(5)
    assert paper.streams()[4:] == ["later"]


async def test_refusals_that_differ_are_told_apart(tracer: Tracer, paper: Paper) -> None:
    # C05 T10
    drafts = [
        refused("a"),
        refused("b", account="other"),
        refused("c", camera="cam-2"),
        refused("d", refusal="interconnection-cut"),
        refused("e", source="198.51.100.8"),
    ]
    for draft in drafts:
        tracer.refusal(draft)
    await tracer.settle(5)
    assert paper.told == drafts


async def test_who_scrubs_outside_the_window_is_one_entry_a_second(tracer: Tracer, paper: Paper) -> None:
    # C05, row 60: each refusal is of another period; the first is told, the others are counted
    for second in range(20):
        draft = refused("a")
        tracer.refusal(replace(draft, detail={**draft.detail, "start": f"2026-11-01T00:00:{second:02}Z"}))
    await tracer.settle(5)
    assert [draft.detail.get("repeated") for draft in paper.told] == [None, 19]
    assert paper.told[0].detail["start"] == "2026-11-01T00:00:00Z"


async def test_counts_are_not_lost_when_the_node_stops(tracer: Tracer, paper: Paper) -> None:
    # C05
    for name in "abc":
        tracer.refusal(refused(name))
    tracer.refusal(refused("d", camera="cam-2"))
    await tracer.settle(5)
    assert [draft.detail.get("repeated") for draft in paper.told] == [None, None, 2]


async def test_a_flood_is_counted_and_its_first_are_named(tracer: Tracer, paper: Paper) -> None:
    # C05: an entry stays small; what has no stream has no name
    for number in range(1000):
        tracer.refusal(refused(str(number)))
        tracer.refusal(Draft(kind=Kind.AUTH_FAILED, source="198.51.100.7"))
    await tracer.settle(5)
    flood, failures = paper.told[-2:]
    assert (flood.detail["repeated"], len(flood.detail["streams"])) == (999, tracing.MAX_NAMED_REPEATS)
    assert failures.detail == {"repeated": 999}


async def test_settling_waits_no_longer_than_it_is_told(tracer: Tracer, paper: Paper) -> None:
    paper.takes.clear()
    tracer.eventual(result("a"))
    await tracer.settle(0.01)
    assert paper.told == []
    paper.takes.set()
    await until(lambda: paper.streams() == ["a"])
