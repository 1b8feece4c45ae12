"""One who takes a quarter of what a camera sends, beside nine who take all of it (L10; failure table, slow reader)."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import pytest

from auth.trace import Entry, Kind
from auth.trace.reader import TraceReader
from tests.bench.events import SLOW_BPS
from tests.bench.rig import Rig, Stream, rig

CAMERA = Stream(mbps=8, gop_s=2)
PROMPT = 9
LASTS_S = 15.0
LEAST_PACKETS = 0.8 * CAMERA.mbps * 1e6 * LASTS_S / 8 / 1400
"""What the camera sends in that time, in packets of 1,400 bytes, but for a fifth: machines that test are busy."""

GROWTH_MB = 8.0
"""What the node may grow by: the slow one's queue of a megabyte, the group of pictures that is kept (4 MB at most), and
what allocators keep of both. What the slow one does not take is 13 MB."""

VISITS = 5


async def visit(house: Rig) -> None:
    """Come, watch for a moment, and take one's leave."""
    path = house.ours.rtsp.path(0)
    async with house.ours.player() as visitor:
        assert (await visitor.set_up(path)).status == 200
        assert (await visitor.play(path)).status == 200
        await visitor.packets_until(200)
        assert (await visitor.tear_down(path)).status == 200


async def measured(house: Rig) -> list[dict[str, Any]]:
    """What each reader was sent while others came and went."""
    asked = {"do": "measure", "seconds": LASTS_S}
    measuring = asyncio.create_task(house.readers.ask(asked, limit_s=LASTS_S + 30))
    for _ in range(VISITS):
        await visit(house)
    assert not measuring.done()
    readers: list[dict[str, Any]] = (await measuring)["readers"]
    return readers


async def results_of_a_cut(house: Rig) -> list[Entry]:
    """End all streams; the result entry of each that there has been."""
    folder = house.ours.folder
    cut = [sys.executable, "-m", "halfgateway", "cut", "--data", str(folder.root), "--reason", "essai", "--json"]
    process = await asyncio.create_subprocess_exec(*cut, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert [node["streams_closed"] for node in json.loads(said)["nodes"]] == [PROMPT + 1]
    reader, entries = TraceReader.of(folder.trace, "bench"), list[Entry]()
    async with asyncio.timeout(10):
        while len(entries) < PROMPT + 1 + VISITS:
            page = await reader.entries(limit=1000)
            entries = [entry for entry in page.items if entry.kind is Kind.STREAM_STOPPED]
            await asyncio.sleep(0.05)
    return entries


@pytest.mark.usefixtures("uncounted")
async def test_a_slow_reader_skips_to_key_frames_and_costs_nobody_anything() -> None:
    # T10, row 20, L10: real sockets, the slow one with 64 KiB of kernel buffer; five others take their leave meanwhile
    async with rig(CAMERA, 1, with_gst=False, log_level="info") as house:
        node = house.ours.rtsp
        assert node.process is not None
        await house.open([node.target(0)] * PROMPT + [node.target(0, slow_bps=SLOW_BPS)])
        before_mb = node.process.rss_mb()
        *prompt, slow = await measured(house)
        grown_mb = node.process.rss_mb() - before_mb
        results = await results_of_a_cut(house)
        log = node.process.log()

    print(
        f"the slow one lost {slow['lost']} packets of {slow['lost'] + slow['packets']}; the node grew {grown_mb:.1f} MB"
    )
    assert [reader["lost"] for reader in prompt] == [0] * PROMPT
    assert min(reader["packets"] for reader in prompt) > LEAST_PACKETS
    assert slow["slow"]
    assert slow["lost"] > slow["packets"] > 0
    assert slow["gaps"] > 0
    assert slow["gaps_off_key"] == 0
    assert grown_mb < GROWTH_MB

    lost = sorted(entry.detail["lost"] for entry in results)
    assert lost[:-1] == [0] * (PROMPT + VISITS)
    assert lost[-1] >= slow["lost"]
    told = [datetime.fromisoformat(line.split(" ", 1)[0]) for line in log.splitlines() if " readers.slow " in line]
    assert 1 < len(told) <= (told[-1] - told[0]).total_seconds() + 2, "once a second, by a clock of whole seconds"
