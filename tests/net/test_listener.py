"""Who comes by a balancer is seen by their own address; who only says so is not (PROXY protocol, before TLS or not)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth.demo_authority import DemoAuthority
from halfgateway.net.balanced import BALANCED
from halfgateway.net.listener import Balancers, Listener
from halfgateway.net.tls import TlsListener, server_context
from tests.proxy_headers import LOCAL, UNSPECIFIED, raw_v2, summed, v1, v2

LIMIT_S = 20.0
CLIENT = "198.51.100.7"
BALANCER = "127.0.0.3"
SOMEBODY = "127.0.0.4"
HELLO = b"hello"


class Echo(asyncio.Protocol):
    """Says who it thinks is there, and then what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, _ = transport.get_extra_info("peername")
        marks = "balanced" if transport.get_extra_info(BALANCED) else "direct"
        tls = "tls" if transport.get_extra_info("ssl_object") else "plain"
        self._transport = transport
        self._write(f"{host} {marks} {tls}\n".encode())

    def data_received(self, data: bytes) -> None:
        self._write(data)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined] # uvloop's transports are of no asyncio class


@dataclass
class Gate:
    """A listener that knows one balancer, and what it has refused."""

    listener: Listener
    port: int
    trust: ssl.SSLContext | None
    refused: list[tuple[str, str]] = field(default_factory=list)

    async def says(self, header: bytes, *, peer: str = BALANCER, rest: bytes = HELLO) -> bytes:
        """What a connection of ``peer`` that begins so is answered, until it has the echo or has ended."""
        sock = socket.create_connection(("127.0.0.1", self.port), source_address=(peer, 0))
        sock.setblocking(False)
        async with asyncio.timeout(LIMIT_S):
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_sendall(sock, header)
                reader, writer = await asyncio.open_connection(
                    sock=sock, ssl=self.trust, server_hostname="localhost" if self.trust else None
                )
            except OSError:
                return b""
            try:
                writer.write(rest)
                return await reader.readline() + await reader.readexactly(len(rest))
            except (asyncio.IncompleteReadError, OSError):
                return b""
            finally:
                writer.transport.abort()

    async def told(self, count: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.refused) < count:
                await asyncio.sleep(0.005)
        return self.refused

    async def at_rest(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.listener.preparing:
                await asyncio.sleep(0.005)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def gate(
    stack: AsyncExitStack, *, folder: Path | None = None, header_timeout_s: float = LIMIT_S, max_preparing: int = 100
) -> Gate:
    """An open gate; over TLS where there is a folder for its certificate."""
    refused: list[tuple[str, str]] = []

    def refuse(source: str, reason: str) -> None:
        refused.append((source, reason))

    networks = (ipaddress.ip_network(BALANCER), ipaddress.ip_network("2001:db8::/64"))
    balancers = Balancers(networks, refuse, header_timeout_s)
    trust = None
    if folder is None:
        listener = Listener(Echo, balancers=balancers, max_preparing=max_preparing)
    else:
        authority = DemoAuthority.open(folder, datetime.now(UTC))
        server = authority.server(datetime.now(UTC))
        context = server_context(
            certificate=server.certificate_path,
            key=server.key_path,
            client_authorities=authority.certificate_path,
        )
        listener = TlsListener(Echo, context=lambda: context, refused=refuse, balancers=balancers)
        trust = ssl.create_default_context(cafile=str(authority.certificate_path))
    stack.push_async_callback(listener.close)
    return Gate(listener, await listener.listen("127.0.0.1", 0), trust, refused)


@pytest.fixture(params=["plain", "tls"])
async def either(request: pytest.FixtureRequest, tmp_path: Path, stack: AsyncExitStack) -> Gate:
    return await gate(stack, folder=tmp_path if request.param == "tls" else None)


@pytest.mark.parametrize("header", [v1(CLIENT), v2(CLIENT), summed(CLIENT)], ids=["v1", "v2", "checksum"])
async def test_a_balancers_client_is_the_peer(either: Gate, header: bytes) -> None:
    kind = "tls" if either.trust else "plain"
    assert await either.says(header) == f"{CLIENT} balanced {kind}\n".encode() + HELLO
    assert either.refused == []


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", raw_v2(LOCAL, UNSPECIFIED, b"")], ids=["v1", "v2"])
async def test_a_balancer_that_speaks_for_itself_is_the_peer(either: Gate, header: bytes) -> None:
    answer = await either.says(header)
    assert answer.startswith(f"{BALANCER} balanced ".encode())


async def test_the_header_and_the_clients_first_bytes_may_come_in_one_piece(stack: AsyncExitStack) -> None:
    opened = await gate(stack)
    assert await opened.says(v2(CLIENT) + HELLO, rest=b"") == f"{CLIENT} balanced plain\n".encode()
    assert await opened.says(v1(CLIENT) + HELLO, rest=HELLO) == f"{CLIENT} balanced plain\n".encode() + HELLO


async def test_who_is_no_balancer_is_served_without_a_header(either: Gate) -> None:
    answer = await either.says(b"", peer=SOMEBODY)
    assert answer.startswith(f"{SOMEBODY} direct ".encode())


@pytest.mark.parametrize("header", [v1(CLIENT), v2(CLIENT)], ids=["v1", "v2"])
async def test_what_somebody_else_says_of_themselves_is_not_believed(
    stack: AsyncExitStack, tmp_path: Path, header: bytes
) -> None:
    plain = await gate(stack)
    answer = await plain.says(header, peer=SOMEBODY, rest=b"")
    assert answer.startswith(f"{SOMEBODY} direct ".encode())  # and the header is what its protocol has to refuse
    secure = await gate(stack, folder=tmp_path)
    assert await secure.says(header, peer=SOMEBODY) == b""
    assert await secure.told(1) == [(SOMEBODY, "not-tls")]


async def test_a_balancer_that_says_nothing_of_its_client_is_refused(stack: AsyncExitStack, tmp_path: Path) -> None:
    for opened in (await gate(stack), await gate(stack, folder=tmp_path)):
        assert await opened.says(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n") == b""
        assert await opened.told(1) == [(BALANCER, "proxy-header-invalid")]


async def test_a_balancer_that_only_looks_is_no_refusal(stack: AsyncExitStack) -> None:
    opened = await gate(stack)
    with socket.create_connection(("127.0.0.1", opened.port), source_address=(BALANCER, 0)):
        pass
    assert (await opened.says(v2(CLIENT))).endswith(HELLO)
    await opened.at_rest()
    assert opened.refused == []


async def test_a_header_cut_off_is_refused(stack: AsyncExitStack) -> None:
    opened = await gate(stack)
    with socket.create_connection(("127.0.0.1", opened.port), source_address=(BALANCER, 0)) as sock:
        sock.sendall(v2(CLIENT)[:20])
    assert await opened.told(1) == [(BALANCER, "proxy-header-invalid")]


async def test_a_header_byte_by_byte_is_a_slow_loris(stack: AsyncExitStack) -> None:
    # row 9: each byte does not begin the time anew
    opened = await gate(stack, header_timeout_s=0.2)
    sock = socket.create_connection(("127.0.0.1", opened.port), source_address=(BALANCER, 0))
    stack.callback(sock.close)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()

    async def drip() -> None:
        for byte in v2(CLIENT, additions=b"\x04\x0f\x00" + bytes(0xF00)):
            await loop.sock_sendall(sock, bytes([byte]))
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert await opened.told(1) == [(BALANCER, "proxy-header-timeout")]
    with contextlib.suppress(OSError):
        async with asyncio.timeout(LIMIT_S):
            await dripping


async def test_headers_that_do_not_come_keep_nobody_out_until_they_are_too_many(stack: AsyncExitStack) -> None:
    bound = 20
    opened = await gate(stack, max_preparing=bound)
    waiting = [
        stack.enter_context(socket.create_connection(("127.0.0.1", opened.port), source_address=(BALANCER, 0)))
        for _ in range(bound - 1)
    ]
    assert (await opened.says(v2(CLIENT))).endswith(HELLO)
    waiting.append(
        stack.enter_context(socket.create_connection(("127.0.0.1", opened.port), source_address=(BALANCER, 0)))
    )
    async with asyncio.timeout(LIMIT_S):
        while opened.listener.preparing < bound:
            await asyncio.sleep(0.005)
    assert await opened.says(v2(CLIENT)) == b""
    await opened.listener.close()
    assert opened.listener.preparing == 0


async def test_hostile_headers_leave_the_listener_whole(stack: AsyncExitStack) -> None:
    opened, chance = await gate(stack, header_timeout_s=0.2), random.Random(20261122)
    starts = [v1(CLIENT), v2(CLIENT), summed(CLIENT)]
    served = 0
    for _ in range(300):
        header = bytearray(chance.choice(starts))
        header[chance.randrange(len(header))] = chance.randrange(256)
        served += (await opened.says(bytes(header))).endswith(HELLO)
    assert 0 < served < 300
    assert len(opened.refused) + served >= 250  # a header may also wait for more than the client says
    assert (await opened.says(v2(CLIENT))).endswith(HELLO)
    await opened.at_rest()
