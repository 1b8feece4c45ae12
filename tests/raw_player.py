"""A player on a bare socket: it says exactly what a test wants said, and keeps every byte that it was given."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from halfgateway.protocol.rtcp import Goodbye, parse_compound
from halfgateway.protocol.rtp import RtpView

TIMEOUT_S = 20.0


@dataclass
class Answer:
    """One RTSP answer as it stood on the wire."""

    status: int
    reason: str
    headers: dict[str, list[str]]
    body: bytes = b""

    def header(self, name: str) -> str:
        return self.headers[name.lower()][0]


@dataclass
class Credentials:
    """What ``POST /streams`` or a machine account gives."""

    username: str
    password: str


@dataclass
class RawPlayer:
    """One RTSP connection, over TLS with a context for it.

    ``captured`` is everything received; a small ``receive_buffer_bytes`` makes it slow. ``source`` is the
    address that it comes from, ``preface`` what is said before all else, in clear.
    """

    host: str
    port: int
    credentials: Credentials | None = None
    captured: bytearray = field(default_factory=bytearray)
    packets: list[tuple[int, bytes, float]] = field(default_factory=list)
    session: str | None = None
    receive_buffer_bytes: int | None = None
    tls: ssl.SSLContext | None = None
    source: str | None = None
    preface: bytes = b""

    async def __aenter__(self) -> RawPlayer:
        connected = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        connected.setblocking(False)
        if self.receive_buffer_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)
        if self.source is not None:
            connected.bind((self.source, 0))
        try:
            await asyncio.get_running_loop().sock_connect(connected, (self.host, self.port))
            await asyncio.get_running_loop().sock_sendall(connected, self.preface)
            name = self.host if self.tls is not None else None
            self._reader, self._writer = await asyncio.open_connection(
                sock=connected, ssl=self.tls, server_hostname=name
            )
        except BaseException:
            connected.close()
            raise
        self._challenge: tuple[str, str] | None = None
        self._cseq = 0
        self._buffer = bytearray()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)

    def goodbyes(self) -> set[int]:
        """The sources of which the player was told that they end."""
        packets = [packet for channel, data, _ in self.packets if channel == 1 for packet in parse_compound(data)]
        return {source for packet in packets if isinstance(packet, Goodbye) for source in packet.ssrcs}

    def sources(self) -> set[int]:
        """The sources of which the player was sent video."""
        return {RtpView(data).ssrc for channel, data, _ in self.packets if channel == 0}

    def vanish(self) -> None:
        """Be gone without a word, as a killed player is."""
        self._writer.transport.abort()

    def peer_certificate(self) -> bytes | None:
        """The server's certificate, over TLS."""
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls.getpeercert(binary_form=True)

    def end_sending(self) -> None:
        """Close this side's half of the connection."""
        self._writer.write_eof()

    def url(self, path: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rtsp' if self.tls is None else 'rtsps'}://{host}:{self.port}{path}"

    async def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Ask, answering one Digest challenge (MD5) where there are credentials."""
        answer = await self._exchange(method, url, headers or {}, body)
        if answer.status == 401 and self.credentials is not None:
            md5 = [line for line in answer.headers["www-authenticate"] if "SHA-256" not in line][-1]
            found = re.fullmatch(r'Digest realm="([^"]*)", nonce="([^"]*)"(, stale=true)?', md5)
            assert found is not None, md5
            self._challenge = (found[1], found[2])
            answer = await self._exchange(method, url, headers or {}, body)
        return answer

    async def set_up(self, path: str, *, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> Answer:
        answer = await self.ask("SETUP", self.url(path) + "/trackID=0", {"Transport": transport})
        if answer.status == 200:
            self.session = answer.header("session").split(";")[0]
        return answer

    async def play(self, path: str) -> Answer:
        return await self.ask("PLAY", self.url(path), {"Session": self.session or ""})

    async def tear_down(self, path: str) -> Answer:
        return await self.ask("TEARDOWN", self.url(path), {"Session": self.session or ""})

    async def packets_until(self, count: int) -> None:
        """Read until ``count`` packets have come on channel 0."""
        async with asyncio.timeout(TIMEOUT_S):
            while sum(channel == 0 for channel, _, _ in self.packets) < count:
                await self._take_one()

    async def next_packet(self) -> None:
        """Read one frame more, on any channel."""
        async with asyncio.timeout(TIMEOUT_S):
            await self._take_one()

    async def packets_until_goodbye(self) -> None:
        """Read until the player is told that what it was sent has ended."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self.goodbyes():
                await self._take_one()

    def pause_reading(self) -> None:
        """Let everything wait that is sent."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport reads too

    def resume_reading(self) -> None:
        """Take it again."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined] # a stream's transport reads too

    async def read_to_end(self) -> str:
        """Read until the server ends the connection; says whether by ``reset`` or ``fin``."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await self._take_one()
        except asyncio.IncompleteReadError:
            return "fin"
        except ConnectionResetError:
            return "reset"

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def next_answer(self) -> Answer:
        """The next answer; media that comes before it is kept."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                answer = await self._take_one()
                if answer is not None:
                    return answer

    def request(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
        """The next request, numbered, and signed if a challenge is known: to be sent as a test likes."""
        self._cseq += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._cseq}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if self._challenge is not None and self.credentials is not None:
            lines.append(f"Authorization: {self._authorization(self.credentials, method, url)}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        await self.send(self.request(method, url, headers, body))
        answer = await self.next_answer()
        assert answer.headers.get("cseq") == [str(self._cseq)], answer
        return answer

    def _authorization(self, credentials: Credentials, method: str, url: str) -> str:
        assert self._challenge is not None
        realm, nonce = self._challenge
        secret = _md5(f"{credentials.username}:{realm}:{credentials.password}")
        response = _md5(f"{secret}:{nonce}:{_md5(f'{method}:{url}')}")
        return (
            f'Digest username="{credentials.username}", realm="{realm}", nonce="{nonce}", '
            f'uri="{url}", response="{response}"'
        )

    async def _take_one(self) -> Answer | None:
        first = await self._exactly(1)
        if first == b"$":
            channel, size = struct.unpack("!BH", await self._exactly(3))
            self.packets.append((channel, await self._exactly(size), time.monotonic()))
            return None
        head = first + await self._until(b"\r\n\r\n")
        status_line, *lines = head.decode().rstrip("\r\n").split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        _, status, reason = status_line.split(" ", 2)
        body = await self._exactly(int(headers.get("content-length", ["0"])[0]))
        return Answer(int(status), reason, headers, body)

    async def _exactly(self, size: int) -> bytes:
        data = await self._reader.readexactly(size)
        self.captured += data
        return data

    async def _until(self, end: bytes) -> bytes:
        data = await self._reader.readuntil(end)
        self.captured += data
        return data


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
