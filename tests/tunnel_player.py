"""A player on two bare sockets: RTSP over HTTP as a test wants it said."""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import dataclass, field

from tests.raw_player import TIMEOUT_S, RawPlayer

TUNNELLED = "Accept: application/x-rtsp-tunnelled\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n"


def head(method: str, cookie: str, more: str = TUNNELLED) -> bytes:
    """The head of one half, as QuickTime has it."""
    return f"{method} /live/x HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n{more}\r\n".encode()


@dataclass
class TunnelPlayer(RawPlayer):
    """A :class:`RawPlayer` whose connection is the tunnel's GET; it speaks by its POST."""

    cookie: str = "a-cookie-of-the-test"
    opening: str = ""
    posts: list[asyncio.StreamWriter] = field(default_factory=list)
    post_readers: list[asyncio.StreamReader] = field(default_factory=list)

    async def __aenter__(self) -> TunnelPlayer:
        await super().__aenter__()
        await self.open_get()
        await self.open_post()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for post in self.posts:
            post.transport.abort()
        await super().__aexit__(*exc_info)

    async def open_get(self) -> None:
        self._writer.write(head("GET", self.cookie))
        async with asyncio.timeout(TIMEOUT_S):
            self.opening = (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def open_post(self, text: bytes = b"") -> None:
        """Open a POST: what is said from now on goes by it, ``text`` in one piece with its head."""
        reader, writer = await self._connect(self.port, self.tls, None)
        self.posts.append(writer)
        self.post_readers.append(reader)
        writer.write(head("POST", self.cookie, TUNNELLED + "Content-Length: 32767\r\n") + text)

    async def told_on_a_post(
        self, *, source: str | None = None, port: int | None = None, tls: ssl.SSLContext | None = None
    ) -> bytes:
        """What a POST with this cookie is told that comes from another address, to another port or with other TLS."""
        reader, writer = await self._connect(port or self.port, tls, source)
        writer.write(head("POST", self.cookie))
        async with asyncio.timeout(TIMEOUT_S):
            told = await reader.read()
            writer.close()
            await writer.wait_closed()
        return told

    async def _connect(
        self, port: int, tls: ssl.SSLContext | None, source: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        source = source or self.source
        reader, writer = await asyncio.open_connection(
            self.host,
            port,
            ssl=tls,
            server_hostname=self.host if tls is not None else None,
            local_addr=(source, 0) if source is not None else None,
        )
        writer.write(self.preface)
        return reader, writer

    def vanish(self) -> None:
        for post in self.posts:
            post.transport.abort()
        super().vanish()

    def vanish_from_get(self) -> None:
        """Leave the GET alone."""
        super().vanish()

    async def send(self, data: bytes) -> None:
        await self.send_text(base64.b64encode(data))

    async def send_text(self, text: bytes) -> None:
        """Say in the newest POST what need not be base64."""
        self.posts[-1].write(text)
        await self.posts[-1].drain()

    async def send_on_get(self, data: bytes) -> None:
        """Say something where nobody listens."""
        await super().send(data)

    async def close_post(self) -> None:
        """Close the newest POST with what it has said."""
        self.posts[-1].close()
        await self.posts[-1].wait_closed()

    async def post_ended(self, number: int = -1) -> str:
        """How a POST was ended by the server: ``reset`` or ``fin``; it must have said nothing before."""
        return await ended(self.post_readers[number])


async def ended(reader: asyncio.StreamReader) -> str:
    """How a connection that is told nothing more ends."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said = await reader.read()
    except ConnectionResetError:
        return "reset"
    assert said == b"", said
    return "fin"
