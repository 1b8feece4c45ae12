"""The listener that shakes hands first: bounded in time and number, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth.demo_authority import DemoAuthority
from halfgateway.net.tls import TlsListener, refusal_reason, server_context

LIMIT_S = 20.0


class Echo(asyncio.Protocol):
    """Says back what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined] # uvloop's transports are of no asyncio class


@dataclass
class House:
    """An authority, a listener behind its certificate, and what the listener has refused."""

    folder: Path
    refused: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.authority = DemoAuthority.open(self.folder, datetime.now(UTC))
        self.server = self.authority.server(datetime.now(UTC))

    def context(self) -> ssl.SSLContext:
        return server_context(
            certificate=self.server.certificate_path,
            key=self.server.key_path,
            client_authorities=self.authority.certificate_path,
        )

    def listener(self, *, handshake_timeout_s: float = LIMIT_S, max_preparing: int = 100) -> TlsListener:
        context = self.context()
        return TlsListener(
            Echo,
            context=lambda: context,
            refused=lambda source, reason: self.refused.append((source, reason)),
            handshake_timeout_s=handshake_timeout_s,
            max_preparing=max_preparing,
        )

    async def echoes(self, host: str = "127.0.0.1") -> bool:
        trust = ssl.create_default_context(cafile=str(self.authority.certificate_path))
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(host, self.port, ssl=trust)
            writer.write(b"hello")
            heard = await reader.readexactly(5)
            writer.transport.abort()
        return heard == b"hello"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def listening(house: House, stack: AsyncExitStack, listener: TlsListener, host: str = "127.0.0.1") -> None:
    house.port = await listener.listen(host, 0)
    stack.push_async_callback(listener.close)


async def silent(house: House, stack: AsyncExitStack) -> asyncio.StreamReader:
    """A connection that begins no handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    stack.callback(writer.close)
    return reader


async def until(house: House, count: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(house.refused) < count:
            await asyncio.sleep(0.005)


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(LIMIT_S):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_every_address_of_a_host_is_served(tmp_path: Path, stack: AsyncExitStack, host: str) -> None:
    house = House(tmp_path)
    await listening(house, stack, house.listener(), host)
    assert await house.echoes(host)


async def test_a_slow_loris_is_dropped_and_told_of(tmp_path: Path, stack: AsyncExitStack) -> None:
    # S02, row 9
    house = House(tmp_path)
    await listening(house, stack, house.listener(handshake_timeout_s=0.05))
    assert await ended(await silent(house, stack))
    await until(house, 1)
    assert house.refused == [("127.0.0.1", "tls-handshake-timeout")]


async def test_half_open_handshakes_keep_nobody_out_until_they_are_too_many(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    # row 9
    house, bound = House(tmp_path), 30
    listener = house.listener(max_preparing=bound)
    await listening(house, stack, listener)
    for _ in range(bound - 1):
        await silent(house, stack)
    assert await house.echoes()
    await silent(house, stack)
    async with asyncio.timeout(LIMIT_S):
        while listener.preparing < bound:
            await asyncio.sleep(0.005)
    assert await ended(await silent(house, stack))
    assert listener.preparing == bound


async def test_who_hangs_up_or_trusts_us_not_is_no_refusal_of_ours(tmp_path: Path, stack: AsyncExitStack) -> None:
    house = House(tmp_path)
    listener = house.listener()
    await listening(house, stack, listener)
    with socket.create_connection(("127.0.0.1", house.port)):
        pass
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", house.port, ssl=ssl.create_default_context())
    assert await house.echoes()
    async with asyncio.timeout(LIMIT_S):
        while listener.preparing:
            await asyncio.sleep(0.005)
    assert house.refused == []


async def test_a_listener_that_closes_drops_its_handshakes(tmp_path: Path, stack: AsyncExitStack) -> None:
    house = House(tmp_path)
    listener = house.listener()
    await listening(house, stack, listener)
    reader = await silent(house, stack)
    async with asyncio.timeout(LIMIT_S):
        while not listener.preparing:
            await asyncio.sleep(0.005)
    await listener.close()
    assert await ended(reader)
    assert listener.preparing == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", house.port)


def test_a_reason_that_nobody_foresaw_keeps_its_own_name() -> None:
    unforeseen = ssl.SSLError(1, "[SSL: ODD_THING] odd thing")
    unforeseen.reason = "ODD_THING"
    assert refusal_reason(unforeseen) == "tls-odd-thing"
    verification = ssl.SSLCertVerificationError(1, "odd")
    verification.verify_code = 50
    assert refusal_reason(verification) == "certificate-refused-50"
    gone = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert refusal_reason(gone) is None
