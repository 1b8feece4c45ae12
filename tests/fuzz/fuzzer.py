"""Conversations with the running gateway, each made from a seed and its number alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.digest import Challenge, authorise, parse_challenges
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.messages import Request, Response
from tests.fuzz.mutations import mutated, rubbish, spoilt
from tests.fuzz.transcripts import Item, Step
from tests.raw_player import Credentials
from tests.tunnel_player import head

ANSWER_LIMIT_S = 0.3
"""How long a request that was sent whole may wait for its answer before the conversation goes on without."""

GLIMPSE_S = 0.03
"""How long one is waited for that may never come, because its request was spoilt."""

CHUNK_BYTES = 65_536

TUNNELLED = 0.2
"""How many of the conversations are held over HTTP."""


@dataclass(frozen=True, slots=True)
class Address:
    """One of the gateway's listeners."""

    host: str
    port: int
    tls: ssl.SSLContext | None


@dataclass
class Fuzzer:
    """What the conversations share: where to, as whom, about what, and what came of them."""

    seed: int
    addresses: Sequence[Address]
    identities: list[Credentials | None]
    transcripts: Sequence[Sequence[Item]]
    challenges: tuple[Challenge, ...] = ()
    statuses: Counter[int] = field(default_factory=Counter)
    frames: int = 0
    tunnels: int = 0
    faults: list[str] = field(default_factory=list)

    async def converse(self, number: int) -> None:
        """Hold one conversation, to whichever end it comes."""
        conversation = _Conversation(self, number)
        try:
            await conversation.hold()
        except OSError:  # a reset is an answer, and so is a listener that accepts no more
            self.statuses[0] += 1


