"""What a scan finds within its range, and that it goes nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import cast
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from camera_registry import soap
from camera_registry.clock import SystemClock
from halfgateway.cli import build
from halfgateway.inspection.scan import MAX_ADDRESSES, FoundDevice, Scan, probe_matches, probe_message
from halfgateway.simulator.packets import Clip
from tests.simulator.test_kinds import camera_of_kind

LOOPBACK = ip_network("127.0.0.1/32")
CLOSED = 1


def answer(*addresses: str, scopes: str = "onvif://www.onvif.org/name/Place%20d%27Armes") -> bytes:
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><d:ProbeMatches xmlns:d="urn:d">'
        f"<d:ProbeMatch><d:Scopes>{scopes} onvif://www.onvif.org/hardware/V720</d:Scopes>"
        f"<d:XAddrs>{' '.join(addresses)}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"
    ).encode()


class _Responder(asyncio.DatagramProtocol):
    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.asked: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(data)
        self.transport.sendto(self.reply, addr)


@asynccontextmanager
async def responder(reply: bytes) -> AsyncIterator[tuple[_Responder, int]]:
    protocol = _Responder(reply)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def scanned(
    *, ports: Sequence[int] = (CLOSED,), discovery_port: int = CLOSED, progress: Callable[[int], None] = lambda _: None
) -> tuple[FoundDevice, ...]:
    scan = Scan(
        LOOPBACK,
        clock=SystemClock(),
        ports=ports,
        discovery_port=discovery_port,
        discovery_wait_s=0.2,
        on_progress=progress,
    )
    return await scan.run()


async def test_a_camera_is_found_on_its_port(small_clip: Clip) -> None:
    async with camera_of_kind(0, small_clip) as camera:
        done: list[int] = []
        found = await scanned(ports=(CLOSED, urlsplit(camera.onvif_url).port), progress=done.append)
        assert camera.rtsp_counters.connections == 0
    assert found == (FoundDevice(onvif_url=camera.onvif_url, by="port", answers=True),)
    assert done == [1]


async def test_a_camera_that_answers_a_probe_is_asked_where_it_is_not_where_it_says(small_clip: Clip) -> None:
    # quirk onvif-address-elsewhere
    async with camera_of_kind(0, small_clip) as camera:
        announced = camera.onvif_url.replace("127.0.0.1", "198.51.100.7")
        async with responder(answer(announced, "ftp://x", "http://198.51.100.7:1/onvif")) as (asked, port):
            found = await scanned(discovery_port=port)
    (probe,) = asked.asked
    assert soap.operation(soap.read_envelope(probe)) == "Probe"
    gone = FoundDevice(onvif_url="http://127.0.0.1:1/onvif", by="discovery", name="Place d'Armes", hardware="V720")
    assert found == (gone, replace(gone, onvif_url=camera.onvif_url, answers=True))


async def test_what_is_no_onvif_is_not_found() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        assert await scanned(ports=(server.sockets[0].getsockname()[1],)) == ()


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 100, answer(), answer("not an address"), probe_message(), b"<Envelope><Body/></Envelope>"]
)
def test_any_datagram_is_survived(data: bytes) -> None:
    assert probe_matches(data, "127.0.0.1") == []


def test_a_name_cannot_steer_a_terminal() -> None:
    (device,) = probe_matches(answer("http://10.0.0.1/", scopes="onvif://www.onvif.org/name/%1b[2J%0a"), "10.0.0.1")
    assert device.name == "[2J"


def test_a_range_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match=str(MAX_ADDRESSES)):
        Scan(ip_network("10.0.0.0/16"), clock=SystemClock())
    assert len(Scan(ip_network("10.78.1.0/24"), clock=SystemClock()).addresses) == 254


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(build(list(arguments)), list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_the_command_says_what_it_looked_at() -> None:
    code, output, _ = run("camera", "scan", "--network", "127.0.0.1/32", "--port", "1", "--json")
    assert (code, json.loads(output)) == (0, {"network": "127.0.0.1/32", "addresses": 1, "found": []})
    assert run("camera", "scan", "--network", "10.0.0.0/8")[0] == 2
    assert run("camera", "scan", "--network", "house")[0] == 2
