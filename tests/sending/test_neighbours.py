"""Two nodes' notifiers that share a Valkey: one of them sends, and the other where it does not (N01, ADR 0010)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from camera_registry.clock import SystemClock
from halfgateway.control.neighbours import SharedNotices
from halfgateway.net.valkey import EmbeddedValkey
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Level, Recovered
from ops.interconnection import first_open
from ops.local_record import LocalRecord
from ops.notices.conversation import Conversation, Letter, Route
from ops.notices.queueing import NEIGHBOUR, StandIn
from tests.contacts import CONTACTS
from tests.control.valkeys import Nodes
from tests.held_clock import HeldClock
from tests.sending.stage import OURS, PP, Stage, mail_server, opened, stage_of

MINUTE = timedelta(minutes=1)
AFTER = 10 * MINUTE


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    server = EmbeddedValkey(tmp_path / "valkey", stop_limit_s=0.5)
    nodes = Nodes(server, await server.start())
    yield nodes
    await nodes.aclose()
    await server.stop()


def node_of(nodes: Nodes, name: str, folder: Path, clock: HeldClock, *routes: Route, after: timedelta) -> Stage:
    books = IncidentBooks(folder / name / "incidents", clock=clock)
    shared = SharedNotices("incident", books, nodes.store(), name, clock)
    waits = StandIn(after, shared.heard)
    return stage_of(folder / name, clock, *routes, stand_in=waits, books=books, share=shared.exchange)


def both(nodes: Nodes, folder: Path, clock: HeldClock, first: Route, second: Route) -> tuple[Stage, Stage]:
    a = node_of(nodes, "a", folder, clock, first, after=timedelta(0))
    b = node_of(nodes, "b", folder, clock, second, after=AFTER)
    for stage in (a, b):
        stage.books.update("i1", "record", lambda _: [opened(clock.now())])
    return a, b


async def rounds(clock: HeldClock, duration: timedelta, *stages: Stage) -> None:
    for _ in range(round(duration / MINUTE)):
        clock.advance(MINUTE)
        for stage in stages:
            await stage.round()


def ids_of(taken: list[tuple[tuple[str, ...], bytes]]) -> list[str]:
    return [str(message_from_bytes(content)["Message-ID"]) for _, content in taken]


async def test_one_sends_and_when_it_is_dead_the_other_does(nodes: Nodes, tmp_path: Path, clock: HeldClock) -> None:
    async with mail_server() as server:
        a, b = both(nodes, tmp_path, clock, server.route(), server.route())
        await rounds(clock, 30 * MINUTE, a, b)
        assert ids_of(server.taken) == ["<i1.cut-1@syn.example>"]
        assert b.incident().informed_at is not None
        assert {event.who for event in b.incident().timeline} == {"record", NEIGHBOUR}
        for stage in (a, b):
            stage.books.say("i1", "record", Recovered(at=clock.now(), reason="rétabli"))
        await rounds(clock, 30 * MINUTE, b)  # a is dead
        assert ids_of(server.taken) == ["<i1.cut-1@syn.example>", "<i1.restored-1@syn.example>"]
        await rounds(clock, 30 * MINUTE, a)  # and comes back
        assert len(server.taken) == 2
        assert a.incident().notice("restored-1").submitted_at is not None


class Down:
    """A way that nothing leaves by."""

    name = "down"

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        return Conversation("mx.test", None, "*: unreachable", "unreachable")


async def test_what_the_first_could_not_send_the_other_takes_over_with_its_bytes(
    nodes: Nodes, tmp_path: Path, clock: HeldClock
) -> None:
    # what is queued and never left is no reason for silence
    async with mail_server() as server:
        a, b = both(nodes, tmp_path, clock, Down(), server.route())
        await rounds(clock, 8 * MINUTE, a, b)
        assert server.taken == []
        assert len(b.incident().notices[0].attempts) == len(a.incident().notices[0].attempts) >= 3
        await rounds(clock, 40 * MINUTE, b)  # a is dead
        ((recipients, content),) = server.taken
        assert recipients == (*PP, OURS)
        assert content == a.books.message("i1", a.queued()[0].sha256)


async def test_a_recipient_that_the_first_is_still_trying_is_left_to_it(
    nodes: Nodes, tmp_path: Path, clock: HeldClock
) -> None:
    # N04
    async with mail_server() as server, mail_server() as other:
        server.refusals[PP[2]] = "450 4.2.0 greylisted"
        a, b = both(nodes, tmp_path, clock, server.route(), other.route())
        await rounds(clock, 60 * MINUTE, a, b)
        assert other.taken == []
        server.refusals.clear()
        await rounds(clock, 20 * MINUTE, a, b)
        assert other.taken == []
        assert {one.level for one in b.incident().notices[0].recipients} == {Level.SUBMITTED}


async def test_what_they_share_being_down_the_other_sends_too(nodes: Nodes, tmp_path: Path, clock: HeldClock) -> None:
    # ADR 10: better twice than never, by the same Message-ID
    async with mail_server() as server:
        a, b = both(nodes, tmp_path, clock, server.route(), server.route())
        await nodes.killed()
        await rounds(clock, 5 * MINUTE, a, b)
        assert len(server.taken) == 1
        await rounds(clock, 10 * MINUTE, a, b)
        assert ids_of(server.taken) == ["<i1.cut-1@syn.example>"] * 2


async def test_an_emptied_store_is_told_again_and_rubbish_is_nothing(
    nodes: Nodes, tmp_path: Path, clock: HeldClock
) -> None:
    async with mail_server() as server:
        a, b = both(nodes, tmp_path, clock, server.route(), server.route())
        await rounds(clock, MINUTE, a)
        store = nodes.store()
        await store.client.flushall()
        await store.client.hset(store.key("notices:incident:i1"), "c", b"rubbish")
        await rounds(clock, 2 * MINUTE, a, b)
        assert b.incident().informed_at is not None
        await rounds(clock, 20 * MINUTE, b)
        assert len(server.taken) == 1


@contextmanager
def notifier(folder: Path, name: str, valkey: str, *, after_s: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A node's notifier in a process of its own, and the node's data folder."""
    root = folder / name
    (root / "run").mkdir(parents=True)
    LocalRecord(root / "interconnection.record").initialise(first_open(datetime.now(UTC)))
    mail = f'sender = "dpp@syn.example", domain = "syn.example", mailbox = "{root / "mail"}"'
    lines = [
        f'node = {{ id = "{name}", data = "{root}" }}',
        "convention = { in_force_from = 2025-10-21T00:00:00Z }",
        'listen = { http_port = "off", https_port = "off", rtsps_port = "off" }',
        f'state_store = {{ url = "unix://{valkey}" }}',
        f"mail = {{ {mail}, stand_in_after_s = {after_s} }}",
        *(
            "[[contacts]]\n"
            + "\n".join(f"{key} = {value if key == 'valid_from' else json.dumps(value)}" for key, value in one.items())
            for one in CONTACTS
        ),
    ]
    (folder / f"{name}.toml").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "halfgateway", "notifier", "--config", str(folder / f"{name}.toml")]
    with subprocess.Popen(command) as process:
        try:
            yield process, root
        finally:
            process.kill()


