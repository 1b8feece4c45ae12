"""The simulator as a whole: ports as asked for, and nothing left when it cannot start or has ended."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

import pytest

from halfgateway.simulator.simulator import Simulator


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that were free a moment ago."""
    for first in range(20_000, 60_000, 16):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


async def test_cameras_take_ports_in_a_row() -> None:
    first = free_ports(4)
    async with Simulator(2, rtsp_port=first, onvif_port=first + 2) as simulator:
        listing = simulator.listing()
    assert [urlsplit(camera["rtsp_url"]).port for camera in listing] == [first, first + 1]
    assert [urlsplit(camera["onvif_url"]).port for camera in listing] == [first + 2, first + 3]


async def test_a_port_that_is_taken_leaves_nothing_running() -> None:
    first = free_ports(4)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 3))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await Simulator(2, rtsp_port=first, onvif_port=first + 2).__aenter__()
    for port in range(first, first + 3):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_its_end_ends_every_connection_and_task() -> None:
    before = asyncio.all_tasks()
    async with Simulator(1) as simulator:
        (camera,) = simulator.cameras
        port = urlsplit(camera.rtsp_url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert (await reader.readline()).startswith(b"RTSP/1.0 200")
    assert simulator.cameras == ()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readuntil(b"never")
    writer.transport.abort()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert asyncio.all_tasks() == before
