"""Ten streams, nine of them real players', and a cut that ends all of them (C10, C11; T3)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from auth.trace import Entry, Kind
from auth.trace.reader import TraceFilter, TraceReader
from halfgateway.control.beacon import CUT_SIGNAL
from halfgateway.folder import DataFolder
from tests.bench.cuts import Cut, by_record, by_signal, restore
from tests.bench.ends import End, cut_ten
from tests.bench.players import KINDS, refusals
from tests.bench.rig import Rig, Stream, rig
from tests.bench.subjects import serving
from tests.bench.wire import may_watch
from tests.e2e.conftest import until
from tests.players import needs_ffmpeg, needs_gstreamer
from tests.sending.stage import MailServer, mail_server

pytestmark = [
    pytest.mark.peer,
    needs_ffmpeg,
    needs_gstreamer,
    pytest.mark.skipif(not may_watch(), reason="looking at packets takes root, or CAP_NET_RAW"),
]

PROMPT_S, SLOW_S = 1.0, 2.5
"""Ten times what the last byte may take to be read: machines that test are noisy."""

CLOSE_NOTIFY_BYTES = 24
"""Of a TLS 1.3 record that says that the connection ends: what a player is answered that hung up at our goodbye."""


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Rig, MailServer]]:
    """A node with its notifier, a camera of 8 Mb/s, and a mail server that takes everything."""
    async with mail_server() as mail, rig(Stream(8, 2), 1, with_gst=False, mail_port=mail.port) as house:
        yield house, mail


async def test_a_cut_ends_nine_players_and_a_slow_reader_whatever_else_is_down() -> None:
    # C10, C11, N15, section 1.7, T3: with everything open; then by SIGUSR1 with SQL, Valkey and SMTP
    # stopped; 503 to a new player of each kind, also after a restart
    async with opened() as (house, mail):
        folder = house.ours.folder
        cut, ends = await cut_ten(house, by_record)
        assert_all_ended(cut, ends)
        assert_attested(await entries(folder, Kind.STREAM_STOPPED, 10), ends, cut)
        await restore(house.ours, cut.incident)

        cut, ends = await cut_ten(house, by_signal, without=mail)
        assert_all_ended(cut, ends)
        assert_attested((await entries(folder, Kind.STREAM_STOPPED, 20))[:10], ends, cut)
        by_whom, *_ = await entries(folder, Kind.INTERCONNECTION_CUT, 2)
        assert (by_whom.detail["incident"], by_whom.account) == (cut.incident, "local:signal")
        assert (by_whom.detail["ground"], by_whom.detail["streams_closed"]) == ("critical-incident", 10)

        assert_refused(await refusals(house.ours))
        assert house.ours.rtsp.process is not None
        os.kill(house.ours.rtsp.process.pid, CUT_SIGNAL)  # what is cut already has its incident
        await house.ours.rtsp.process.end()
        alone = replace(house.ours.served, command=(*house.ours.served.command, "--no-attendants"))
        async with serving(alone) as again:
            assert_refused(await refusals(again))
        await entries(folder, Kind.INTERCONNECTION_CUT, 2)


def assert_all_ended(cut: Cut, ends: list[End]) -> None:
    """Nothing was handed over after the cut, and every player has noticed and ended by itself."""
    assert len(ends) == 10
    for end in ends:
        assert end.bytes_handed_after == 0, end
        assert end.bytes_on_wire_after <= (CLOSE_NOTIFY_BYTES if end.kind.transport == "rtsps" else 0), end
        assert end.last_byte_s - cut.called_s < (SLOW_S if end.kind.is_slow else PROMPT_S), end
        assert end.was_reset or end.kind.transport != "rtsp", end  # who hears the goodbye first may hang up
        assert (end.code == 0) or (end.kind.name, end.code) == ("gstreamer", 1), end


def assert_attested(stopped: list[Entry], ends: list[End], cut: Cut) -> None:
    """What the trace attests of each stream's last packet is what came last on the wire, and not later than the cut."""
    assert {entry.detail["cause"] for entry in stopped} == {"interconnection-cut"}
    attested = [end for entry in stopped for end in entry.detail["end_of_transmission"]]
    assert len(attested) == len(ends)
    on_the_wire = [end.last_packet for end in ends if end.kind.transport == "udp"]
    assert Counter(on_the_wire) <= Counter((end["ssrc"], end["sequence"]) for end in attested)
    followed_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - cut.followed_s)
    assert max(datetime.fromisoformat(end["at"]) for end in attested) <= followed_at
    assert all(end["withheld_bytes"] >= 0 <= end["discarded_bytes"] for end in attested)


def assert_refused(told: dict[str, str]) -> None:
    """Each kind of player ends at once, and says what it was told."""
    assert len(told) == len(KINDS)
    for player, said in told.items():
        assert "503" in said or "5XX" in said, (player, said)
        assert not said.startswith("0:"), (player, said)


async def entries(folder: DataFolder, kind: Kind, count: int) -> list[Entry]:
    """The trace's entries of a kind, the newest first, once there are so many."""
    found: list[Entry] = []

    async def are_there() -> bool:
        page = await TraceReader.of(folder.trace, "bench").entries(TraceFilter(kinds=frozenset({kind})), limit=100)
        found[:] = page.items
        return len(found) >= count

    await until(are_there)
    assert len(found) == count
    return found
