"""A whole node with a collector: wired, watched, and never held up by it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from auth.trace import Kind
from halfgateway.app.node import Node, running_node
from halfgateway.config import (
    Configuration,
    ConventionSection,
    HeartbeatSection,
    ListenSection,
    NodeSection,
    SiemSection,
)
from halfgateway.control.heartbeat import last_proven_good
from tests.e2e.cluster import until
from tests.siem.collector import Rsyslog, eventually, in_order, running_collector

pytestmark = pytest.mark.peer


def configuration(folder: Path, collector: Rsyslog) -> Configuration:
    address = collector.address
    return Configuration(
        node=NodeSection(data=folder / "data"),
        convention=ConventionSection(in_force_from=datetime(2025, 10, 21, tzinfo=UTC)),
        listen=ListenSection(http_port=0, https_port=None, rtsps_port=None),
        heartbeat=HeartbeatSection(period_s=1),
        siem=SiemSection(
            host=address.host,
            port=address.port,
            server_name=address.server_name,
            authority=address.authority,
            certificate=address.certificate,
            key=address.key,
            proof_s=1,
        ),
    )


async def lag(node: Node) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{node.endpoints.http}/metrics") as answer:
        told = await answer.text()
    assert "halfgateway_siem_alarm 0.0" in told
    assert "halfgateway_siem_failures" in told
    (line,) = [line for line in told.splitlines() if line.startswith("halfgateway_siem_lag_entries")]
    return line.partition(" ")[2]


async def test_a_nodes_life_is_told_to_its_collector(tmp_path: Path) -> None:
    # S06, T07: from node.started to node.stopped, which the next start tells; heartbeats between
    async with running_collector(tmp_path / "collector") as collector:
        async with running_node(configuration(tmp_path, collector)) as node:
            await eventually(lambda: "heartbeat" in {event["message"] for _, event in collector.received})
            assert await last_proven_good(node.journal.reader()) is not None
            collector.process.signal(signal.SIGSTOP)

            async def is_behind() -> bool:
                return float(await lag(node)) >= 2

            await until(is_behind)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 20, "a collector that is mute does not keep a node from stopping"
        collector.process.signal(signal.SIGCONT)
        async with running_node(configuration(tmp_path, collector)):
            await eventually(lambda: "node.stopped" in {event["message"] for _, event in collector.received})
        events = [event for _, event in collector.received]
        assert in_order([event["metadata"]["sequence"] for event in events])
        kinds = {event["message"] for event in events}
        assert {Kind.NODE_STARTED, Kind.SIEM_OPENED, Kind.HEARTBEAT, Kind.NODE_STOPPED} <= kinds
        assert all(json.dumps(event).isascii() for event in events)
        assert await asyncio.to_thread((tmp_path / "data" / "siem.json").exists)
