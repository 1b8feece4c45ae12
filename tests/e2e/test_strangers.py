"""Those who connect and never say who they are: they take no slot, and keep nobody out (row 9)."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from socket import socket

import pytest

from auth.rights import LOCAL
from tests.e2e.conftest import Gateway, until
from tests.raw_player import RawPlayer

STRANGERS = 1_000
BEGUN = (b"", b"OPT", b"OPTIONS rtsp://h/live/x RTSP/1.0\r\nCSeq: 1\r\nX: ", b"$\x00\xff\xff")
"""How far they come: nothing, a method, most of a request, the head of a frame."""

HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
"""The first bytes of a TLS client's first record."""

OWN_DESCRIPTORS = 100
"""What the gateway may open or close by itself meanwhile: a camera's connection, those of its pools."""

NEEDED_DESCRIPTORS = 2 * STRANGERS + 500
"""Both ends are in this process, and the gateway's own."""


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough descriptors for both ends of every connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED_DESCRIPTORS:
        pytest.skip(f"needs {NEEDED_DESCRIPTORS} descriptors, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED_DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def crowd(port: int, said: tuple[bytes, ...], life: ExitStack) -> None:
    """So many connections that have begun something and go no further."""
    loop = asyncio.get_running_loop()
    for number in range(STRANGERS):
        stranger = life.enter_context(socket())
        stranger.setblocking(False)
        await loop.sock_connect(stranger, ("127.0.0.1", port))
        await loop.sock_sendall(stranger, said[number % len(said)])


async def plays(gateway: Gateway, player: RawPlayer) -> None:
    path = f"/live/{gateway.cameras[0]}"
    async with player:
        assert (await player.set_up(path)).status == 200
        assert (await player.play(path)).status == 200
        await player.packets_until(10)
        assert (await player.tear_down(path)).status == 200


@pytest.mark.usefixtures("descriptors")
async def test_a_thousand_half_open_connections_take_no_slot_and_keep_nobody_out(gateway: Gateway) -> None:
    # row 9, C01
    rtsp = gateway.node.rtsp
    assert gateway.node.endpoints.rtsp is not None
    with ExitStack() as life:
        await crowd(gateway.node.endpoints.rtsp, BEGUN, life)
        await until(lambda: len(rtsp.connections) == STRANGERS)
        assert await gateway.slots_used() == 0
        assert {entry.source for entry in await gateway.trace()} <= {None, LOCAL}
        await plays(gateway, gateway.player(gateway.machine))
        assert sum(not each.authenticated for each in rtsp.connections) == STRANGERS
    await until(lambda: not rtsp.connections)


@pytest.mark.usefixtures("descriptors")
async def test_nor_do_a_thousand_half_shaken_hands(gateway: Gateway) -> None:
    # row 9, S01: before TLS has said who they are
    tls = ssl.create_default_context(cafile=gateway.ready["ca"])
    machine, port = gateway.ready["accounts"]["machine"], gateway.node.endpoints.rtsps
    tls.load_cert_chain(machine["certificate"], machine["key"])
    assert port is not None
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as life:
        await crowd(port, (b"", HELLO), life)
        await until(lambda: len(os.listdir("/proc/self/fd")) >= before + 2 * STRANGERS - OWN_DESCRIPTORS)
        assert not gateway.node.rtsp.connections
        await plays(gateway, RawPlayer("127.0.0.1", port, gateway.machine, tls=tls))
        assert await gateway.slots_used() == 0
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before + OWN_DESCRIPTORS)
