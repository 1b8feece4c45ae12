"""Who follows the journal: in order, again after a break, with an alarm past a bound, in nobody's way (S06)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from auth.trace import Draft, Journal, Kind
from auth.trace.scopes import Scope
from halfgateway.config import ConfigurationError, parse_configuration, read_configuration
from halfgateway.metrics import ForwarderCollector
from halfgateway.siem import forwarder as module
from halfgateway.siem.cursor import Cursor, CursorDamaged, CursorFile
from halfgateway.siem.forwarder import Forwarder, Plan
from halfgateway.siem.link import LinkError
from halfgateway.siem.messages import Protocol, Writer
from tests.siem.collector import eventually, in_order
from tests.trace.journals import draft, open_journal


class Collected:
    """A collector of ours: takes, or fails as it is told; ``taken`` are numbers, ``sessions`` those that were begun."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.sessions = 0
        self.fail: set[str] = set()
        self.taking = threading.Event()
        self.taking.set()

    def open(self) -> None:
        self.sessions += 1
        self._may("open")

    def send(self, messages: bytes) -> None:
        self._may("send")
        self.taking.wait(10)
        self.taken += [json.loads(line)["metadata"]["sequence"] for line in messages.splitlines()]

    def finish(self) -> None:
        self._may("finish")

    def close(self) -> None:
        """Nothing to let go of."""

    def abort(self) -> None:
        self.taking.set()

    def _may(self, call: str) -> None:
        if call in self.fail:
            raise LinkError(f"{call} fails")


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LOOK_S", 0.005), ("FIRST_DELAY_S", 0.005), ("LONGEST_DELAY_S", 0.02)):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with await open_journal(tmp_path / "trace") as journal:
        yield journal


@pytest.fixture
def collected() -> Collected:
    return Collected()


PLAN = Plan("siem:6514", proof_s=0.02)

Make = Callable[..., Forwarder]


@pytest.fixture
def make(tmp_path: Path, journal: Journal, collected: Collected) -> Make:
    def make(
        plan: Plan = PLAN, told: list[Draft] | None = None, now: Callable[[], float] = time.monotonic
    ) -> Forwarder:
        return Forwarder(
            reader=journal.reader(),
            plan=plan,
            writer=Writer(Protocol.JSON_LINES, max_bytes=8192, product_version="1"),
            cursor=CursorFile(tmp_path / "siem.json", plan.collector),
            connect=lambda: collected,
            tell=(told if told is not None else []).append,
            now=now,
            chance=lambda: 0.0,
        )

    return make


async def running(forwarder: Forwarder, until: Callable[[], bool]) -> None:
    task = asyncio.create_task(forwarder.run())
    try:
        await eventually(lambda: until() or task.done())
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def write(journal: Journal, count: int) -> None:
    await asyncio.gather(*(journal.record(draft(f"s-{n}")) for n in range(count)))


async def test_what_is_written_is_sent_once_and_in_order_while_nothing_fails(
    journal: Journal, collected: Collected, make: Make
) -> None:
    forwarder = make()
    await write(journal, 150)

    async def go_on() -> None:
        await write(journal, 50)

    writing = asyncio.create_task(go_on())
    await running(forwarder, lambda: journal.size == 200 and forwarder.lag_entries == 0)
    await writing
    assert collected.taken == list(range(200))
    assert forwarder.lag_s == 0.0


@pytest.mark.parametrize("call", ["open", "send", "finish"])
async def test_after_a_break_it_goes_on_before_it(
    journal: Journal, collected: Collected, make: Make, call: str
) -> None:
    forwarder = make()
    await write(journal, 100)
    collected.fail = {call}
    task = asyncio.create_task(forwarder.run())
    await eventually(lambda: forwarder.failures >= 3)
    assert forwarder.lag_entries == 100
    collected.fail = set()
    await eventually(lambda: forwarder.lag_entries == 0)
    task.cancel()
    await asyncio.wait({task})
    assert in_order(collected.taken)
    assert set(collected.taken) == set(range(100))
    assert forwarder.failures == 0


async def test_a_restart_begins_with_what_was_sent_last(
    journal: Journal, collected: Collected, make: Make, tmp_path: Path
) -> None:
    # kill -9 of the collector: what it had read last, it may have had in memory alone
    first = make()
    await write(journal, 10)
    await running(first, lambda: first.lag_entries == 0)
    await write(journal, 10)
    second = make()
    await running(second, lambda: second.lag_entries == 0)
    assert collected.taken == [*range(10), *range(20)]
    file = CursorFile(tmp_path / "siem.json", PLAN.collector)
    assert file.read() == Cursor(0, 20)
    assert CursorFile(tmp_path / "siem.json", "another:6514").read() == Cursor()
    (tmp_path / "siem.json").write_text('{"collector":"siem:6514","settled":5,"proven":2}')
    with pytest.raises(CursorDamaged):
        file.read()