async def test_two_processes_one_killed(nodes: Nodes, tmp_path: Path) -> None:
    # N01, kill -9
    def mails(root: Path) -> list[str]:
        return sorted(".".join(path.name.split(".")[:2]) for path in (root / "mail").glob("*.eml"))

    async def until(condition: object) -> None:
        async with asyncio.timeout(60):
            while not condition():  # type: ignore[operator]
                await asyncio.sleep(0.05)

    with (
        notifier(tmp_path, "a", nodes.address, after_s=0) as (first, at_a),
        notifier(tmp_path, "b", nodes.address, after_s=5) as (_, at_b),
    ):
        books = [IncidentBooks(root / "incidents", clock=SystemClock()) for root in (at_a, at_b)]

        def happened(name: str) -> None:
            beginning = opened(datetime.now(UTC))
            for each in books:
                each.update(name, "ops", lambda _: [beginning])

        await until(lambda: all((root / "run" / "notifier.alive").exists() for root in (at_a, at_b)))
        happened("i1")
        await until(lambda: books[1].read("i1").informed_at is not None)
        assert (mails(at_a), mails(at_b)) == (["i1.cut-1"], [])
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        happened("i2")
        await until(lambda: mails(at_b))
        assert (mails(at_a), mails(at_b)) == (["i1.cut-1"], ["i2.cut-1"])
