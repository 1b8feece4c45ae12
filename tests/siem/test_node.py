"""A whole node with a collector: wired, watched, and never held up by it."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from auth.trace import Kind
from halfgateway.app.node import Node, running_node
from halfgateway.config import Configuration, HeartbeatSection, ListenSection, NodeSection
from halfgateway.config_ops import ContactSection
from halfgateway.config_terms import ConventionSection
from halfgateway.control.heartbeat import last_proven_good
from halfgateway.siem.link import TAKE_LIMIT_S
from halfgateway.siem.settings import SiemSection
from tests.contacts import CONTACTS
from tests.e2e.cluster import until
from tests.siem.collector import Rsyslog, eventually, in_order, running_collector

pytestmark = pytest.mark.peer


def configuration(folder: Path, collector: Rsyslog) -> Configuration:
    address = collector.address
    return Configuration(
        node=NodeSection(data=folder / "data"),
        convention=ConventionSection(in_force_from=datetime(2025, 10, 21, tzinfo=UTC)),
        listen=ListenSection(http_port=0, https_port=None, rtsps_port=None),
        contacts=tuple(ContactSection(**contact) for contact in CONTACTS),
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
    # S06, T07: heartbeats among the rest; a collector that is mute shows, and does not keep the node from stopping
    async with running_collector(tmp_path / "collector") as collector:
        async with running_node(configuration(tmp_path, collector)) as node:
            await eventually((tmp_path / "data" / "siem.json").exists)
            await eventually(lambda: Kind.HEARTBEAT in {event["message"] for _, event in collector.received})
            assert await last_proven_good(node.journal.reader()) is not None
            collector.process.signal(signal.SIGSTOP)

            async def is_behind() -> bool:
                return float(await lag(node)) >= 2

            await until(is_behind)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < TAKE_LIMIT_S
        events = [event for _, event in collector.received]
        assert in_order([event["metadata"]["sequence"] for event in events])
        assert {Kind.NODE_STARTED, Kind.SIEM_OPENED, Kind.HEARTBEAT} <= {event["message"] for event in events}
