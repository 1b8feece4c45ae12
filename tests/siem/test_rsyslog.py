"""The trace at a real collector, rsyslog over TLS: whole, in order, whatever is killed, and only where it should go."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from auth.demo_authority import DemoAuthority
from auth.trace import Kind
from auth.trace.reader import TraceReader
from halfgateway.siem import link as link_module
from halfgateway.siem.link import Collector, Link, LinkError
from halfgateway.siem.messages import Protocol, Writer
from tests.e2e.nodes import Process
from tests.siem.collector import Rsyslog, eventually, free_port, in_order, running_collector
from tests.trace.journals import NODE, write_journal

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.peer]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rsyslog]:
    async with running_collector(tmp_path_factory.mktemp("siem") / "collector") as collector:
        yield collector


async def sent(collector: Collector, messages: bytes) -> None:
    """One session, to its proof."""
    link = Link(collector)
    await asyncio.to_thread(link.open)
    await asyncio.to_thread(link.send, messages)
    await asyncio.to_thread(link.finish)


async def test_rsyslog_reads_each_message_as_it_was_meant(collector: Rsyslog, tmp_path: Path) -> None:
    # S06: RFC 5424 fields as the collector's own parser sees them, one of each severity; frames of any length
    await write_journal(tmp_path / "trace", 3)
    page = await TraceReader.of(tmp_path / "trace", NODE).entries()
    first = page.items[-1]
    long = replace(first, n=1, kind=Kind.AUTH_LOCKED, detail={"é": "ü" * 900})
    writer = Writer(Protocol.SYSLOG, max_bytes=8192, product_version="0.1")
    await sent(collector.address, writer.write(first) + writer.write(long))
    await eventually(lambda: len(collector.received) == 2)
    heads, events = zip(*collector.received, strict=True)
    assert heads == ("110 gw1 halfgateway stream.requested", "107 gw1 halfgateway auth.locked")
    assert [event["metadata"]["uid"] for event in events] == ["gw1/0", "gw1/1"]
    assert events[1]["unmapped"]["detail"] == {"é": "ü" * 900}


async def test_only_the_collector_that_is_meant_gets_anything(collector: Rsyslog, tmp_path: Path) -> None:
    # S06, S02: another authority's certificate, another name, and nobody without a certificate of ours is let in
    assert collector.address.context().minimum_version is ssl.TLSVersion.TLSv1_2
    before = len(collector.received)
    stranger = DemoAuthority.open(tmp_path / "ca", datetime.now(UTC))
    with pytest.raises(LinkError, match="certificate verify failed"):
        await sent(replace(collector.address, authority=stranger.certificate_path), b"5 never")
    with pytest.raises(LinkError, match="Hostname mismatch"):
        await sent(replace(collector.address, server_name="siem.example.fr"), b"5 never")
    forged = stranger.client("node-1", datetime.now(UTC))
    with pytest.raises(LinkError):
        await sent(
            replace(collector.address, certificate=forged.certificate_path, key=forged.key_path), b"5 never" * 100
        )
    with pytest.raises(LinkError, match="not reached"):
        await sent(replace(collector.address, certificate=tmp_path / "missing.pem"), b"5 never")
    assert len(collector.received) == before


async def test_an_aborted_link_says_nothing_in_clear(collector: Rsyslog) -> None:
    # S06, C16: what another thread had still to send is not sent without TLS
    link = Link(collector.address)
    await asyncio.to_thread(link.open)
    collector.process.signal(signal.SIGSTOP)
    sending = asyncio.create_task(asyncio.to_thread(link.send, b"9 in clear" * 1_500_000))
    await asyncio.sleep(0.05)
    link.abort()
    with pytest.raises(LinkError, match="takes nothing more"):
        await sending
    collector.process.signal(signal.SIGCONT)
    with pytest.raises(LinkError):
        link.finish()


async def test_a_port_where_nobody_answers_or_that_is_silent_is_left(
    collector: Rsyslog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S06: down, and there but mute
    with pytest.raises(LinkError, match="refused"):
        await sent(replace(collector.address, port=free_port()), b"")
    monkeypatch.setattr(link_module, "CONNECT_LIMIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(LinkError, match="timed out"):
        await sent(replace(collector.address, port=mute.getsockname()[1]), b"")


async def test_what_a_killed_collector_left_unread_is_not_proven(collector: Rsyslog) -> None:
    # S06: kill -9 with bytes of ours that it has not read
    link = Link(collector.address)
    await asyncio.to_thread(link.open)
    collector.process.signal(signal.SIGSTOP)
    await asyncio.to_thread(link.send, b"9 unread..." * 100)
    finishing = asyncio.create_task(asyncio.to_thread(link.finish))
    await asyncio.sleep(0.05)
    assert not finishing.done()
    collector.process.kill()
    with pytest.raises(LinkError):
        await finishing
    await collector.start()


async def test_nothing_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    # S06, T01: the node and the collector are killed -9 in turns while entries are written and sent
    chance, enough = random.Random(5), tmp_path / "enough"
    async with running_collector(tmp_path / "collector") as collector:
        command = [sys.executable, "-m", "tests.siem.killed_node", str(tmp_path), str(collector.port), str(enough)]
        node = Process(command, tmp_path / "node.log")
        node.spawn()
        try:
            for kills in range(4):
                have = len(collector.numbers())
                await eventually(lambda have=have: not node.runs or len(collector.numbers()) > have)
                await asyncio.sleep(chance.uniform(0.02, 0.09))
                assert node.runs, node.log()[-2000:]
                if kills % 2:
                    collector.process.kill()
                    await collector.start()
                else:
                    node.kill()
                    node.spawn()
            enough.touch()
            await eventually(lambda: not node.runs)
        finally:
            node.kill()
        numbers = collector.numbers()
        assert in_order(numbers)
        reader = TraceReader.of(tmp_path / "trace", NODE)
        assert set(numbers) == set(range(reader.size))
        recorded = await reader.following(0)
        by_number = {event["metadata"]["sequence"]: event for _, event in collector.received}
        for entry in recorded[0]:
            assert by_number[entry.n]["message"] == entry.kind.value
            assert by_number[entry.n]["unmapped"].get("stream") == entry.stream
