"""Cameras that have nothing but UDP: what is lost, doubled or late on the way, and who else speaks to our ports."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from halfgateway.protocol.rtcp import ReceiverReport, ReportBlock
from halfgateway.simulator.behaviour import Behaviour, LowerTransport
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from tests.simulator.test_kinds import camera_of_kind
from tests.upstream.conftest import OpenLine
from tests.upstream.detour import Detour, detour_to
from tests.upstream.line import Line, eventually, target_of

FRAME_TICKS = 3600


@pytest.fixture
def udp_camera(short_camera: SimulatedCamera) -> SimulatedCamera:
    short_camera.behaviour.transports = frozenset({LowerTransport.UDP})
    return short_camera


@pytest.fixture
async def detour(udp_camera: SimulatedCamera) -> AsyncIterator[Detour]:
    async with detour_to(udp_camera) as opened:
        yield opened


@pytest.fixture
def far_line(open_line: OpenLine, detour: Detour) -> Line:
    return open_line(detour.target)


def blocks(detour: Detour) -> list[ReportBlock]:
    return [block for each in detour.told if isinstance(each, ReceiverReport) for block in each.reports]


def open_sockets() -> int:
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(descriptor).startswith("socket:")
        except FileNotFoundError:  # the listing's own
            continue
    return found


async def test_udp_is_asked_for_where_there_is_nothing_else(line: Line, udp_camera: SimulatedCamera) -> None:
    # by UDP only where a camera has nothing else
    watcher = await line.watch()
    await watcher.packets(100)
    assert watcher.video[0].payload[0] & 0x1F in {7, 24}
    assert watcher.sequence_steps == {1}
    assert watcher.timestamp_steps == {0, FRAME_TICKS}
    assert udp_camera.rtsp_counters.requests["SETUP"] == 2
    assert udp_camera.session_count == 1


@pytest.mark.parametrize("transport", LowerTransport)
async def test_cameras_of_ipv6_play_too(open_line: OpenLine, short_clip: Clip, transport: LowerTransport) -> None:
    # row 41
    async with camera_of_kind(0, short_clip, Behaviour(transports=frozenset({transport})), host="::1") as camera:
        line = open_line(target_of(camera))
        assert line.target is not None
        assert line.target.url.startswith("rtsp://[::1]:")
        watcher = await line.watch()
        await watcher.packets(30)
        assert watcher.sequence_steps == {1}
        assert camera.session_count == 1
        await line.hub.close()
        assert camera.rtsp_counters.requests["TEARDOWN"] == 1


async def test_who_has_both_is_asked_for_tcp_alone(line: Line, short_camera: SimulatedCamera) -> None:
    # by UDP only where a camera has nothing else
    await (await line.watch()).packets(10)
    assert short_camera.rtsp_counters.requests["SETUP"] == 1


async def test_the_way_is_opened_before_the_camera_plays(detour: Detour, far_line: Line) -> None:
    watcher = await far_line.watch()
    await watcher.packets(1)
    (punch,) = detour.punches
    assert (punch[0], len(punch)) == (0x80, 12)
    assert isinstance(detour.told[0], ReceiverReport)


async def test_what_overtakes_or_comes_twice_is_put_in_order(detour: Detour, far_line: Line) -> None:
    # row 52
    held: list[bytes] = []
    count = itertools.count()

    def shuffle(packet: bytes) -> list[bytes]:
        held.append(packet)
        if next(count) == 0 or len(held) == 4:
            out, held[:] = [*reversed(held), held[0]], []
            return out
        return []

    detour.fault = shuffle
    watcher = await far_line.watch()
    await watcher.packets(200)
    assert watcher.sequence_steps == {1}
    assert len(watcher.sources) == 1


async def test_what_is_lost_is_a_gap_and_the_camera_is_told(
    detour: Detour, far_line: Line, udp_camera: SimulatedCamera
) -> None:
    # rows 52, 53
    udp_camera.behaviour.session_timeout_s = 1.0
    count = itertools.count(1)
    detour.fault = lambda packet: [] if next(count) % 10 == 0 else [packet]
    watcher = await far_line.watch()
    await watcher.packets(150)
    assert watcher.sequence_steps == {1, 2}
    assert watcher.sources == {watcher.video[0].ssrc}
    await eventually(lambda: any(block.cumulative_lost > 10 for block in blocks(detour)))
    told = blocks(detour)[-1]
    assert told.ssrc in watcher.sources
    assert 0 < told.fraction_lost < 128
    assert told.highest_sequence & 0xFFFF in {packet.sequence for packet in watcher.video}
    assert told.last_sender_report != 0


async def test_a_burst_that_is_lost_costs_no_more_than_itself(detour: Detour, far_line: Line) -> None:
    watcher = await far_line.watch()
    await watcher.packets(20)
    lost = iter(range(60))
    detour.fault = lambda packet: [] if next(lost, None) is not None else [packet]
    await watcher.packets(100)
    assert watcher.sequence_steps == {1, 61}
    assert far_line.waits == []


async def test_a_session_is_kept_alive(line: Line, udp_camera: SimulatedCamera) -> None:
    # row 27: by requests that are never answered, and by reports
    udp_camera.behaviour.session_timeout_s = 1.0
    udp_camera.behaviour.answers_keep_alive = False
    watcher = await line.watch()
    await eventually(lambda: udp_camera.rtsp_counters.requests["GET_PARAMETER"] >= 4)
    await watcher.packets(10)
    assert udp_camera.rtsp_counters.connections == 1


async def test_a_camera_that_stalls_is_dialled_again(open_line: OpenLine, udp_camera: SimulatedCamera) -> None:
    # quirk no-more-pictures; its reports alone are no picture
    line = open_line(target_of(udp_camera), silence_limit_s=0.4)
    watcher = await line.watch()
    await watcher.packets(20)
    udp_camera.behaviour.stalled = True
    await line.waited(1)
    udp_camera.behaviour.stalled = False
    await watcher.packets(40)
    assert watcher.ended == []
    assert len(watcher.sources) == 1
    assert watcher.sequence_steps == {1}


async def test_a_camera_whose_connection_is_lost_is_lost(line: Line, udp_camera: SimulatedCamera) -> None:
    # row 52
    watcher = await line.watch()
    for drops in range(1, 4):
        await watcher.packets(10)
        udp_camera.drop_connections()
        await line.waited(drops)
        await watcher.packets(20)
    assert watcher.ended == []
    assert len(watcher.sources) == 1
    assert watcher.sequence_steps == {1}
    assert udp_camera.rtsp_counters.connections == 4


async def test_a_pull_that_ends_says_goodbye_and_leaves_no_socket(line: Line, udp_camera: SimulatedCamera) -> None:
    before = open_sockets()
    watcher = await line.watch()
    await watcher.packets(5)
    assert open_sockets() > before
    await line.hub.close()
    assert udp_camera.rtsp_counters.requests["TEARDOWN"] == 1
    await eventually(lambda: open_sockets() == before)


@pytest.mark.parametrize("awaited", [b"interleaved=", b"client_port=", b"PLAY "], ids=["tcp", "udp", "play"])
async def test_a_pull_that_is_cancelled_leaves_no_socket(detour: Detour, far_line: Line, awaited: bytes) -> None:
    before = open_sockets()
    detour.swallows = lambda request: awaited in request
    watching = asyncio.ensure_future(far_line.watch())
    await eventually(lambda: detour.swallowed)
    watching.cancel()
    await far_line.hub.close()
    await eventually(lambda: open_sockets() == before)


async def test_a_camera_that_is_gone_leaves_no_socket(line: Line, udp_camera: SimulatedCamera) -> None:
    before = open_sockets()
    watcher = await line.watch()
    await watcher.packets(5)
    line.patience.clear()
    udp_camera.drop_connections()
    await line.waited(1)
    await eventually(lambda: open_sockets() == before)