async def test_a_slower_session_after_a_break_passes_nothing_over(
    journal: Journal, collected: Collected, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S06: it proves less than had been proven before the break, and only what it sent
    async def session(entries: int, *, fail: bool = False) -> list[int]:
        monkeypatch.setattr(module, "MAX_UNPROVEN", entries)
        collected.taken, collected.fail = [], {"finish"} if fail else set()
        with contextlib.suppress(LinkError):
            await forwarder.send_session()
        return collected.taken

    monkeypatch.setattr(module, "BATCH", 10)
    forwarder = make(now=lambda: 0.0)
    file = CursorFile(tmp_path / "siem.json", PLAN.collector)
    await write(journal, 200)
    assert await session(60) == list(range(60))
    await session(60, fail=True)  # the collector died, and what it had read with it
    assert await session(20) == list(range(20))
    assert file.read() == Cursor(0, 60)
    await session(20, fail=True)  # and once more: what it was just sent is not safe before the next proof
    assert await session(20) == list(range(20))
    assert await session(20) == list(range(20, 40))
    assert (file.read(), forwarder.lag_entries) == (Cursor(20, 60), 140)
    assert await session(60) == list(range(40, 100))
    assert file.read() == Cursor(40, 100)
    assert await session(60) == list(range(100, 160))
    assert file.read() == Cursor(100, 160)


async def test_a_collector_that_is_ahead_of_the_trace_is_told_of(
    journal: Journal, collected: Collected, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # T12: a restored backup
    CursorFile(tmp_path / "siem.json", PLAN.collector).write(Cursor(90, 100))
    await write(journal, 10)
    forwarder = make()
    task = asyncio.create_task(forwarder.run())
    await eventually(lambda: "siem.ahead" in caplog.text)
    await write(journal, 1)
    await eventually(lambda: 10 in collected.taken)
    task.cancel()
    await asyncio.wait({task})


async def test_a_lag_past_its_bound_is_an_alarm_and_slows_nobody(
    journal: Journal, collected: Collected, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    # S06: a collector that takes nothing; entries are durable all the same, and none is lost
    told: list[Draft] = []
    forwarder = make(replace(PLAN, max_lag_entries=120), told)
    registry = CollectorRegistry()
    registry.register(ForwarderCollector(forwarder))
    collected.taking.clear()
    task = asyncio.create_task(forwarder.run())
    await write(journal, 100)
    await eventually(lambda: collected.sessions == 1)
    assert not forwarder.alarmed
    await write(journal, 100)
    await eventually(lambda: forwarder.alarmed)
    shown = generate_latest(registry).decode()
    assert "halfgateway_siem_alarm 1.0" in shown
    assert "halfgateway_siem_lag_entries 200.0" in shown
    assert [record.levelname for record in caplog.records if "siem.lagging" in record.message] == ["CRITICAL"]
    collected.taking.set()
    await eventually(lambda: forwarder.lag_entries == 0 and not forwarder.alarmed)
    task.cancel()
    await asyncio.wait({task})
    assert collected.taken[:200] == list(range(200))
    assert [each.kind for each in told] == [Kind.SIEM_OPENED, Kind.SIEM_LAGGING, Kind.SIEM_CAUGHT_UP]
    assert (told[0].detail["scope"], told[1].detail["lost"]) == ("SYN", 0)


async def test_a_proof_that_does_not_come_is_an_alarm_too(journal: Journal, make: Make) -> None:
    clock = {"now": 0.0}
    forwarder = make(replace(PLAN, max_lag_s=60.0), now=lambda: clock["now"])
    clock["now"] = 1000.0
    forwarder.watch()
    assert (forwarder.lag_s, forwarder.alarmed) == (0.0, False)
    await write(journal, 1)
    for clock["now"], alarmed in ((1060.0, False), (1061.0, True)):
        forwarder.watch()
        assert forwarder.alarmed is alarmed


async def test_pps_collector_gets_what_pp_sees(journal: Journal, collected: Collected, make: Make) -> None:
    # T11
    await journal.record(Draft(kind=Kind.CONFIG_CHANGED, account="syn"))
    await write(journal, 1)
    forwarder = make(replace(PLAN, scope=Scope.PP))
    await running(forwarder, lambda: forwarder.lag_entries == 0)
    assert collected.taken == [1]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"scope": "inspection"}, "decision is required"),
        ({"proof_s": 600, "max_lag_s": 600}, "two proofs"),
        ({"port": 0}, "siem.port"),
        ({"host": "not a host"}, "siem.host"),
        ({"max_message_bytes": 100}, "siem.max_message_bytes"),
        ({"password": "x"}, "siem.password"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changed: dict[str, Any], fault: str) -> None:
    good: dict[str, Any] = {
        "node": {"data": "/data"},
        "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
        "listen": {"https_port": "off", "rtsps_port": "off"},
        "siem": {"host": "siem.example.fr", "authority": "a", "certificate": "b", "key": "c"},
    }
    siem = parse_configuration(good).siem
    assert siem is not None
    assert (siem.collector().port, siem.collector().server_name, siem.plan().scope) == (6514, "siem.example.fr", "SYN")
    good["siem"] |= changed
    with pytest.raises(ConfigurationError, match=fault):
        parse_configuration(good)


def test_certificates_that_cannot_be_used_are_a_fault_at_start(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[node]\ndata = "data"\n[convention]\nin_force_from = 2025-10-21T00:00:00Z\n'
        '[listen]\nhttps_port = "off"\nrtsps_port = "off"\n'
        '[siem]\nhost = "siem.example.fr"\nauthority = "a.pem"\ncertificate = "c.pem"\nkey = "c.key"\n'
    )
    with pytest.raises(
        ConfigurationError, match=r"siem\.authority: .* cannot be read; siem\.certificate: .* siem\.key:"
    ):
        read_configuration(config)
    for name in ("a.pem", "c.pem", "c.key"):
        (tmp_path / name).write_text("no certificate")
    with pytest.raises(ConfigurationError, match="siem: its certificates cannot be used"):
        read_configuration(config)