class _Conversation:
    def __init__(self, fuzzer: Fuzzer, number: int) -> None:
        self._fuzzer = fuzzer
        self._number = number
        self._chance = Random(f"{fuzzer.seed}:{number}")
        self._heard = Connection(Role.CLIENT)
        self._news = asyncio.Event()
        self._media = asyncio.Event()
        self._http: bytes | None = None
        self._ended = False
        self._session = "0"
        self._playing = False
        self._nonce_count = 0
        self._spoils = self._chance.choice((0.0, 0.0, 0.1, 0.5))
        """How likely each item is spoilt on the way: most sessions are to come far before something is."""

    async def hold(self) -> None:
        chance, fuzzer = self._chance, self._fuzzer
        address = chance.choice(fuzzer.addresses)
        identity = chance.choice(fuzzer.identities)
        items = mutated(chance, chance.choice(fuzzer.transcripts), fuzzer.transcripts)
        tls = None if chance.random() < 0.1 else address.tls  # and some speak plainly to the port for TLS
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=tls, server_hostname=address.host if tls else None
        )
        mouth = writer
        tunnelled = chance.random() < TUNNELLED
        self._http = b"" if tunnelled else None
        listening = asyncio.create_task(self._listen(reader))
        try:
            if tunnelled:
                mouth = await self._open_tunnel(address, tls, writer)
            for item in items:
                if self._ended:
                    break
                await self._say(mouth, item, identity)
            await self._leave(chance.choice((mouth, writer)), listening)
        finally:
            mouth.transport.abort()
            writer.transport.abort()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _open_tunnel(
        self, address: Address, tls: ssl.SSLContext | None, get: asyncio.StreamWriter
    ) -> asyncio.StreamWriter:
        """The tunnel's POST, whether or not the gateway has taken the GET for one."""
        cookie = f"fuzz-{self._number}"
        self._news.clear()
        _write(get, self._perhaps_spoilt(head("GET", cookie)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._news.wait()
        _, post = await asyncio.open_connection(
            address.host, address.port, ssl=tls, server_hostname=address.host if tls else None
        )
        _write(post, self._perhaps_spoilt(head("POST", cookie)))
        return post

    def _perhaps_spoilt(self, data: bytes) -> bytes:
        return spoilt(self._chance, data) if self._chance.random() < self._spoils / 2 else data

    def _carried(self, data: bytes) -> bytes:
        """As it goes on the wire: in a tunnel each piece is padded by itself."""
        return data if self._http is None else self._perhaps_spoilt(base64.b64encode(data))

    async def _say(self, writer: asyncio.StreamWriter, item: Item, identity: Credentials | None) -> None:
        chance = self._chance
        data = item if isinstance(item, bytes) else item.bytes(self._session)
        whole = chance.random() >= self._spoils
        if not whole:
            data = spoilt(chance, data)
        if isinstance(item, Step):
            data = self._signed(data, identity)
        if chance.random() < self._spoils / 2:
            data += rubbish(chance)
        pieces = (1, 1, 1, 2, 5)
        size = max(1, len(data) // chance.choice(pieces))
        self._news.clear()
        for start in range(0, len(data), size):
            _write(writer, self._carried(data[start : start + size]))
            await writer.drain()
        pipelined = chance.random() < 0.15
        if isinstance(item, Step) and not pipelined:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_LIMIT_S if whole else GLIMPSE_S):
                    await self._news.wait()
                    if item.method == "PLAY" and self._playing and chance.random() < 0.5:
                        await self._media.wait()

    def _signed(self, data: bytes, identity: Credentials | None) -> bytes:
        """Sign whatever request line is there, so that what is wrong with the rest is met behind the door."""
        line, newline, rest = data.partition(b"\n")
        words = line.decode("latin-1").split(" ")
        if identity is None or len(words) < 2 or not self._fuzzer.challenges or self._chance.random() < 0.05:
            return data
        self._nonce_count += 1
        try:
            value = authorise(
                self._chance.choice(self._fuzzer.challenges),
                identity.username,
                identity.password,
                words[0],
                words[1],
                nonce_count=self._nonce_count,
                cnonce=f"{self._chance.getrandbits(64):x}",
            ).encode("latin-1")
        except (LocalProtocolError, UnicodeEncodeError):
            return data
        if self._chance.random() < 0.05:
            value = spoilt(self._chance, value)
        return line + newline + b"Authorization: " + value + b"\r\n" + rest

    async def _leave(self, writer: asyncio.StreamWriter, listening: asyncio.Task[None]) -> None:
        """Vanish, close one's half and listen to the end, or close; with and without TLS."""
        manner = self._chance.random()
        if manner < 0.3 and writer.can_write_eof() and not (self._ended or writer.is_closing()):
            writer.write_eof()
            await asyncio.wait({listening}, timeout=GLIMPSE_S)
        elif manner < 0.6:
            writer.close()
            await asyncio.wait({listening}, timeout=GLIMPSE_S)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """All that the gateway says is RTSP, whatever it was told."""
        try:
            while data := await reader.read(CHUNK_BYTES):
                self._heard.receive_data(self._without_http(data))
                while (event := self._heard.next_event()) is not NEED_DATA:
                    self._take(event)
        except RemoteProtocolError as error:
            self._fuzzer.faults.append(f"conversation {self._number}: the gateway's answer is no RTSP: {error}")
        except OSError:
            self._fuzzer.statuses[0] += 1
        finally:
            self._ended = True
            self._news.set()
            self._media.set()

    def _without_http(self, data: bytes) -> bytes:
        """What follows the answer to a tunnel's GET; of one that was not taken for such, all."""
        if self._http is None or self._http.endswith(b"\r\n\r\n"):
            return data
        self._http += data
        answer, end, rest = self._http.partition(b"\r\n\r\n")
        if not self._http.startswith(b"HTTP/1.0 "[: len(self._http)]):
            rest, self._http = self._http, b"\r\n\r\n"
        elif end:
            self._fuzzer.tunnels += answer.startswith(b"HTTP/1.0 200 ")
            self._http = answer + end
            self._news.set()
        return rest

    def _take(self, event: object) -> None:
        if isinstance(event, Response):
            self._fuzzer.statuses[event.status] += 1
            self._playing = event.status == 200 and "Range" in event.headers
            self._session = (event.headers.get("Session") or self._session).partition(";")[0]
            challenges = parse_challenges(event.headers.get_all("WWW-Authenticate"))
            self._fuzzer.challenges = challenges or self._fuzzer.challenges
            self._news.set()
        elif isinstance(event, InterleavedBatch):
            self._fuzzer.frames += len(event.frames)
            self._media.set()
        elif isinstance(event, Request):
            self._fuzzer.faults.append(f"conversation {self._number}: the gateway asks {event.method}")


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write, unless the gateway has reset the connection: uvloop would call that an error of the writer's."""
    if not writer.is_closing():
        writer.write(data)
